"""The journal: the embedded broker, a SQLite file that keeps messages in the order in which they became durable.

It is two things.  As `broker: journal` it is the log that consumers read; each remembers in its own store
how far it has come.  In front of another broker it is the *spool* of `publish`: messages are committed
here before anything else happens to them, and go when the broker has confirmed them.

A producer is a source of readings with a name, and has an id and an epoch of its own here.  Its messages, their
numbers and the position of the source after them are one transaction.  So whatever is killed when, what is in
the journal ends at one point of the source, and the numbers have no gap.

Here is the broker's side of it, the source.  The file is `_journal_file.py`, and what appends to it `_journal_producer.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tocsin.connectors import Broker, Polled
from tocsin.connectors._journal_beside import guarded
from tocsin.connectors._journal_file import Journal, Retention, Sent
from tocsin.connectors._journal_ways import Handed
from tocsin.errors import SetupError
from tocsin.message import Message

__all__ = ["Handed", "Journal", "Retention", "Sent", "Source", "waiting"]

PAUSE = 0.002, 0.02
"""Seconds between two looks for new messages: soon after the last one, and when nothing has come for a while."""
LOOK = 1.0
"""Seconds between two looks, while nothing comes, whether the file is still the one that was opened."""
NOTE = 1.0
"""Seconds between two notes of how far a consumer has come."""


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
        self._noted = self._looked = 0.0

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
                if time.monotonic() - self._looked > LOOK:
                    self._journal.see_that_it_is_there()
                    self._looked = time.monotonic()
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
