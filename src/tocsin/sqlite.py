"""What SQLite's errors mean to the user: what happened, and how to mend it."""

from __future__ import annotations

import json
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
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNTOLD = ("Could not decode to UTF-8", "unsupported file format")
"""How errors of a damaged file begin that have no code of their own."""


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


def explain(
    what: str, error: BaseException, kind: type[TocsinError], other: str = "", damaged: str = ""
) -> TocsinError | None:
    """Our own error for what SQLite says of `what`, with its remedy; None if that is no fault of the file or its disk.

    `damaged` is the remedy for a file that is no database any more, where it is another one than for a store.
    """
    code = _code(error)
    if code not in REMEDIES:
        return None
    happened, remedy = REMEDIES[code]
    if code in _DAMAGED and damaged:
        remedy = damaged
    kept = "" if code in _DAMAGED else "; nothing that was saved is lost"
    return kind(f"{what}: {happened} ({error}){kept}. To mend it: {remedy.format(other=other)}")


def _code(error: BaseException) -> int:
    """Its primary result code: that of a corrupt file also where Python cannot read what is in it."""
    if isinstance(error, UnicodeDecodeError | json.JSONDecodeError) or str(error).startswith(_UNTOLD):
        return sqlite3.SQLITE_CORRUPT
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


@contextmanager
def explained(
    what: str, kind: type[TocsinError], damaged: str = "", also: tuple[type[ValueError], ...] = ()
) -> Iterator[None]:
    """Turns what SQLite says of `what` into our own error of this kind, and errors of `also`, which reading its rows may raise."""
    kinds: tuple[type[Exception], ...] = (sqlite3.Error, *also)
    try:
        yield
    except kinds as error:
        ours = explain(what, error, kind, damaged=damaged)
        if ours is None:
            raise
        raise ours from error
