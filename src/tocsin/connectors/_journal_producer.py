"""A producer's part of a journal: what it appends, and what the file remembers of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tocsin.connectors._journal_beside import Guard
from tocsin.connectors._journal_tables import INSERT
from tocsin.errors import StoreError, TakenOver
from tocsin.message import Message

if TYPE_CHECKING:
    from tocsin.connectors._journal_file import Journal


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
                raise self._taken_over()
            connection.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?, ?)", [(self.id, key, at) for key in keys])
            connection.executemany(INSERT, rows)
            connection.executemany(
                "INSERT INTO sequences VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next",
                [(self.id, partition, number) for partition, number in numbers.items() if self.numbers.get(partition) != number],
            )  # fmt: skip
            last = self.journal._last()  # noqa: SLF001
        self.journal._when_committed(partial(self._guard.note, last))  # noqa: SLF001
        self.numbers, self.state = numbers, state

    def see_that_it_is_ours(self) -> None:
        """TakenOver if another process is this producer by now: who has nothing to append would not notice."""
        with self.journal._explained(StoreError):  # noqa: SLF001
            own = "SELECT epoch FROM producers WHERE name = ?"
            if self.journal._connection.execute(own, (self.name,)).fetchone() != (self._epoch,):  # noqa: SLF001
                raise self._taken_over()

    def _taken_over(self) -> TakenOver:
        return TakenOver(
            f"journal '{self.journal.path}': another process publishes '{self.name}' now, so this one stops. "
            "What it had published is kept, and the other goes on from there"
        )

    def leave(self) -> None:
        """Append nothing more; the journal stays open for others."""
        self._guard.close()

    def close(self) -> None:
        """Let go of the journal, too."""
        self.leave()
        self.journal.close()
