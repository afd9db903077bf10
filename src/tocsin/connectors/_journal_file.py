"""The journal's file: messages in the order in which they became durable, who appended them, and what may go.

WAL lets consumers read while producers write; synchronous FULL makes a commit durable when it returns.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from tocsin.connectors import _journal_ways as ways
from tocsin.connectors._journal_beside import Consumed, Guard, guarded
from tocsin.connectors._journal_producer import Producer
from tocsin.connectors._journal_tables import FORMAT, SELECT, UNREADABLE, about, remedy_of
from tocsin.connectors._journal_ways import Handed
from tocsin.errors import RunError, SetupError, StoreError, TocsinError
from tocsin.instant import LONG_AGO
from tocsin.message import Message
from tocsin.sqlite import PATIENCE, explained, is_busy, use_wal

LARGE = 4 << 20
"""Bytes after which a read takes no further message, so that memory does not follow the backlog."""
PAGE = 1_000
"""Messages that go in one statement at most when old ones are let go."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long messages stay that every consumer has had: `age` in nanoseconds, and while the file has less than `size` bytes.

    What has not been consumed never goes: a journal that is full makes its producers wait.
    """

    age: int
    size: int


@dataclass(frozen=True, slots=True)
class Sent:
    """What one producer has published, with the state that it left; of a spool, what `waiting` is not confirmed."""

    file: Path
    producer: str
    messages: int
    waiting: int | None
    watermark: int
    ended: bool
    position: dict[str, Any] | None


class Journal:
    """One journal file, used by one thread."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        self._pending: list[Callable[[], None]] | None = None
        if not create and not path.exists():
            raise SetupError(f"journal '{path}': there is no such file yet: `tocsin publish` or `tocsin run` makes it")
        if not path.parent.is_dir():
            raise SetupError(f"journal '{path}': there is no directory '{path.parent}': make it")
        with self._readable(SetupError):
            self._connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            use_wal(self._connection)
            for pragma in ("synchronous = FULL", "cache_size = -16384"):
                self._connection.execute(f"PRAGMA {pragma}")
            known = about(self._connection)
            opened = path.stat()
            self._file = opened.st_dev, opened.st_ino
        self.mark = known.get("mark", "")
        """Tells this journal from another one that is made in its place."""
        self._consumed = Consumed(path, self.mark)
        if known.get("format") != FORMAT:
            raise SetupError(
                f"journal '{path}': it is of format {known.get('format')}, this program knows format {FORMAT}: use the "
                "version of Tocsin that made it, or move it away when all of it has been consumed"
            )

    @contextmanager
    def together(self) -> Iterator[None]:
        """What several producers append inside is one transaction."""
        with self._transaction(StoreError):
            pending: list[Callable[[], None]] = []
            self._pending = pending
            try:
                yield
            finally:
                self._pending = None
        for note in pending:
            note()

    def producer(self, name: str) -> Producer:
        """Be the producer of this name from now on; whoever was it before can append no more.

        In a file that is an older copy it is a new one: the numbers that the old one would give were given before.
        """
        guard = Guard(self.path, self.mark)
        with self._transaction(SetupError) as connection:
            missing = self._catch_up(connection)
            connection.execute(
                "INSERT INTO producers VALUES (?, ?, 1, '{}') ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1",
                (name, f"{name}-{token_hex(4)}"),
            )
            with self._readable(SetupError):
                own, epoch, text = connection.execute(
                    "SELECT id, epoch, state FROM producers WHERE name = ?", (name,)
                ).fetchone()
                state = json.loads(text)
            numbers = dict(connection.execute("SELECT partition, next FROM sequences WHERE producer = ?", (own,)))
        return Producer(self, name, own, epoch, state, numbers, guard, missing)

    def _catch_up(self, connection: sqlite3.Connection) -> int:
        """How many messages this file does not have that it once had; a copy goes on behind them, under new names."""
        last, newest = self._last(), guarded(self.path, self.mark)
        if newest <= last:
            return 0
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'messages'")
        connection.execute("INSERT INTO sqlite_sequence VALUES ('messages', ?)", (newest,))
        connection.execute("UPDATE producers SET id = name || '-' || lower(hex(randomblob(4)))")
        return newest - last

    def read(self, after: int, most: int) -> list[Message]:
        """The messages after a position, in order; fewer where they are large."""
        found: list[Message] = []
        size = 0
        with self._explained(StoreError):
            for row in self._connection.execute(SELECT, (after, most)):
                # Message(…) itself looks at its arguments one by one, which takes twice as long.
                found.append(tuple.__new__(Message, row))
                size += len(row[0])
                if size > LARGE:
                    break
        return found

    def span(self) -> tuple[int, int]:
        """(the position before the oldest message, that of the newest): equal where there is none."""
        with self._explained(StoreError):
            oldest = self._connection.execute("SELECT min(id) FROM messages").fetchone()[0]
            last = self._last()
        return (oldest - 1 if oldest is not None else last), last

    def waiting(self) -> int:
        """How many messages not every consumer has had; of a spool, how many are not confirmed."""
        before, newest = self.span()
        return newest - max(before, self._consumed.lowest())

    def _last(self) -> int:
        """The position of the newest message that there ever was."""
        newest = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
        return int(newest[0]) if newest else 0

    def sent(self, *, is_spool: bool) -> list[Sent]:
        """What each producer has published into this file."""
        with self._readable(StoreError):
            found = self._connection.execute(
                "SELECT id, state, (SELECT coalesce(sum(next), 0) FROM sequences WHERE producer = id), "
                "(SELECT count(*) FROM messages WHERE producer = producers.id) FROM producers ORDER BY id"
                if is_spool
                else "SELECT id, state, (SELECT coalesce(sum(next), 0) FROM sequences WHERE producer = id), NULL "
                "FROM producers ORDER BY id"
            ).fetchall()
            states = [json.loads(row[1]) for row in found]
        return [
            Sent(
                self.path, name, count, waiting, state.get("watermark", LONG_AGO), state.get("ended", False),
                state.get("position"),
            )
            for (name, _, count, waiting), state in zip(found, states, strict=True)
        ]  # fmt: skip

    def handed_over(self, *, is_spool: bool) -> Handed:
        """Of each producer and partition the number of the next message; of a spool, of the first that may not have left it."""
        with self._explained(StoreError):
            upto = self._connection.execute("SELECT producer, partition, next FROM sequences").fetchall()
            here = "SELECT producer, partition, min(seq) FROM messages GROUP BY producer, partition"
            first = self._connection.execute(here).fetchall() if is_spool else []
        return {(producer, partition): number for producer, partition, number in (*upto, *first)}

    def goes_to(self, way: str) -> str:
        """Of a spool: send everything from now on by this way, a broker's name; the way of before, if it is another.

        Its producers go on under new names then, and whoever was one of them can append no more.
        """
        with self._transaction(SetupError) as connection:
            return ways.switch(connection, way, self.handed_over(is_spool=True))

    def handed_elsewhere(self, way: str, *, is_spool: bool) -> dict[str, Handed]:
        """Of a spool: what was handed over by every other way, in the same form as `handed_over`."""
        with self._readable(StoreError):
            return ways.elsewhere(self._connection, way, self.handed_over(is_spool=is_spool))

    def is_taken(self, way: str) -> None:
        """Of a spool: nothing that was handed over by this way waits there any more."""
        with self._transaction(StoreError) as connection:
            ways.forget(connection, way)

    def those_that_go_on(self) -> set[str]:
        """The producers that may say more, or have said what is still in this file."""
        with self._explained(StoreError):
            own = "SELECT id FROM producers UNION SELECT producer FROM messages"
            return {producer for (producer,) in self._connection.execute(own)}

    def state_of(self, name: str) -> dict[str, Any]:
        """What the producer of this name gave with its newest messages; nothing if there is none."""
        with self._readable(StoreError):
            found = self._connection.execute("SELECT state FROM producers WHERE name = ?", (name,)).fetchone()
            return json.loads(found[0]) if found else {}

    def changes(self) -> int:
        """A number that is another one when somebody else has written; it costs next to nothing to ask."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def remove(self, upto: int, before: int | None = None) -> None:
        """Let go of messages up to a position: all of them, or those that became durable `before` an instant."""
        gone = PAGE
        while gone == PAGE:
            with self._transaction(StoreError) as connection:
                gone = connection.execute(
                    "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE id <= ? AND at < ? ORDER BY id LIMIT ?)",
                    (upto, 2**63 - 1 if before is None else before, PAGE),
                ).rowcount

    def remove_if_free(self, upto: int) -> bool:
        """Let go of messages up to a position, unless another is writing just now; returns whether all are gone."""
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            self.remove(upto)
        except StoreError as error:
            if not is_busy(error.__cause__):
                raise
            return False
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")
        return True

    def consumed(self, name: str, upto: int) -> None:
        """A hint: no consumer of the group of this name will ask for messages up to this position again."""
        self._consumed.note(name, upto)

    def tidy(self, retention: Retention) -> bool:
        """Let go of what every consumer has had, as retention says; returns whether there is room for more."""
        upto = self._consumed.lowest()
        old = time.time_ns() - retention.age
        self.remove(upto, old)
        with self._transaction(StoreError) as connection:
            connection.execute("DELETE FROM keys WHERE at < ?", (old,))
        if self.size() > retention.size:
            self.remove(upto)
        return self.size() <= retention.size

    def size(self) -> int:
        """How many bytes of the file are in use."""
        with self._explained(StoreError):
            page, pages, free = (
                self._connection.execute(f"PRAGMA {word}").fetchone()[0]
                for word in ("page_size", "page_count", "freelist_count")
            )
        return int(page * (pages - free))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _when_committed(self, note: Callable[[], None]) -> None:
        """Now, unless several append together."""
        if self._pending is None:
            note()
        else:
            self._pending.append(note)

    def see_that_it_is_there(self) -> None:
        """RunError if the file is gone, or another one stands in its place: who only reads would not notice."""
        if not self._is_there():
            raise RunError(
                f"journal '{self.path}': the file was deleted or replaced while it was read. Put it back and run again; what it "
                "held that was not consumed is in it alone"
            )

    def _is_there(self) -> bool:
        """Whether the name still leads to the file that was opened: SQLite would go on writing into one that is gone."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._file

    def _explained(self, kind: type[TocsinError]) -> Any:
        return explained(f"journal '{self.path}'", kind, remedy_of(self.path))

    def _readable(self, kind: type[TocsinError]) -> Any:
        """The same around nothing but reading, where what cannot be decoded is a fault of the file."""
        return explained(f"journal '{self.path}'", kind, remedy_of(self.path), UNREADABLE)

    @contextmanager
    def _transaction(self, kind: type[TocsinError]) -> Iterator[sqlite3.Connection]:
        if self._pending is not None:
            yield self._connection
            return
        if not self._is_there():
            raise StoreError(
                f"journal '{self.path}': the file was deleted or replaced while it was in use, so nothing more is written into "
                "it. Put it back and run again; what it held that was not consumed is in it alone"
            )
        with self._explained(kind):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
