"""The engine where its shape is tried: week-long windows, batches of ten, a million devices' memory.

    python benchmarks/shapes.py [week] [tens] [memory]

Method.  week: ten devices, a reading a second each, the four rules over seven days (604,800 readings in a
window); timed after the windows have filled.  tens: 100,000 devices, batches of ten readings, after ten
readings of each; the time of each batch.  memory: the most that a fresh process held after ten readings of
each of a million devices (ru_maxrss).
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import time

import numpy as np
from engine import START, cook
from fused import RULES, SECOND
from ruamel.yaml import YAML

from tocsin.engine import Engine
from tocsin.reading import Batch, Series
from tocsin.rule import parse_rules
from tocsin.watermark import Watermark


class Feed:
    """An engine of the four rules, its dictionary and its watermark."""

    def __init__(self, devices: int, rules: str = RULES) -> None:
        self.series = Series()
        self.series.codes([f"device-{number:07d}" for number in range(devices)], "temp")
        self.engine = Engine(parse_rules(YAML(typ="safe").load(rules)), self.series)
        self.watermark = Watermark(0)

    def take(self, *columns: np.ndarray) -> None:
        """One batch."""
        batch = Batch(self.series, *columns)
        self.watermark.admit(batch)
        self.engine.process(batch, self.watermark.value)


def week() -> None:
    """A reading a second over seven days."""
    seconds, devices, more = 604_800, 10, 200_000
    feed = Feed(devices, RULES.replace("150s", "7d").replace("600s", "7d"))
    device = np.tile(np.arange(devices, dtype=np.int32), 10_000)
    random = np.random.default_rng(7)
    rates = []
    for low in range(0, seconds + more, 10_000):
        when = START + np.repeat(np.arange(low, low + 10_000), devices) * SECOND
        value = np.round(75 + 10 * np.sin(when / SECOND / 9_000 + device) + random.standard_normal(len(device)), 1)
        began = time.perf_counter()
        feed.take(device, when, value)
        if low >= seconds:
            rates.append(len(device) / (time.perf_counter() - began) / 1e6)
    print(f"week: {statistics.median(rates):.2f} M readings/s with {seconds:,} readings in each window, "
          f"slowest batch of {len(device):,} {min(rates):.2f}")  # fmt: skip


def tens() -> None:
    """Batches of ten among 100,000 devices."""
    device, when, value = cook(100_000, 11)
    feed = Feed(100_000)
    for low in range(0, 1_000_000, 100_000):
        feed.take(*(column[low : low + 100_000] for column in (device, when, value)))
    spent = []
    for low in range(1_000_000, 1_020_000, 10):
        began = time.perf_counter()
        feed.take(*(column[low : low + 10] for column in (device, when, value)))
        spent.append(1e3 * (time.perf_counter() - began))
    spent.sort()
    print(
        f"tens: median {statistics.median(spent):.3f} ms a batch of ten, 99 % under {spent[len(spent) * 99 // 100]:.3f} ms"
    )


def memory() -> None:
    """What a million devices take."""
    process = multiprocessing.get_context("spawn").Process(target=hold_a_million)
    process.start()
    process.join()


def hold_a_million() -> None:
    """In a process of its own."""
    feed, random = Feed(1_000_000), np.random.default_rng(7)
    for step in range(10):
        for low in range(0, 1_000_000, 100_000):
            device = np.arange(low, low + 100_000, dtype=np.int32)
            value = np.round(75 + 10 * random.standard_normal(len(device)), 1)
            feed.take(device, np.full(len(device), START + step * 30 * SECOND), value)
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at a million devices")


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["week", "tens", "memory"]
    for name in chosen:
        {"week": week, "tens": tens, "memory": memory}[name]()
