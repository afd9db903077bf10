"""What the brokers' client libraries do by themselves: the yardstick of `brokers.py`.

Publishing hands all bodies over, with as many unconfirmed as the client does best with, and ends with the last
confirmation; nothing travels beside a body.  Consuming takes each message's value, looks for an error, has `json.loads`
read it if it is JSON, and acknowledges many at once where the broker can.  The clock of consuming runs from when the
broker is first asked for messages.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Sequence
from threading import Semaphore
from typing import Any, Protocol

from tocsin.connectors import Broker
from tocsin.connectors._journal_tables import INSERT

WINDOW, SOME, POLL = 2_000, 500, 5_000


class Bare(Protocol):
    """One broker's client library."""

    def publish(self, bodies: Sequence[bytes]) -> float:
        """Seconds until all are confirmed."""
        ...

    def consume(self, count: int, read: Callable[[bytes], object]) -> float:
        """Seconds until so many were read."""
        ...


class Journal:
    """SQLite: rows written a thousand at a time, and read in order."""

    def __init__(self, broker: Broker) -> None:
        self._path = broker.address.path

    def publish(self, bodies: Sequence[bytes]) -> float:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        began = time.perf_counter()
        for low in range(0, len(bodies), 1_000):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                INSERT, [(0, "0", "", "", 0, "", None, "", "", None, body) for body in bodies[low : low + 1_000]]
            )
            connection.execute("COMMIT")
        spent = time.perf_counter() - began
        connection.close()
        return spent

    def consume(self, count: int, read: Callable[[bytes], object]) -> float:
        connection, at, began = sqlite3.connect(self._path), 0, time.perf_counter()
        while count > 0:
            found = connection.execute(
                "SELECT id, body FROM messages WHERE id > ? ORDER BY id LIMIT ?", (at, POLL)
            ).fetchall()
            for _, body in found:
                read(body)
            at, count = found[-1][0], count - len(found)
        connection.close()
        return time.perf_counter() - began


class Kafka:
    """confluent-kafka: an idempotent producer; a consumer with the connector's settings for fetching."""

    def __init__(self, broker: Broker) -> None:
        self._broker, self._server = broker, broker.address.servers[0]

    def publish(self, bodies: Sequence[bytes]) -> float:
        from confluent_kafka import Producer

        more = {"enable.idempotence": True, "linger.ms": 2, "queue.buffering.max.messages": 0, "log_level": 0}
        producer, topic = Producer({"bootstrap.servers": self._server, **more}), self._broker.name
        began = time.perf_counter()
        for body in bodies:
            producer.produce(topic, body, partition=0)
        producer.flush()
        return time.perf_counter() - began

    def consume(self, count: int, read: Callable[[bytes], object]) -> float:
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        more = {"group.id": "bare", "enable.auto.commit": False, "fetch.queue.backoff.ms": 10, "log_level": 0}
        consumer = Consumer({"bootstrap.servers": self._server, **more})
        began = time.perf_counter()
        consumer.assign([TopicPartition(self._broker.name, 0, OFFSET_BEGINNING)])
        while count > 0:
            for each in consumer.consume(POLL, 0) or consumer.consume(1, 1):
                if each.error() is None:
                    read(each.value())
                    count -= 1
        spent = time.perf_counter() - began
        consumer.close()
        return spent


class Amqp:
    """pika's SelectConnection in a loop of its own: many confirms, and an acknowledgement for every 500."""

    def __init__(self, broker: Broker) -> None:
        self._broker, self._queue = broker, f"{broker.name}.0"
        self._began = self._ended = 0.0
        self._sent = self._done = self._count = 0
        self._bodies: Sequence[bytes] = ()
        self._read: Callable[[bytes], object] = len

    def publish(self, bodies: Sequence[bytes]) -> float:
        self._bodies, self._count = bodies, len(bodies)
        return self._run(self._start_publishing)

    def consume(self, count: int, read: Callable[[bytes], object]) -> float:
        self._count, self._read = count, read
        return self._run(self._start_consuming)

    def _run(self, start: Callable[[Any], None]) -> float:
        import pika

        address = self._broker.address
        self._sent = self._done = 0
        connection = pika.SelectConnection(
            pika.ConnectionParameters(
                address.host, address.port, credentials=pika.PlainCredentials(address.user, address.password)
            ),
            on_open_callback=lambda connection: connection.channel(on_open_callback=start),
            on_close_callback=lambda connection, _: connection.ioloop.stop(),
        )
        connection.ioloop.start()
        return self._ended - self._began

    def _start_publishing(self, channel: Any) -> None:
        import pika

        self._properties = pika.BasicProperties(delivery_mode=2)
        channel.confirm_delivery(lambda frame: self._confirmed(channel, frame.method.delivery_tag))
        self._began = time.perf_counter()
        self._send(channel)

    def _send(self, channel: Any) -> None:
        for body in self._bodies[self._sent : self._done + WINDOW]:
            channel.basic_publish("", self._queue, body, self._properties)
            self._sent += 1

    def _confirmed(self, channel: Any, tag: int) -> None:
        self._done = max(self._done, tag)
        if self._done == self._count:
            self._finish(channel)
        elif self._sent - self._done <= WINDOW - SOME:
            self._send(channel)

    def _start_consuming(self, channel: Any) -> None:
        channel.basic_qos(prefetch_count=WINDOW)
        self._began = time.perf_counter()
        channel.basic_consume(self._queue, self._received)

    def _received(self, channel: Any, method: Any, _: Any, body: bytes) -> None:
        self._read(body)
        self._done += 1
        if self._done % SOME == 0 or self._done == self._count:
            channel.basic_ack(method.delivery_tag, multiple=True)
        if self._done == self._count:
            self._finish(channel)

    def _finish(self, channel: Any) -> None:
        self._ended = time.perf_counter()
        channel.connection.close()


class Mqtt:
    """paho-mqtt in its own thread, as its documentation shows it."""

    def __init__(self, broker: Broker) -> None:
        self._broker, self._topic = broker, f"{broker.name}/0"
        self._five = broker.address.options.get("version") != "3.1.1"

    def publish(self, bodies: Sequence[bytes]) -> float:
        # MQTT 5 has Mosquitto take 20 messages at a time, and disconnect who sends more.
        at_once = min(20 if self._five else 1_000, len(bodies))
        writer, free = self._client("bare-writer", keep=False), Semaphore(at_once)
        writer.max_inflight_messages_set(at_once)
        writer.on_publish = lambda *_: free.release()
        self._connect(writer, keep=False)
        began = time.perf_counter()
        for body in bodies:
            free.acquire()
            writer.publish(self._topic, body, qos=1)
        for _ in range(at_once):
            free.acquire()
        spent = time.perf_counter() - began
        writer.disconnect()
        writer.loop_stop()
        return spent

    def consume(self, count: int, read: Callable[[bytes], object]) -> float:
        """From the session that the connector reads from."""
        came, done = Semaphore(0), 0

        def received(_client: Any, _data: Any, message: Any) -> None:
            nonlocal done
            read(message.payload)
            done += 1
            if done == count:
                came.release()

        reader = self._client(f"tocsin-{self._broker.name}", keep=True)
        reader.on_message = received
        began = time.perf_counter()
        self._connect(reader, keep=True)
        came.acquire()
        spent = time.perf_counter() - began
        reader.disconnect()
        reader.loop_stop()
        return spent

    def _client(self, name: str, *, keep: bool) -> Any:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

        protocol = MQTTProtocolVersion.MQTTv5 if self._five else MQTTProtocolVersion.MQTTv311
        clean = None if self._five else not keep
        made = Client(CallbackAPIVersion.VERSION2, name, clean_session=clean, protocol=protocol)
        made.username_pw_set(self._broker.address.user, self._broker.address.password)
        return made

    def _connect(self, client: Any, *, keep: bool) -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        address, more = self._broker.address, {}
        if self._five:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval, properties.ReceiveMaximum = 3600 if keep else 0, 1_000
            more = {"clean_start": not keep, "properties": properties}
        client.connect(address.host, address.port, **more)
        client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.loop_start()
        while not client.is_connected():
            time.sleep(0.001)


class PubSub:
    """google-cloud-pubsub: its own batches to publish; to consume, pulls and acknowledgements of a thousand by turns."""

    def __init__(self, broker: Broker) -> None:
        project = f"projects/{broker.address.host}"
        self._topic = f"{project}/topics/{broker.name}"
        self._subscription = f"{project}/subscriptions/{broker.name}-{broker.name}"

    def publish(self, bodies: Sequence[bytes]) -> float:
        from google.cloud import pubsub_v1

        publisher = pubsub_v1.PublisherClient(pubsub_v1.types.BatchSettings(max_messages=1_000))
        began = time.perf_counter()
        for future in [publisher.publish(self._topic, body) for body in bodies]:
            future.result()
        spent = time.perf_counter() - began
        publisher.stop()
        return spent

    def consume(self, count: int, read: Callable[[bytes], object]) -> float:
        import grpc
        from google.cloud import pubsub_v1
        from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport

        server = os.environ["PUBSUB_EMULATOR_HOST"]
        channel = grpc.insecure_channel(server, [("grpc.max_receive_message_length", -1)])
        subscriber = pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        began = time.perf_counter()
        while count > 0:
            pulled = subscriber.pull(subscription=self._subscription, max_messages=1_000)
            received = type(pulled).pb(pulled).received_messages
            for each in received:
                read(each.message.data)
            subscriber.acknowledge(subscription=self._subscription, ack_ids=[each.ack_id for each in received])
            count -= len(received)
        spent = time.perf_counter() - began
        subscriber.close()
        return spent


def parsed(body: bytes) -> object:
    """What a message of JSON holds."""
    return json.loads(body)
