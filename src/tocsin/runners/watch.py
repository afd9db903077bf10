"""The consumer: messages of the broker to readings, alerts and the store, for the units that this process owns.

    poll ──▶ by unit: take, decode, decide ──▶ save together ──▶ acknowledge

What comes within some milliseconds is saved together.  A broker that is away is connected again; a step that
cannot be saved throws the engines away, and everything begins anew from the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tocsin.connectors import open_source
from tocsin.errors import TocsinError
from tocsin.message import Kind
from tocsin.runners.ending import Ending, Until
from tocsin.runners.events import ConsumerReport, Events, lost, undecided
from tocsin.runners.idle import AWAY, COUNTED
from tocsin.runners.layout import fit
from tocsin.runners.owned import Consuming, Owned
from tocsin.runners.owning import Owning
from tocsin.runners.steps import StepReport
from tocsin.runners.supervise import Reconnecting

if TYPE_CHECKING:
    from tocsin.consumer import Taken
    from tocsin.message import Message
    from tocsin.stats import Stats
    from tocsin.stores import Step
    from tocsin.stores.sql import SqlStore
    from tocsin.stores.writer import Writer

POLL = 10_000
"""Messages in one poll at most, after which a group is closed.

A transaction touches the newest page of every series and commits, however few its readings are: with 5,000 messages of a
thousand series 100,000 from the journal took 0.93 s of the processor, with 10,000 they take 0.75.
"""
LARGE = 4 << 20
"""Bytes of messages after which a group is closed."""
TOGETHER = 0.02
"""Seconds for which messages are gathered, so that they are saved in one transaction."""
WAITING = 30.0
"""Seconds between two words that the store is locked by another process."""
LOOK = 1.0
"""Seconds between two looks at gaps and silent producers, and at who else is there."""
STAND_BY = 0.25
"""Seconds between two looks whether there is anything to own."""
PATIENCE = 0.2
"""Seconds that a poll waits for the first message."""


class Watcher:
    """One process's part of the consumer."""

    def __init__(self, parts: Consuming, store: SqlStore, stopped: Callable[[], bool], stats: Stats) -> None:
        self._parts = parts
        self._stopped = stopped
        self._stats = stats
        self._source = open_source(parts.broker, parts.name)
        self._events = Events(parts.name, "consumer", broker=str(parts.broker))
        self._tell_again = 0.0
        self._desk = store.desk(self._is_locked)
        if left := fit(self._desk, parts):
            self._events.warning("left behind", left)
        self._steps = StepReport(self._events, parts.rules, stats)
        self._owned = Owning(parts, self._source, self._desk, self._events, self._steps.began)
        self._ending = Ending(parts.broker, self._desk, self._owned)
        self._report = ConsumerReport(self._events, lambda: self._owned.watermark, stats)
        self._reconnecting = Reconnecting(str(parts.broker), self._events, stopped)
        self._looked = 0.0
        self._turned = time.monotonic()
        self._lost: tuple[str, ...] = ()

    def run(
        self,
        progress: Callable[[Stats], None] | None = None,
        until: Callable[[], Until | None] = lambda: None,
        begun: Callable[[], None] = lambda: None,
        connected: Callable[[], None] = lambda: None,
    ) -> None:
        """Until it is told to stop, or what `until` tells has come to its end.

        It says when it has `begun`, nobody else being in its place, and each time that it is `connected`.
        """
        in_order = False
        try:
            while not self._stopped() and self._stand_by():
                begun()
                self._reconnecting.run(lambda: self._connected(progress, until, connected), self._disconnected)
                self._disconnected()
                if len(self._owned) or self._owned.by_group:
                    break
            in_order = True
        except TocsinError:
            in_order = True
            raise
        finally:
            self._steps.close()
            self._report.close(self._stats)
            self._source.close()
            self._desk.close(in_order=in_order)

    def _stand_by(self) -> bool:
        """Wait until there is something to own; a broker that hands out is asked instead."""
        while not (self._owned.by_group or self._owned or self._stopped()):
            self._owned.agree()
            if not self._owned:
                time.sleep(STAND_BY)
        return not self._stopped()

    def _connected(
        self, progress: Callable[[Stats], None] | None, until: Callable[[], Until | None], connected: Callable[[], None]
    ) -> None:
        """Carry messages until it is time to end, or nothing is owned any more."""
        self._source.open()
        self._owned.open()
        self._reconnecting.connected()
        self._ending.came(time.monotonic())
        connected()
        while not self._stopped() and (self._owned or self._owned.by_group):
            messages = self._gather()
            now = self._turn()
            if messages:
                self._ending.came(now)
                self._take(messages, now)
            if not messages or now - self._looked >= LOOK:  # where others never fall silent, too
                self._look(now)
            if not messages and self._ending.is_here(until(), now):
                for owned in self._owned:
                    undecided(owned.origins.holders(), owned.origins.value, self._events)
                return
            self._steps.look()
            self._report.look(self._stats)
            if progress is not None:
                progress(self._stats)

    def _turn(self) -> float:
        """The time on the wall; of a turn that took far too long little counts, since nobody could be heard until now."""
        before, self._turned = self._turned, time.monotonic()
        if self._turned - before > AWAY:
            for owned in self._owned:
                owned.origins.unheard_for(self._turned - before - COUNTED)
        return self._turned

    def _take(self, messages: Sequence[Message], now: float) -> None:
        """A step for each unit, all of them in one transaction."""
        parts: dict[Owned, list[Message]] = {}
        if len(self._parts.units) == 1:
            parts[next(iter(self._owned))] = list(messages)
        else:
            for message in messages:
                parts.setdefault(self._owned.of(message.partition), []).append(message)
        if fresh := [owned for owned in parts if not owned.has_taken]:
            self._desk.take([owned.writer for owned in fresh])
            for owned in fresh:
                owned.has_taken = True
        for owned in [owned for owned in parts if not owned.poison.is_over]:
            self._take_one_by_one(owned, parts.pop(owned), now)
        self._keep([(owned, owned.take(some, now)) for owned, some in parts.items()])

    def _take_one_by_one(self, owned: Owned, messages: Sequence[Message], now: float) -> None:
        """Processes died here before they had saved anything: a step for each message."""
        deaths = owned.writer.claim.deaths
        told = f"processes ended {deaths} times before they had saved anything: taking messages one by one"
        self._events.warning("searching poison", told, deaths=deaths, partition=owned.unit.name)
        for message in owned.poison.one_by_one(messages):
            if message.kind == Kind.POISON:
                self._events.warning("poison", "a message is set aside: the process ended each time that it took it")
            self._keep([(owned, owned.take([message], now))])

    def _look(self, now: float) -> None:
        """What time alone has brought."""
        self._keep([(owned, owned.look(now)) for owned in self._owned])
        for owned in self._owned:
            lost(owned.origins.news(), self._events)
        self._desk.renew()
        if self._source.windowed:
            self._owned.ask_again([owned for owned in self._owned if owned.is_stuck(now)])
        if now - self._looked >= LOOK:
            self._looked = now
            if not self._owned.by_group:
                self._owned.agree()

    def _keep(self, taken: Sequence[tuple[Owned, Taken]]) -> None:
        """Save what was decided, and only then acknowledge it."""
        steps: list[tuple[Writer, Step]] = [(owned.writer, step) for owned, found in taken for step in found.steps]
        if steps:
            repeats = self._desk.save(steps)
            for (writer, step), late in zip(steps, repeats, strict=True):
                self._stats.add(step, late, writer.unit)
                self._steps.took(step, writer.unit)
        durable = [message for _, found in taken for message in found.durable]
        if durable:
            self._source.ack(durable)

    def _gather(self) -> list[Message]:
        """What comes within some milliseconds, or as much as one transaction should hold."""
        found = self._poll(POLL, PATIENCE)
        if not found:
            return found
        deadline = time.monotonic() + TOGETHER
        size = _size(found)
        while len(found) < POLL and size < LARGE and (left := deadline - time.monotonic()) > 0:
            more = self._poll(POLL - len(found), left)
            found = [message for message in found if message.partition not in self._lost] if self._lost else found
            if not more:
                break
            found += more
            size += _size(more)
        return found

    def _poll(self, most: int, patience: float) -> list[Message]:
        """What has come; partitions that the broker hands out are taken over as they come, and let go of as they go."""
        polled = self._source.poll(most, patience)
        self._lost = polled.lost
        self._owned.handed_out(polled.lost, polled.gained)
        return polled.messages

    def _disconnected(self) -> None:
        self._source.close()
        self._owned.closed()

    def _is_locked(self, error: TocsinError) -> bool:
        """Another process holds the store's lock, and may be frozen: wait until it is woken or gone."""
        if time.monotonic() >= self._tell_again:
            self._tell_again = time.monotonic() + WAITING
            self._events.warning("locked", f"{error}. Waiting until it is given back")
        return not self._stopped()


def _size(messages: Sequence[Message]) -> int:
    return sum([len(message.body) for message in messages])
