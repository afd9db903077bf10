"""Out of the spool: messages to the broker in order, and out of the journal when they are confirmed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from tocsin.connectors import Broker, Sink, open_sink
from tocsin.connectors.journal import Journal
from tocsin.message import Message
from tocsin.runners.events import Events
from tocsin.runners.supervise import Reconnecting

PAUSE = 0.005
"""Seconds until the sender looks again for something to send."""
LET_GO = 0.1
"""Seconds between two removals of what is confirmed: each is a commit, for which whoever fills the spool has to wait."""
OVERDUE = 10.0
"""Seconds after which what is confirmed is removed however long that has to wait.

Who fills the spool without a pause takes the lock again before one that waits for it has woken: at 10,000 messages a second
a removal waited for up to three seconds, in which nothing was sent.
"""
WINDOW, WINDOW_BYTES = 50_000, 32 << 20
"""Messages that may be on their way to the broker without its confirmation, and bytes of them.

Kafka takes half a second to give a producer its number, and what waits for it then goes out at once. A client may hold all of them
in memory while the broker does not read.
"""
LAST = 2.0
"""Seconds that the last messages have to arrive after a stop."""
LOOK = 5_000
"""Messages that are read from the spool at once: in between, what is confirmed is heard of."""


class Sender:
    """The journal to the broker, in order, with as many on their way as the window lets."""

    def __init__(
        self, journal: Path, broker: Broker, events: Events, stopped: Callable[[], bool], fed: threading.Event
    ) -> None:
        self._path = journal
        self._broker = broker
        self._stopped = stopped
        self._fed = fed
        self._reconnecting = Reconnecting(str(broker), events, stopped)
        self._asked: float | None = None
        self.sent = 0

    def run(self) -> int:
        """Until it is told to stop, or everything that was fed is confirmed; how many messages that were."""
        journal = Journal(self._path)
        sink = open_sink(self._broker)
        try:
            self._reconnecting.run(lambda: self._connected(journal, sink), sink.close)
        finally:
            sink.close()
            journal.close()
        return self.sent

    def _connected(self, journal: Journal, sink: Sink) -> None:
        sink.open()
        self._reconnecting.connected()
        spool = _Spool(journal)
        try:
            while not self._is_over():
                all_fed, found = self._fed.is_set(), spool.read()
                if found:
                    sink.send(found)
                    spool.sent(found)
                elif all_fed and not spool.on_their_way:
                    return
                confirmed = sink.confirmed(PAUSE if spool.on_their_way else 0.0)
                if confirmed:
                    self.sent += confirmed
                    spool.confirmed(confirmed)
                elif not spool.on_their_way:
                    time.sleep(PAUSE)
                spool.let_go()
        finally:
            spool.empty()

    def _is_over(self) -> bool:
        """Whether it was told to stop, a moment ago: what was fed until then mostly arrives in it, and does not wait for the next start."""
        if not self._stopped():
            return False
        now = time.monotonic()
        self._asked = self._asked or now
        return now - self._asked > LAST


class _Spool:
    """The journal as it is emptied: what is on its way, and what may go."""

    def __init__(self, journal: Journal) -> None:
        self.on_their_way: deque[tuple[int, int]] = deque()
        """Of each message its position and its size."""
        self._bytes = 0
        self._journal = journal
        self._upto, _ = journal.span()
        self._changes = -1
        self._done = 0
        self._let_go = time.monotonic()

    def read(self) -> list[Message]:
        """The next messages, if there are any and the window has room."""
        changes = self._journal.changes()
        if len(self.on_their_way) >= WINDOW or self._bytes >= WINDOW_BYTES or changes == self._changes:
            return []
        found = self._journal.read(self._upto, min(LOOK, WINDOW - len(self.on_their_way)))
        if not found:
            self._changes = changes
        return found

    def sent(self, messages: Sequence[Message]) -> None:
        """These are on their way."""
        self._upto = messages[-1].position
        self.on_their_way.extend([(message.position, len(message.body)) for message in messages])
        self._bytes += sum([len(message.body) for message in messages])

    def confirmed(self, count: int) -> None:
        """So many more have arrived."""
        arrived = [self.on_their_way.popleft() for _ in range(count)]
        self._done = arrived[-1][0]
        self._bytes -= sum([size for _, size in arrived])

    def let_go(self) -> None:
        """Remove what has arrived, now and then and when nobody is writing; only what is overdue waits for that."""
        since = time.monotonic() - self._let_go
        if self._done == 0 or since < LET_GO:
            return
        if since > OVERDUE:
            self.empty()
        elif self._journal.remove_if_free(self._done):
            self._done, self._let_go = 0, time.monotonic()

    def empty(self) -> None:
        """Remove what has arrived."""
        if self._done:
            self._journal.remove(self._done)
        self._done, self._let_go = 0, time.monotonic()
