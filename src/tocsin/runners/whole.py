"""Everything in one command: the producer in a thread of its own beside the consumer, both supervised.

A part that dies is begun again with back-off; one that keeps dying ends the run with its error.  A source that
ends lets the consumer end too, once it has taken everything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from tocsin.errors import TakenOver
from tocsin.runners.ending import Until
from tocsin.runners.events import Events
from tocsin.runners.local import Outcome
from tocsin.runners.owned import Consuming
from tocsin.runners.publish import Publishing, publish
from tocsin.runners.stop import Stop
from tocsin.runners.supervise import supervise
from tocsin.runners.watch import Watcher
from tocsin.stats import Stats

if TYPE_CHECKING:
    from tocsin.stores.sql import SqlStore

Progress = Callable[[Stats], None]


class Beside(Protocol):
    """A producer that a consumer works beside, as the consumer sees it."""

    ended: Until | None
    error: BaseException | None

    def begin(self) -> None:
        """The consumer has begun: the store fits, and nobody else is in its place."""
        ...

    def connected(self) -> None:
        """The consumer is connected, so the broker knows it."""
        ...


class Producing:
    """The producer in its thread."""

    def __init__(self, make: Callable[[], Publishing], events: Events, stopped: Callable[[], bool]) -> None:
        self._make = make
        self._events = events
        self._stopped = stopped
        self.ended: Until | None = None
        """Who has published everything, once that is so."""
        self.error: BaseException | None = None
        self._may_begin, self._may_send = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="publish", daemon=True)

    def begin(self) -> None:
        """What is read may become durable."""
        self._may_begin.set()

    def connected(self) -> None:
        """It may be sent, too: before that a broker may keep nothing for a consumer that it does not know."""
        self._may_send.set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self) -> None:
        """Wait until it has ended; raises what it died of."""
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        while not self._may_begin.wait(0.1):
            if self._stopped():
                return
        try:
            supervise(self._events, self._publish, self._stopped)
        except BaseException as error:  # noqa: BLE001  it is raised again by `join`
            self.error = error

    def _publish(self) -> None:
        published = publish(self._make(), self._stopped, self._may_send.is_set)
        if not self._stopped():
            self.ended = Until(published.producer, dict(published.numbers))


def watch(
    make: Callable[[], Consuming],
    store: SqlStore,
    stop: Stop,
    progress: Progress | None = None,
    producing: Beside | None = None,
) -> Stats:
    """The consumer alone, or beside a producer: until it is told to stop, or the producer's source has ended."""
    stats, events = Stats(), Events(store.pipeline, "consumer")

    def stopped() -> bool:
        return stop.asked() or (producing is not None and producing.error is not None)

    def work() -> None:
        watcher = Watcher(make(), store, stopped, stats)
        if producing is None:
            watcher.run(progress)
        else:
            watcher.run(progress, lambda: producing.ended, producing.begin, producing.connected)

    def join() -> None:
        """What another process has taken over is its from now on; this one joins anew."""
        while not stopped():
            try:
                work()
                return
            except TakenOver as error:
                events.warning("lost to another", str(error), error=str(error))

    supervise(events, join, stopped)
    return stats


def run(
    publishing: Callable[[], Publishing],
    consuming: Callable[[], Consuming],
    store: SqlStore,
    progress: Progress | None = None,
) -> Outcome:
    """Producer and consumer together."""
    with Stop() as stop:
        failed = threading.Event()
        producing = Producing(publishing, Events(store.pipeline, "producer"), lambda: stop.asked() or failed.is_set())
        producing.start()
        try:
            stats = watch(consuming, store, stop, progress, producing)
        except BaseException:
            failed.set()
            raise
        finally:
            if stop.asked():
                failed.set()
            producing.join()
    return Outcome(stats, stop.signal)
