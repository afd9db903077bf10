"""What a store keeps of readings: each as a row of its table, or only what windows still need, packed.

    Rows      `readings: all`     a row a reading, to look at and to decide once more
    Packed    `readings: none`    a step's readings in one row, which goes when no window can want any of them

Of the readings that go the newest of each series stays: it says for how long the series has been silent.  So a restart
finds all that it rebuilds windows from, whatever the broker, and a store is as large as its alerts and windows.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from tocsin.reading import Flag
from tocsin.stores import Step, sqlite
from tocsin.stores.series_rows import SeriesRows, span_of

READING = np.dtype([("series", "<i8"), ("time", "<i8"), ("value", "<f8")])
"""One packed reading; its series is the row's number in the table."""
ENOUGH = 10_000
"""After so many readings, or as many as there are series, it is looked for rows that nobody needs: of each of their
series one reading is written anew."""
MOST = 256
"""Rows that are let go of in one transaction at most."""

PACK = "INSERT INTO recent_readings (unit, newest, body) VALUES (?, ?, ?)"
OLD = "SELECT number, body FROM recent_readings WHERE unit = ? AND newest < ? LIMIT ?"
DROP = "DELETE FROM recent_readings WHERE number = ?"
NEWEST = """INSERT INTO newest_readings (series, time, value) VALUES (?, ?, ?)
    ON CONFLICT (series) DO UPDATE SET time = excluded.time, value = excluded.value WHERE excluded.time > time"""
RECENT = "SELECT body FROM recent_readings WHERE unit = ?"
KNOWN = "SELECT series, time, value FROM newest_readings WHERE series BETWEEN ? AND ?"
UNPACKED = (
    "DELETE FROM recent_readings WHERE unit = ?",
    "DELETE FROM newest_readings WHERE series BETWEEN ? AND ?",
)

Readings = npt.NDArray[np.void]


class Kept(Protocol):
    """How one unit's readings are kept."""

    def begin(self, connection: Connection) -> None:
        """The unit is owned from now on."""

    def prepare(self, step: Step) -> Any:
        """All that can be made of a step's readings before the transaction."""

    def write(self, connection: Connection, prepared: Any) -> int:
        """Write what was prepared; returns how many late readings were repeats of accepted ones."""

    def read(self, connection: Connection, since: int) -> Readings:
        """Accepted readings: of each series those from `since` on, and the newest before."""


class Rows:
    """Every reading, as a row: also those that were packed before, when the store kept none."""

    def __init__(self, series: SeriesRows, unit: int) -> None:
        self._series = series
        self._unit = unit

    def begin(self, connection: Connection) -> None:
        """Nothing stays packed."""
        packed = _packed(connection, self._unit)
        if len(packed):
            packed.sort(order=["series", "time"])
            sqlite.insert_readings(connection, [packed[name].tolist() for name in packed.dtype.names or ()])
            _forget(connection, self._unit)

    def prepare(self, step: Step) -> Any:
        """The accepted readings as columns, and the flagged ones as rows."""
        return self._series.columns(step)

    def write(self, connection: Connection, prepared: Any) -> int:
        """Put them in, each in its table."""
        accepted, flagged = prepared
        sqlite.insert_readings(connection, accepted)
        return sqlite.insert_flagged(connection, flagged)

    def read(self, connection: Connection, since: int) -> Readings:
        """By one seek a series."""
        return sqlite.read_readings(connection, since, *span_of(self._unit))


class Packed:
    """What windows still need.  Late, conflicting and future readings are counted, and not kept."""

    def __init__(self, series: SeriesRows, unit: int) -> None:
        self._series = series
        self._unit = unit
        self._written = 0

    def begin(self, connection: Connection) -> None:
        """Rows of a store that has kept all until now stay where they are."""

    def prepare(self, step: Step) -> Any:
        """The accepted readings, packed, and from when on any are needed."""
        if step.batch is None or step.flags is None:
            return np.empty(0, READING), step.needed_from
        accepted = step.batch.take(step.flags == Flag.ACCEPTED)
        found = np.empty(len(accepted), READING)
        found["series"] = self._series.numbers(accepted.code)
        found["time"], found["value"] = accepted.time, accepted.value
        return _needed(found, step.needed_from), step.needed_from

    def write(self, connection: Connection, prepared: Any) -> int:
        """Put them in as one row; without readings no late one is known to be a repeat."""
        found, needed_from = prepared
        if len(found):
            row = self._unit, int(found["time"].max()), found.tobytes()
            connection.connection.cursor().execute(PACK, row)
            self._written += len(found)
        if self._written >= max(ENOUGH, len(self._series)):
            self._drop(connection, needed_from)
        return 0

    def read(self, connection: Connection, since: int) -> Readings:
        """What was packed, and what a store that kept all has in its table."""
        rows = sqlite.read_readings(connection, since, *span_of(self._unit)).astype(READING)
        return _needed(np.concatenate([rows, _packed(connection, self._unit)]), since)

    def _drop(self, connection: Connection, needed_from: int) -> None:
        """Let go of rows that no window can want; there may be more than one transaction should touch."""
        cursor = connection.connection.cursor()
        old = cursor.execute(OLD, (self._unit, needed_from, MOST)).fetchall()
        if old:
            gone = _unpacked([body for _, body in old])
            newest = gone[_is_newest(gone, needed_from)]
            cursor.executemany(NEWEST, newest.tolist())
            cursor.executemany(DROP, [(number,) for number, _ in old])
        if len(old) < MOST:
            self._written = 0


def _packed(connection: Connection, unit: int) -> Readings:
    cursor = connection.connection.cursor()
    bodies = [body for (body,) in cursor.execute(RECENT, (unit,))]
    newest = np.array(cursor.execute(KNOWN, span_of(unit)).fetchall(), READING)
    return np.concatenate([newest, _unpacked(bodies)])


def _unpacked(bodies: list[bytes]) -> Readings:
    return np.frombuffer(b"".join(bodies), READING)


def _forget(connection: Connection, unit: int) -> None:
    cursor = connection.connection.cursor()
    cursor.execute(UNPACKED[0], (unit,))
    cursor.execute(UNPACKED[1], span_of(unit))


def _needed(readings: Readings, since: int) -> Readings:
    return readings[(readings["time"] >= since) | _is_newest(readings, since)]


def _is_newest(readings: Readings, before: int) -> npt.NDArray[np.bool_]:
    """Of each series the newest reading before an instant."""
    old = np.flatnonzero(readings["time"] < before)
    old = old[np.lexsort((readings["time"][old], readings["series"][old]))]
    series = readings["series"][old]
    found = np.zeros(len(readings), np.bool_)
    found[old[np.append(series[1:] != series[:-1], True)[: len(old)]]] = True
    return found
