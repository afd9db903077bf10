"""Messages of others into the journal, in front of the broker.

    source ──▶ poll ──▶ decode ──▶ number ──▶ journal ──▶ acknowledge

What a poll brought is one transaction: readings, dead letters, how far the source was read, and the names of the messages
where they have any.  Only then it is acknowledged; what comes again is known by its name or its offset.

Each partition of the source is a producer of its own, with its own watermark: read one after the other, as a backlog is,
they are not late for each other.  A partition that nothing comes in follows the others, so it holds nobody back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from tocsin.codecs.messages import Decoder
from tocsin.connectors import open_source
from tocsin.connectors.journal import Journal
from tocsin.errors import SetupError
from tocsin.instant import LONG_AGO, SECOND
from tocsin.message import Kind, Message
from tocsin.publisher import Publisher, rejects_of
from tocsin.record import Reject
from tocsin.runners.events import Events, ProducerReport, older_copy
from tocsin.runners.idle import AWAY, COUNTED, Idleness
from tocsin.runners.places import place_of
from tocsin.runners.streams import Step, Stream, fresh_of
from tocsin.runners.supervise import Reconnecting

if TYPE_CHECKING:
    from tocsin.runners.publish import Publishing

POLL = 5_000
"""Messages that one transaction takes at most."""
LARGE = 16 << 20
"""Bytes after which it takes no more."""
TOGETHER = 0.02
"""Seconds for which messages are gathered."""
PATIENCE = 0.1
"""Seconds that a poll waits for the first message."""
_READINGS = Kind.READINGS.value
"""A plain text, which is compared three times as fast as a member of an enumeration."""
_UNTOLD = (_READINGS, Kind.WATERMARK.value, Kind.END.value)
"""Kinds with nothing in them that could not be read; what another pipeline says of its watermark is its own affair."""
BEAT = 1.0
"""Seconds between two words of a producer on how far it has come, and between two looks for room in the journal."""
ALIVE = 30.0
"""Seconds after which each says so again though nothing has changed: consumers wait two minutes for a word."""

Publish = Callable[["Publishing", Journal, str], Publisher]


class Feed:
    """Messages of others into the journal, until it is told to stop; `publisher` makes the producer of a name."""

    def __init__(self, parts: Publishing, publisher: Publish, stopped: Callable[[], bool]) -> None:
        assert parts.foreign is not None
        self._parts, self._publisher, self._stopped = parts, publisher, stopped
        self._broker, settings = parts.foreign
        # Not the pipeline's name alone: its consumer may read from a broker on the same server.
        self._source = open_source(self._broker, f"{parts.pipeline}-source")
        self._decoder = Decoder(settings, parts.series)
        self._journal = Journal(parts.journal)
        self._streams: dict[str, Stream] = {}
        self._begun: set[str] = set()
        self._lost: tuple[str, ...] = ()
        self._events = Events(parts.pipeline, "producer", source=str(self._broker))
        self._report = ProducerReport(self._events, self._journal.waiting)
        self._reconnecting = Reconnecting(str(self._broker), self._events, stopped)
        self._beat = self._alive = self._turned = time.monotonic()
        self._arrived = 0
        self._is_paused = False
        self.readings = self.rejects = 0

    def run(self) -> int:
        """How many readings it has published when it ends."""
        try:
            self._reconnecting.run(self._connected, self._source.close)
        finally:
            self._source.close()
            for stream in self._streams.values():
                stream.publisher.log.close()
            self._journal.close()
        return self.readings

    def _connected(self) -> None:
        self._is_paused = False
        self._begun.clear()
        for partition in list(self._streams) if self._source.assigns else ():
            self._leave(partition)
        self._source.open()
        if not self._source.assigns:
            self._begin(self._broker.partitions)
        self._reconnecting.connected()
        while not self._stopped():
            messages = self._gather()
            now = self._turn()
            if messages:
                self._take(messages, now)
                self._source.ack(messages)
            self._go_on(now)

    def _turn(self) -> float:
        """The time on the wall; of a turn that took far too long little counts: what came meanwhile still waits in the broker."""
        before, self._turned = self._turned, time.monotonic()
        if self._turned - before > AWAY:
            for stream in self._active():
                stream.quiet_since += self._turned - before - COUNTED
        return self._turned

    def _gather(self) -> list[Message]:
        """What comes within some milliseconds, or as much as one transaction should hold."""
        found = self._poll(POLL, PATIENCE)
        deadline = time.monotonic() + TOGETHER
        while found and _fits(found) and (left := deadline - time.monotonic()) > 0:
            more = self._poll(POLL - len(found), left)
            if self._lost:  # whoever has them now reads these messages, too
                found = [message for message in found if message.partition not in self._lost]
            if not more:
                break
            found += more
        return found

    def _poll(self, most: int, patience: float) -> list[Message]:
        polled = self._source.poll(most, patience)
        self._lost = polled.lost
        for partition in polled.lost:
            self._source.end(partition)
            self._leave(partition)
        self._begin(polled.gained)
        return polled.messages

    def _leave(self, partition: str) -> None:
        """Be its producer no more: another process is, until the source hands it out here again."""
        self._begun.discard(partition)
        if (stream := self._streams.pop(partition, None)) is not None:
            stream.publisher.log.leave()

    def _begin(self, partitions: Iterable[str]) -> None:
        """Be the producer of these partitions, and read on where it was."""
        for partition in partitions:
            if partition not in self._streams:
                self._streams[partition] = self._stream(partition)
            stream = self._streams[partition]
            stream.quiet_since = time.monotonic()
            self._begun.add(partition)
            self._source.begin(partition, self._offset(stream.publisher))

    def _stream(self, partition: str) -> Stream:
        publisher = self._publisher(self._parts, self._journal, f"{self._parts.name}-{partition}")
        if missing := publisher.log.missing:
            told = older_copy(self._journal.path, publisher.log.id, missing)
            self._events.warning(*told, missing=missing, producer=publisher.log.id)
        return Stream(publisher, Idleness(publisher.watermark, self._parts.idle_after), time.monotonic())

    def _offset(self, publisher: Publisher) -> int | None:
        position = publisher.position
        if position is None or not self._source.rereadable:
            return None
        if position["source"] != self._broker.identity:
            raise SetupError(
                f"`source`: this journal was filled from {position['source']}, not from {self._broker.identity}: give the pipeline "
                f"another name, or let its consumer take everything and move {self._journal.path} away"
            )
        return int(position["offset"])

    def _take(self, messages: Sequence[Message], now: float) -> None:
        """One transaction for what came; everything is prepared before it."""
        self._arrived = max(self._arrived + 1, time.time_ns())
        first = self._arrived
        # Two messages never arrive at once: a device's readings that have no other time would be one.
        self._arrived += len(messages)
        own: dict[str, list[tuple[int, Message]]] = {}
        for place, message in enumerate(messages):
            own.setdefault(message.partition, []).append((first + place, message))
        steps = [self._step(self._streams[partition], some) for partition, some in own.items()]
        seen = [step.stream.publisher.seen for step in steps]
        with self._journal.together():
            for step in steps:
                step.stream.publisher.feed(step.batch, step.rejects, step.position, first, step.keys)
        self.readings += sum(len(step.batch) for step in steps)
        self.rejects += sum(len(step.rejects) for step in steps)
        alive = [step.stream for step, before in zip(steps, seen, strict=True) if step.stream.publisher.seen > before]
        # A backlog is read partition by partition, so none of them is quiet.
        for stream in alive if _fits(messages) else self._active():
            stream.quiet_since = now

    def _step(self, stream: Stream, arrived: Sequence[tuple[int, Message]]) -> Step:
        """What messages of one partition hold, those left out that are published already."""
        last = arrived[-1][1]
        position = {"source": self._broker.identity, "offset": last.position} if self._source.rereadable else None
        fresh = list(arrived) if self._source.rereadable else fresh_of(stream.publisher, arrived)
        readings = [(at, message) for at, message in fresh if message.kind == _READINGS]
        batch, faults = self._decoder.decode([message for _, message in readings], [at for at, _ in readings])
        rejects = [self._placed(*readings[place], reject) for place, reject in faults]
        rejects += [one for at, message in fresh if message.kind not in _UNTOLD for one in self._told(at, message)]
        keys = [] if self._source.rereadable else [message.broker_id for _, message in fresh if message.broker_id]
        return Step(stream, batch, rejects, position, keys)

    def _told(self, arrival: int, message: Message) -> list[Reject]:
        """What another pipeline of ours could not read, and what nobody here understands."""
        try:
            if message.kind == Kind.REJECTS:
                return rejects_of(message.body)
        except (ValueError, KeyError, TypeError):
            pass
        reason = f"this cannot be read: it calls itself '{message.kind}'"
        return [self._placed(arrival, message, Reject(message.body, {}, reason))]

    def _placed(self, arrival: int, message: Message, reject: Reject) -> Reject:
        return Reject(reject.data, {**place_of(self._broker, message, arrival), **reject.place}, reject.reason)

    def _go_on(self, now: float) -> None:
        """Move the clock where nothing comes; and once a second look for room, and tell how far the producers are."""
        is_beat = now - self._beat >= BEAT
        if is_beat or (not self._is_paused and self._journal.size() > self._parts.retention.size):
            self._make_room(now)
        # What a source has to say that is made to wait is in the broker still.
        moves = [] if self._is_paused else self._moves(now, is_beat)
        again = is_beat and now - self._alive >= ALIVE
        are_quiet = is_beat and not self._is_paused and self._are_quiet(now)
        if is_beat:
            self._beat, self._alive = now, now if again else self._alive
            moves += [(stream, None) for stream in self._active()]
            reached = [stream.publisher.watermark.value for stream in self._active()]
            self._report.look(self.readings, min(reached, default=LONG_AGO))
        if moves:
            with self._journal.together():
                for stream, to in moves:
                    stream.publisher.tell(to, again=again)
                for stream in self._active() if are_quiet else ():
                    stream.publisher.rest()

    def _moves(self, now: float, is_beat: bool) -> list[tuple[Stream, int | None]]:
        """Where quiet partitions are by now: with the slowest of the others, or, if all are quiet, with the clock."""
        after = self._parts.idle_after / SECOND
        busy = [one.publisher.watermark.value for one in self._active() if one.quiet(now) < after]
        quiet = [one for one in self._active() if one.quiet(now) >= after]
        by_clock = [to for one in self._active() for to in one.idleness.due(one.quiet(now))]
        if busy:
            to = min(busy) if is_beat else LONG_AGO
        else:
            # The foremost goes on with the clock, and the others are not behind it.
            to = max((*by_clock, *(one.publisher.watermark.value for one in quiet))) if by_clock else LONG_AGO
        return [(one, to) for one in quiet if to > one.publisher.watermark.value]

    def _are_quiet(self, now: float) -> bool:
        """Whether no partition has brought a reading for long enough."""
        return all(stream.quiet(now) * SECOND >= self._parts.idle_after for stream in self._active())

    def _make_room(self, now: float) -> None:
        """A journal that is full lets the source wait; it goes on when the consumer has caught up."""
        has_room = self._journal.tidy(self._parts.retention)
        if has_room == self._is_paused:
            self._is_paused = not has_room
            (self._source.resume if has_room else self._source.pause)()
            for stream in self._active():
                stream.quiet_since = now
            if has_room:
                self._events.info("journal has room", f"{self._journal.path} has room again")
            else:
                told = f"{self._journal.path} is full: until what it holds is consumed, {self._broker} is not read"
                self._events.warning("journal full", told, waiting=self._journal.waiting())

    def _active(self) -> list[Stream]:
        """The partitions that are read here now."""
        return [self._streams[partition] for partition in self._begun]


def _fits(messages: Sequence[Message]) -> bool:
    return len(messages) < POLL and sum(len(message.body) for message in messages) < LARGE
