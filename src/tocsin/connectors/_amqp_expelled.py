"""What RabbitMQ expels from the queues, read back: by a policy, a time to live, a full queue, too many deliveries.

    {name}.0, … ──expelled──▶ exchange {name}.dead ──▶ queue {name}.expelled ──▶ its partition's consumer

It comes as a message of the partition from which it was expelled, of the kind EXPELLED, and its key says why.  So the
consumer misses none of its producer's numbers and waits for none, and what was in it goes to the dead letters.

One queue serves all partitions.  What is of a partition that another process reads is given back after a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from tocsin.connectors import Broker
from tocsin.connectors._amqp_link import Link
from tocsin.connectors._amqp_queues import expelled_queue, queue_of
from tocsin.message import Kind, Message

PREFETCH = 200
"""So many at a time, as there should be none."""
WHILE = 1.0
"""Seconds after which what is for others is given back: at once it might come here again, and again."""
REASONS = {
    "rejected": "a reader has rejected it",
    "expired": "it waited for longer than its time to live",
    "maxlen": "its queue was full",
    "delivery_limit": "it was delivered too often",
}
MARK = "expelled"
"""The first part of a position here, which tells it from those in the queues."""

Make = Callable[[Any, bytes, str, Any, str], Message]
"""Makes a message of (properties, body, partition, position, key)."""


class Expelled:
    """The reader of that queue, as part of a source."""

    def __init__(self, link: Link, broker: Broker, make: Make, give: Callable[[Message], None]) -> None:
        self._link = link
        self._queue = expelled_queue(broker)
        self._partitions = {queue_of(broker, name): name for name in broker.partitions}
        self._make = make
        self._give = give
        self._channel: Any = None
        self._life = 0
        self._held: dict[int, str] = {}
        self._strange: list[tuple[float, int]] = []
        self._begun: set[str] = set()

    def begin(self, partition: str) -> None:
        """Give what was expelled from this partition, too."""
        self._begun.add(partition)
        if self._channel is None:
            self._life += 1
            self._channel = self._link.channel()
            self._link.ask(self._channel.basic_qos, prefetch_count=PREFETCH)
            self._link.ask(self._channel.basic_consume, self._queue, self._received)

    def end(self, partition: str) -> None:
        """Give no more of it; what is not acknowledged comes again, here or elsewhere."""
        self._begun.discard(partition)
        for tag in [tag for tag, name in self._held.items() if name == partition]:
            self._give_back(tag)

    def ack(self, messages: Sequence[Message]) -> None:
        """Each by itself: they are of several partitions, whose order is not that of this queue."""
        for message in messages:
            _, life, tag = message.position
            if life == self._life and self._held.pop(tag, None) is not None:
                self._channel.basic_ack(tag)

    def look(self) -> None:
        """To be called with every poll: give back what is for others."""
        now = time.monotonic()
        while self._strange and now - self._strange[0][0] > WHILE:
            self._give_back(self._strange.pop(0)[1])

    def forget(self) -> None:
        """The connection is gone."""
        self._channel = None
        self._held.clear()
        self._strange.clear()
        self._begun.clear()

    def _give_back(self, tag: int) -> None:
        self._held.pop(tag, None)
        self._channel.basic_reject(tag, requeue=True)

    def _received(self, _: Any, method: Any, properties: Any, body: bytes) -> None:
        death = ((properties.headers or {}).get("x-death") or [{}])[0]
        queue = str(death.get("queue", ""))
        partition = self._partitions.get(queue, next(iter(self._begun), ""))
        tag = method.delivery_tag
        if partition not in self._begun:
            self._strange.append((time.monotonic(), tag))
            return
        self._held[tag] = partition
        message = self._make(properties, body, partition, (MARK, self._life, tag), _why(queue, death))
        # A word of how far a producer is, or what it could not read, is as good as it was.
        is_readings = message.kind == Kind.READINGS
        self._give(message._replace(kind=Kind.EXPELLED) if is_readings else message)


def is_expelled(message: Message) -> bool:
    """Whether a message came from that queue."""
    return bool(message.position[0] == MARK)


def _why(queue: str, death: dict[str, Any]) -> str:
    reason = str(death.get("reason", "unsaid"))
    said = REASONS.get(reason, f"its reason is '{reason}'")
    return f"the broker expelled it from the queue {queue or '(unsaid)'}: {said}"
