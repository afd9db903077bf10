"""Messages of a broker, and InfluxDB's line protocol, to readings; beside it `json.loads` alone over the same bytes.

    python benchmarks/messages.py [--readings 50_000] [--devices 1_000] [--runs 9]

Method: one core, everything in memory.  The readings are of so many devices in turn, a time of its own each, values
with all their digits.  They come in polls of 5,000 messages of one reading, or of ten messages of 500, and every poll
is decoded at once by a decoder that has seen the devices before.  `json.loads` is timed message by message over the same
bodies in the same run, and makes no readings of them.  The best of several runs, since other tenants only slow it down.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tocsin.codecs.line_protocol import Lines
from tocsin.codecs.readings import Decoder, to_arrow, to_json
from tocsin.message import ARROW, JSON, Message
from tocsin.reading import Batch, Series

POLL = 5_000
ARRAY = 500
START = 1_704_067_200_000_000_000


def readings(count: int, devices: int, labels: dict[str, str]) -> Batch:
    """So many readings, the devices in turn."""
    series = Series()
    codes = np.array([series.code(f"device-{number:06d}", "temp_f", labels) for number in range(devices)], np.int32)
    place = np.arange(count)
    value = np.random.default_rng(7).normal(70, 10, count)
    return Batch(series, codes[place % devices], START + place * 1_000_000, value)


def bodies(batch: Batch, size: int, encode: Callable[[Batch], bytes]) -> list[bytes]:
    """Messages of so many readings."""
    return [encode(batch.take(slice(low, low + size))) for low in range(0, len(batch), size)]


def rate(count: int, runs: int, work: Callable[[], object]) -> float:
    """Readings a second, in the best of several runs."""

    def spent() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return count / min(spent() for _ in range(runs))


def decoded(messages: Sequence[bytes], content_type: str, poll: int) -> Callable[[], object]:
    """What decodes these messages poll by poll."""
    decoder = Decoder(Series())
    sent = [Message(body, content_type=content_type) for body in messages]
    polls = [sent[low : low + poll] for low in range(0, len(sent), poll)]
    return lambda: [decoder.decode(one) for one in polls]


def line_protocol(batch: Batch) -> bytes:
    """The same readings as lines."""
    names = [batch.series.devices[place] for place in batch.series.device[batch.code].tolist()]
    rows = zip(names, batch.value.tolist(), batch.time.tolist(), strict=True)
    return "\n".join(f"temp,device={name} f={value} {when}" for name, value, when in rows).encode()


def cases(count: int, devices: int) -> Iterator[tuple[str, list[bytes], str, int]]:
    """What is measured: its name, the messages, their content type, and how many come at once."""
    for told, labels in (("", {}), (", two labels", {"site": "north", "kind": "probe"})):
        batch = readings(count, devices, labels)
        single = [body[1:-1] for body in bodies(batch, 1, to_json)]
        yield f"JSON, one reading{told}", single, JSON, POLL
        yield f"JSON, arrays of {ARRAY}{told}", bodies(batch, ARRAY, to_json), JSON, POLL // ARRAY
        yield f"Arrow, {ARRAY} rows{told}", bodies(batch, ARRAY, to_arrow), ARROW, POLL // ARRAY


def main() -> None:
    """Prints a table of rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--readings", type=int, default=50_000)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    print(f"{'messages':32} {'decoded M/s':>12} {'json.loads M/s':>15}")
    for name, messages, content_type, poll in cases(options.readings, options.devices):
        own = rate(options.readings, options.runs, decoded(messages, content_type, poll))
        plain = ""
        if content_type == JSON:
            loads = rate(options.readings, options.runs, lambda them=messages: [json.loads(body) for body in them])
            plain = f"{loads / 1e6:.2f}"
        print(f"{name:32} {own / 1e6:>12.2f} {plain:>15}", flush=True)
    batch = readings(options.readings, options.devices, {})
    lines, reader = line_protocol(batch), Lines(Series())
    own = rate(options.readings, options.runs, lambda: reader.read(lines))
    print(f"{'line protocol, a field a line':32} {own / 1e6:>12.2f}", flush=True)
    for name, encode in (("to_json", to_json), ("to_arrow", to_arrow)):
        written = rate(options.readings, options.runs, lambda it=encode: bodies(batch, ARRAY, it))
        print(f"{name + f', {ARRAY} readings':32} {written / 1e6:>12.2f}", flush=True)


if __name__ == "__main__":
    main()
