"""The consumer: messages of the broker to readings, alerts and the store, by the one process that owns the pipeline.

    poll ──▶ take, decode, decide, save ──▶ acknowledge

What comes within some milliseconds is saved together.  A broker that is away is connected again; a step that
cannot be saved throws the engine away, and everything begins anew from the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tocsin.checkpoint import resume
from tocsin.codecs.readings import Decoder
from tocsin.connectors import Broker, open_source
from tocsin.consumer import Consumer
from tocsin.errors import SetupError
from tocsin.origin import Origins
from tocsin.pipeline import Decider
from tocsin.runners.idle import Idleness
from tocsin.runners.supervise import Reconnecting, log
from tocsin.stores.owner import this_process

if TYPE_CHECKING:
    from tocsin.engine import Engine
    from tocsin.message import Message
    from tocsin.rule import Rule
    from tocsin.stats import Stats
    from tocsin.stores.sql import SqlStore
    from tocsin.stores.writer import Writer

POLL = 5_000
"""Messages in one poll at most, and readings, roughly, after which a group is closed."""
LARGE = 4 << 20
"""Bytes of messages after which a group is closed."""
TOGETHER = 0.02
"""Seconds for which messages are gathered, so that they are saved in one transaction."""
LOOK = 1.0
"""Seconds between two looks at gaps and silent producers while messages come."""
STAND_BY = 0.25
"""Seconds between two looks whether the owner of the pipeline is still there."""
PATIENCE = 0.2
"""Seconds that a poll waits for the first message."""


@dataclass(frozen=True, slots=True)
class Consuming:
    """What a pipeline file says of its consumer, made but not begun; all of it is used once."""

    name: str
    rules: Sequence[Rule]
    engine: Engine
    lateness: int
    max_future: int
    idle_after: int
    broker: Broker


@dataclass(slots=True)
class Until:
    """When a consumer may end by itself: a producer with these numbers has ended, and all of it was taken."""

    producer: str = ""
    numbers: dict[str, int] = field(default_factory=dict)


class Watcher:
    """One consumer with its engine, from the store's checkpoint on."""

    def __init__(self, parts: Consuming, store: SqlStore, stopped: Callable[[], bool], stats: Stats) -> None:
        self._parts = parts
        self._stopped = stopped
        self._writer = store.writer(parts.engine.series)
        _stand_by(self._writer, stopped)
        self._source = open_source(parts.broker, parts.name)
        self.origins = Origins(
            parts.broker.partitions, parts.lateness, parts.max_future, time.monotonic(), is_log=self._source.rereadable
        )
        decider = Decider(parts.rules, parts.engine, self.origins, self._writer, stats=stats)
        self._idleness = Idleness(self.origins, parts.idle_after)
        start = resume(self._writer, parts.rules, parts.engine)
        self._refuse_another_source(start.position)
        known = self._writer.origins()
        self._refuse_other_partitions({origin.partition for origin in known})
        self.origins.restore(known, start.watermark, time.monotonic())
        decider.position, decider.counted = start.position, start.counted
        self._consumer = Consumer(
            decider,
            self.origins,
            Decoder(parts.engine.series).decode,
            parts.broker.identity,
            rereadable=self._source.rereadable,
        )
        self._reconnecting = Reconnecting(str(parts.broker), stopped)

    @property
    def stats(self) -> Stats:
        """What it has counted."""
        return self._consumer.decider.stats

    def run(
        self,
        progress: Callable[[Stats], None] | None = None,
        until: Callable[[], Until | None] = lambda: None,
        connected: Callable[[], None] = lambda: None,
    ) -> None:
        """Until it is told to stop, or what `until` tells has come to its end."""
        try:
            self._reconnecting.run(lambda: self._connected(progress, until, connected), self._disconnected)
        finally:
            self._source.close()
            self._writer.close()

    def _connected(
        self, progress: Callable[[Stats], None] | None, until: Callable[[], Until | None], connected: Callable[[], None]
    ) -> None:
        source, consumer = self._source, self._consumer
        source.open()
        if not source.assigns:
            self._begin(self._parts.broker.partitions)
        self._reconnecting.connected()
        self.origins.reconnected(time.monotonic())
        connected()
        quiet_since = looked = time.monotonic()
        while not self._stopped():
            messages = self._gather()
            now = time.monotonic()
            if messages:
                quiet_since = now
                source.ack(consumer.take(messages, now))
            if not messages or now - looked >= LOOK:  # where others never fall silent, too
                looked = now
                source.ack(consumer.wait(now))
            if not messages:
                self._writer.renew()
                for to in self._idleness.due(now - quiet_since) if self.origins.foreign else ():
                    consumer.idle(to)
                ended = until()
                if ended is not None and self.origins.has_ended(ended.producer, ended.numbers):
                    return
            if progress is not None:
                progress(self.stats)

    def _gather(self) -> list[Message]:
        """What comes within some milliseconds, or as much as one transaction should hold."""
        found = self._poll(POLL, PATIENCE)
        if not found:
            return found
        deadline = time.monotonic() + TOGETHER
        while _fits(found) and (left := deadline - time.monotonic()) > 0:
            more = self._poll(POLL - len(found), left)
            if not more:
                break
            found += more
        return found

    def _poll(self, most: int, patience: float) -> list[Message]:
        """What has come; partitions that the broker hands out are begun where the store says."""
        polled = self._source.poll(most, patience)
        for partition in polled.lost:
            self._source.end(partition)
        self._begin(polled.gained)
        return polled.messages

    def _begin(self, partitions: Iterable[str]) -> None:
        for partition in partitions:
            self._source.begin(partition, self._consumer.positions.get(partition))

    def _disconnected(self) -> None:
        self._source.close()
        self._consumer.forget_held()

    def _refuse_other_partitions(self, known: set[str]) -> None:
        partitions = self._parts.broker.partitions
        if known - set(partitions):
            raise SetupError(
                f"this store was filled from the partitions {', '.join(sorted(known))}, and `broker:` has "
                f"{', '.join(partitions)}: what waits in the others would never be taken. Put them back until it is"
            )

    def _refuse_another_source(self, position: dict[str, Any] | None) -> None:
        broker = self._parts.broker
        if position is not None and position.get("broker") != broker.identity:
            where = position.get("broker") or position.get("file", "another source")
            raise SetupError(
                f"this store was filled from {where}, not from {broker.identity}: what was read there would be counted again, "
                "or be missed. Take a new store, or put the old `broker:` back"
            )


def _fits(messages: Sequence[Message]) -> bool:
    """Whether a transaction should take more."""
    return len(messages) < POLL and sum(len(message.body) for message in messages) < LARGE


def _stand_by(writer: Writer, stopped: Callable[[], bool]) -> None:
    """Wait while another process owns the pipeline."""
    said = False
    while not stopped():
        owner = writer.owner()
        if owner is None or not owner.alive or owner.process == this_process():
            return
        if not said:
            said = True
            log.info("%s owns the pipeline: standing by to take over", owner)
        time.sleep(STAND_BY)
