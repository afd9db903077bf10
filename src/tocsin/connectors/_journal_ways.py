"""Which broker a spool's messages went to, and how far: a spool outlives a change of `broker:`.

What was handed over to one broker waits there until it is taken, and a consumer of another one never sees it.  So a producer that
goes another way goes on there under a new name, with all that has not left the spool yet: no way has a gap in its
numbers, and each can be taken by itself.  What was on its way when the first one was left may come by both; its readings count once.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from secrets import token_hex
from typing import Any

from tocsin.connectors._journal_tables import INSERT
from tocsin.instant import NEVER
from tocsin.message import VERSION, Kind

Handed = dict[tuple[str, str], int]
"""Of each producer and partition the number of the first message that was not handed over."""

_WAY, _HANDED = "way", "handed to "


def switch(connection: sqlite3.Connection, way: str, handed: Handed) -> str:
    """Send everything from now on by a way; the one of before, if it is another.

    `handed` is how far each producer has been handed over until now.
    """
    before = _way_of(connection)
    if before == way:
        return ""
    connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (_WAY, way))
    if not before:
        return ""
    rows = [(producer, partition, number) for (producer, partition), number in _by(connection, before, handed).items()]
    connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (f"{_HANDED}{before}", json.dumps(rows)))
    for name, own, text in connection.execute("SELECT name, id, state FROM producers").fetchall():
        _rename(connection, own, f"{name}-{token_hex(4)}", json.loads(text))
    return before


def elsewhere(connection: sqlite3.Connection, way: str, handed: Handed) -> dict[str, Handed]:
    """What was handed over by every way but this one; `handed` is how far each producer has been handed over until now."""
    now = _way_of(connection)
    found = {**_noted(connection), now: _by(connection, now, handed)}
    return {other: upto for other, upto in found.items() if other != way}


def forget(connection: sqlite3.Connection, way: str) -> None:
    """All that was handed over there is taken."""
    connection.execute("DELETE FROM about WHERE name = ?", (f"{_HANDED}{way}",))


def _way_of(connection: sqlite3.Connection) -> str:
    """Where messages are sent to; '' as long as nothing was."""
    found = connection.execute("SELECT value FROM about WHERE name = ?", (_WAY,)).fetchone()
    return str(found[0]) if found else ""


def _noted(connection: sqlite3.Connection) -> dict[str, Handed]:
    rows = connection.execute("SELECT name, value FROM about WHERE name LIKE ?", (f"{_HANDED}%",)).fetchall()
    return {
        name.removeprefix(_HANDED): {(producer, partition): upto for producer, partition, upto in json.loads(value)}
        for name, value in rows
    }


def _by(connection: sqlite3.Connection, now: str, handed: Handed) -> Handed:
    """What went by the way of now: all that goes beyond what went by others before."""
    noted = _noted(connection)
    others = [upto for way, upto in noted.items() if way != now]
    new = {
        key: number for key, number in handed.items() if number > max((upto.get(key, 0) for upto in others), default=0)
    }
    return noted.get(now, {}) | new


def _rename(connection: sqlite3.Connection, own: str, new: str, state: Mapping[str, Any]) -> None:
    """Let another producer go on where one was, from the first message on that has not left the spool."""
    left = connection.execute(
        "SELECT partition, min(seq) FROM messages WHERE producer = ? GROUP BY partition", (own,)
    ).fetchall()
    if left:
        _say_first(connection, own, new, state)
    for partition, low in left:
        among = (own, partition)
        connection.execute(
            "UPDATE messages SET producer = ?, seq = seq - ? + 1 WHERE producer = ? AND partition = ?",
            (new, low, *among),
        )
        connection.execute(
            "UPDATE sequences SET next = 1 + (SELECT next FROM sequences WHERE producer = ? AND partition = ?) - ? "
            "WHERE producer = ? AND partition = ?",
            (*among, low, new, partition),
        )
        connection.execute("UPDATE sequences SET next = ? WHERE producer = ? AND partition = ?", (low, *among))
    connection.execute("UPDATE keys SET producer = ? WHERE producer = ?", (new, own))
    connection.execute("UPDATE producers SET id = ?, epoch = epoch + 1 WHERE id = ?", (new, own))


def _say_first(connection: sqlite3.Connection, own: str, new: str, state: Mapping[str, Any]) -> None:
    """Before all that is left let every partition hear of a producer, so that it is waited for in all of them."""
    partitions = connection.execute(
        "SELECT partition FROM sequences WHERE producer = ? ORDER BY partition", (own,)
    ).fetchall()
    before = connection.execute("SELECT min(id) FROM messages").fetchone()[0]
    first = state.get("first", NEVER)
    body = b"" if first == NEVER else str(first).encode()
    for place, (partition,) in enumerate(partitions, 1):
        word = (time.time_ns(), partition, "", new, 0, Kind.WATERMARK, None, VERSION, "", None, body)
        row = connection.execute(INSERT, word).lastrowid
        connection.execute("UPDATE messages SET id = ? WHERE id = ?", (before - place, row))
        connection.execute("INSERT INTO sequences VALUES (?, ?, 1)", (new, partition))
