"""How fast a consumer takes messages of the journal: decode, rules, store and commit, in one process.

    python benchmarks/consume.py [--readings 400_000] [--runs 3]

Method: the four rules of `fused.py` at 1,000 devices; readings lie in a journal as single JSON messages, as JSON arrays of
500, or as Arrow streams of 500. A consumer with a new SQLite store takes them to the end; what is timed is from its first poll
to the last commit. Beside it, in the same run, the bare limit: the messages read from the file, and `json.loads` of each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from engine import cook
from fused import RULES

from tocsin.codecs.readings import to_arrow, to_json
from tocsin.config import load
from tocsin.connectors.journal import Journal
from tocsin.message import ARROW, JSON, Kind, Message
from tocsin.reading import Batch, Series
from tocsin.runners.watch import Until, Watcher
from tocsin.stats import Stats
from tocsin.stores import open_store

PIPELINE = """
pipeline: consume
source: {{file: none.csv, time: time, device: device, metric: temp, value: value}}
broker: journal
rules:{rules}
"""


def fill(folder: Path, kind: str, readings: int) -> Until:
    """A journal with so many readings, and who published them."""
    series = Series()
    names = [f"device-{number:07d}" for number in range(1000)]
    codes = series.codes(names, "temp")
    device, when, value = cook(1000, readings // 1000, noise=0.5)
    batch = Batch(series, codes[device], when, value)
    each, encode, content_type = {
        "single": (1, to_json, JSON),
        "arrays": (500, to_json, JSON),
        "arrow": (500, to_arrow, ARROW),
    }[kind]
    journal = Journal(folder / "consume.journal")
    producer = journal.producer("consume")
    parts = [encode(batch.take(slice(low, low + each))) for low in range(0, len(batch), each)]
    bodies = [part[1:-1] if kind == "single" else part for part in parts]
    producer.append([Message(body, content_type=content_type) for body in bodies], {})
    producer.append([Message(b"", kind=Kind.END, watermark=int(np.max(when)) + 1)], {})
    journal.close()
    return Until(producer.id, dict(producer.numbers))


def consume(folder: Path, until: Until) -> float:
    """Seconds from the first poll to the last commit."""
    for leftover in folder.glob("consume.db*"):
        leftover.unlink()
    config = load(folder / "p.yaml")
    store = open_store(config.store, config.name)
    watcher = Watcher(config.consuming(), store, lambda: False, Stats())
    began, last = time.perf_counter(), 0.0

    def saved(stats: Stats) -> None:
        nonlocal last
        if stats.readings > saved.before:  # type: ignore[attr-defined]
            saved.before, last = stats.readings, time.perf_counter()  # type: ignore[attr-defined]

    saved.before = 0  # type: ignore[attr-defined]
    watcher.run(saved, lambda: until)
    store.close()
    return last - began


def bare(folder: Path) -> float:
    """Seconds to read the messages and parse each, and nothing else."""
    journal, position, began = Journal(folder / "consume.journal"), 0, time.perf_counter()
    while found := journal.read(position, 5_000):
        position = found[-1].position
        for message in found:
            if message.content_type == JSON:
                json.loads(message.body)
    journal.close()
    return time.perf_counter() - began


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--readings", type=int, default=400_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"{'messages':>9} {'readings/s stored':>18} {'bare readings/s':>16}")
    for kind in ("single", "arrays", "arrow"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "p.yaml").write_text(PIPELINE.format(rules=RULES.replace("\n", "\n  ")))
            until = fill(folder, kind, options.readings)
            pairs = [(consume(folder, until), bare(folder)) for _ in range(options.runs)]
            ours, limit = (options.readings / statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"{kind:>9} {ours:>18,.0f} {limit:>16,.0f}", flush=True)


if __name__ == "__main__":
    main()
