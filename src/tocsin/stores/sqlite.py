"""SQLite: how it is opened, what its errors mean for the user, and how readings get in fast.

WAL lets commands and the page read while a run writes; synchronous FULL makes a commit durable when
it returns, power cut included.  Measured with 1,000 series, 200,000 readings a transaction in key
order, on two shared cores: executemany 610,000 rows/s, 300 rows in one INSERT 1,010,000, because the
interpreter is asked once a statement and not once a row (and gives its lock away as seldom, which
matters with a decoder beside it).  Pages of 8 and 16 KB, and ten times longer between WAL
checkpoints, gained nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from tocsin.errors import SetupError, StoreError, TocsinError
from tocsin.sqlite import explain, use_wal

PRAGMAS = ("synchronous = FULL", "cache_size = -65536")

ROWS = 300
"""Readings in one INSERT: more gains nothing, and the oldest SQLite allows 999 parameters."""

PART = 100_000
"""Readings that are read at a time when all are."""
READING = [("series", np.int64), ("time", np.int64), ("value", np.float64)]

REBUILD = """SELECT r.series, r.time, r.value FROM series s CROSS JOIN readings r ON r.series = s.id
    WHERE s.id BETWEEN ?2 AND ?3 AND r.time >= coalesce((SELECT max(p.time) FROM readings p WHERE p.series = s.id AND p.time < ?1), ?1)"""
"""One seek a series for the newest before, and one for the run; CROSS JOIN, because SQLite then takes the series first."""

FLAG = """INSERT OR IGNORE INTO flagged_readings SELECT ?1, ?2, ?3, ?4 WHERE NOT EXISTS (
    SELECT 1 FROM series own JOIN series s ON s.device = own.device AND s.metric = own.metric
    JOIN readings r ON r.series = s.id WHERE own.id = ?1 AND r.time = ?2 AND r.value = ?4)"""
"""A flagged reading, unless it equals an accepted one of its device, metric and time: that is a repeat."""

VIEWS = (
    """CREATE VIEW named_readings AS
    SELECT d.name AS device, s.metric, s.labels, {time} AS time, r.value
    FROM readings r JOIN series s ON s.id = r.series JOIN devices d ON d.id = s.device""",
    """CREATE VIEW named_alerts AS
    SELECT a.id, a.rule, a.key, {since} AS since, {fired} AS fired, {until} AS until,
        a.state, a.level, a.value, a.peak, a.last, a.reason
    FROM alerts a""",
)

ISO = (
    "strftime('%Y-%m-%dT%H:%M:%S', ({0} - {1}) / 1000000000, 'unixepoch')"
    " || CASE WHEN {1} = 0 THEN '' ELSE '.' || rtrim(printf('%09d', {1}), '0') END || 'Z'"
)
"""ISO 8601 to the nanosecond; {1} is the part below a second, 1970 and before included."""

OTHER = ", or name another file in `store:`"
"""What else mends a store that cannot be used."""


def connect(url: str, *, create: bool) -> sqlalchemy.Engine:
    """A pool over the file that a URL names, or a SetupError that says why not."""
    path = _path(url)
    if not path.parent.is_dir():
        raise SetupError(f"store '{url}': there is no directory '{path.parent}': make it, or name another in `store:`")
    if path.is_dir():
        raise SetupError(f"store '{url}': '{path}' is a directory: expected the name of a database file")
    if not create and not path.exists():
        raise SetupError(f"store '{url}': there is no '{path}' yet: `tocsin run` or `tocsin replay` makes it")
    engine = sqlalchemy.create_engine(url, poolclass=NullPool)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def file_of(url: str) -> tuple[int, int] | None:
    """Which file a URL names now, whatever it is called; None if there is none."""
    try:
        found = _path(url).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def immediate(engine: sqlalchemy.Engine) -> sqlalchemy.Engine:
    """The same database for writing: its transactions take the lock as they begin, so they never fail half way for want of it."""
    return engine.execution_options(immediate=True)


@contextmanager
def explained(url: str, kind: type[TocsinError]) -> Iterator[None]:
    """Turns what SQLite says into our own error of this kind, with its remedy."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        ours = None if cause is None else explain(f"store '{url}'", cause, kind, OTHER)
        if ours is None:
            raise
        raise ours from error


def is_locked(url: str, error: DBAPIError) -> TocsinError | None:
    """What to tell if another process holds the lock; None if that is not what this error says."""
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return (
        explain(f"store '{url}'", error.orig, StoreError, OTHER) if code == sqlite3.SQLITE_BUSY and error.orig else None
    )


def create_views(connection: sqlalchemy.Connection) -> None:
    """The tables once more for people: with names and ISO 8601 times."""
    readable = {name: _iso(f"a.{name}") for name in ("since", "fired", "until")}
    for view in VIEWS:
        connection.exec_driver_sql(view.format(time=_iso("r.time"), **readable))


def insert_readings(connection: sqlalchemy.Connection, columns: Sequence[Sequence[Any]]) -> None:
    """Put readings in: the columns series, time and value, in the order of the key."""
    execute = connection.connection.cursor().execute
    count = len(columns[0])
    flat: list[Any] = [None] * (3 * count)
    flat[0::3], flat[1::3], flat[2::3] = columns
    for start in range(0, 3 * count, 3 * ROWS):
        part = flat[start : start + 3 * ROWS]
        execute("INSERT OR IGNORE INTO readings VALUES (?,?,?)" + ",(?,?,?)" * (len(part) // 3 - 1), part)


def insert_flagged(connection: sqlalchemy.Connection, rows: Sequence[tuple[int, int, str, float]]) -> int:
    """Put in flagged readings, but for repeats: series, time, flag, value; returns how many late ones were repeats."""
    cursor = connection.connection.cursor()
    late = [row for row in rows if row[2] == "late"]
    others = [row for row in rows if row[2] != "late"] if len(late) < len(rows) else []
    kept = cursor.executemany(FLAG, late).rowcount if late else 0
    if others:
        cursor.executemany(FLAG, others)
    return len(late) - kept


def read_readings(connection: sqlalchemy.Connection, since: int, first: int, last: int) -> npt.NDArray[np.void]:
    """Of each series from `first` to `last` the readings from an instant on, and the newest before.

    The columns are series, time and value.
    """
    found = connection.connection.cursor().execute(REBUILD, (since, first, last))
    return np.fromiter(found, READING)


def stream_readings(connection: sqlalchemy.Connection, first: int, last: int) -> Iterator[npt.NDArray[np.void]]:
    """Every reading of these series in order of time, a part at a time, with the same columns."""
    query = "SELECT series, time, value FROM readings WHERE series BETWEEN ? AND ? ORDER BY time"
    found = connection.connection.cursor().execute(query, (first, last))
    while rows := found.fetchmany(PART):
        yield np.array(rows, READING)


def _path(url: str) -> Path:
    try:
        database = sqlalchemy.make_url(url).database
    except sqlalchemy.exc.ArgumentError:
        database = None
    if not database or database == ":memory:":
        raise SetupError(
            f"store '{url}': it names no file. Expected sqlite:///FILE, such as sqlite:///readings.db "
            "(and `tocsin replay --no-store` where nothing is to be kept)"
        )
    return Path(database)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions by itself, and too late
    use_wal(connection)
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("immediate") else "BEGIN")


def _iso(column: str) -> str:
    return ISO.format(column, f"(({column} % 1000000000 + 1000000000) % 1000000000)")
