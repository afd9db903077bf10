"""A small real source: readings in a list, given out in blocks; and the parts of a pipeline around it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tocsin.engine import Engine
from tocsin.errors import EndOfInput
from tocsin.instant import SECOND
from tocsin.reading import Batch, Flag, Series
from tocsin.record import Decoded, Position, Reject
from tocsin.rule import parse_rules
from tocsin.runners.local import Parts
from tocsin.stores import Checkpoint, Keep, Step, open_store
from tocsin.stores.sql import SqlStore
from tocsin.stores.writer import Writer
from tocsin.watermark import Watermark

NOON = 1_704_110_400 * SECOND
"""2024-01-01T12:00:00Z."""

HOT: list[Mapping[str, Any]] = [{"alert": "Hot", "expr": "temp > 80"}]
Row = tuple[str, float, float]
"""Device, seconds after noon, temperature; NaN stands for a line that cannot be read."""


ROWS: list[Row] = [("a", 0, 90), ("b", 0, 10), ("a", 30, 70), ("b", 60, 95)]
LEDGER = """\
{"time": "2024-01-01T12:00:00Z", "rule": "Hot", "key": {"device": "a"}, "since": "2024-01-01T12:00:00Z", \
"from": "inactive", "to": "firing", "level": null, "value": 90.0}
{"time": "2024-01-01T12:00:30Z", "rule": "Hot", "key": {"device": "a"}, "since": "2024-01-01T12:00:00Z", \
"from": "firing", "to": "resolved", "level": null, "value": 70.0}
{"time": "2024-01-01T12:01:00Z", "rule": "Hot", "key": {"device": "b"}, "since": "2024-01-01T12:01:00Z", \
"from": "inactive", "to": "firing", "level": null, "value": 95.0}
""".splitlines()


class ListedSource:
    """Gives rows out in blocks; a position is the number of the next one."""

    def __init__(self, rows: Sequence[Row], series: Series, block: int = 3, *, bounded: bool = True) -> None:
        self.bounded = bounded
        self.rows = list(rows)
        self._series = series
        self._block = block
        self._next = 0

    def open(self, position: Position | None = None) -> None:
        self._next = position["line"] - 1 if position else 0

    def poll(self, timeout: float = 0.0) -> Decoded | None:
        rows = self.rows[self._next : self._next + self._block]
        if not rows:
            if self.bounded:
                raise EndOfInput("that was all")
            time.sleep(timeout)
            return None
        first, self._next = self._next + 1, self._next + len(rows)
        rejects = [
            Reject(b"nonsense", {"file": "rows", "line": line}, "no number")
            for line, row in enumerate(rows, first)
            if row[2] != row[2]
        ]
        good = [row for row in rows if row[2] == row[2]]
        place = {"file": "rows", "line": self._next + 1}
        lines = [line for line, row in enumerate(rows, first) if row[2] == row[2]]
        return Decoded(batch_of(good, self._series), rejects, place, len(rows), lambda row: lines[row])

    def close(self) -> None:
        pass


def batch_of(rows: Sequence[Row], series: Series) -> Batch:
    codes = [series.code(device, "temp") for device, _, _ in rows]
    times = [NOON + round(seconds * SECOND) for _, seconds, _ in rows]
    values = [value for _, _, value in rows]
    return Batch(series, np.array(codes, np.int32), np.array(times, np.int64), np.array(values, np.float64))


def parts_of(
    rows: Sequence[Row],
    rules: Sequence[Mapping[str, Any]] = HOT,
    *,
    lateness: float = 0,
    block: int = 3,
    bounded: bool = True,
    devices: Mapping[str, Mapping[str, str]] | None = None,
) -> Parts:
    series = Series(devices)
    parsed = parse_rules(rules, None)
    source = ListedSource(rows, series, block, bounded=bounded)
    return Parts(source, parsed, Engine(parsed, series), Watermark(round(lateness * SECOND)))


def store_in(folder: Path, name: str = "readings.db", pipeline: str = "test", *, readings: Keep = "all") -> SqlStore:
    return open_store(f"sqlite:///{folder / name}", pipeline, readings=readings)


def ledger_of(store: Any) -> list[str]:
    return [move.ledger() for move in store.transitions()]


def ask(folder: Path, query: str) -> list[tuple[object, ...]]:
    """What the database says to somebody who asks in SQL."""
    connection = sqlite3.connect(folder / "readings.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def step_of(
    batch: Batch,
    flags: list[Flag] | None = None,
    line: int = 1,
    rejects: tuple[Reject, ...] = (),
    *,
    idle: bool = False,
) -> Step:
    checkpoint = Checkpoint({"file": "rows", "line": line}, NOON, NOON, NOON)
    return Step(checkpoint, batch, np.array(flags or [Flag.ACCEPTED] * len(batch), np.uint8), rejects, idle=idle)


def owner(store: SqlStore, series: Series | None = None) -> Writer:
    writer = store.writer(Series() if series is None else series)
    writer.take_over()
    return writer
