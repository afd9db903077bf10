"""RabbitMQ: messages a second through the connector, beside the bare pika client doing the same.

    python benchmarks/amqp.py [--messages 20_000] [--size 200] [--runs 3]

Method: the tests' own RabbitMQ is started, with one queue of each type.  Messages of 200 bytes with Tocsin's
headers are published persistently, with at most 2,000 unconfirmed, and then consumed, with 2,000 sent ahead and an
acknowledgement for every 500; the clock runs from the first message to the last confirm, and from the first poll to
the last message.  The bare client is pika's SelectConnection in its own loop, with the same properties, confirms,
prefetch and acknowledgements, and without messages made of what it gets.  Runs take turns; medians.
Server and client share the machine, so both bound the rate.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pika

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from broker_kit import Reader, numbered, opened
from services import Missing
from services.rabbitmq import RabbitMQ
from tocsin.address import parse_address
from tocsin.connectors import Broker
from tocsin.message import CONTENT_TYPE, Message, headers_of

WINDOW = 2_000
SOME = 500


def publish(broker: Broker, messages: list[Message]) -> float:
    """Seconds to publish by the connector."""
    with opened(broker) as sink:
        began = time.perf_counter()
        sent = confirmed = 0
        while confirmed < len(messages):
            some = messages[sent : min(sent + SOME, confirmed + WINDOW)]
            sent += len(some)
            if some:
                sink.send(some)
            confirmed += sink.confirmed(0 if sent < confirmed + WINDOW and sent < len(messages) else 1)
        return time.perf_counter() - began


def consume(broker: Broker, count: int) -> float:
    """Seconds to consume by the connector."""
    with Reader(broker) as reader:
        began = time.perf_counter()
        while count:
            some = reader.source.poll(SOME, 1).messages
            reader.ack(some)
            count -= len(some)
        return time.perf_counter() - began


class Bare:
    """The same with pika alone, as its documentation shows it."""

    def __init__(self, server: RabbitMQ, queue: str, messages: list[Message]) -> None:
        self._queue = queue
        self._messages = messages
        self._parameters = pika.URLParameters(server.url + "/%2F")
        self._began = self._ended = 0.0
        self._sent = self._done = 0

    def publish(self) -> float:
        return self._run(self._start_publishing)

    def consume(self) -> float:
        return self._run(self._start_consuming)

    def _run(self, start: Callable[[Any], None]) -> float:
        self._sent = self._done = 0
        connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=start),
            on_close_callback=lambda connection, _: connection.ioloop.stop(),
        )
        connection.ioloop.start()
        return self._ended - self._began

    def _start_publishing(self, channel: Any) -> None:
        channel.confirm_delivery(lambda frame: self._confirmed(channel, frame.method.delivery_tag))
        self._began = time.perf_counter()
        self._send(channel)

    def _send(self, channel: Any) -> None:
        for message in self._messages[self._sent : self._done + WINDOW]:
            headers = headers_of(message)
            properties = pika.BasicProperties(
                content_type=headers.pop(CONTENT_TYPE),
                headers=headers,
                delivery_mode=2,
                message_id=f"{message.producer}:{message.partition}:{message.seq}",
            )
            channel.basic_publish("", self._queue, message.body, properties, mandatory=True)
            self._sent += 1

    def _confirmed(self, channel: Any, tag: int) -> None:
        self._done = max(self._done, tag)
        if self._done == len(self._messages):
            self._finish(channel)
        elif self._sent - self._done <= WINDOW - SOME:
            self._send(channel)

    def _start_consuming(self, channel: Any) -> None:
        channel.basic_qos(prefetch_count=WINDOW)
        self._began = time.perf_counter()
        channel.basic_consume(self._queue, self._received)

    def _received(self, channel: Any, method: Any, _: Any, __: bytes) -> None:
        self._done += 1
        if self._done % SOME == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if self._done == len(self._messages):
            self._finish(channel)

    def _finish(self, channel: Any) -> None:
        self._ended = time.perf_counter()
        channel.connection.close()


def measure(server: RabbitMQ, kind: str, messages: list[Message], runs: int) -> None:
    """Prints a line for each direction."""
    broker = Broker(parse_address(f"{server.url}?queue_type={kind}", {}), kind)
    bare = Bare(server, f"{kind}.0", messages)
    consume(broker, 0)  # makes the queue
    turns = [
        (publish(broker, messages), consume(broker, len(messages)), bare.publish(), bare.consume()) for _ in range(runs)
    ]
    sent, got, bare_sent, bare_got = (len(messages) / statistics.median(column) for column in zip(*turns, strict=True))
    for what, ours, theirs in (("publish", sent, bare_sent), ("consume", got, bare_got)):
        print(f"{kind:>8} {what:>8} {ours:>10,.0f} {theirs:>10,.0f} {ours / theirs:>6.2f}", flush=True)


def main() -> None:
    """Prints a table of rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    messages = numbered(options.messages, body=b"x" * options.size)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            server = RabbitMQ(Path(folder))
        except Missing as missing:
            print(missing)
            return
        server.start()
        try:
            print(f"{'queue':>8} {'':>8} {'Tocsin/s':>10} {'pika/s':>10} {'ratio':>6}")
            for kind in ("quorum", "classic"):
                measure(server, kind, messages, options.runs)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
