"""Kafka's sink: messages into a topic, each into the partition that it names, confirmed as the brokers have them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Producer

from tocsin.connectors import Broker
from tocsin.connectors._kafka import LEAST, Faults, Topic, failure, settings, translated
from tocsin.errors import NotConnected, RetryLater
from tocsin.message import CONTENT_TYPE, STAMP, Message, stamp_of

Delivered: TypeAlias = Any
"""The client's message: its types leave open what one that was delivered always has."""

LINGER = 2
"""Milliseconds that a message waits for others to travel with: alone it is confirmed in 3 ms; with 5 it takes 6.5, and
at full speed a sixth more go through."""
WAITING = 100_000
"""So many messages may be unconfirmed; more wait with whoever sends."""
WAITING_BYTES = 64 << 20
"""So many bytes of them."""
ROOM = 0.5
"""Seconds that `send` waits for room: a source in the same thread must be polled once a second."""
DELIVERY = 30_000
"""Milliseconds after which a message that no broker took counts as not connected."""


def _headers(message: Message) -> list[tuple[str, str | bytes | None]]:
    if message.content_type:
        return [(CONTENT_TYPE, message.content_type), (STAMP, stamp_of(message))]
    return [(STAMP, stamp_of(message))]


class Sink:
    """Messages into a topic, each into the partition that it names.

    The client confirms in the order of each partition, but not across them.  So the partitions are noted in the
    order of sending, and counted as confirmed from the first on, as far as each partition has got.  Where there is one
    partition, it is enough to know how many the client still has, and it tells of failures only: to be told of
    each message takes as long as to send it.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._faults = Faults(broker)
        self._producer: Producer | None = None
        self._sent: deque[tuple[int, int]] = deque()
        self._taken = [0] * len(broker.partitions)
        self._is_one = len(broker.partitions) == 1
        self._bytes = self._confirmed = 0
        self._refused = False

    def open(self) -> None:
        """Check or make the topic, and begin with nothing sent."""
        Topic(self._broker).ready()
        self._faults = Faults(self._broker)
        self._sent.clear()
        self._taken = [0] * len(self._broker.partitions)
        self._bytes = self._confirmed = 0
        self._refused = False
        with translated(self._broker):
            self._producer = Producer(self._settings())

    def send(self, messages: Sequence[Message]) -> None:
        """Hand messages to the client; RetryLater, and none of them taken, if too many are unconfirmed."""
        producer = self._connected()
        self._wait(ROOM, self._full)
        if self._full():
            waiting = f"{len(self._sent)} messages wait for the broker's confirmation"
            raise RetryLater(f"{self._broker.address}: topic '{self._broker.name}': {waiting}")
        topic, sent = self._broker.name, self._sent
        with translated(self._broker):
            for message in messages:
                partition, body = int(message.partition), message.body
                producer.produce(topic, body, message.key or None, partition, headers=_headers(message))
                sent.append((partition, len(body)))
                self._bytes += len(body)

    def confirmed(self, timeout: float) -> int:
        """How many more are durable, in the order they were sent."""
        self._wait(timeout, lambda: not self._confirmed)
        confirmed, self._confirmed = self._confirmed, 0
        return confirmed

    def close(self) -> None:
        """Drop what is not confirmed: whoever sent it has it still."""
        producer, self._producer = self._producer, None
        if producer is not None:
            # The client's own `close` would wait for what a frozen broker still owes.
            with suppress(KafkaException, RuntimeError):
                producer.purge()

    def _settings(self) -> dict[str, Any]:
        return {
            **settings(self._broker),
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": LINGER,
            "delivery.timeout.ms": DELIVERY,
            # How large a message may be is for the topic to say; the client's own limit is below some topics'.
            "message.max.bytes": WAITING_BYTES,
            # The bound is ours: one that the client hits in the middle of `send` would leave a part taken.
            "queue.buffering.max.messages": 0,
            "queue.buffering.max.kbytes": 2**31 - 1,
            "on_delivery": self._delivered,
            "delivery.report.only.error": self._is_one,
            "error_cb": self._faults.heard,
        }

    def _connected(self) -> Producer:
        if self._producer is None:
            raise NotConnected(f"{self._broker.address}: is not open")
        return self._producer

    def _full(self) -> bool:
        return len(self._sent) >= WAITING or self._bytes >= WAITING_BYTES

    def _wait(self, timeout: float, unready: Callable[[], bool]) -> None:
        """Hear what was delivered, as long as it is needed and there is time; raises what went wrong."""
        producer, deadline = self._connected(), time.monotonic() + timeout
        producer.poll(0)
        self._count()
        while unready() and (left := deadline - time.monotonic()) > 0 and not self._faults:
            producer.poll(LEAST if self._is_one else max(LEAST, left))
            self._count()
        if not self._confirmed:
            self._faults.check()

    def _delivered(self, error: KafkaError | None, message: Delivered) -> None:
        if error is not None:
            self._refused = True
            self._faults.keep(failure(self._broker, error))
        elif not self._refused:
            # Behind one that was refused, the order in which they come no longer says which they are.
            self._taken[message.partition()] += 1

    def _count(self) -> None:
        sent, taken = self._sent, self._taken
        if self._is_one:
            producer = self._connected()
            undelivered = len(producer)
            # What failed before this was counted is told here: then nothing is counted any more.
            producer.poll(0)
            taken[0] = 0 if self._refused else max(0, len(sent) - undelivered)
        while sent and taken[sent[0][0]]:
            partition, size = sent.popleft()
            taken[partition] -= 1
            self._bytes -= size
            self._confirmed += 1
