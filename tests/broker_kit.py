"""What every broker's connector must do, as tests that each runs against its own server.

    class TestContract(BrokerContract):
        @pytest.fixture
        def broker(self, server: MyServer) -> Broker:
            return fresh settings, with queues or topics that nobody has used before

`Reader` and `publish` serve tests of one connector alone as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, ClassVar, Self

import pytest

from tocsin.connectors import Broker, Sink, open_sink, open_source
from tocsin.message import ARROW, JSON, Kind, Message

PATIENCE = 30.0
"""Seconds for whatever must come."""
QUIET = 0.5
"""Seconds without a message after which none is expected any more."""


def numbered(count: int, partition: str = "0", first: int = 0, body: bytes = b"{}") -> list[Message]:
    """One producer's messages."""
    return [Message(body, partition, JSON, "kit", seq) for seq in range(first, first + count)]


def as_sent(message: Message) -> Message:
    """Without what the broker and its connector add."""
    return message._replace(position=None, key="", broker_id="", time=None)


def seqs(messages: Iterable[Message]) -> list[int]:
    return [message.seq for message in messages]


def confirm(sink: Sink, count: int) -> None:
    """Wait until so many are confirmed."""
    deadline = time.monotonic() + PATIENCE
    while count > 0:
        assert time.monotonic() < deadline, f"{count} messages were not confirmed"
        count -= sink.confirmed(0.2)
    assert count == 0


@contextmanager
def opened(broker: Broker) -> Iterator[Sink]:
    sink = open_sink(broker)
    try:
        sink.open()
        yield sink
    finally:
        sink.close()


def publish(broker: Broker, messages: Sequence[Message]) -> None:
    """Send messages and wait until the broker has them."""
    with opened(broker) as sink:
        sink.send(messages)
        confirm(sink, len(messages))


class Reader:
    """A source in use as a consumer uses it: of a log it remembers how far it has acknowledged."""

    def __init__(self, broker: Broker) -> None:
        self.source = open_source(broker, "kit")
        self._broker = broker
        self._positions: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self.source.open()
            if self.source.assigns:
                self._join()
            else:
                for partition in self._broker.partitions:
                    self.begin(partition)
        except BaseException:
            self.source.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()

    def begin(self, partition: str) -> None:
        self.source.begin(partition, self._positions.get(partition))

    def take(self, count: int) -> list[Message]:
        """The next messages, so many."""
        found: list[Message] = []
        deadline = time.monotonic() + PATIENCE
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} messages came"
            found += self.source.poll(count - len(found), 0.2).messages
        return found

    def rest(self) -> list[Message]:
        """All that comes until it is quiet."""
        found: list[Message] = []
        while some := self.source.poll(1_000, QUIET).messages:
            found += some
        return found

    def ack(self, messages: Sequence[Message]) -> None:
        self.source.ack(messages)
        if self.source.rereadable:
            self._positions.update({message.partition: message.position for message in messages})

    def _join(self) -> None:
        """Wait until the group has given us every partition."""
        missing = set(self._broker.partitions)
        deadline = time.monotonic() + PATIENCE
        while missing:
            assert time.monotonic() < deadline, f"the group did not assign {missing}"
            for partition in self.source.poll(1, 0.2).gained:
                self.begin(partition)
                missing.discard(partition)


class BrokerContract:
    """The tests. `ordered`: a partition's messages come in the order in which they were sent."""

    ordered: ClassVar[bool] = True

    @pytest.fixture
    def broker(self) -> Broker:
        raise NotImplementedError("the test class of a connector gives its own")

    def test_a_message_arrives_as_it_was_sent(self, broker: Broker) -> None:
        sent = [
            Message(b'{"device": "a"}', "0", JSON, "kit", 0, watermark=-5),
            Message(bytes(range(256)), "0", ARROW, "kit", 1, watermark=1_700_000_000_000_000_001),
            Message(b"", "0", producer="kit", seq=2, kind=Kind.WATERMARK, watermark=7),
            Message(b"x" * 200_000, "0", JSON, "k\u00e4se 1/2", 3, version="2"),
            Message(b"", "0", producer="kit", seq=4, kind=Kind.END),
        ]
        with Reader(broker) as reader:
            publish(broker, sent)
            assert sorted(map(as_sent, reader.take(5)), key=lambda message: message.seq) == sent

    def test_a_foreign_message_has_no_origin(self, broker: Broker) -> None:
        with Reader(broker) as reader:
            publish(broker, [Message(b"{}", "0")])
            (message,) = reader.take(1)
            assert (message.producer, message.seq, message.watermark) == ("", -1, None)

    def test_messages_of_a_partition_come_in_order(self, broker: Broker) -> None:
        with Reader(broker) as reader:
            publish(broker, numbered(1_000))
            found = seqs(reader.take(1_000))
            assert (found if self.ordered else sorted(found)) == list(range(1_000))

    def test_each_partition_gets_its_own(self, broker: Broker) -> None:
        sent = [message for partition in broker.partitions for message in numbered(20, partition)]
        with Reader(broker) as reader:
            publish(broker, sent)
            found = reader.take(len(sent))
            for partition in broker.partitions:
                own = seqs(message for message in found if message.partition == partition)
                assert (own if self.ordered else sorted(own)) == list(range(20))

    def test_what_was_not_acknowledged_comes_again(self, broker: Broker) -> None:
        reader = Reader(broker)
        with reader:
            publish(broker, numbered(10))
            assert len(reader.take(10)) == 10
        with reader:
            assert sorted(seqs(reader.take(10))) == list(range(10))

    def test_what_was_acknowledged_does_not_come_again(self, broker: Broker) -> None:
        reader = Reader(broker)
        with reader:
            publish(broker, numbered(10))
            first = reader.take(4)
            reader.take(6)
            reader.ack(first)
        with reader:
            again = reader.take(6)
            assert sorted(seqs(again)) == sorted(set(range(10)) - set(seqs(first)))
            reader.ack(again)
        with reader:
            assert reader.rest() == []

    def test_a_source_that_is_paused_gives_nothing_and_later_all(self, broker: Broker) -> None:
        with Reader(broker) as reader:
            reader.source.pause()
            publish(broker, numbered(10))
            assert reader.rest() == []
            reader.source.resume()
            assert sorted(seqs(reader.take(10))) == list(range(10))

    def test_a_poll_gives_no_more_than_is_asked_for_and_waits_no_longer(self, broker: Broker) -> None:
        with Reader(broker) as reader:
            publish(broker, numbered(10))
            reader.take(3)
            assert len(reader.source.poll(4, 5).messages) <= 4
            reader.rest()
            began = time.monotonic()
            assert reader.source.poll(10, 0.2).messages == []
            assert time.monotonic() - began < 2

    def test_closing_twice_or_without_opening_does_no_harm(self, broker: Broker) -> None:
        for part in (open_sink(broker), open_source(broker, "kit")):
            part.close()
            part.open()
            part.close()
            part.close()
