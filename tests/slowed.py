"""A producer that never runs out of readings, and a consumer whose store takes ten times as long: each a program.

    python tests/slowed.py publish FILE      `tocsin publish`, but for its source
    python tests/slowed.py watch FILE        `tocsin watch`, with a sleep of nine times as long after every transaction

The producer is stopped by SIGTERM; how many readings it has given is in its position, and so in the journal.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tocsin.config import load
from tocsin.instant import SECOND
from tocsin.reading import Batch, Series
from tocsin.record import Decoded, Position
from tocsin.runners.publish import publish
from tocsin.runners.stop import Stop
from tocsin.stores.writer import Desk

DEVICES = 1_000
BLOCK = 20 * DEVICES
TIMES_AS_SLOW = 10
BEGIN = 1_700_000_000 * SECOND

PIPELINE = """\
pipeline: soak
source: {{file: none.csv, time: time, device: device, metric: temp, value: value}}
broker: {{url: "{url}", retention: {{size: {size}}}}}
rules:
  - {{alert: Above, expr: temp > 98}}
  - {{alert: Mean, expr: "avg(temp[10m]) > 75"}}
"""
"""Its source is the endless one."""


class Endless:
    """A reading a second of every device, as fast as they are taken; a device's values go up and down in steps of one."""

    bounded = False

    def __init__(self, series: Series) -> None:
        self._series = series
        self._given = 0

    def open(self, position: Position | None = None) -> None:
        self._codes = self._series.codes([f"device-{number:04}" for number in range(DEVICES)], "temp")
        self._given = position["readings"] if position else 0

    def poll(self, timeout: float = 0.0) -> Decoded | None:
        del timeout
        numbers = np.arange(self._given, self._given + BLOCK)
        turn, device = np.divmod(numbers, DEVICES)
        values = np.abs((turn + device) % 200 - 100).astype(np.float64)
        self._given += BLOCK
        batch = Batch(self._series, self._codes[device], BEGIN + turn * SECOND, values)
        return Decoded(batch, [], {"file": "none", "line": self._given, "readings": self._given})

    def close(self) -> None:
        pass


def slow_down() -> None:
    """From now on whatever is saved takes so many times as long."""
    save = Desk.save

    def slowly(self: Desk, steps: Any) -> list[int]:
        began = time.monotonic()
        kept = save(self, steps)
        time.sleep((TIMES_AS_SLOW - 1) * (time.monotonic() - began))
        return kept

    Desk.save = slowly  # type: ignore[method-assign]


def start(name: str, file: Path) -> subprocess.Popen[bytes]:
    """One of the two as a process; its words go into a file beside the pipeline."""
    with (file.parent / f"{name}.log").open("ab") as log:
        return subprocess.Popen([sys.executable, __file__, name, str(file)], stdout=log, stderr=log, env=os.environ)


class State(NamedTuple):
    """How far the two have come: readings that became durable in the journal, messages of these, how many of them are stored."""

    readings: int
    messages: int
    stored: int


def look(file: Path) -> State:
    """How far they have come now; zeros while there is nothing."""
    journal, store = journal_of(file), file.with_name("soak.db")
    (state,) = ask(journal, "SELECT state FROM producers") or [("{}",)]
    position = json.loads(state[0]).get("position") or {}
    (messages,) = ask(journal, "SELECT coalesce(sum(next), 0) FROM sequences") or [(0,)]
    (stored,) = ask(store, "SELECT coalesce(sum(next), 0) FROM origins") or [(0,)]
    return State(position.get("readings", 0), messages[0], stored[0])


def journal_of(file: Path) -> Path:
    """The journal, or with another broker the spool."""
    spool = file.with_name("soak.spool")
    return spool if spool.exists() else file.with_name("soak.journal")


def in_use(journal: Path) -> int:
    """Bytes of a journal that hold something, as `retention` counts them."""
    sizes = [ask(journal, f"PRAGMA {word}") for word in ("page_size", "page_count", "freelist_count")]
    if not all(sizes):
        return 0
    page, pages, free = (found[0][0] for found in sizes)
    return int(page * (pages - free))


def resident(process: int) -> int:
    """Bytes in memory of the process with a number; 0 of one that has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def ask(database: Path, query: str) -> list[Any]:
    """What a database answers; nothing while it, or its tables, are not there."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


def main(words: Sequence[str]) -> None:
    name, file = words
    if name == "watch":
        from tocsin.cli import main as tocsin

        slow_down()
        sys.argv = ["tocsin", "watch", file]
        tocsin()
        return
    parts = load(file).publishing()
    with Stop() as stop:
        publish(replace(parts, source=Endless(parts.series)), stop.asked)


if __name__ == "__main__":
    main(sys.argv[1:])
