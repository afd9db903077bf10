"""The consumer: messages of the broker to readings, alerts and the store, for the units that this process owns.

    poll ──▶ by unit: take, decode, decide ──▶ save together ──▶ acknowledge

What comes within some milliseconds is saved together.  A broker that is away is connected again; a step that
cannot be saved throws the engines away, and everything begins anew from the store.

Several processes share a pipeline's units.  Kafka hands partitions out itself, and whoever gets one takes its unit over;
elsewhere the processes agree by what they see in the store (`share.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tocsin.connectors import open_source
from tocsin.errors import SetupError, TakenOver, TocsinError
from tocsin.instant import LONG_AGO
from tocsin.message import Kind, Standing
from tocsin.runners.events import ConsumerReport, Events, lost
from tocsin.runners.layout import refuse_another_layout
from tocsin.runners.owned import Consuming, Owned
from tocsin.runners.share import Share
from tocsin.runners.supervise import Reconnecting

if TYPE_CHECKING:
    from tocsin.consumer import Taken
    from tocsin.message import Message
    from tocsin.stats import Stats
    from tocsin.stores import Step
    from tocsin.stores.owner import Owner
    from tocsin.stores.sql import SqlStore
    from tocsin.stores.writer import Writer
    from tocsin.unit import Unit

POLL = 5_000
"""Messages in one poll at most, and readings, roughly, after which a group is closed."""
LARGE = 4 << 20
"""Bytes of messages after which a group is closed."""
TOGETHER = 0.02
"""Seconds for which messages are gathered, so that they are saved in one transaction."""
LOOK = 1.0
"""Seconds between two looks at gaps and silent producers, and at who else is there."""
STAND_BY = 0.25
"""Seconds between two looks whether there is anything to own."""
FEW = 8
"""So many partitions are named in one line of the log."""
PATIENCE = 0.2
"""Seconds that a poll waits for the first message."""


@dataclass(slots=True)
class Until:
    """When a consumer may end by itself: a producer with these numbers has ended, and all of it was taken."""

    producer: str = ""
    numbers: dict[str, int] = field(default_factory=dict)


class Watcher:
    """One process's part of the consumer."""

    def __init__(self, parts: Consuming, store: SqlStore, stopped: Callable[[], bool], stats: Stats) -> None:
        self._parts = parts
        self._stopped = stopped
        self._stats = stats
        self._source = open_source(parts.broker, parts.name)
        self._url = store.url
        self._desk = store.desk()
        refuse_another_layout(self._desk, parts)
        self._share = Share(self._desk, parts.units)
        self._by_group = self._source.assigns and len(parts.units) > 1
        self._owned: dict[str, Owned] = {}
        self._unit_of = {partition: unit for unit in parts.units for partition in unit.partitions}
        self._events = Events(parts.name, "consumer", broker=str(parts.broker))
        self._report = ConsumerReport(self._events, self._watermark, stats)
        self._reconnecting = Reconnecting(str(parts.broker), self._events, stopped)
        self._is_open = False
        self._standing_by: set[Owner] = set()
        self._looked = 0.0
        self._lost: tuple[str, ...] = ()

    def run(
        self,
        progress: Callable[[Stats], None] | None = None,
        until: Callable[[], Until | None] = lambda: None,
        connected: Callable[[], None] = lambda: None,
    ) -> None:
        """Until it is told to stop, or what `until` tells has come to its end."""
        in_order = False
        try:
            while not self._stopped() and self._stand_by():
                self._reconnecting.run(lambda: self._connected(progress, until, connected), self._disconnected)
                self._disconnected()
                if self._owned or self._by_group:
                    break
            in_order = True
        except TocsinError:
            in_order = True
            raise
        finally:
            self._report.close(self._stats)
            self._source.close()
            self._desk.close(in_order=in_order)

    def _stand_by(self) -> bool:
        """Wait until there is something to own; a broker that hands out is asked instead."""
        while not (self._by_group or self._owned or self._stopped()):
            self._agree()
            if not self._owned:
                time.sleep(STAND_BY)
        return not self._stopped()

    def _connected(
        self, progress: Callable[[Stats], None] | None, until: Callable[[], Until | None], connected: Callable[[], None]
    ) -> None:
        """Carry messages until it is time to end, or nothing is owned any more."""
        source = self._source
        source.open()
        self._is_open = True
        if self._by_group:
            self._drop(list(self._owned))
        self._begin(self._owned.values(), time.monotonic())
        self._reconnecting.connected()
        connected()
        while not self._stopped() and (self._owned or self._by_group):
            messages = self._gather()
            now = time.monotonic()
            if messages:
                self._take(messages, now)
            if not messages or now - self._looked >= LOOK:  # where others never fall silent, too
                self._look(now)
            if not messages and self._has_ended(until()):
                return
            self._report.look(self._stats)
            if progress is not None:
                progress(self._stats)

    def _watermark(self) -> int:
        """How far all that this process decides has come."""
        return min((owned.origins.value for owned in self._owned.values()), default=LONG_AGO)

    def _take(self, messages: Sequence[Message], now: float) -> None:
        """A step for each unit, all of them in one transaction."""
        parts: dict[str, list[Message]] = {}
        if len(self._parts.units) == 1:
            parts[self._parts.units[0].name] = list(messages)
        else:
            for message in messages:
                parts.setdefault(message.partition, []).append(message)
        for name in list(parts):
            if not self._owned[name].poison.is_over:
                self._take_one_by_one(self._owned[name], parts.pop(name), now)
        self._keep([(self._owned[name], self._owned[name].take(some, now)) for name, some in parts.items()])

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
        self._keep([(owned, owned.look(now)) for owned in self._owned.values()])
        for owned in self._owned.values():
            lost(owned.origins.news(), self._events)
        self._desk.renew()
        if self._source.windowed:
            self._ask_again([owned for owned in self._owned.values() if owned.is_stuck(now)])
        if now - self._looked >= LOOK:
            self._looked = now
            if not self._by_group:
                self._agree()

    def _keep(self, taken: Sequence[tuple[Owned, Taken]]) -> None:
        """Save what was decided, and only then acknowledge it."""
        steps: list[tuple[Writer, Step]] = [(owned.writer, step) for owned, found in taken for step in found.steps]
        if steps:
            repeats = self._desk.save(steps)
            for (writer, step), late in zip(steps, repeats, strict=True):
                self._stats.add(step, late, writer.unit)
        durable = [message for _, found in taken for message in found.durable]
        if durable:
            self._source.ack(durable)

    def _gather(self) -> list[Message]:
        """What comes within some milliseconds, or as much as one transaction should hold."""
        found = self._poll(POLL, PATIENCE)
        if not found:
            return found
        deadline = time.monotonic() + TOGETHER
        while _fits(found) and (left := deadline - time.monotonic()) > 0:
            more = self._poll(POLL - len(found), left)
            found = [message for message in found if message.partition not in self._lost] if self._lost else found
            if not more:
                break
            found += more
        return found

    def _poll(self, most: int, patience: float) -> list[Message]:
        """What has come; partitions that the broker hands out are taken over as they come, and let go of as they go."""
        polled = self._source.poll(most, patience)
        self._lost = polled.lost
        if self._by_group:
            self._drop(polled.lost)
            self._own([self._unit_of[partition] for partition in polled.gained])
        else:
            for partition in polled.lost:
                self._source.end(partition)
            self._begin_partitions(polled.gained)
        return polled.messages

    def _agree(self) -> None:
        """Take what is ours to take, and give up what is too much."""
        take, give, others = self._share.look(self._owned.keys())
        self._drop(give)
        self._own(take)
        if not self._owned and (new := set(others) - self._standing_by):
            owner = next(iter(new))
            self._events.info("standing by", f"{owner} owns the pipeline: standing by to take over", owner=str(owner))
        elif self._owned and self._standing_by:
            owner = next(iter(self._standing_by))
            self._events.info("taken over", f"{owner} owns the pipeline no more: taken over", owner=str(owner))
        self._standing_by = set() if self._owned else set(others)

    def _own(self, units: Sequence[Unit]) -> None:
        """Take units over, and read them from where the store says."""
        now, got = time.monotonic(), []
        for unit in units:
            with suppress(TakenOver):  # somebody was faster, and has it
                got.append(Owned(unit, self._parts, self._desk, now, self._source.rereadable, self._by_group))
        self._owned.update((owned.unit.name, owned) for owned in got)
        self._tell("partitions gained", "ours now", [owned.unit.name for owned in got])
        if self._is_open:
            self._begin(got, now)

    def _drop(self, names: Iterable[str]) -> None:
        """Let go of units: what was given of them and not acknowledged comes again, here or elsewhere."""
        gone = [self._owned.pop(name) for name in names if name in self._owned]
        for owned in gone:
            self._end(owned)
            self._desk.release(owned.writer)
        self._tell("partitions lost", "no longer ours", [owned.unit.name for owned in gone])

    def _tell(self, event: str, what: str, names: Sequence[str]) -> None:
        """Which partitions came or went; where all are decided together there is nothing to tell."""
        named = [name for name in names if name]
        if named:
            more = f" and {len(named) - FEW} more" if len(named) > FEW else ""
            told = ", ".join(named[:FEW])
            self._events.info(event, f"partitions {what}: {told}{more}", partitions=named)

    def _begin(self, owned: Iterable[Owned], now: float) -> None:
        for one in owned:
            one.origins.reconnected(now)
            if not self._source.assigns or self._by_group:
                self._begin_partitions(one.unit.partitions)

    def _begin_partitions(self, partitions: Iterable[str]) -> None:
        for partition in partitions:
            owned = self._owned[self._unit_of[partition].name]
            self._refuse_another_log(owned, partition)
            self._source.begin(partition, owned.position(partition))

    def _refuse_another_log(self, owned: Owned, partition: str) -> None:
        """A log that was made anew has other messages at the positions that the store remembers."""
        if not owned.goes_on_in(getattr(self._source, "mark", "")):
            raise SetupError(
                f"{self._parts.broker} was made anew: the store '{self._url}' remembers the messages up to {owned.position(partition)} "
                "of another file of that name. Put that file back, or take a new store"
            )

    def _end(self, owned: Owned) -> None:
        if self._is_open:
            for partition in owned.unit.partitions:
                self._source.end(partition)

    def _ask_again(self, stuck: Iterable[Owned]) -> None:
        """Have the broker give once more, in order, what is not acknowledged."""
        for owned in stuck:
            self._end(owned)
            owned.forget_held(connected=True)
            self._begin_partitions(owned.unit.partitions)

    def _disconnected(self) -> None:
        self._is_open = False
        self._source.close()
        for owned in self._owned.values():
            owned.forget_held()

    def _has_ended(self, until: Until | None) -> bool:
        """Whether everything of a producer was taken, here or by others; the store knows."""
        if until is None:
            return False
        taken = {
            origin.partition: origin.next
            for origin in self._desk.origins()
            if origin.producer == until.producer and origin.standing == Standing.ENDED
        }
        return all(taken.get(partition, -1) >= number for partition, number in until.numbers.items())


def _fits(messages: Sequence[Message]) -> bool:
    """Whether a transaction should take more."""
    return len(messages) < POLL and sum(len(message.body) for message in messages) < LARGE
