"""Messages a second through Google's in-memory Pub/Sub: the connector beside the client library, in the same run.

    python benchmarks/pubsub.py [--messages 10_000] [--runs 3]

Method: so many messages of 60 bytes with Tocsin's headers are published until all are confirmed, while a subscription
holds them; then they are read and acknowledged in batches.  The library alone publishes by its own batches of 1,000,
and pulls and acknowledges 1,000 a request, one after the other, without looking at what came.  Both take turns;
medians of several runs.  The server shares the machine with the client.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from google.cloud import pubsub_v1

from tocsin.address import parse_address
from tocsin.connectors import Broker, open_sink, open_source
from tocsin.message import JSON, Message, headers_of

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from services.pubsub import PubSub

BODY = b'{"device":"smoker","metric":"temp_f","time":1,"value":225.5}'


def messages(count: int) -> list[Message]:
    """What is published."""
    return [Message(BODY, content_type=JSON, producer="smoker-1a2b", seq=n) for n in range(count)]


def connector(count: int) -> tuple[float, float]:
    """Seconds to publish and to read by the connector."""
    broker = Broker(parse_address("pubsub://bench", {}), f"connector-{time.time_ns()}")
    source, sink = open_source(broker, "g"), open_sink(broker)
    source.open()
    sink.open()
    sent = messages(count)
    began, done = time.perf_counter(), 0
    sink.send(sent)
    while done < count:
        done += sink.confirmed(1)
    published = time.perf_counter() - began
    sink.close()
    source.begin("0")
    began, done = time.perf_counter(), 0
    while done < count:
        found = source.poll(1000, 1).messages
        source.ack(found)
        done += len(found)
    read = time.perf_counter() - began
    source.close()
    return published, read


def alone(count: int) -> tuple[float, float]:
    """Seconds to publish and to read by the library alone."""
    publisher = pubsub_v1.PublisherClient(pubsub_v1.types.BatchSettings(max_messages=1000))
    subscriber = pubsub_v1.SubscriberClient()
    name = f"alone-{time.time_ns()}"
    topic, subscription = f"projects/bench/topics/{name}", f"projects/bench/subscriptions/{name}"
    publisher.create_topic(name=topic)
    subscriber.create_subscription(request={"name": subscription, "topic": topic, "ack_deadline_seconds": 60})
    sent = [headers_of(message) for message in messages(count)]
    began = time.perf_counter()
    for future in [publisher.publish(topic, BODY, **headers) for headers in sent]:
        future.result()
    published = time.perf_counter() - began
    began, done = time.perf_counter(), 0
    while done < count:
        pulled = subscriber.pull(subscription=subscription, max_messages=1000)
        ids = [received.ack_id for received in type(pulled).pb(pulled).received_messages]
        subscriber.acknowledge(subscription=subscription, ack_ids=ids)
        done += len(ids)
    read = time.perf_counter() - began
    publisher.stop()
    subscriber.close()
    return published, read


def main() -> None:
    """Prints a table of rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = PubSub(Path(folder))
        server.start()
        os.environ["PUBSUB_EMULATOR_HOST"] = server.address
        try:
            pairs = [(connector(options.messages), alone(options.messages)) for _ in range(options.runs)]
        finally:
            server.stop()
    print(f"{'':>10} {'published/s':>12} {'read/s':>8}")
    for column, who in enumerate(("connector", "alone")):
        out, back = (options.messages / statistics.median(pair[column][way] for pair in pairs) for way in (0, 1))
        print(f"{who:>10} {out:>12,.0f} {back:>8,.0f}")


if __name__ == "__main__":
    main()
