"""Messages of others out of real brokers, by clients that know nothing of Tocsin, while `publish` is killed again and again."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pika
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from google.cloud import pubsub_v1
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from faults import command, output
from services import or_skip, running
from services.kafka import Kafka
from services.mosquitto import PASSWORD, USER, Mosquitto
from services.pubsub import PubSub
from services.rabbitmq import PASSWORD as RABBIT_PASSWORD
from services.rabbitmq import USER as RABBIT_USER
from services.rabbitmq import RabbitMQ
from tocsin.codecs.readings import Decoder
from tocsin.connectors.journal import Journal
from tocsin.message import Kind
from tocsin.reading import Series

PATIENCE = 180.0
START = 1_700_000_000
CHUNK, ROUNDS = 600, 4
ALL = CHUNK * ROUNDS


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    yield from running(lambda: RabbitMQ(tmp_path_factory.mktemp("rabbitmq")))


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    yield from running(lambda: Kafka(tmp_path_factory.mktemp("kafka")))


@pytest.fixture(scope="module")
def pubsub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSub]:
    yield from running(lambda: PubSub(tmp_path_factory.mktemp("pubsub")))


def write(folder: Path, source: str, rule: str = "temp_c > 80") -> Path:
    file = folder / "p.yaml"
    lines = "".join(f"  {line}\n" for line in source.strip().splitlines())
    file.write_text(f"pipeline: p\nsource:\n{lines}idle_after: 1h\nrules: [{{alert: A, expr: {rule}}}]\n")
    return file


def wait_for(what: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"it does not come to that: {log.read_text()}"
        time.sleep(0.05)


def journalled(folder: Path) -> list[float]:
    """The values of all readings in the journal."""
    path = folder / "p.journal"
    if not path.exists():
        return []
    with closing(Journal(path)) as journal:
        found = [one for one in journal.read(0, 100_000) if one.kind == Kind.READINGS]
    decoder = Decoder(Series())
    return list(decoder.decode(found).batch.value.tolist()) if found else []


def publish_under_kill(file: Path, send: Callable[[Sequence[int]], None], environment: dict[str, str]) -> list[float]:
    """What the journal has in the end, when `publish` is killed in the middle of each part but the last."""
    folder, log = file.parent, file.parent / "publish.log"
    for part in range(ROUNDS):
        numbers = range(part * CHUNK, (part + 1) * CHUNK)
        send(numbers[: CHUNK // 2])
        process = command("publish", file, environment=environment)
        try:
            before = len(journalled(folder))
            wait_for(lambda: len(journalled(folder)) > before, process, log)  # noqa: B023 (used at once)
            send(numbers[CHUNK // 2 :])
            if part == ROUNDS - 1:
                wait_for(lambda: len(set(journalled(folder))) == ALL, process, log)
        finally:
            process.kill()
            process.wait()
    assert "Traceback" not in log.read_text()
    return journalled(folder)


def all_once(values: Sequence[float]) -> bool:
    return Counter(values) == Counter(map(float, range(ALL)))


@pytest.mark.xdist_group("rabbitmq")
def test_rabbitmq_messages_with_an_id_count_once(tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    """In two queues, of the moment of their arrival, so that nothing but the id tells a repetition."""
    client = rabbitmq.client()
    channel = client.channel()
    for queue in ("probe-a", "probe-b"):
        channel.queue_declare(queue, durable=True)
    source = f"""
amqp: amqp://127.0.0.1:{rabbitmq.port}
queue: [probe-a, probe-b]
time: $arrival
device: $topic
readings: {{value: temp_c}}
"""

    def send(numbers: Sequence[int]) -> None:
        for number in numbers:
            properties = pika.BasicProperties(message_id=f"id-{number}", delivery_mode=2)
            channel.basic_publish("", f"probe-{'ab'[number % 2]}", json.dumps({"value": number}).encode(), properties)

    environment = {"TOCSIN_SOURCE_USER": RABBIT_USER, "TOCSIN_SOURCE_PASSWORD": RABBIT_PASSWORD}
    assert all_once(publish_under_kill(write(tmp_path, source), send, environment))
    client.close()


@pytest.mark.xdist_group("kafka")
def test_kafka_messages_count_once(tmp_path: Path, kafka: Kafka) -> None:
    """Three partitions; device and time stand beside the bodies."""
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{kafka.plain}", "log_level": 0})
    # The messages are of 2023, and Kafka lets go of what is older than a week.
    admin.create_topics([NewTopic("foreign", 3, 1, config={"retention.ms": "-1"})])["foreign"].result(30)
    source = f"kafka: {kafka.url}\ntopic: foreign\ntime: $time\ndevice: $key\nreadings: {{value: temp_c}}"
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{kafka.plain}", "log_level": 0})

    def send(numbers: Sequence[int]) -> None:
        for number in numbers:
            body, when = json.dumps({"value": number}).encode(), (START + number) * 1000
            producer.produce("foreign", body, f"d{number % 7}".encode(), timestamp=when)
        assert producer.flush(60) == 0

    assert all_once(publish_under_kill(write(tmp_path, source), send, {}))
    with closing(sqlite3.connect(tmp_path / "p.journal")) as journal:
        names = {name for (name,) in journal.execute("SELECT name FROM producers")}
    assert names == {"p-0", "p-1", "p-2"}


@pytest.mark.xdist_group("pubsub")
def test_pubsub_messages_count_once(tmp_path: Path, pubsub: PubSub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    topic = publisher.create_topic(request={"name": "projects/kitchen/topics/foreign"})
    subscription = {"name": "projects/kitchen/subscriptions/ours", "topic": topic.name, "ack_deadline_seconds": 10}
    subscriber.create_subscription(request=subscription)
    source = "pubsub: pubsub://kitchen\nsubscription: ours\ntime: $arrival\ndevice: id\nreadings: {value: temp_c}"

    def send(numbers: Sequence[int]) -> None:
        bodies = [json.dumps({"value": number, "id": "d"}).encode() for number in numbers]
        for future in [publisher.publish(topic.name, body) for body in bodies]:
            future.result(60)

    assert all_once(publish_under_kill(write(tmp_path, source), send, {}))
    subscriber.close()
    publisher.transport.close()


@pytest.mark.xdist_group("mosquitto")
def test_mqtt_in_one_command_from_before_the_server_is_there(tmp_path: Path) -> None:
    """`run` waits for the server, is killed twice, and decides as if nothing had been; topics are taken apart."""
    server = or_skip(lambda: Mosquitto(tmp_path / "mosquitto"))
    source = f"""
mqtt: mqtt://127.0.0.1:{server.port}?inflight=1000
topic: plant/{{site}}/{{device}}/{{metric}}
time: {{column: at, format: unix_s}}
value: v
"""
    environment = {"TOCSIN_SOURCE_USER": USER, "TOCSIN_SOURCE_PASSWORD": PASSWORD}
    file, log = write(tmp_path, source), tmp_path / "run.log"
    process = command("run", file, environment=environment)
    wait_for(lambda: "trying again until it is there" in log.read_text(), process, log)
    server.start()
    client = Client(CallbackAPIVersion.VERSION2, "somebody")
    client.username_pw_set(USER, PASSWORD)
    client.connect("127.0.0.1", server.port)
    client.loop_start()
    try:
        for part in range(3):
            wait_for(lambda: log.read_text().count("connected") >= 2 * (part + 1), process, log)  # noqa: B023
            for number in [*range(part * 200, part * 200 + 200), *([100_000] if part == 2 else [])]:
                body = json.dumps({"at": START + number, "v": 90 if number % 100 == 50 else 20})
                client.publish("plant/roof/p7/temp_c", body, qos=1).wait_for_publish(60)
            if part < 2:
                process.kill()
                process.wait()
                process = command("run", file, environment=environment)
        wait_for(lambda: len(ledger(file)) == 12, process, log)
    finally:
        process.kill()
        process.wait()
        client.disconnect()
        client.loop_stop()
        server.stop()
    assert [(seconds_of(move["time"]), move["to"], move["key"]) for move in ledger(file)] == [
        (START + 100 * place + 50 + later, to, {"device": "p7"})
        for place in range(6)
        for later, to in ((0, "firing"), (1, "resolved"))
    ]


def ledger(file: Path) -> list[dict[str, Any]]:
    """The transitions that are saved, none while there is no store."""
    if not (file.parent / "p.db").exists():
        return []
    return [json.loads(line) for line in output("alerts", "ledger", str(file)).splitlines()]


def seconds_of(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp())


@pytest.mark.xdist_group("rabbitmq")
def test_dead_letters_are_read_again_as_the_file_maps_them_then(tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    """A time that is written in another way than the file said at first."""
    client = rabbitmq.client()
    channel = client.channel()
    channel.queue_declare("letters", durable=True)
    channel.basic_publish("", "letters", b'{"at": "31/01/2024 12:00", "v": 90}')
    source = f"amqp: {rabbitmq.url}\nqueue: letters\ntime: at\ndevice: $topic\nreadings: {{v: temp_c}}"
    file, log = write(tmp_path, source), tmp_path / "run.log"
    process = command("run", file)
    try:
        wait_for(lambda: "31/01" in letters(file), process, log)
    finally:
        process.terminate()
        assert process.wait(60) == 143
    assert "queue letters" in letters(file)
    write(tmp_path, source.replace("time: at", 'time: {column: at, format: "%d/%m/%Y %H:%M"}'))
    output("dead-letters", "requeue", str(file), "--all")
    assert letters(file) == ""
    assert journalled(tmp_path) == [90.0]
    # The queue has given no reading, and nobody waits for it once it has been quiet for long enough.
    file.write_text(file.read_text().replace("idle_after: 1h", "idle_after: 1s"))
    process = command("run", file)
    try:
        wait_for(lambda: len(ledger(file)) == 1, process, log)
    finally:
        process.terminate()
        assert process.wait(60) == 143
    assert "producer expired" not in log.read_text()
    client.close()


def letters(file: Path) -> str:
    """The list of dead letters, '' while there is no store or none in it."""
    return output("dead-letters", "list", str(file)) if (file.parent / "p.db").exists() else ""


@pytest.mark.xdist_group("rabbitmq")
def test_a_queue_that_is_not_there_and_a_wrong_password_are_told_in_the_words_of_the_source(
    tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    mapped = "time: at\ndevice: $topic\nreadings: {v: temp_c}"
    file, log = write(tmp_path, f"amqp: {rabbitmq.url}\nqueue: nowhere\n{mapped}"), tmp_path / "publish.log"
    assert command("publish", file).wait(PATIENCE) == 78
    assert "there is no queue 'nowhere': make it, or correct its name in `source:`" in log.read_text()
    write(tmp_path, f"amqp: amqp://me:wrong@127.0.0.1:{rabbitmq.port}\nqueue: nowhere\n{mapped}")
    assert command("publish", file).wait(PATIENCE) == 78
    assert "TOCSIN_SOURCE_USER and TOCSIN_SOURCE_PASSWORD" in log.read_text()
