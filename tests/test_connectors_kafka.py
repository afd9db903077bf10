"""Kafka, against a real broker: there and back, groups, positions, and what happens when it is gone."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import IO, Any

import pytest
from confluent_kafka import KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from services import free_port, running
from services.kafka import Kafka
from tocsin.address import parse_address
from tocsin.connectors import Broker, _kafka_sink, open_sink, open_source, waiting
from tocsin.connectors._kafka import Faults
from tocsin.connectors.kafka import Sink, Source
from tocsin.errors import NotConnected, RetryLater, RunError, SetupError, TocsinError
from tocsin.message import JSON, Kind, Message

pytestmark = pytest.mark.xdist_group("kafka")

_numbers = count()
LONG = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    yield from running(lambda: Kafka(tmp_path_factory.mktemp("kafka")))


def named(url: str, partitions: int = 1, **more: Any) -> Broker:
    """A broker's settings, with a topic of its own."""
    names = tuple(str(number) for number in range(partitions))
    return Broker(parse_address(url, {}), more.pop("name", f"topic-{next(_numbers)}"), names, **more)


def numbered(how_many: int, partition: str = "0", first: int = 0) -> list[Message]:
    return [Message(b"%d" % seq, partition, JSON, "p", seq) for seq in range(first, first + how_many)]


def publish(broker: Broker, messages: list[Message]) -> None:
    with closing(Sink(broker)) as sink:
        sink.open()
        sink.send(messages)
        confirm(sink, len(messages))


def confirm(sink: Sink, how_many: int) -> None:
    """Wait until so many are confirmed, in however many steps."""
    while how_many:
        how_many -= (found := sink.confirmed(LONG))
        assert found, f"{how_many} were not confirmed"


def until(done: Callable[[], object], step: Callable[[], None]) -> None:
    deadline = time.monotonic() + LONG
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        step()


@contextmanager
def reading(broker: Broker, group: str = "g") -> Iterator[Source]:
    """A source that has been given its partitions, none begun yet; what it held is in `held`."""
    source = Source(broker, f"{group}-{broker.name}")
    source.open()
    with closing(source):
        yield source


def gain(source: Source, how_many: int) -> set[str]:
    gained: set[str] = set()
    until(lambda: len(gained) >= how_many, lambda: gained.update(source.poll(100, 0.2).gained))
    return gained


def take(source: Source, how_many: int) -> list[Message]:
    messages: list[Message] = []
    until(lambda: len(messages) >= how_many, lambda: messages.extend(source.poll(1000, 0.2).messages))
    return messages


def read(broker: Broker, how_many: int, position: int | None = None) -> list[Message]:
    """Messages of partition 0, by a group of its own."""
    with reading(broker, f"g{next(_numbers)}") as source:
        gain(source, len(broker.partitions))
        source.begin("0", position)
        return take(source, how_many)


def bodies(messages: list[Message]) -> list[bytes]:
    return [message.body for message in messages]


# There and back


def test_a_message_comes_back_with_all_that_travels_beside_it(server: Kafka) -> None:
    broker = named(server.url)
    sent = Message(b'{"a": 1}', "0", JSON, "smoker-1", 7, Kind.READINGS, -5, key="smoker °1")
    publish(broker, [sent])
    (got,) = read(broker, 1)
    assert got.position == 1
    assert got.broker_id == f"{broker.name}/0/0"
    assert got.time is not None
    assert abs(got.time / 1e9 - time.time()) < 60
    assert got._replace(position=None, broker_id="", time=None) == sent


def test_a_foreign_message_has_no_origin_and_may_be_anything(server: Kafka) -> None:
    broker = named(server.url)
    publish(broker, [])
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{server.plain}"})
    producer.produce(broker.name, None, b"\xff", headers={"odd": None, "content-type": b"\xff"}, timestamp=5)
    producer.flush()
    (got,) = read(broker, 1)
    assert (got.body, got.key, got.producer, got.content_type, got.time) == (b"", "�", "", "�", 5_000_000)


def test_partitions_keep_their_order_and_are_confirmed_in_the_order_of_sending(server: Kafka) -> None:
    broker = named(server.url, 3)
    sent = [one for some in zip(*(numbered(200, p) for p in broker.partitions), strict=True) for one in some]
    publish(broker, sent)
    with reading(broker) as source:
        assert gain(source, 3) == {"0", "1", "2"}
        for partition in broker.partitions:
            source.begin(partition)
        got = take(source, 600)
    for partition in broker.partitions:
        assert [m.seq for m in got if m.partition == partition] == list(range(200))


def test_a_poll_gives_no_more_than_asked_and_waits_no_longer_than_for_the_first(server: Kafka) -> None:
    broker = named(server.url)
    publish(broker, numbered(10))
    with reading(broker) as source:
        gain(source, 1)
        source.begin("0")
        began = time.monotonic()
        assert bodies(source.poll(4, LONG).messages)[:1] == [b"0"]
        assert time.monotonic() - began < LONG / 2
        assert len(source.poll(4, 1).messages) <= 4


def test_a_poll_gives_only_some_megabytes_however_much_is_at_hand(server: Kafka) -> None:
    broker = named(server.url)
    publish(broker, [Message(b"x" * 150_000, "0", JSON, "p", seq) for seq in range(100)])
    sizes: list[int] = []
    with reading(broker) as source:
        gain(source, 1)
        source.begin("0")
        first = source.poll(1, LONG).messages
        time.sleep(2)  # in which the client gets all the others
        until(
            lambda: len(first) + sum(sizes) // 150_000 == 100,
            lambda: sizes.append(sum(len(each.body) for each in source.poll(1_000, 1).messages)),
        )
    assert max(sizes) <= 4 << 20
    assert len([size for size in sizes if size]) >= 4


# Positions


def test_what_waits_is_what_lies_behind_the_stores_position(server: Kafka) -> None:
    """Nobody joins the group for it, and what retention has removed does not wait."""
    broker = named(server.url, 2)
    publish(broker, [Message(b"x", partition) for partition in "00000111"])
    assert waiting(broker, {}) == {"0": 5, "1": 3}
    assert waiting(broker, {"0": 4, "1": 3}) == {"0": 1, "1": 0}
    server.remove_before(broker.name, 2)
    assert waiting(broker, {"1": 1}) == {"0": 3, "1": 2}
    with pytest.raises(TocsinError, match=r"127\.0\.0\.1:1"):
        waiting(named("kafka://127.0.0.1:1"), {})


def test_reading_goes_on_after_a_position(server: Kafka) -> None:
    broker = named(server.url)
    publish(broker, numbered(10))
    position = read(broker, 10)[5].position
    assert bodies(read(broker, 4, position)) == [b"6", b"7", b"8", b"9"]


def test_a_partition_can_be_begun_again_elsewhere(server: Kafka) -> None:
    """Also backwards; what was fetched before does not slip in."""
    broker = named(server.url)
    publish(broker, numbered(10))
    with reading(broker) as source:
        gain(source, 1)
        source.begin("0", 8)
        assert bodies(take(source, 2)) == [b"8", b"9"]
        source.begin("0", 7)
        source.begin("0", 3)
        assert bodies(take(source, 7))[0] == b"3"
        source.end("0")
        assert source.poll(10, 0.3) == ([], (), ())


def test_nothing_is_read_before_it_is_begun_wherever_the_group_was(server: Kafka) -> None:
    """The group's offset is a hint only."""
    broker = named(server.url)
    publish(broker, numbered(4))
    with reading(broker) as source:
        gain(source, 1)
        source.begin("0")
        source.ack(take(source, 4))
    with reading(broker) as source:
        gain(source, 1)
        assert source.poll(10, 0.3).messages == []
        source.begin("0", 1)
        assert bodies(take(source, 3)) == [b"1", b"2", b"3"]


def test_acknowledging_tells_the_group_how_far_it_is(server: Kafka) -> None:
    broker = named(server.url)
    publish(broker, numbered(5))
    with reading(broker) as source:
        gain(source, 1)
        source.begin("0")
        source.ack(take(source, 5)[:3])
        place, consumer = TopicPartition(broker.name, 0), source._connected()
        until(lambda: consumer.committed([place], LONG)[0].offset == 3, lambda: time.sleep(0.05))


def test_a_position_that_retention_has_removed_is_an_error_that_says_what_is_lost(server: Kafka) -> None:
    broker = named(server.url)
    publish(broker, numbered(10))
    server.remove_before(broker.name, 6)
    with pytest.raises(RunError, match=r"partition 0: offsets from 2 to 5 are lost.*retention.ms"):
        read(broker, 1, 2)
    assert bodies(read(broker, 4)) == [b"6", b"7", b"8", b"9"]


def test_a_position_after_the_end_is_an_error(server: Kafka) -> None:
    broker = named(server.url)
    publish(broker, numbered(3))
    with pytest.raises(RunError, match="ends at offset 3, before 9 where reading goes on: was it made anew"):
        read(broker, 1, 9)


# Groups


def test_two_sources_share_the_partitions_and_one_takes_over_what_the_other_leaves(server: Kafka) -> None:
    broker = named(server.url, 2)
    with reading(broker) as stays:
        assert gain(stays, 2) == {"0", "1"}
        with reading(broker) as leaves:
            lost: set[str] = set()
            gained: set[str] = set()

            def step() -> None:
                lost.update(stays.poll(1, 0.05).lost)
                gained.update(leaves.poll(1, 0.05).gained)

            until(lambda: gained and lost, step)
            assert gained == lost
            assert len(gained) == 1
        assert gain(stays, 1) == gained


MEMBER = """
import sys
from tocsin.address import parse_address
from tocsin.connectors import Broker, kafka
kafka.SESSION = 1500
source = kafka.Source(Broker(parse_address(sys.argv[1], {}), sys.argv[2]), sys.argv[3])
source.open()
while True:
    polled = source.poll(1, 0.5)
    if polled.gained or polled.lost:
        print(*polled.gained, "gained", *polled.lost, "lost", flush=True)
"""


@contextmanager
def member(broker: Broker) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Another process of the group, and what it says of its partitions."""
    command = [sys.executable, "-c", MEMBER, str(broker.address), broker.name, f"g-{broker.name}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "0 gained lost\n"
            yield process, process.stdout
        finally:
            process.kill()


def test_what_a_killed_process_had_goes_to_another(server: Kafka) -> None:
    broker = named(server.url)
    with member(broker) as (process, _), reading(broker) as source:
        assert source.poll(1, 0.5).gained == ()
        process.kill()
        assert gain(source, 1) == {"0"}


def test_a_process_that_was_frozen_hears_what_it_has_lost(server: Kafka) -> None:
    broker = named(server.url)
    with member(broker) as (process, says), reading(broker) as source:
        process.send_signal(signal.SIGSTOP)
        assert gain(source, 1) == {"0"}
        process.send_signal(signal.SIGCONT)
        assert says.readline() == "gained 0 lost\n"


# Pausing


def test_a_paused_source_gives_nothing_and_then_goes_on_where_it_was(server: Kafka) -> None:
    broker = named(server.url)
    publish(broker, numbered(3))
    with reading(broker) as source:
        gain(source, 1)
        source.begin("0")
        take(source, 3)
        source.pause()
        publish(broker, numbered(3, first=3))
        assert source.poll(10, 0.3).messages == []
        source.resume()
        assert bodies(take(source, 3)) == [b"3", b"4", b"5"]


def test_a_partition_that_is_added_to_a_topic_of_others_is_found_soon(server: Kafka) -> None:
    topic = named(server.url, 1)
    publish(topic, numbered(1))
    theirs = Broker(topic.address, topic.name, (), create=False)
    with reading(theirs) as source:
        assert gain(source, 1) == {"0"}
        admin = AdminClient({"bootstrap.servers": topic.address.servers[0]})
        admin.create_partitions([NewPartitions(topic.name, 2)])[topic.name].result(LONG)
        gained: set[str] = set()
        deadline = time.monotonic() + 120
        while not gained and time.monotonic() < deadline:
            gained.update(source.poll(100, 0.2).gained)
    assert gained == {"1"}


def test_what_is_begun_while_paused_waits_too(server: Kafka) -> None:
    broker = named(server.url)
    publish(broker, numbered(3))
    with reading(broker) as source:
        gain(source, 1)
        source.pause()
        source.begin("0")
        assert source.poll(10, 0.3).messages == []
        source.end("0")
        source.resume()
        source.begin("0", 1)
        assert bodies(take(source, 2)) == [b"1", b"2"]


# Topics


def test_a_topic_with_another_number_of_partitions_is_a_mistake_that_names_it(server: Kafka) -> None:
    broker = named(server.url, 3)
    Sink(broker).open()
    with pytest.raises(SetupError, match=r"has 3 partitions, expected 2: set `partitions: 3`"):
        Source(named(server.url, 2, name=broker.name), "g").open()


def test_a_topic_that_is_not_to_be_created_must_be_there(server: Kafka) -> None:
    broker = named(server.url, create=False)
    with pytest.raises(SetupError, match=r"is not there: make it, or set `create: true`"):
        Sink(broker).open()
    assert broker.name not in server.topics()


def test_more_copies_than_brokers_are_refused(server: Kafka) -> None:
    with pytest.raises(SetupError, match=r"set \?replication= to no more than there are brokers"):
        Sink(named(server.url + "?replication=3")).open()


def test_a_message_that_is_too_large_is_said_and_nothing_behind_it_is_confirmed(server: Kafka) -> None:
    with closing(Sink(named(server.url))) as sink:
        sink.open()
        sink.send([Message(b"small"), Message(b"x" * 2_000_000), Message(b"small")])
        with pytest.raises(RunError, match=r"raise the topic's max\.message\.bytes"):
            assert sum(iter(lambda: sink.confirmed(LONG), 0)) <= 1


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?mechansim=PLAIN", "there is no option 'mechansim'. Did you mean 'mechanism'?"),
        ("?mechanism=MD5", "expected PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
        ("?mechanism=PLAIN", "needs a user"),
        ("?ca=ca.pem", "write kafkas://"),
    ],
)
def test_a_parameter_that_cannot_be_meant_is_refused(query: str, says: str) -> None:
    with pytest.raises(SetupError) as found:
        Sink(named("kafka://127.0.0.1:1" + query)).open()
    assert says in str(found.value)


def test_a_number_of_copies_must_be_one(server: Kafka) -> None:
    with pytest.raises(SetupError, match="replication=some: expected a whole number"):
        Sink(named(server.url + "?replication=some")).open()


def test_queues_are_not_for_kafka() -> None:
    with pytest.raises(SetupError, match="`queue` is for AMQP"):
        Source(named("kafka://127.0.0.1:1", queue="{device}"), "g").open()


# Who may


def test_tls_is_spoken_to_a_server_whose_certificate_is_known(server: Kafka) -> None:
    broker = named(f"kafkas://me:right@127.0.0.1:{server.tls}?ca={server.ca}")
    publish(broker, numbered(3))
    assert bodies(read(broker, 3)) == [b"0", b"1", b"2"]


def test_a_server_whose_certificate_is_not_known_is_not_trusted(server: Kafka) -> None:
    with pytest.raises(SetupError, match=r"check \?ca="):
        Sink(named(f"kafkas://me:right@127.0.0.1:{server.tls}")).open()


@pytest.mark.parametrize("code", [KafkaError._SSL, KafkaError._TRANSPORT])
def test_it_is_known_by_its_words_however_the_client_sorts_it(code: int) -> None:
    faults = Faults(named("kafkas://127.0.0.1:1"))
    faults.heard(KafkaError(code, "sasl_ssl://h:1/bootstrap: error:0A000086:SSL routines::certificate verify failed"))
    with pytest.raises(SetupError, match=r"check \?ca="):
        faults.check()


def test_a_file_of_certificates_that_is_not_there_is_named(server: Kafka, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"ssl\.ca\.location"):
        Sink(named(f"kafkas://127.0.0.1:{server.tls}?ca={tmp_path}/none.pem")).open()


def test_a_wrong_password_is_said_and_not_shown(server: Kafka, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SetupError, match="check user and password") as found:
        Sink(named(f"kafka://me:hidden-1@127.0.0.1:{server.asks}")).open()
    assert "hidden-1" not in str(found.value)
    assert capfd.readouterr() == ("", "")


def test_a_password_may_be_proved_without_being_sent(server: Kafka) -> None:
    server.add_user("you", "right")
    broker = named(f"kafka://you:right@127.0.0.1:{server.asks}?mechanism=SCRAM-SHA-256")
    publish(broker, numbered(1))


# Not there


def test_a_client_that_nobody_answered_goes_without_taking_the_process_with_it() -> None:
    """Each waits for its answer for ten seconds more, in a thread of its own, in which the collector may find it."""
    script = f"""
import gc, time
from tocsin.address import parse_address
from tocsin.connectors import Broker
from tocsin.connectors._kafka import Topic
from tocsin.errors import NotConnected
gc.disable()
broker = Broker(parse_address("kafka://127.0.0.1:{free_port()}", {{}}), "t", ("0",))
for _ in range(4):
    try:
        Topic(broker).ready()
    except NotConnected as error:
        held = [error]
        held.append(held)
gc.enable()
gc.set_threshold(1, 1, 1)
until = time.monotonic() + 13
while time.monotonic() < until:
    time.sleep(0.1)
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_a_broker_that_is_not_there_is_noticed_soon_and_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    with pytest.raises(NotConnected, match=r"no broker answers: .*refused"):
        Source(named(f"kafka://127.0.0.1:{free_port()}"), "g").open()
    assert time.monotonic() - began < 5
    assert capfd.readouterr() == ("", "")


def test_any_of_several_servers_will_do(server: Kafka) -> None:
    broker = named(f"kafka://127.0.0.1:{free_port()},127.0.0.1:{server.plain}")
    publish(broker, numbered(2))


def test_closing_twice_or_before_opening_does_nothing(server: Kafka) -> None:
    broker = named(server.url)
    for each in (Sink(broker), Source(broker, "g")):
        each.close()
        each.open()
        each.close()
        each.close()
    with pytest.raises(NotConnected, match="is not open"):
        Sink(broker).send(numbered(1))


def test_a_full_queue_asks_for_patience_and_takes_nothing(server: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kafka_sink, "WAITING", 5)
    monkeypatch.setattr(_kafka_sink, "LINGER", 400)
    monkeypatch.setattr(_kafka_sink, "ROOM", 0.1)
    broker = named(server.url)
    with closing(Sink(broker)) as sink:
        sink.open()
        sink.send(numbered(5))
        with pytest.raises(RetryLater, match="5 messages wait"):
            sink.send(numbered(1, first=5))
        confirm(sink, 5)
        sink.send(numbered(1, first=5))
        confirm(sink, 1)
    assert len(read(broker, 6)) == 6


def test_what_was_confirmed_survives_a_killed_broker_and_sending_the_rest_again_leaves_no_gap(server: Kafka) -> None:
    broker = named(server.url, 2)
    sent = [one._replace(partition=str(one.seq % 2)) for one in numbered(3000)]
    with closing(Sink(broker)) as sink:
        sink.open()
        confirmed = sum(confirmed_until_killed(server, sink, sent))
        assert 0 < confirmed < 3000
        sink.close()
        server.restart()
        sink.open()
        sink.send(sent[confirmed:])
        confirm(sink, 3000 - confirmed)
    everything = whole(broker)
    assert {message.seq for message in everything} == set(range(3000))
    for partition in "01":
        fresh = list(dict.fromkeys(m.seq for m in everything if m.partition == partition))
        assert fresh == sorted(fresh)


def confirmed_until_killed(server: Kafka, sink: Sink, sent: list[Message]) -> Iterator[int]:
    """The broker dies when two thirds are sent."""
    try:
        for first in range(0, 3000, 100):
            if first == 2000:
                server.kill()
            sink.send(sent[first : first + 100])
            yield sink.confirmed(LONG)
    except NotConnected:
        return


def whole(broker: Broker) -> list[Message]:
    """All of a topic, up to half a second of silence."""
    with reading(broker, "whole") as source:
        for partition in gain(source, 2):
            source.begin(partition)
        messages = take(source, 3000)
        while more := source.poll(1000, 0.5).messages:
            messages += more
        return messages


def test_a_source_says_that_its_broker_has_gone(server: Kafka) -> None:
    broker = named(server.url)
    publish(broker, numbered(2))
    with reading(broker) as source:
        gain(source, 1)
        source.begin("0")
        take(source, 2)
        server.kill()
        try:
            with pytest.raises(NotConnected, match="no broker answers"):
                take(source, 1)
        finally:
            server.start()
    assert bodies(read(broker, 1, 1)) == [b"1"]


def test_a_frozen_broker_does_not_hold_up_whoever_closes(server: Kafka) -> None:
    broker = named(server.url)
    publish(broker, numbered(1))
    source, sink = Source(broker, "g"), Sink(broker)
    source.open()
    sink.open()
    gain(source, 1)
    source.begin("0")
    source.ack(take(source, 1))
    server.send(signal.SIGSTOP)
    began = time.monotonic()
    sink.send(numbered(1))
    sink.close()
    source.close()
    server.send(signal.SIGCONT)
    assert time.monotonic() - began < LONG / 2


# Opening by the address


def test_a_scheme_opens_its_file_and_a_wrong_one_is_named() -> None:
    for scheme in ("kafka", "kafkas"):
        assert isinstance(open_sink(named(f"{scheme}://host")), Sink)
        assert isinstance(open_source(named(f"{scheme}://host"), "g"), Source)
    with pytest.raises(SetupError, match="Did you mean 'kafka'"):
        open_sink(named("kafak://host"))


def test_a_library_that_is_not_installed_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tocsin.connectors.kafka")
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(SetupError, match=r"confluent_kafka is not installed here.*pip install -e '\.\[kafka\]'"):
        open_sink(named("kafka://host"))
