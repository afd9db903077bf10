"""The producer: a source into the journal, and out of it to the broker.

Two loops, each in a thread of its own, so that a broker that is away never keeps a reading from becoming durable:

    source ──▶ decode ──▶ number ──▶ journal          (the feeder; with `broker: journal` that is all)
                                        └──▶ broker   (the sender: what is confirmed leaves the journal)

A journal that is full makes the feeder wait, and so the source: nothing is lost for want of room.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.codecs.readings import to_arrow, to_json
from tocsin.connectors import Broker
from tocsin.connectors.http import HttpSettings, Server
from tocsin.connectors.journal import Journal, Retention
from tocsin.errors import EndOfInput, RetryLater, SetupError
from tocsin.ingest import Ingest, Posted
from tocsin.instant import SECOND
from tocsin.message import ARROW, JSON
from tocsin.partition import Partitioner
from tocsin.publisher import Publisher
from tocsin.runners.ahead import Ahead, Source
from tocsin.runners.events import Events, ProducerReport, older_copy
from tocsin.runners.feed import Feed
from tocsin.runners.idle import Idleness
from tocsin.runners.left import left_behind
from tocsin.runners.send import Sender

if TYPE_CHECKING:
    from tocsin.codecs import MessageSettings
    from tocsin.reading import Series
    from tocsin.watermark import Watermark

BEAT = 1.0
"""Seconds between two words of a producer on how far it has come."""
ALIVE = 30.0
"""Seconds after which it says so again though nothing has changed: consumers wait two minutes for a word."""
STEP = 0.05
"""Seconds between two looks at the clock while readings are posted."""
TIDY = 1.0
"""Seconds between two looks at what may leave the journal."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """What a pipeline file says of its producer, made but not begun; all of it is used once.

    `name` is the producer's, by which its journal knows it; `in_order` says that a reading which comes late ends the run.
    `arrival` is when what the source gives came, None of a recording.  `before` is the producer's file of the way that readings
    went before, if there is one.
    """

    name: str
    pipeline: str
    source: Source | None
    listen: HttpSettings | None
    foreign: tuple[Broker, MessageSettings] | None
    series: Series
    by: Sequence[str]
    watermark: Watermark
    idle_after: int
    journal: Path
    before: Path
    retention: Retention
    broker: Broker
    embedded: bool
    in_order: bool = False
    arrival: int | None = None


def journalled(parts: Publishing, journal: Journal | None = None, name: str | None = None) -> Publisher:
    """The publisher into the journal, as its producer from now on; one of several has a name of its own."""
    encode, content_type = (to_arrow, ARROW) if parts.embedded else (to_json, JSON)
    watermark = parts.watermark
    log = (journal or Journal(parts.journal)).producer(name or parts.name)
    log.state = log.state or _state_before(parts, log.name)
    return Publisher(
        log,
        Partitioner(parts.series, parts.by, parts.broker.partitions, parts.broker.queue),
        watermark if name is None else type(watermark)(watermark.lateness, watermark.max_future),
        encode,
        content_type,
        in_order=parts.in_order,
    )


def _state_before(parts: Publishing, name: str) -> Mapping[str, Any]:
    """What a producer had come to on the way that readings went before; nothing where its store cannot be gone on with either."""
    if not parts.before.exists():
        return {}
    with closing(Journal(parts.before, create=False)) as before:
        state = before.state_of(name)
    if state.get("partitions") != list(parts.broker.partitions):
        return {}
    told = f"{name} goes on in its source where {parts.before} says that it was; move that away to begin anew"
    Events(parts.pipeline, "producer").info("goes on", told)
    return state


class Feeder:
    """Readings into the journal, until their source ends or it is told to stop."""

    def __init__(self, parts: Publishing, stopped: Callable[[], bool]) -> None:
        self._parts = parts
        self._stopped = stopped
        self._lock = threading.Lock()
        self._ingest: Ingest | None = None
        self._server: Server | None = None
        if parts.listen is not None:
            self._ingest = Ingest(parts.series, self._take, parts.listen.device_tag)
            self._server = Server(parts.listen, self._ingest.receive)
            # Before it takes the producer's name from another process: that one may have the port, and goes on then.
            self._server.bind()
        try:
            self._publisher = journalled(parts)
        except BaseException:
            if self._server is not None:
                self._server.close()
            raise
        self._journal: Journal = self._publisher.log.journal
        self._idleness = Idleness(parts.watermark, parts.idle_after)
        self._beat = self._alive = self._tidied = self._newest = time.monotonic()
        self._readings = self._rejects = 0
        self._has_room = True
        self._events = Events(parts.pipeline, "producer", broker=str(parts.broker))
        if missing := self._publisher.log.missing:
            told = older_copy(parts.journal, self._publisher.log.id, missing)
            self._events.warning(*told, missing=missing, producer=self._publisher.log.id)
        self._report = ProducerReport(self._events, self._journal.waiting)

    def run(self) -> Published:
        """What it has done when it ends."""
        try:
            if self._server is not None:
                self._listen(self._server)
            elif self._parts.source is not None:
                self._read(self._parts.source)
        finally:
            self._publisher.log.close()
        return Published(self._readings, self._publisher.log.id, self._publisher.log.numbers, self._rejects)

    def _read(self, source: Source) -> None:
        """A source that is polled."""
        try:
            source.open(self._publisher.position)
            with Ahead(source) as ahead:
                while not self._stopped():
                    try:
                        found = ahead.take()
                    except EndOfInput:
                        self._publisher.finish()
                        return
                    if found:
                        self._readings += self._publisher.take(found, self._parts.arrival)
                        self._rejects += sum(len(part.rejects) for part in found)
                    self._go_on(None if source.bounded or found else ahead.quiet())
                    while not self._tidy() and not self._stopped():
                        time.sleep(TIDY)
                        self._go_on(None)
        finally:
            source.close()

    def _take(self, posts: Sequence[Posted]) -> None:
        """What was posted; one lock keeps that and the clock apart."""
        with self._lock:
            if not self._tidy():
                raise RetryLater("the journal is full: its consumer is slower than what comes in, or away")
            before = self._publisher.seen
            self._readings += self._publisher.post(posts, time.time_ns())
            self._newest = time.monotonic() if self._publisher.seen > before else self._newest

    def _listen(self, server: Server) -> None:
        """A server that readings are posted to."""
        server.open()
        self._events.info(
            "listening", f"listening for readings on http://{server.host}:{server.port}", port=server.port
        )
        try:
            while not self._stopped():
                with self._lock:
                    self._go_on(time.monotonic() - self._newest)
                if server.fault is not None:
                    raise server.fault
                self._report.refused(*server.refused)
                time.sleep(STEP)
        finally:
            server.close()
            self._report.refused(*server.refused, at_once=True)

    def _go_on(self, quiet: float | None) -> None:
        """Move the clock where nothing has come for `quiet` seconds, and tell how far this producer is."""
        for to in self._idleness.due(quiet) if quiet is not None else ():
            self._publisher.tell(to)
        if (now := time.monotonic()) - self._beat >= BEAT:
            again = now - self._alive >= ALIVE
            self._beat, self._alive = now, now if again else self._alive
            self._publisher.tell(again=again)
            if quiet is not None and quiet * SECOND >= self._parts.idle_after:
                self._publisher.rest()
        rejected = self._ingest.rejected if self._ingest else 0
        self._report.look(self._readings, self._parts.watermark.value, rejected)

    def _tidy(self) -> bool:
        """Let go of what was consumed, now and then and when it is full; whether there is room for more."""
        is_early = time.monotonic() - self._tidied < TIDY
        if self._has_room and is_early and self._journal.size() <= self._parts.retention.size:
            return True
        self._tidied = time.monotonic()
        had, self._has_room = self._has_room, self._journal.tidy(self._parts.retention)
        if had and not self._has_room:
            self._events.warning(
                "journal full",
                f"{self._journal.path} is full: what it holds is not consumed yet, and until it is nothing more is taken in",
                waiting=self._journal.waiting(),
            )
        elif self._has_room and not had:
            self._events.info("journal has room", f"{self._journal.path} has room again")
        return self._has_room


@dataclass(frozen=True, slots=True)
class Published:
    """What a producer has done: how many readings since it began, and its next number in each partition.

    `rejects` are the lines, or else, that could not be read, and are on their way to the dead letters.  `waited` messages of before
    were in the spool when it began and are confirmed now; `waiting` are those in the spool that are not.
    """

    readings: int
    producer: str
    numbers: Mapping[str, int]
    rejects: int = 0
    waited: int = 0
    waiting: int = 0


def _feeder(parts: Publishing, stopped: Callable[[], bool]) -> Callable[[], Published]:
    """What brings readings into the journal, ready to run."""
    if parts.foreign is None:
        return Feeder(parts, stopped).run
    feed = Feed(parts, journalled, stopped)
    return lambda: Published(feed.run(), parts.name, {}, feed.rejects)


def _goes_to(parts: Publishing) -> int:
    """Note in the spool which broker it is emptied into, and tell if that is another one; how many messages wait in it."""
    with closing(Journal(parts.journal)) as spool:
        waited = spool.waiting()
        before = spool.goes_to(parts.broker.identity)
    if before:
        told = f"readings go to {parts.broker.identity} from now on; those that went to {before} wait there until a consumer has taken them"
        Events(parts.pipeline, "producer", broker=str(parts.broker)).warning("another broker", told)
    return waited


def publish(parts: Publishing, stopped: Callable[[], bool], may_send: Callable[[], bool] = lambda: True) -> Published:
    """Both loops, until the source ends and everything is confirmed, or it is told to stop.

    Before it `may_send`, what is read gathers in the spool.
    """
    if left := left_behind(parts.journal.parent, parts.pipeline, embedded=parts.embedded):
        raise SetupError(left)
    waited = 0 if parts.embedded else _goes_to(parts)
    failed: list[BaseException] = []
    sent: list[int] = []

    def is_over() -> bool:
        return stopped() or bool(failed)

    feeder, fed = _feeder(parts, is_over), threading.Event()
    if parts.embedded:
        return feeder()

    def send() -> None:
        while not may_send() and not is_over():
            time.sleep(STEP)
        try:
            sent.append(Sender(parts.journal, parts.broker, Events(parts.pipeline, "producer"), is_over, fed).run())
        except BaseException as error:  # noqa: BLE001  it is raised again where the readings come from
            failed.append(error)

    thread = threading.Thread(target=send, name="send", daemon=True)
    thread.start()
    try:
        published = feeder()
    except BaseException as error:
        failed.append(error)
        raise
    finally:
        fed.set()
        thread.join()
    if failed:
        raise failed[0]
    with closing(Journal(parts.journal)) as spool:
        return replace(published, waited=min(waited, sum(sent)), waiting=spool.waiting())
