"""The journal: the embedded broker, a SQLite file that keeps messages in the order in which they became durable.

It is two things.  As `broker: journal` it is the log that consumers read; each remembers in its own store
how far it has come.  In front of another broker it is the *spool* of `publish`: messages are committed
here before anything else happens to them, and go when the broker has confirmed them.

A producer is a source of readings with a name, and has an id and an epoch of its own here.  Its messages, their
numbers and the position of the source after them are one transaction.  So whatever is killed when, what is in
the journal ends at one point of the source, and the numbers have no gap.

WAL lets consumers read while producers write; synchronous FULL makes a commit durable when it returns.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

from tocsin.connectors import Broker, Polled
from tocsin.connectors._journal_beside import Consumed, Guard, guarded
from tocsin.errors import SetupError, StoreError, TakenOver, TocsinError
from tocsin.instant import LONG_AGO
from tocsin.message import Message
from tocsin.sqlite import PATIENCE, explained, use_wal

FORMAT = "1"
"""Raised when the tables change, so that a program never writes into a file that it does not know."""
PAUSE = 0.002, 0.02
"""Seconds between two looks for new messages: soon after the last one, and when nothing has come for a while."""
LARGE = 4 << 20
"""Bytes after which a read takes no further message, so that memory does not follow the backlog."""
NOTE = 1.0
"""Seconds between two notes of how far a consumer has come."""
PAGE = 1_000
"""Messages that go in one statement at most when old ones are let go."""

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
        with self._explained(SetupError):
            self._connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            use_wal(self._connection)
            for pragma in ("synchronous = FULL", "cache_size = -16384"):
                self._connection.execute(f"PRAGMA {pragma}")
            known = self._about()
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

    def _about(self) -> dict[str, str]:
        """What the file says of itself; one that is new is filled, one that is not is only read."""
        with suppress(sqlite3.OperationalError):
            known = dict(self._connection.execute("SELECT name, value FROM about"))
            if {"format", "mark"} <= known.keys():
                return known
        self._connection.execute("BEGIN IMMEDIATE")
        for statement in TABLES.split(";"):
            self._connection.execute(statement)
        words = [("format", FORMAT), ("mark", token_hex(8))]
        self._connection.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", words)
        self._connection.execute("COMMIT")
        return dict(self._connection.execute("SELECT name, value FROM about"))

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
            own, epoch, state = connection.execute(
                "SELECT id, epoch, state FROM producers WHERE name = ?", (name,)
            ).fetchone()
            numbers = dict(connection.execute("SELECT partition, next FROM sequences WHERE producer = ?", (own,)))
        return Producer(self, name, own, epoch, json.loads(state), numbers, guard, missing)

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
        with self._explained(StoreError):
            found = self._connection.execute(
                "SELECT id, state, (SELECT coalesce(sum(next), 0) FROM sequences WHERE producer = id), "
                "(SELECT count(*) FROM messages WHERE producer = producers.id) FROM producers ORDER BY id"
                if is_spool
                else "SELECT id, state, (SELECT coalesce(sum(next), 0) FROM sequences WHERE producer = id), NULL "
                "FROM producers ORDER BY id"
            ).fetchall()
        return [
            Sent(
                self.path, name, count, waiting, state.get("watermark", LONG_AGO), state.get("ended", False),
                state.get("position"),
            )
            for name, text, count, waiting in found
            for state in [json.loads(text)]
        ]  # fmt: skip

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

    def _is_there(self) -> bool:
        """Whether the name still leads to the file that was opened: SQLite would go on writing into one that is gone."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._file

    def _explained(self, kind: type[TocsinError]) -> Any:
        return explained(f"journal '{self.path}'", kind)

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


class Producer:
    """One source's part of a journal: it numbers its messages and remembers the source's state beside them."""

    def __init__(
        self,
        journal: Journal,
        name: str,
        own: str,
        epoch: int,
        state: Mapping[str, Any],
        numbers: dict[str, int],
        guard: Guard,
        missing: int,
    ) -> None:
        self.journal = journal
        self.name = name
        self.id = own
        self.state = state
        """What was given with the newest messages: the source's position, and whatever else a restart needs."""
        self.missing = missing
        """How many messages the file has lost, as an older copy of itself; then this is a new producer."""
        self._guard = guard
        self._guard.note(journal.span()[1])
        self._epoch = epoch
        self.numbers: Mapping[str, int] = numbers
        """The number that comes next in each partition."""

    def known(self, keys: Sequence[str]) -> set[str]:
        """Which of these keys were given with messages before, as long as `retention` keeps them."""
        if not keys:
            return set()
        with self.journal._explained(StoreError):  # noqa: SLF001 (the two are one idea)
            found = self.journal._connection.execute(  # noqa: SLF001
                "SELECT key FROM keys WHERE producer = ? AND key IN (SELECT value FROM json_each(?))",
                (self.id, json.dumps(keys)),
            )
            return {key for (key,) in found}

    def append(self, messages: Sequence[Message], state: Mapping[str, Any], keys: Sequence[str] = ()) -> None:
        """Make messages durable, with the state of the source after them; they get their origin here.

        `keys` are those by which what is in them would be known if it came again.
        """
        numbers, at = dict(self.numbers), time.time_ns()
        rows = []
        for message in messages:
            seq = numbers.get(message.partition, 0)
            numbers[message.partition] = seq + 1
            rows.append(
                (at, message.partition, message.content_type, self.id, seq, message.kind, message.watermark,
                 message.version, message.key, message.arrival, message.body)
            )  # fmt: skip
        with self.journal._transaction(StoreError) as connection:  # noqa: SLF001 (the two are one idea)
            kept = connection.execute(
                "UPDATE producers SET state = ? WHERE name = ? AND epoch = ?",
                (json.dumps(state), self.name, self._epoch),
            )
            if kept.rowcount == 0:
                raise TakenOver(
                    f"journal '{self.journal.path}': another process publishes '{self.name}' now, so this one stops. "
                    "What it had published is kept, and the other goes on from there"
                )
            connection.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?, ?)", [(self.id, key, at) for key in keys])
            connection.executemany(INSERT, rows)
            connection.executemany(
                "INSERT INTO sequences VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next",
                [(self.id, partition, number) for partition, number in numbers.items() if self.numbers.get(partition) != number],
            )  # fmt: skip
            last = self.journal._last()  # noqa: SLF001
        self.journal._when_committed(partial(self._guard.note, last))  # noqa: SLF001
        self.numbers, self.state = numbers, state

    def close(self) -> None:
        """Let go of the journal."""
        self._guard.close()
        self.journal.close()


class Source:
    """The messages of a journal that is the broker itself."""

    rereadable = True
    assigns = False
    windowed = False

    def __init__(self, broker: Broker, group: str) -> None:
        self._path = Path(broker.address.path)
        self._group = group
        self._journal: Journal | None = None
        self._position: int | None = None
        self._changes = -1
        self._paused = False
        self._quiet = 0.0
        self._consumed: int | None = None
        self._noted = 0.0

    def open(self) -> None:
        """Open the file, making it if it is not there."""
        self._journal = Journal(self._path)

    @property
    def mark(self) -> str:
        """Tells this journal from another one that is made in its place."""
        return self._journal.mark if self._journal is not None else ""

    def begin(self, partition: str, position: Any = None) -> None:  # noqa: ARG002 (there is one)
        """Give the messages after this position."""
        assert self._journal is not None
        before, newest = self._journal.span()
        # In an older copy producers go on behind all that there ever was.
        newest = max(newest, guarded(self._path, self.mark))
        self._changes = -1
        self._position = before if position is None else int(position)
        if position is not None and not before <= self._position <= newest:
            raise SetupError(
                f"journal '{self._path}': the messages from {self._position + 1} on are wanted, and it has "
                f"{before + 1} to {newest}: it is another file than the store remembers, or `retention` let go of messages "
                "that were not consumed. Put the right file back, or take a new store"
            )

    def end(self, partition: str) -> None:  # noqa: ARG002
        """Give no more."""
        self._position = None

    def poll(self, max_messages: int, timeout: float) -> Polled:
        """The next messages; looks for them more seldom while nothing comes."""
        assert self._journal is not None
        deadline = time.monotonic() + timeout
        while True:
            if self._position is not None and not self._paused:
                changes = self._journal.changes()
                found = self._journal.read(self._position, max_messages) if changes != self._changes else []
                if not found:
                    self._changes = changes
                if found:
                    self._position, self._quiet = found[-1].position, 0.0
                    return Polled(found)
            left = deadline - time.monotonic()
            if left <= 0:
                return Polled([])
            pause = min(left, PAUSE[0] if self._quiet < 1 else PAUSE[1])
            time.sleep(pause)
            self._quiet += pause

    def ack(self, messages: Sequence[Message]) -> None:
        """Note how far the group has come, for `retention`; now and then is often enough."""
        if messages:
            self._consumed = messages[-1].position
        if self._consumed is not None and time.monotonic() - self._noted > NOTE:
            self._note()

    def _note(self) -> None:
        if self._journal is not None and self._consumed is not None:
            with suppress(OSError):  # a hint; where it cannot be written there soon is no room at all, and that is told
                self._journal.consumed(self._group, self._consumed)
            self._consumed, self._noted = None, time.monotonic()

    def pause(self) -> None:
        """Give no messages until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Give messages again."""
        self._paused = False

    def close(self) -> None:
        """Let go of the file."""
        if self._journal is not None:
            self._note()
            self._journal.close()
            self._journal = None


def waiting(broker: Broker, positions: Mapping[str, Any]) -> dict[str, int]:
    """How many messages lie behind the store's position."""
    journal = Journal(Path(broker.address.path), create=False)
    try:
        before, newest = journal.span()
    finally:
        journal.close()
    return {"0": max(0, newest - max(before, int(positions.get("0", 0))))}
