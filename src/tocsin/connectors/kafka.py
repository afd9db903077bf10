"""Kafka: a topic that keeps its messages, whose partitions the broker hands out to the processes of a group.

A position is the offset of the next message of a partition.  Where reading begins is what the store says; the
offset that the group keeps in Kafka is a hint to people who look at its lag, and is never read here.

The client fetches what is assigned to it.  So what the group hands out is only noted, and a partition is
assigned to the client in `begin`, with the offset to begin at: nothing is fetched that nobody asked for, and
nothing needs to be sought.  Hand-outs are cooperative: a partition that stays with its process goes on
flowing while others move.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from threading import Thread
from typing import Any, TypeAlias

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from tocsin.connectors import Broker, Polled
from tocsin.connectors._kafka import LEAST, PATIENCE, Faults, Topic, failure, settings, translated, waiting
from tocsin.connectors._kafka_sink import Sink
from tocsin.errors import NotConnected, RunError, TocsinError
from tocsin.message import CONTENT_TYPE, STAMP, Message, message_of

__all__ = ["Sink", "Source", "waiting"]

Fetched: TypeAlias = Any
"""The client's message: its types leave open what one that came from a broker always has."""

SESSION = 10_000
"""Milliseconds after which the partitions of a process that died go to others."""
REFRESH = 5_000
"""Milliseconds after which a topic that is not ours is asked for new partitions."""
SAMPLE, LARGE = 20, 4 << 20
"""Messages from which their size is judged, and bytes after which a poll takes no further ones.

The client has up to 64 MB ready: of messages of 2,000 readings, more than a million readings, which nobody should decide in one step.
"""
LEAVING = 2.0
"""Seconds that `close` waits for the client to leave the group."""
_STEP = 0.05
_MS = 1_000_000
NOTHING_TOLD = "", ""
_ANEW = "to go on without them, begin with a new store"


class Source:
    """A topic's messages, for one process of a group."""

    rereadable = True
    assigns = True
    windowed = False

    def __init__(self, broker: Broker, group: str) -> None:
        self._broker, self._group = broker, group
        self._faults = Faults(broker)
        self._consumer: Consumer | None = None
        self._begun: set[str] = set()
        self._gained: list[str] = []
        self._lost: list[str] = []
        self._paused = False

    def open(self) -> None:
        """Check or make the topic, and join the group."""
        Topic(self._broker).ready()
        self._faults = Faults(self._broker)
        self._begun.clear()
        self._gained, self._lost, self._paused = [], [], False
        with translated(self._broker):
            self._consumer = Consumer(self._settings())
            moved = {"on_assign": self._assigned, "on_revoke": self._revoked, "on_lost": self._revoked}
            self._consumer.subscribe([self._broker.name], **moved)

    def begin(self, partition: str, position: Any = None) -> None:
        """Fetch it from this offset on; whether that is still there shows in a poll."""
        consumer = self._connected()
        self.end(partition)
        place = self._place(partition, OFFSET_BEGINNING if position is None else int(position))
        with translated(self._broker):
            consumer.incremental_assign([place])
            self._begun.add(partition)
            # The client remembers for each partition that it was paused, even while it is not assigned.
            (consumer.pause if self._paused else consumer.resume)([place])

    def end(self, partition: str) -> None:
        """Fetch it no more."""
        if partition in self._begun:
            self._begun.discard(partition)
            with translated(self._broker):
                self._connected().incremental_unassign([self._place(partition)])

    def poll(self, max_messages: int, timeout: float) -> Polled:
        """What has been fetched; waits for the first, or for a partition to come or go."""
        consumer = self._connected()
        self._faults.check()
        with translated(self._broker):
            fetched = _at_hand(consumer, max_messages) or self._waited(consumer, max_messages, timeout)
        messages = self._messages(fetched)
        gained, lost = tuple(self._gained), tuple(self._lost)
        self._gained, self._lost = [], []
        if lost:
            messages = [message for message in messages if message.partition in self._begun]
        if not (messages or gained or lost):
            self._faults.check()
        return Polled(messages, gained, lost)

    def ack(self, messages: Sequence[Message]) -> None:
        """Tell the group how far it is; nothing depends on it, so nothing waits for it or fails with it."""
        reached = {message.partition: message.position for message in messages}
        with suppress(KafkaException):
            if reached:
                self._connected().commit(offsets=[self._place(*one) for one in reached.items()], asynchronous=True)

    def pause(self) -> None:
        """Fetch nothing; the client stays in the group as long as polls go on."""
        self._paused = True
        with translated(self._broker):
            self._connected().pause([self._place(partition) for partition in self._begun])

    def resume(self) -> None:
        """Fetch again, from where it was."""
        self._paused = False
        with translated(self._broker):
            self._connected().resume([self._place(partition) for partition in self._begun])

    def close(self) -> None:
        """Leave the group; its other processes get the partitions at once."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            # The client leaves only when the broker has answered; one that is frozen must not hold us up.
            leaving = Thread(target=_leave, args=(consumer,), daemon=True)
            del consumer
            leaving.start()
            leaving.join(LEAVING)

    def _settings(self) -> dict[str, Any]:
        return {
            **settings(self._broker),
            "group.id": self._group,
            "session.timeout.ms": SESSION,
            # Members hear with a heartbeat that partitions move, and moving takes two rounds.
            "heartbeat.interval.ms": SESSION // 10,
            "partition.assignment.strategy": "cooperative-sticky",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            # An offset that is not there is an error: the other choices would skip messages silently.
            "auto.offset.reset": "error",
            # The client fetches ahead until its queue is full, and then looks again after a second by default, in which
            # a fast reader runs dry: 128,000 messages/s instead of 165,000.
            "fetch.queue.backoff.ms": 10,
            # Somebody else's topic may be given more partitions; the client would look for them every five minutes.
            **({} if self._broker.partitions else {"topic.metadata.refresh.interval.ms": REFRESH}),
            "error_cb": self._faults.heard,
        }

    def _connected(self) -> Consumer:
        if self._consumer is None:
            raise NotConnected(f"{self._broker.address}: is not open")
        return self._consumer

    def _place(self, partition: str, offset: int = OFFSET_BEGINNING) -> TopicPartition:
        return TopicPartition(self._broker.name, int(partition), offset)

    def _assigned(self, consumer: Consumer, places: Iterable[TopicPartition]) -> None:
        # An empty answer, for the client would assign them itself if it got none.
        consumer.incremental_assign([])
        self._gained += [str(place.partition) for place in places]

    def _revoked(self, consumer: Consumer, places: Iterable[TopicPartition]) -> None:
        # One that is leaving has nothing to tell, and gives all back by itself.
        if consumer is not self._consumer:
            return
        gone = [place for place in places if str(place.partition) in self._begun]
        consumer.incremental_unassign(gone)
        self._begun.difference_update(str(place.partition) for place in gone)
        for partition in (str(place.partition) for place in places):
            # What came and went between two polls was never known to be here.
            if partition in self._gained:
                self._gained.remove(partition)
            else:
                self._lost.append(partition)

    def _waited(self, consumer: Consumer, max_messages: int, timeout: float) -> list[Fetched]:
        """The next message and what came with it.

        `consume` returns when it has so many messages or the time is over, hence one at first.  It goes on
        waiting when a partition comes or goes, hence in steps.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0 and not (self._gained or self._lost or self._faults):
            if first := consumer.consume(1, max(LEAST, min(left, _STEP))):
                return [*first, *(_at_hand(consumer, max_messages - 1) if max_messages > 1 else ())]
        return []

    def _messages(self, fetched: Iterable[Fetched]) -> list[Message]:
        """Fetched messages as ours; an error among them is kept until what came before it has been given."""
        messages: list[Message] = []
        names, topic = self._broker.partitions, self._broker.name
        for each in fetched:
            if (error := each.error()) is not None:
                self._failed(each, error)
                continue
            partition, offset, key, (kind, when) = each.partition(), each.offset(), each.key(), each.timestamp()
            content_type, stamp = _told(headers) if (headers := each.headers()) else NOTHING_TOLD
            messages.append(
                message_of(
                    each.value() or b"",
                    content_type,
                    stamp,
                    names[partition] if names else str(partition),
                    offset + 1,
                    key.decode("utf-8", "replace") if key else "",
                    f"{topic}/{partition}/{offset}",
                    None if kind == TIMESTAMP_NOT_AVAILABLE else when * _MS,
                )
            )
        return messages

    def _failed(self, each: Fetched, error: KafkaError) -> None:
        gone = error.code() == KafkaError._AUTO_OFFSET_RESET
        self._faults.keep(self._gone(each) if gone else failure(self._broker, error))

    def _gone(self, each: Fetched) -> TocsinError:
        """What to say of an offset that the topic does not have."""
        partition, offset = each.partition(), each.offset()
        anew = self._broker.address.worded(_ANEW)
        where = f"{self._broker.address}: topic '{self._broker.name}', partition {partition}"
        try:
            first, end = self._connected().get_watermark_offsets(self._place(str(partition)), timeout=PATIENCE)
        except KafkaException as fault:
            return failure(self._broker, fault.args[0])
        if offset < first:
            kept = "keep messages longer (the topic's retention.ms and retention.bytes) than a pipeline may stand still"
            return RunError(
                f"{where}: offsets from {offset} to {first - 1} are lost, removed by retention: {anew}; {kept}"
            )
        return RunError(
            f"{where}: ends at offset {end}, before {offset} where reading goes on: was it made anew? {anew}"
        )


def _at_hand(consumer: Consumer, most: int) -> list[Fetched]:
    """What has been fetched already, but of large messages no more than somebody should have in hand at once."""
    found = consumer.consume(min(most, SAMPLE), 0)
    if len(found) < SAMPLE or len(found) == most:
        return found
    size = sum(len(each.value() or b"") for each in found)
    more = min(most, LARGE * len(found) // max(1, size)) - len(found)
    return [*found, *consumer.consume(more, 0)] if more > 0 else found


def _leave(consumer: Consumer) -> None:
    with suppress(KafkaException, RuntimeError):
        consumer.close()


def _told(headers: Iterable[tuple[str, bytes | None]]) -> tuple[str, str]:
    """A message's content type and stamp, '' where it has none; of several of one name the last counts."""
    content_type: bytes | None = None
    stamp: bytes | None = None
    for name, value in headers:
        if name == STAMP:
            stamp = value
        elif name == CONTENT_TYPE:
            content_type = value
    return _text(content_type), stamp.decode("utf-8", "replace") if stamp else ""


@lru_cache(maxsize=64)
def _text(content_type: bytes | None) -> str:
    return content_type.decode("utf-8", "replace") if content_type else ""
