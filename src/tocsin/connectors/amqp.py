"""RabbitMQ: a durable queue for each partition, acknowledged only when what it gave is durable here.

A sink publishes to all its queues over one channel and lets the broker's confirms come as they
come, many behind one another: waiting for each would be ten times slower.

A source consumes each queue over a channel of its own, because an acknowledgement of all up to one message counts
within a channel.  There is one consumer a queue, so that what comes again comes in order.  How much
the broker sends ahead is bounded by `prefetch`, and so is what a source that is paused holds.

RabbitMQ's timestamps are its publishers' clocks and change when a message is sent again: they are not used.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tocsin.connectors import Broker, Polled
from tocsin.connectors._amqp_expelled import Expelled, is_expelled
from tocsin.connectors._amqp_link import Link, number
from tocsin.connectors._amqp_queues import prepare, queue_of, waiting
from tocsin.errors import RetryLater, SetupError, TocsinError
from tocsin.message import STAMP, Message, message_of, stamp_of

if TYPE_CHECKING:
    from pika.channel import Channel

    from tocsin.connectors._amqp_frames import Receive

__all__ = ["Sink", "Source", "waiting"]

PREFETCH = 2_000
"""Messages ahead of their acknowledgement for each queue: 10,000 a second, committed ten times a second, twice over."""
PERSISTENT = 2
"""AMQP's delivery mode of a message that outlives a restart of the broker; see `_amqp_frames`, too."""


class Sink:
    """Messages into RabbitMQ.

    A message that the broker could not take (RetryLater) or could not place (SetupError, or RetryLater where
    opening declares the queue again) ends the confirms: close, open, and send again what was not confirmed.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._link = Link(broker.address)
        self._confirms = _Confirms()
        self._refused: TocsinError | None = None
        self._channel: Any = None
        self._queues = {partition: queue_of(broker, partition) for partition in broker.partitions}

    def open(self) -> None:
        """Connect, and declare or check the queues."""
        self._confirms, self._refused = _Confirms(), None
        _opened(self._link, self._broker)
        self._channel = self._link.channel()
        self._channel.add_on_return_callback(self._returned)
        self._link.ask(self._channel.confirm_delivery, self._answered)

    def send(self, messages: Sequence[Message]) -> None:
        """Hand messages over, in order. They leave here and in `confirmed`, as fast as the broker reads."""
        from tocsin.connectors._amqp_frames import to_publish

        self._link.check()
        number, most, frames = self._channel.channel_number, self._link.largest, []
        for message in messages:
            queue, beside = self._queues[message.partition], _beside(message)
            made = to_publish(number, queue, message.body, beside, most)
            if made:
                frames.append(made)
            else:
                self._link.write(b"".join(frames))
                frames.clear()
                self._channel.basic_publish("", queue, message.body, _properties(*beside), mandatory=True)
        self._link.write(b"".join(frames))
        self._link.run(_at_once, 0)

    def confirmed(self, timeout: float) -> int:
        """How many more the broker has; none while it has blocked us for want of memory or disk."""
        self._link.run(self._is_told, timeout)
        count = self._confirms.news()
        if not count and self._refused is not None:
            raise self._refused
        return count

    def close(self) -> None:
        """End the connection."""
        self._link.close()

    def _is_told(self) -> bool:
        return self._confirms.has_news or self._refused is not None

    def _answered(self, frame: Any) -> None:
        if self._refused is not None:
            return
        if frame.method.NAME == "Basic.Nack":
            self._refused = RetryLater(
                f"{self._broker.address}: the broker could not take a message: its queue is full, or it is not well"
            )
        else:
            self._confirms.take(frame.method.delivery_tag, frame.method.multiple)

    def _returned(self, _: Any, method: Any, *__: Any) -> None:
        """The broker found no queue; it confirms such a message right afterwards, as one that it is done with."""
        gone = f"{self._broker.address}: there is no queue '{method.routing_key}' any more"
        self._refused = self._refused or (
            RetryLater(f"{gone}: it is declared again with the next connection")
            if self._broker.create
            else SetupError(f"{gone}: make it, or say `create: true`")
        )


class _Confirms:
    """Confirms come for single messages, in any order, or for all up to one; they count in the order sent."""

    def __init__(self) -> None:
        self._upto = 0
        self._told = 0
        self._ahead: set[int] = set()

    @property
    def has_news(self) -> bool:
        return self._upto > self._told

    def take(self, tag: int, multiple: bool) -> None:
        """The broker has this message; if `multiple`, and all before it."""
        if multiple:
            self._upto = max(self._upto, tag)
            self._ahead = {other for other in self._ahead if other > tag}
        else:
            self._ahead.add(tag)
        while self._upto + 1 in self._ahead:
            self._upto += 1
            self._ahead.remove(self._upto)

    def news(self) -> int:
        """How many more are confirmed without a gap before them."""
        count, self._told = self._upto - self._told, self._upto
        return count


@dataclass(slots=True)
class _Consumer:
    """One queue's channel; `life` tells its delivery tags from those of the channel before it."""

    channel: Channel
    life: int
    acked: int = 0


class Source:
    """Messages out of RabbitMQ."""

    rereadable = False
    assigns = False
    windowed = True

    def __init__(self, broker: Broker, group: str) -> None:  # noqa: ARG002 (whoever shares the queues is the group)
        self._broker = broker
        self._link = Link(broker.address)
        self._consumers: dict[str, _Consumer] = {}
        self._inbox: deque[Message] = deque()
        self._expelled = Expelled(self._link, broker, _made, self._inbox.append)
        self._lives = itertools.count()
        self._paused = False
        self._prefetch = PREFETCH

    def open(self) -> None:
        """Connect, and declare or check the queues."""
        self._forget()
        self._prefetch = number(self._broker.address, "prefetch", PREFETCH)
        _opened(self._link, self._broker)

    def begin(self, partition: str, position: Any = None) -> None:  # noqa: ARG002 (the queue has what is left)
        """Consume a queue."""
        channel, life = self._link.channel(), next(self._lives)
        channel.add_on_cancel_callback(self._cancelled)
        self._link.ask(channel.basic_qos, prefetch_count=self._prefetch)
        self._consumers[partition] = _Consumer(channel, life)
        receive = partial(self._receive, partition, life)
        received = partial(_received, receive)
        answer = self._link.ask(channel.basic_consume, queue_of(self._broker, partition), received)
        self._link.hear(channel, answer.method.consumer_tag, receive)
        if self._broker.create:
            self._expelled.begin(partition)

    def end(self, partition: str) -> None:
        """Consume a queue no more; what was not acknowledged is back in it, in its place."""
        consumer = self._consumers.pop(partition, None)
        if consumer is not None:
            self._link.drop(consumer.channel)
            self._expelled.end(partition)
            others = [message for message in self._inbox if message.partition != partition]
            self._inbox.clear()
            self._inbox.extend(others)

    def poll(self, max_messages: int, timeout: float) -> Polled:
        """What has come; heartbeats are served here."""
        self._link.run(self._has_some, timeout)
        self._expelled.look()
        count = 0 if self._paused else min(max_messages, len(self._inbox))
        return Polled([self._inbox.popleft() for _ in range(count)])

    def ack(self, messages: Sequence[Message]) -> None:
        """Acknowledge the last of each queue, and with it all before. Those of an earlier connection come again."""
        self._link.check()
        self._expelled.ack([message for message in messages if is_expelled(message)])
        own = {message.partition: message.position for message in messages if not is_expelled(message)}
        for partition, (life, tag) in own.items():
            consumer = self._consumers.get(partition)
            if consumer is not None and consumer.life == life and tag > consumer.acked:
                consumer.acked = tag
                consumer.channel.basic_ack(tag, multiple=True)
        self._link.run(_at_once, 0)

    def pause(self) -> None:
        """Give none. The broker sends no more than `prefetch` ahead, so nothing needs to be said to it."""
        self._paused = True

    def resume(self) -> None:
        """Give messages again."""
        self._paused = False

    def close(self) -> None:
        """End the connection."""
        self._link.close()
        self._forget()

    def _forget(self) -> None:
        self._consumers.clear()
        self._expelled.forget()
        self._inbox.clear()

    def _has_some(self) -> bool:
        return bool(self._inbox) and not self._paused

    def _receive(
        self, partition: str, life: int, tag: int, key: str, content_type: str, stamp: str, message_id: str, body: bytes
    ) -> None:
        self._inbox.append(message_of(body, content_type, stamp, partition, (life, tag), key, message_id))

    def _cancelled(self, frame: Any) -> None:
        """The broker ends a consumer by itself when its queue is deleted or changes its place in a cluster."""
        from pika.exceptions import ConsumerCancelled

        self._link.fail(ConsumerCancelled(frame.method))


def _opened(link: Link, broker: Broker) -> None:
    """Open a link and prepare its queues; one that cannot be used is not left open."""
    try:
        link.open()
        prepare(link, broker)
    except TocsinError:
        link.close()
        raise


def _made(properties: Any, body: bytes, partition: str, position: Any, key: str) -> Message:
    from tocsin.connectors._amqp_frames import told

    content_type, stamp, message_id = told(properties)
    return message_of(body, content_type, stamp, partition, position, key, message_id)


def _at_once() -> bool:
    return True


def _beside(message: Message) -> tuple[str, str, str]:
    """Content type, stamp and message id."""
    named = f"{message.producer}:{message.partition}:{message.seq}" if message.producer else ""
    return message.content_type, stamp_of(message), named


def _properties(content_type: str, stamp: str, message_id: str) -> Any:
    from pika import BasicProperties

    return BasicProperties(
        content_type=content_type or None,
        headers={STAMP: stamp},
        delivery_mode=PERSISTENT,
        message_id=message_id or None,
    )


def _received(receive: Receive, _: Any, method: Any, properties: Any, body: bytes) -> None:
    """A delivery that went pika's way."""
    from tocsin.connectors._amqp_frames import told

    receive(method.delivery_tag, method.routing_key, *told(properties), body)
