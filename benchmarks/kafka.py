"""Kafka through the connector beside the bare client: messages published and consumed a second.

    python benchmarks/kafka.py [--messages 200_000] [--runs 3] [--url kafka://host:9092]

Method: without --url a broker of its own is started on this machine, so that broker and client share the
cores.  Messages are single JSON readings of about 80 bytes in one partition.  Bare publishing is an idempotent
producer with the connector's settings and no headers, up to the last confirmation; the connector's messages
have theirs.  Bare consuming, with the connector's settings for fetching, takes the value, looks for an error
and decodes by `json.loads`, and with headers takes those too; the connector gives `Message`s, which are
decoded in the same way.  Medians of several runs, each kind in turn.  Beside the rate stands the
processor's time in the thread that calls, which a busy machine moves less.  Latency is a message sent alone,
up to its confirmation.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from tocsin.address import parse_address
from tocsin.connectors import Broker
from tocsin.connectors.kafka import LINGER, Sink, Source
from tocsin.message import JSON, Message

CHUNK = 1000
"""Messages in a send and a poll."""
AHEAD = 50_000
"""So many messages may be unconfirmed."""


class Spent(NamedTuple):
    """Seconds on the wall, and of the processor in the thread that calls."""

    wall: float
    thread: float


class Clock:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._wall, self._thread = time.perf_counter(), time.thread_time()

    def spent(self) -> Spent:
        """What has gone since."""
        return Spent(time.perf_counter() - self._wall, time.thread_time() - self._thread)


def body(number: int) -> bytes:
    """One reading, as a producer of single messages writes it."""
    reading = {"device": f"d-{number % 1000}", "metric": "temp", "time": 1_700_000_000_000 + number, "value": 20.5}
    return json.dumps(reading).encode()


def bare_publish(broker: Broker, bodies: list[bytes]) -> None:
    """The client alone."""
    more = {"enable.idempotence": True, "linger.ms": LINGER, "queue.buffering.max.messages": 0, "log_level": 0}
    producer = Producer({"bootstrap.servers": broker.address.servers[0], **more})
    for each in bodies:
        producer.produce(broker.name, each, partition=0)
    producer.flush()


def publish(broker: Broker, bodies: list[bytes]) -> None:
    """The connector, confirmed as it goes."""
    sink = Sink(broker)
    sink.open()
    sent, confirmed = 0, 0
    while sent < len(bodies):
        part = bodies[sent : sent + CHUNK]
        sink.send([Message(each, "0", JSON, "bench", sent + n, watermark=5) for n, each in enumerate(part)])
        sent += len(part)
        confirmed += sink.confirmed(10 if sent - confirmed > AHEAD else 0)
    while confirmed < sent:
        confirmed += sink.confirmed(10)
    sink.close()


def bare_consume(broker: Broker, how_many: int, headers: bool = False) -> Spent:
    """The client alone."""
    more = {"group.id": "bare", "enable.auto.commit": False, "fetch.queue.backoff.ms": 10}
    consumer = Consumer({"bootstrap.servers": broker.address.servers[0], **more})
    consumer.assign([TopicPartition(broker.name, 0, OFFSET_BEGINNING)])
    fetched, clock = consumer.consume(1, 60), Clock()
    left = how_many
    while left > 0:
        for each in fetched:
            if each.error() is None:
                json.loads(each.value())
                left -= 1
                if headers:
                    each.headers()
        fetched = consumer.consume(CHUNK, 0) or consumer.consume(1, 1)
    spent = clock.spent()
    consumer.close()
    return spent


def consume(broker: Broker, how_many: int) -> Spent:
    """The connector."""
    source = Source(broker, "bench")
    source.open()
    while not source.poll(1, 1).gained:
        pass
    source.begin("0")
    messages, clock = source.poll(1, 60).messages, Clock()
    left = how_many
    while left > 0:
        for each in messages:
            json.loads(each.body)
        left -= len(messages)
        messages = source.poll(CHUNK, 1).messages if left else []
    spent = clock.spent()
    source.close()
    return spent


def timed(call: Callable[[], None]) -> Spent:
    """What a call takes."""
    clock = Clock()
    call()
    return clock.spent()


def latency(broker: Broker) -> float:
    """The median time of a message from `send` to its confirmation, in milliseconds."""
    sink = Sink(broker)
    sink.open()
    spent = []
    for seq in range(100):
        began = time.perf_counter()
        sink.send([Message(body(seq), "0", JSON, "alone", seq)])
        sink.confirmed(10)
        spent.append(time.perf_counter() - began)
    sink.close()
    return statistics.median(spent) * 1000


def topic(url: str, name: str) -> Broker:
    """A topic that is there."""
    broker = Broker(parse_address(url, {}), f"bench-{name}-{time.time_ns()}")
    sink = Sink(broker)
    sink.open()
    sink.close()
    return broker


def measure(url: str, how_many: int, runs: int) -> None:
    """Print a table of rates."""
    bodies = [body(number) for number in range(how_many)]
    found: dict[str, list[Spent]] = {}
    for _ in range(runs):
        foreign, own = topic(url, "foreign"), topic(url, "own")
        spent = {
            "publish, bare client": timed(lambda foreign=foreign: bare_publish(foreign, bodies)),
            "publish, connector": timed(lambda own=own: publish(own, bodies)),
            "consume without headers, bare client": bare_consume(foreign, how_many),
            "consume without headers, connector": consume(foreign, how_many),
            "consume with headers, bare client": bare_consume(own, how_many, headers=True),
            "consume with headers, connector": consume(own, how_many),
        }
        for what, one in spent.items():
            found.setdefault(what, []).append(one)
    for what, several in found.items():
        wall, thread = (statistics.median(each) for each in zip(*several, strict=True))
        print(f"{what:<37} {how_many / wall:>9,.0f} messages/s {1e6 * thread / how_many:>6.1f} µs of the thread")
    print(f"{'alone, sent to confirmed':<37} {latency(topic(url, 'alone')):>9.1f} ms")


def main() -> None:
    """Measures a broker of its own, or the one that is named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--url")
    options = parser.parse_args()
    if options.url:
        measure(options.url, options.messages, options.runs)
        return
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from services.kafka import Kafka

    with tempfile.TemporaryDirectory() as folder:
        server = Kafka(Path(folder))
        server.start()
        try:
            measure(server.url, options.messages, options.runs)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
