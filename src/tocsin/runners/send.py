"""Out of the spool: messages to the broker in order, and out of the journal when they are confirmed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tocsin.connectors import Broker, Sink, open_sink
from tocsin.connectors.journal import Journal
from tocsin.runners.events import Events
from tocsin.runners.supervise import Reconnecting

PAUSE = 0.005
"""Seconds until the sender looks again for something to send."""
WINDOW = 5_000
"""Messages that may be on their way to the broker without its confirmation."""


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
        self.sent = 0

    def run(self) -> None:
        """Until it is told to stop, or everything that was fed is confirmed."""
        journal = Journal(self._path)
        sink = open_sink(self._broker)
        try:
            self._reconnecting.run(lambda: self._connected(journal, sink), sink.close)
        finally:
            sink.close()
            journal.close()

    def _connected(self, journal: Journal, sink: Sink) -> None:
        sink.open()
        self._reconnecting.connected()
        on_their_way: deque[int] = deque()
        upto, _ = journal.span()
        changes = -1
        while not self._stopped():
            all_fed, now = self._fed.is_set(), journal.changes()
            if len(on_their_way) < WINDOW and now != changes:
                found = journal.read(upto, WINDOW - len(on_their_way))
                if found:
                    sink.send(found)
                    upto = found[-1].position
                    on_their_way.extend(message.position for message in found)
                elif all_fed and not on_their_way:
                    return
                else:
                    changes = now
            elif all_fed and not on_their_way:
                return
            confirmed = sink.confirmed(PAUSE if on_their_way else 0.0)
            if confirmed:
                self.sent += confirmed
                journal.remove([on_their_way.popleft() for _ in range(confirmed)][-1])
                changes = -1 if len(on_their_way) < WINDOW // 2 else changes
            elif not on_their_way:
                time.sleep(PAUSE)
