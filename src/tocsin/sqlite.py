"""What SQLite's errors mean to the user: what happened, and how to mend it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tocsin.errors import TocsinError

PATIENCE = 30.0
"""Seconds that a lock is waited for."""
STEP = 0.01

BUSY = "another program holds its lock (a second run, or a database browser with a transaction open): end that, and run again"
REMEDIES = {
    sqlite3.SQLITE_BUSY: ("the database is locked", BUSY),
    sqlite3.SQLITE_LOCKED: ("the database is locked", BUSY),
    sqlite3.SQLITE_FULL: ("the disk is full", "make room, and run again"),
    sqlite3.SQLITE_IOERR: ("the disk does not take or give what it should", "look at the disk and its free space, and run again"),
    sqlite3.SQLITE_READONLY: ("it cannot be written", "give this user write permission on the file and its directory{other}"),
    sqlite3.SQLITE_PERM: ("it cannot be written", "give this user write permission on the file and its directory{other}"),
    sqlite3.SQLITE_CANTOPEN: ("the file cannot be opened", "give this user read and write permission on the file and its directory"),
    sqlite3.SQLITE_NOTADB: ("the file is no SQLite database", "move it away{other}"),
    sqlite3.SQLITE_CORRUPT: (
        "the database is corrupt",
        "put a copy back, or move it away and run again: the source is then read from its start (`sqlite3 FILE .recover` saves what can be saved)",
    ),
}  # fmt: skip
"""By primary result code; `other` is where another file could be named."""


def use_wal(connection: sqlite3.Connection) -> None:
    """Switch a database to WAL, if it is not so already.

    SQLite's own patience (busy_timeout) does not reach here: where two processes make a file at once, the
    second would be told at once that the database is locked.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(STEP)


def is_busy(error: BaseException | None) -> bool:
    """Whether SQLite says that another holds the lock."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def explain(what: str, error: BaseException, kind: type[TocsinError], other: str = "") -> TocsinError | None:
    """Our own error for what SQLite says of `what`, with its remedy; None if that is no fault of the file or its disk."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code not in REMEDIES:
        return None
    happened, remedy = REMEDIES[code]
    kept = "" if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) else "; nothing that was saved is lost"
    return kind(f"{what}: {happened} ({error}){kept}. To mend it: {remedy.format(other=other)}")


@contextmanager
def explained(what: str, kind: type[TocsinError]) -> Iterator[None]:
    """Turns what SQLite says of `what` into our own error of this kind."""
    try:
        yield
    except sqlite3.Error as error:
        ours = explain(what, error, kind)
        if ours is None:
            raise
        raise ours from error
