"""The producer: a source into the journal, and out of it to the broker.

Two loops, each in a thread of its own, so that a broker that is away never keeps a reading from becoming durable:

    source ──▶ decode ──▶ number ──▶ journal          (the feeder; with `broker: journal` that is all)
                                        └──▶ broker   (the sender: what is confirmed leaves the journal)

A journal that is full makes the feeder wait, and so the source: nothing is lost for want of room.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.codecs.readings import to_arrow, to_json
from tocsin.connectors import Broker, Sink, open_sink
from tocsin.connectors.journal import Journal, Retention
from tocsin.errors import EndOfInput
from tocsin.message import ARROW, JSON
from tocsin.partition import Partitioner
from tocsin.publisher import Publisher
from tocsin.runners.ahead import Ahead, Source
from tocsin.runners.idle import Idleness
from tocsin.runners.supervise import Reconnecting

if TYPE_CHECKING:
    from tocsin.reading import Series
    from tocsin.watermark import Watermark

WINDOW = 5_000
"""Messages that may be on their way to the broker without its confirmation."""
BEAT = 1.0
"""Seconds between two words of a producer on how far it has come."""
TIDY = 1.0
"""Seconds between two looks at what may leave the journal."""
PAUSE = 0.005
"""Seconds until the sender looks again for something to send."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """What a pipeline file says of its producer, made but not begun; all of it is used once."""

    name: str
    source: Source
    series: Series
    by: Sequence[str]
    watermark: Watermark
    idle_after: int
    journal: Path
    retention: Retention
    broker: Broker
    embedded: bool


class Feeder:
    """The source into the journal."""

    def __init__(self, parts: Publishing, stopped: Callable[[], bool]) -> None:
        self._parts = parts
        self._stopped = stopped
        self._journal = Journal(parts.journal)
        partitioner = Partitioner(parts.series, parts.by, parts.broker.partitions, parts.broker.queue)
        encode, content_type = (to_arrow, ARROW) if parts.embedded else (to_json, JSON)
        self.publisher = Publisher(
            self._journal.producer(parts.name),
            partitioner,
            parts.watermark,
            encode,
            content_type,
            in_order=parts.source.bounded and parts.watermark.lateness == 0,
        )
        self.readings = 0

    def run(self) -> None:
        """Until the source ends, or it is told to stop."""
        source, publisher = self._parts.source, self.publisher
        idleness = None if source.bounded else Idleness(self._parts.watermark, self._parts.idle_after)
        beat = tidied = time.monotonic()
        try:
            source.open(publisher.position)
            with Ahead(source) as ahead:
                while not self._stopped():
                    try:
                        found = ahead.take()
                    except EndOfInput:
                        publisher.finish()
                        return
                    if found:
                        self.readings += publisher.take(found)
                    elif idleness is not None:
                        for to in idleness.due(ahead.quiet()):
                            publisher.tell(to)
                    now = time.monotonic()
                    if now - beat >= BEAT:
                        beat = now
                        publisher.tell()
                    if now - tidied >= TIDY:
                        tidied = now
                        self._make_room()
        finally:
            source.close()
            self._journal.close()

    def published(self) -> Published:
        """What it has done."""
        return Published(self.readings, self.publisher.log.id, self.publisher.log.numbers)

    def _make_room(self) -> None:
        while not self._journal.tidy(self._parts.retention) and not self._stopped():
            time.sleep(TIDY)


class Sender:
    """The journal to the broker, in order, with as many on their way as the window lets."""

    def __init__(self, parts: Publishing, stopped: Callable[[], bool], fed: threading.Event) -> None:
        self._parts = parts
        self._stopped = stopped
        self._fed = fed
        self._reconnecting = Reconnecting(str(parts.broker), stopped)
        self.sent = 0

    def run(self) -> None:
        """Until it is told to stop, or everything that was fed is confirmed."""
        journal = Journal(self._parts.journal)
        sink = open_sink(self._parts.broker)
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


@dataclass(frozen=True, slots=True)
class Published:
    """What a producer has done: how many readings since it began, and its next number in each partition."""

    readings: int
    producer: str
    numbers: Mapping[str, int]


def publish(parts: Publishing, stopped: Callable[[], bool]) -> Published:
    """Both loops, until the source ends and everything is confirmed, or it is told to stop."""
    failed: list[BaseException] = []
    feeder, fed = Feeder(parts, lambda: stopped() or bool(failed)), threading.Event()
    if parts.embedded:
        feeder.run()
        return feeder.published()

    def send() -> None:
        try:
            Sender(parts, stopped, fed).run()
        except BaseException as error:  # noqa: BLE001  it is raised again where the readings come from
            failed.append(error)

    thread = threading.Thread(target=send, name="send", daemon=True)
    thread.start()
    try:
        feeder.run()
    finally:
        fed.set()
        thread.join()
    if failed:
        raise failed[0]
    return feeder.published()
