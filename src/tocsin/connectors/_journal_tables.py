"""The tables of a journal, and what the file says of itself."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

FORMAT = "1"
"""Raised when the tables change, so that a program never writes into a file that it does not know."""

TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, partition TEXT NOT NULL, content_type TEXT NOT NULL,
    producer TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, watermark INTEGER, version TEXT NOT NULL,
    key TEXT NOT NULL, arrival INTEGER, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS producers (
    name TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sequences (
    producer TEXT NOT NULL, partition TEXT NOT NULL, next INTEGER NOT NULL, PRIMARY KEY (producer, partition));
CREATE TABLE IF NOT EXISTS keys (producer TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (producer, key));
"""
COLUMNS = "partition, content_type, producer, seq, kind, watermark, version, key, arrival, body"
INSERT = f"INSERT INTO messages (at, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 (our own names)
MESSAGE = "body, partition, content_type, producer, seq, kind, watermark, version, key, '', NULL, arrival, id"
"""A row of `messages` as the fields of a `Message`, in their order."""
SELECT = f"SELECT {MESSAGE} FROM messages WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
UNREADABLE = (UnicodeDecodeError, json.JSONDecodeError)
"""What else than SQLite's own errors comes of a row of a damaged file."""
_AWAY = "put a copy back; or move it away, with what lies beside it"
_RECOVER = "is in this file alone (`sqlite3 FILE .recover` saves what can be saved)"
_REMEDIES = {
    ".journal": (
        f"{_AWAY}, and name another `store:`: sources are then read from their start. What came from no file and was not consumed "
        f"yet {_RECOVER}"
    ),
    ".spool": (
        f"{_AWAY}: sources are then read from their start, and what the store knows counts once. What came from no file and was not "
        f"sent yet {_RECOVER}"
    ),
}


def remedy_of(path: Path) -> str:
    """What to do with a file that is no database any more, and what is lost with it."""
    return _REMEDIES.get(path.suffix, f"{_AWAY}. What has not left it yet {_RECOVER}")


def about(connection: sqlite3.Connection) -> dict[str, str]:
    """What the file says of itself; one that is new is filled, one that is not is only read."""
    with suppress(sqlite3.OperationalError):
        known = dict(connection.execute("SELECT name, value FROM about"))
        if {"format", "mark"} <= known.keys():
            return known
    connection.execute("BEGIN IMMEDIATE")
    for statement in TABLES.split(";"):
        connection.execute(statement)
    words = [("format", FORMAT), ("mark", token_hex(8))]
    connection.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", words)
    connection.execute("COMMIT")
    return dict(connection.execute("SELECT name, value FROM about"))
