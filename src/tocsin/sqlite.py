"""What SQLite's errors mean to the user: what happened, and how to mend it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from tocsin.errors import TocsinError

BUSY = "another program holds its lock (a database browser with a transaction open, or a process that hangs): end that, and run again"
REMEDIES = {
    sqlite3.SQLITE_BUSY: ("the database is locked", BUSY),
    sqlite3.SQLITE_LOCKED: ("the database is locked", BUSY),
    sqlite3.SQLITE_FULL: ("the disk is full", "make room, and run again"),
    sqlite3.SQLITE_IOERR: ("the disk does not take or give what it should", "look at the disk and its free space, and run again"),
    sqlite3.SQLITE_READONLY: ("it cannot be written", "give this user write permission on the file and its directory"),
    sqlite3.SQLITE_PERM: ("it cannot be written", "give this user write permission on the file and its directory"),
    sqlite3.SQLITE_CANTOPEN: ("the file cannot be opened", "give this user read and write permission on the file and its directory"),
    sqlite3.SQLITE_NOTADB: ("the file is no SQLite database", "move it away, or name another"),
    sqlite3.SQLITE_CORRUPT: ("the database is corrupt", "put a copy back, or move it away (`sqlite3 FILE .recover` saves what can be saved)"),
}  # fmt: skip
"""By primary result code."""


@contextmanager
def explained(what: str, kind: type[TocsinError]) -> Iterator[None]:
    """Turns what SQLite says of `what` into our own error of this kind, with its remedy."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", -1) & 0xFF
        happened, remedy = REMEDIES.get(code, (f"SQLite says '{error}'", "look at the file and its disk"))
        raise kind(f"{what}: {happened}: {remedy}") from error
