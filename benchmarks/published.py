"""Readings a second that `tocsin publish` carries from a file to a broker's last confirmation, beside the client library alone.

    python benchmarks/published.py [--brokers kafka,rabbitmq] [--runs 3]

Method: a CSV file of 1,000 devices, one reading a line.  `tocsin publish` is a process of its own, timed whole: it starts, reads the
file, makes every reading durable in its spool, sends what comes together in one message, and ends when all is confirmed.  The client
library, in the same run and on the same server, publishes every reading as one JSON message that was made before, at its best:
as many under way as it takes, timed from the first message to the last confirmation.  So its side leaves out what the other does
besides.  What is printed are the medians, and the median of each run's ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bare
from served import served

from tocsin.config import load
from tocsin.connectors import Broker, open_sink, open_source

READINGS = {"kafka": 4_000_000, "rabbitmq": 400_000}
CLIENTS: dict[str, type[bare.Bare]] = {"kafka": bare.Kafka, "rabbitmq": bare.Amqp}
START = 1_700_000_000
PIPELINE = """\
pipeline: {name}
source: {{file: readings.csv, time: {{column: ts, format: unix_s}}, device: device, readings: {{temp: temp}}}}
broker: "{url}"
lateness: 10s
rules: [{{alert: Hot, expr: temp > 90}}]
"""


def write(folder: Path, readings: int) -> list[bytes]:
    """The file of a measurement, and the same readings as messages."""
    rows = [(START + number // 1_000, f"device-{number % 1_000:07d}", number % 97 / 2) for number in range(readings)]
    lines = "".join(f"{when},{device},{value}\n" for when, device, value in rows)
    (folder / "readings.csv").write_text(f"ts,device,temp\n{lines}")
    return [
        f'{{"device":"{device}","metric":"temp","time":{when}000000000,"value":{value}}}'.encode()
        for when, device, value in rows
    ]


def fresh(folder: Path, url: str) -> tuple[Path, Broker]:
    """A pipeline file with a queue or topic of its own, which is there."""
    name = f"bench-{time.time_ns()}"
    file = folder / f"{name}.yaml"
    file.write_text(PIPELINE.format(name=name, url=url))
    broker = load(file).consuming().broker
    for part in (open_source(broker, name), open_sink(broker)):
        part.open()
        part.close()
    return file, broker


def measured(name: str, folder: Path, url: str, bodies: list[bytes]) -> tuple[float, float]:
    """Seconds of the client, and of the command."""
    _, broker = fresh(folder, url)
    alone = CLIENTS[name](broker).publish(bodies)
    file, _ = fresh(folder, url)
    began = time.perf_counter()
    subprocess.run(  # noqa: S603 (our own command)
        [sys.executable, "-m", "tocsin", "publish", str(file)], check=True, stderr=subprocess.DEVNULL
    )
    return alone, time.perf_counter() - began


def main() -> None:
    """Prints a line for each broker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--brokers", default=",".join(READINGS))
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    for name in options.brokers.split(","):
        with tempfile.TemporaryDirectory() as place, served(name) as url:
            bodies = write(Path(place), READINGS[name])
            measured(name, Path(place), url, bodies[:1_000])  # what happens once
            runs = [measured(name, Path(place), url, bodies) for _ in range(options.runs)]
        alone, whole = (len(bodies) / statistics.median(times) for times in zip(*runs, strict=True))
        ratio = statistics.median(alone / whole for alone, whole in runs)
        load = " ".join(f"{one:.1f}" for one in os.getloadavg())
        print(
            f"{name:<9} bare client {alone:>9,.0f}/s, publish {whole:>9,.0f}/s, ratio {ratio:.2f} (load {load})",
            flush=True,
        )


if __name__ == "__main__":
    main()
