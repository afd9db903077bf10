"""RabbitMQ: queues, confirms, acknowledgements and every way in which the broker or the network goes away."""

from __future__ import annotations

import itertools
import json
import logging
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest
import trustme

from broker_kit import PATIENCE, BrokerContract, Reader, confirm, numbered, opened, publish, seqs
from commands import LEDGER, process, tocsin
from faults import SEED, Undisturbed, assert_as_undisturbed, carry_under_fault, write_pipeline
from services import running
from services.rabbitmq import PASSWORD, RabbitMQ
from services.toxiproxy import Proxy, Toxiproxy
from tocsin.address import parse_address
from tocsin.connectors import Broker, open_sink, open_source
from tocsin.connectors import Source as AnySource
from tocsin.connectors import waiting as waiting_at
from tocsin.connectors.amqp import Sink, Source, _Confirms
from tocsin.errors import NotConnected, RetryLater, SetupError, TocsinError
from tocsin.message import Kind, Message

pytestmark = pytest.mark.xdist_group("rabbitmq")

SETTLING = 7
"""Seconds until RabbitMQ has written down all about a new queue."""

names = (f"cook-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    yield from running(lambda: RabbitMQ(tmp_path_factory.mktemp("rabbitmq")))


@pytest.fixture(scope="module")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toxiproxy]:
    yield from running(lambda: Toxiproxy(tmp_path_factory.mktemp("toxiproxy")))


@pytest.fixture
def proxy(toxiproxy: Toxiproxy, server: RabbitMQ) -> Proxy:
    return toxiproxy.proxy(next(names), server.port)


@pytest.fixture
def client(server: RabbitMQ) -> Iterator[pika.BlockingConnection]:
    client = server.client()
    yield client
    if client.is_open:
        client.close()


def broker_at(
    url: str,
    name: str | None = None,
    partitions: tuple[str, ...] = ("0",),
    queue: str | None = None,
    create: bool = True,
) -> Broker:
    return Broker(parse_address(url, {}), name or next(names), partitions, queue, create)


def through(proxy: Proxy, server: RabbitMQ, options: str = "") -> str:
    """The server's address by way of a proxy."""
    return server.url.replace(f":{server.port}", f":{proxy.port}") + options


def waiting(client: pika.BlockingConnection, queue: str) -> int:
    """How many messages a queue holds that nobody has been given."""
    return int(client.channel().queue_declare(queue, passive=True).method.message_count)


class TestContract(BrokerContract):
    @pytest.fixture(params=["quorum", "classic"])
    def broker(self, request: pytest.FixtureRequest, server: RabbitMQ) -> Broker:
        return broker_at(f"{server.url}?queue_type={request.param}", partitions=("0", "1", "2"))


def test_a_queue_has_the_name_of_its_partition(server: RabbitMQ, client: pika.BlockingConnection) -> None:
    publish(broker_at(server.url, "smoke", ("0", "1")), [*numbered(2), *numbered(3, "1")])
    assert (waiting(client, "smoke.0"), waiting(client, "smoke.1"), waiting(client, "smoke.expelled")) == (2, 3, 0)


def test_what_waits_is_told_without_taking_it(server: RabbitMQ) -> None:
    broker = broker_at(server.url, partitions=("0", "1"))
    publish(broker, [*numbered(2), *numbered(3, "1")])
    assert waiting_at(broker, {}) == {"0": 2, "1": 3}
    with Reader(broker) as reader:
        reader.ack(reader.take(5))
    assert waiting_at(broker, {}) == {"0": 0, "1": 0}
    with pytest.raises(SetupError, match="there is no queue"):
        waiting_at(broker_at(server.url), {})


def test_with_a_template_the_partitions_are_the_queues(server: RabbitMQ, client: pika.BlockingConnection) -> None:
    broker = broker_at(server.url, partitions=("01-smoker", "02-food-A"), queue="{device}")
    publish(broker, [*numbered(2, "01-smoker"), *numbered(3, "02-food-A")])
    assert (waiting(client, "01-smoker"), waiting(client, "02-food-A")) == (2, 3)
    with Reader(broker) as reader:
        assert sorted({(message.partition, message.key) for message in reader.take(5)}) == [
            ("01-smoker", "01-smoker"),
            ("02-food-A", "02-food-A"),
        ]


def test_messages_are_persistent_and_named_by_their_origin(server: RabbitMQ, client: pika.BlockingConnection) -> None:
    broker = broker_at(server.url)
    publish(broker, numbered(1, first=7))
    _, properties, _ = client.channel().basic_get(f"{broker.name}.0")
    assert properties is not None
    assert (properties.delivery_mode, properties.message_id) == (2, "kit:0:7")


def test_a_foreign_publishers_message_id_is_kept_and_its_clock_is_not(
    server: RabbitMQ, client: pika.BlockingConnection
) -> None:
    broker = broker_at(server.url)
    with Reader(broker) as reader:
        properties = pika.BasicProperties(
            content_type="text/csv", message_id="m-1", timestamp=1_700_000_000, headers={"tries": 3, "more": {"a": 1}}
        )
        client.channel().basic_publish("", f"{broker.name}.0", b"1,2", properties)
        client.channel().basic_publish("", f"{broker.name}.0", b"3,4")
        first, second = reader.take(2)
    assert (first.broker_id, first.time, first.content_type) == ("m-1", None, "text/csv")
    assert (second.broker_id, second.content_type, second.producer) == ("", "", "")


def test_what_the_broker_expels_waits_in_a_queue_of_its_own(server: RabbitMQ, client: pika.BlockingConnection) -> None:
    broker = broker_at(server.url)
    publish(broker, numbered(1))
    channel = client.channel()
    method, _, _ = channel.basic_get(f"{broker.name}.0")
    assert method is not None
    channel.basic_reject(method.delivery_tag, requeue=False)
    deadline = time.monotonic() + 10
    while not waiting(client, f"{broker.name}.expelled") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert waiting(client, f"{broker.name}.expelled") == 1


def test_what_was_expelled_comes_as_a_message_of_its_partition_that_says_why(
    server: RabbitMQ, client: pika.BlockingConnection
) -> None:
    """A reader has rejected one; another had a millisecond to live; the third is for a partition that is not read here."""
    broker = broker_at(server.url, partitions=("0", "1", "2"))
    publish(broker, [*numbered(1, "0", first=3), *numbered(1, "2", first=4)])
    channel = client.channel()
    for queue in ("0", "2"):
        method, _, _ = channel.basic_get(f"{broker.name}.{queue}")
        assert method is not None
        channel.basic_reject(method.delivery_tag, requeue=False)
    channel.basic_publish("", f"{broker.name}.1", b"1,2", pika.BasicProperties(expiration="1"))
    wait_until(lambda: waiting(client, f"{broker.name}.expelled") == 3)
    source = open_source(broker, "kit")
    source.open()
    try:
        source.begin("0")
        source.begin("1")
        rejected, expired = sorted(gathered(source, 2), key=lambda message: message.partition)
        assert (rejected.kind, rejected.partition, rejected.producer, rejected.seq) == (Kind.EXPELLED, "0", "kit", 3)
        assert rejected.key == f"the broker expelled it from the queue {broker.name}.0: a reader has rejected it"
        assert (expired.partition, expired.body) == ("1", b"1,2")
        assert "longer than its time to live" in expired.key
        source.ack([rejected])
        source.end("1")
        source.begin("1")
        again = gathered(source, 1)
        assert [message.body for message in again] == [b"1,2"]
        source.ack(again)
        source.poll(1, 0.2)
    finally:
        source.close()
    wait_until(lambda: waiting(client, f"{broker.name}.expelled") == 1)
    with Reader(broker) as reader:
        (other,) = reader.take(1)
        assert (other.partition, other.seq) == ("2", 4)
        reader.ack([other])
    wait_until(lambda: waiting(client, f"{broker.name}.expelled") == 0)


def test_what_was_expelled_is_a_dead_letter_and_holds_nobody_up(
    server: RabbitMQ, client: pika.BlockingConnection, here: Path
) -> None:
    """The one message with readings is thrown out by a reader: no gap is waited for, and the line that was bad is there too."""
    name = next(names)
    text = (here / "p.yaml").read_text()
    (here / "p.yaml").write_text(text.replace("rules:", f"broker: {{url: '{server.url}', name: {name}}}\nrules:"))
    assert tocsin("publish", "p.yaml").exit_code == 0
    channel = client.channel()
    taken = [channel.basic_get(f"{name}.0") for _ in range(waiting(client, f"{name}.0"))]
    readings = [method for method, properties, _ in taken if "readings" in str(properties.headers)]
    assert len(readings) == 1
    channel.basic_reject(readings[0].delivery_tag, requeue=False)
    wait_until(lambda: waiting(client, f"{name}.expelled") == 1)
    client.close()
    assert tocsin("run", "p.yaml").exit_code == 78  # nothing was read
    letters = [json.loads(line) for line in tocsin("dead-letters", "list", "p.yaml", "--json").stdout.splitlines()]
    reasons = [letter["reason"] for letter in letters]
    assert any(f"the broker expelled it from the queue {name}.0: a reader has rejected it" in one for one in reasons)
    assert len(reasons) == 2


def test_two_processes_under_one_command_carry_a_file_through_it(server: RabbitMQ, here: Path) -> None:
    """The producer begins when the consumer is connected, and both end when all is taken."""
    text = (here / "p.yaml").read_text()
    broker = f"broker: {{url: '{server.url}', name: {next(names)}, partitions: 2}}\n"
    (here / "p.yaml").write_text(text.replace("rules:", f"{broker}rules:"))
    command = process("run", "p.yaml", "--separate")
    _, told = command.communicate(timeout=120)
    assert command.returncode == 0, told
    assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER
    assert PASSWORD not in told


def gathered(source: AnySource, count: int) -> list[Message]:
    """The next messages, so many."""
    found: list[Message] = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} messages came"
        found += source.poll(10, 0.2).messages
    return found


def wait_until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)


def test_however_often_a_message_comes_again_it_is_not_expelled(server: RabbitMQ) -> None:
    """RabbitMQ 4 would after twenty times; RabbitMQ 3.10 at once, if it were told -1."""
    broker = broker_at(server.url)
    publish(broker, numbered(3))
    reader = Reader(broker)
    for _ in range(25):
        with reader:
            assert seqs(reader.take(3)) == [0, 1, 2]


def test_no_more_is_sent_ahead_than_prefetch_says(server: RabbitMQ, client: pika.BlockingConnection) -> None:
    broker = broker_at(f"{server.url}?prefetch=5")
    publish(broker, numbered(20))
    with Reader(broker) as reader:
        first = reader.rest()
        assert seqs(first) == list(range(5))
        assert waiting(client, f"{broker.name}.0") == 15
        reader.ack(first[:2])
        assert seqs(reader.rest()) == [5, 6]


def test_a_partition_that_was_ended_gives_nothing_and_its_messages_come_again(server: RabbitMQ) -> None:
    broker = broker_at(server.url, partitions=("0", "1"))
    with Reader(broker) as reader:
        publish(broker, [*numbered(4), *numbered(4, "1")])
        given = sorted(reader.take(8), key=lambda message: message.partition)
        reader.source.end("0")
        assert reader.rest() == []
        reader.begin("0")
        reader.ack(given)  # those of "0" belong to the time before, and count for nothing
        assert seqs(reader.take(4)) == [0, 1, 2, 3]


def test_acknowledging_the_same_twice_or_an_older_one_does_no_harm(server: RabbitMQ) -> None:
    broker = broker_at(server.url)
    with Reader(broker) as reader:
        publish(broker, numbered(4))
        messages = reader.take(4)
        reader.ack(messages)
        reader.ack(messages[:2])
        assert reader.rest() == []


def test_confirms_count_in_the_order_sent_however_they_come() -> None:
    confirms = _Confirms()
    confirms.take(2, multiple=False)
    assert (confirms.has_news, confirms.news()) == (False, 0)
    confirms.take(1, multiple=False)
    assert (confirms.has_news, confirms.news(), confirms.news()) == (True, 2, 0)
    confirms.take(4, multiple=False)
    confirms.take(3, multiple=True)
    assert confirms.news() == 2
    confirms.take(9, multiple=True)
    assert confirms.news() == 5


@pytest.mark.parametrize(("create", "error"), [(True, RetryLater), (False, SetupError)])
def test_a_message_for_which_there_is_no_queue_any_more_is_not_confirmed(
    server: RabbitMQ, client: pika.BlockingConnection, create: bool, error: type[TocsinError]
) -> None:
    """Where the queue may be declared, opening again mends it."""
    made = broker_at(server.url)
    publish(made, numbered(1))
    broker = broker_at(server.url, made.name, create=create)
    with opened(broker) as sink:
        client.channel().queue_delete(f"{broker.name}.0")
        sink.send(numbered(1))
        with pytest.raises(error, match=rf"there is no queue '{broker.name}\.0'"):
            confirm(sink, 1)
    if create:
        publish(broker, numbered(1))


def test_a_full_queue_asks_for_patience(server: RabbitMQ, client: pika.BlockingConnection) -> None:
    client.channel().queue_declare("full", durable=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    broker = broker_at(server.url, partitions=("full",), queue="{device}", create=False)
    with opened(broker) as sink:
        sink.send(numbered(2, "full"))
        confirm(sink, 2)
        sink.send(numbered(2, "full", first=2))
        with pytest.raises(RetryLater, match="its queue is full"):
            confirm(sink, 2)


def test_a_queue_that_is_deleted_under_a_source_is_declared_when_it_opens_again(
    server: RabbitMQ, client: pika.BlockingConnection
) -> None:
    broker = broker_at(server.url)
    with Reader(broker) as reader:
        client.channel().queue_delete(f"{broker.name}.0")
        with pytest.raises(NotConnected, match="was deleted, or has moved"):
            reader.source.poll(1, 5)
    with Reader(broker) as reader:
        publish(broker, numbered(1))
        assert len(reader.take(1)) == 1


def test_a_broker_without_memory_is_back_pressure_and_no_error(server: RabbitMQ) -> None:
    broker = broker_at(server.url)
    with opened(broker) as sink:
        server.control("set_vm_memory_high_watermark", "0.00001")
        try:
            sink.send(numbered(10))
            assert sink.confirmed(1) == 0
            sink.send(numbered(10, first=10))
            assert sink.confirmed(1) == 0
        finally:
            server.control("set_vm_memory_high_watermark", "0.4")
        confirm(sink, 20)


# What is there already, or is not


def test_without_create_a_queue_that_is_missing_is_named(server: RabbitMQ) -> None:
    broker = broker_at(server.url, partitions=("03-food-B",), queue="{device}", create=False)
    for part in (open_sink(broker), open_source(broker, "kit")):
        with pytest.raises(SetupError, match=r"there is no queue '03-food-B'.*create: true"):
            part.open()


def test_without_create_a_queue_is_taken_as_it_is(server: RabbitMQ, client: pika.BlockingConnection) -> None:
    client.channel().queue_declare("04-own", durable=True, arguments={"x-max-length": 100})
    broker = broker_at(server.url, partitions=("04-own",), queue="{device}", create=False)
    with Reader(broker) as reader:
        publish(broker, numbered(3, "04-own"))
        assert seqs(reader.take(3)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("durable", "arguments", "said"),
    [
        (False, {}, "its 'durable' is another one: received 'true' but current is 'false'"),
        (True, {"x-queue-type": "quorum"}, "its 'x-dead-letter-exchange' is another one"),
        (True, {"x-dead-letter-exchange": "odd.dead", "x-dead-letter-routing-key": "of 1"}, "its 'x-queue-type' is"),
    ],
)
def test_a_queue_that_is_otherwise_is_named_with_what_differs(
    server: RabbitMQ, client: pika.BlockingConnection, durable: bool, arguments: dict[str, str], said: str
) -> None:
    channel = client.channel()
    channel.queue_delete("odd.0")
    channel.queue_declare("odd.0", durable=durable, arguments=arguments)
    with pytest.raises(SetupError) as raised:
        open_sink(broker_at(server.url, "odd")).open()
    assert "queue 'odd.0' exists already" in str(raised.value)
    assert said in str(raised.value)
    assert "create: false" in str(raised.value)


@pytest.mark.parametrize(("before", "now"), [(2, 3), (3, 2)])
def test_another_number_of_partitions_is_refused_before_anything_is_made_or_read(
    server: RabbitMQ, client: pika.BlockingConnection, before: int, now: int
) -> None:
    name = next(names)
    made, other = (broker_at(server.url, name, tuple(map(str, range(number)))) for number in (before, now))
    publish(made, numbered(3))
    for part in (open_sink(other), open_source(other, "kit")):
        with pytest.raises(SetupError, match=f"queue '{name}.0' is one of {before}, and `partitions` has {now}: set"):
            part.open()
    with Reader(made) as reader:
        assert seqs(reader.take(3)) == [0, 1, 2]
    channel = client.channel()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
        channel.queue_declare(f"{name}.{max(before, now)}", passive=True)
    if now > before:
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
            client.channel().queue_declare(f"{name}.{before}", passive=True)


# Who may come in


def test_a_wrong_password_is_said_and_never_shown(server: RabbitMQ, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    broker = broker_at(server.url.replace("s3cret", "wr0ng"))
    for part in (open_sink(broker), open_source(broker, "kit")):
        with pytest.raises(SetupError, match="refuses this user or this password") as raised:
            part.open()
        shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + repr(broker) + repr(part)
        assert "wr0ng" not in shown + caplog.text


def test_a_password_is_not_logged_when_it_is_right(server: RabbitMQ, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    publish(broker_at(server.url), numbered(1))
    assert PASSWORD not in caplog.text


def test_a_virtual_host_that_is_not_there_is_named(server: RabbitMQ) -> None:
    with pytest.raises(SetupError, match="no virtual host 'nowhere'"):
        open_sink(broker_at(f"{server.url}/nowhere")).open()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("?prefech=3", "there is no option 'prefech'. Did you mean 'prefetch'?"),
        ("?prefetch=many", "?prefetch=many: expected a whole number from 1 to 65535"),
        ("?heartbeat=0", "?heartbeat=0: expected a whole number"),
        ("?queue_type=quorums", "?queue_type=quorums: expected quorum or classic. Did you mean 'quorum'?"),
    ],
)
def test_an_option_that_cannot_be_is_said(server: RabbitMQ, options: str, said: str) -> None:
    broker = broker_at(server.url + options)
    with pytest.raises(SetupError) as raised, Reader(broker):
        pass
    assert said in str(raised.value)


def test_without_pika_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pika", None)
    broker = broker_at("amqp://127.0.0.1:1")
    for part in (Sink(broker), Source(broker, "kit")):
        with pytest.raises(SetupError, match=r"pip install -e '\.\[amqp\]'"):
            part.open()


def over_tls(server: RabbitMQ, options: str = "", host: str = "localhost") -> str:
    return (
        server.url.replace("amqp:", "amqps:").replace(f"127.0.0.1:{server.port}", f"{host}:{server.tls_port}") + options
    )


def test_over_tls_messages_go_there_and_back(server: RabbitMQ) -> None:
    broker = broker_at(over_tls(server, f"?ca={server.ca}&cert={server.client_certificate}"))
    with Reader(broker) as reader:
        publish(broker, numbered(2_000, body=b"x" * 1_000))
        assert seqs(reader.take(2_000)) == list(range(2_000))


def test_what_is_wrong_with_tls_is_said_before_anything_is_sent(server: RabbitMQ, tmp_path: Path) -> None:
    stranger = trustme.CA().issue_cert("stranger@example.org")
    stranger.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "stranger.pem"))
    (tmp_path / "empty.pem").touch()
    cases = {
        over_tls(server): "certificate is not trusted (self-signed certificate in certificate chain)",
        over_tls(server, f"?ca={server.ca}", "127.0.0.1"): "certificate is not trusted (IP address mismatch",
        over_tls(server, f"?ca={server.ca}&cert={tmp_path}/stranger.pem"): "refuses our side of TLS (UNKNOWN_CA)",
        over_tls(server, f"?ca={tmp_path}/nothing.pem"): "nothing.pem cannot be used (No such file or directory)",
        over_tls(server, f"?ca={server.ca}&cert={tmp_path}/empty.pem"): "empty.pem cannot be used",
        over_tls(server, f"?ca={server.ca}").replace(
            str(server.tls_port), str(server.port)
        ): "there is no TLS at this port",
        f"{server.url}?ca={server.ca}": "?ca= is for TLS, which amqp:// does without",
    }
    for url, said in cases.items():
        with pytest.raises((SetupError, NotConnected)) as raised:
            open_sink(broker_at(url)).open()
        # What the server says of our side of TLS 1.3 may be overtaken by its hanging up.
        unsaid = "stranger.pem" in url and "it hung up before it said a word" in str(raised.value)
        assert unsaid or (said in str(raised.value) and isinstance(raised.value, SetupError))


# Who goes away


def test_a_server_that_is_not_there_comes_back_later() -> None:
    for url, said in {
        "amqp://127.0.0.1:1": "nobody listens there",
        "amqps://127.0.0.1:1": "nobody listens there",
        "amqp://no-such-host.invalid": "the host cannot be found",
    }.items():
        with pytest.raises(NotConnected, match=said):
            open_sink(broker_at(url)).open()


def test_a_plain_connection_to_the_port_for_tls_is_guessed(server: RabbitMQ) -> None:
    """It may as well be a proxy whose server is still starting: nothing was said."""
    with pytest.raises(NotConnected, match="amqps:// is right"):
        open_sink(broker_at(server.url.replace(str(server.port), str(server.tls_port)))).open()


def test_what_is_not_open_says_so() -> None:
    broker = broker_at("amqp://127.0.0.1:1")
    source, sink = Source(broker, "kit"), Sink(broker)
    for use in (
        lambda: source.begin("0"),
        lambda: source.poll(1, 0),
        lambda: source.ack([Message(b"", position=(0, 1))]),
        lambda: sink.send([Message(b"")]),
        lambda: sink.confirmed(0),
    ):
        with pytest.raises(NotConnected, match="is not open"):
            use()


def send_all(broker: Broker, messages: list[Message], trouble: Iterator[None]) -> list[Message]:
    """Send as a publisher does until all is confirmed or the connection goes; what was confirmed by then.

    `trouble` is asked for its next step whenever something was confirmed.
    """
    done, sent = 0, 0
    sink = open_sink(broker)
    sink.open()
    try:
        while done < len(messages):
            some = messages[sent : min(sent + 50, done + 500)]
            sent += len(some)
            sink.send(some)
            done += sink.confirmed(0.2)
            next(trouble, None)
    except NotConnected:
        pass
    finally:
        sink.close()
    return messages[:done]


def acknowledged(reader: Reader, count: int) -> Iterator[list[Message]]:
    """What polls give; of each the first few are acknowledged."""
    for some in polled(reader.source):
        reader.ack(some[:count])
        yield some


def polled(source: AnySource) -> Iterator[list[Message]]:
    """What polls give, for as long as they do."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        yield source.poll(10, 1).messages


CUTS: dict[str, dict[str, int]] = {"limit_data": {"bytes": 1_234_567}, "reset_peer": {"timeout": 20}}
"""Ways in which a proxy ends a connection, with what it needs to know."""


def settle(broker: Broker) -> None:
    """Declare the queues and wait until RabbitMQ has written down all about them.

    Killed before, 3.10 may forget a classic queue, and never again elects a leader for a quorum queue.
    """
    with opened(broker):
        time.sleep(SETTLING)


def without_repeats(messages: list[Message]) -> list[int]:
    """As a consumer takes them: those seen before are dropped."""
    return list(dict.fromkeys(seqs(messages)))


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_what_a_killed_broker_had_confirmed_is_there_and_the_rest_can_be_sent_again(
    server: RabbitMQ, kind: str
) -> None:
    broker = broker_at(f"{server.url}?queue_type={kind}&prefetch=20000")
    messages = numbered(5_000, body=b"x" * 100)
    settle(broker)

    def trouble() -> Iterator[None]:
        for _ in range(5):
            yield
        server.kill()

    confirmed = send_all(broker, messages, trouble())
    assert 0 < len(confirmed) < len(messages)
    server.start()
    with Reader(broker) as reader:
        assert set(seqs(confirmed)) <= set(seqs(reader.rest()))
    send_all(broker, messages[len(confirmed) :], iter(()))
    with Reader(broker) as reader:
        assert without_repeats(reader.rest()) == seqs(messages)


def test_a_source_notices_that_the_broker_was_killed(server: RabbitMQ) -> None:
    broker = broker_at(f"{server.url}?queue_type=classic")
    settle(broker)
    publish(broker, numbered(5))
    reader = Reader(broker)
    with reader:
        reader.take(5)
        server.kill()
        for _ in range(2):
            with pytest.raises(NotConnected, match="the connection was lost"):
                reader.source.poll(1, 5)
    with pytest.raises(NotConnected, match="nobody listens"):
        reader.source.open()
    server.start()
    with reader:
        assert seqs(reader.take(5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("toxic", list(CUTS))
def test_a_sink_that_is_cut_off_in_the_middle_of_a_message_leaves_no_gap(
    server: RabbitMQ, proxy: Proxy, toxic: str
) -> None:
    broker = broker_at(through(proxy, server))
    messages = numbered(200, body=b"x" * 50_000)

    def trouble() -> Iterator[None]:
        proxy.add(toxic, "upstream", **CUTS[toxic])
        yield

    confirmed = send_all(broker, messages, trouble())
    assert len(confirmed) < len(messages)
    proxy.heal()
    assert len(send_all(broker, messages[len(confirmed) :], iter(()))) == len(messages) - len(confirmed)
    with Reader(broker) as reader:
        assert without_repeats(reader.rest()) == seqs(messages)


@pytest.mark.parametrize("toxic", list(CUTS))
def test_a_source_that_is_cut_off_in_the_middle_of_a_message_gets_all_again(
    server: RabbitMQ, proxy: Proxy, toxic: str
) -> None:
    publish(broker_at(server.url, name := next(names)), numbered(200, body=b"x" * 50_000))
    # So little ahead that all of it fits into the sockets: a proxy that cannot write takes no orders.
    broker = broker_at(through(proxy, server, "?prefetch=10"), name)
    found: list[Message] = []
    with Reader(broker) as reader:
        # The proxy answers when the data in its hands has gone on, and for that somebody has to read.
        adding = threading.Thread(target=proxy.add, args=(toxic, "downstream"), kwargs=CUTS[toxic])
        adding.start()
        with pytest.raises(NotConnected):
            found.extend(message for some in acknowledged(reader, 5) for message in some)
        adding.join()
    assert seqs(found) == list(range(len(found)))
    proxy.heal()
    with Reader(broker_at(through(proxy, server), name)) as reader:
        again = seqs(reader.rest())
        assert again == list(range(again[0], 200))
        assert again[0] <= len(found)


def test_a_silent_network_is_noticed_by_heartbeats(server: RabbitMQ, proxy: Proxy) -> None:
    broker = broker_at(through(proxy, server, "?heartbeat=1"))
    with Reader(broker) as reader:
        proxy.add("timeout", timeout=0)
        began = time.monotonic()
        with pytest.raises(NotConnected, match="the broker is silent"):
            list(polled(reader.source))
    assert time.monotonic() - began < 20


def test_a_busy_connection_is_not_taken_for_a_silent_one(server: RabbitMQ) -> None:
    """The broker sends no heartbeat while it sends messages, so what is received must count.

    With heartbeats of a second the client looks every six whether anything came since the last look.
    """
    broker = broker_at(f"{server.url}?heartbeat=1")
    with Reader(broker) as reader, opened(broker) as sink:
        found: list[Message] = []
        sent, until = 0, time.monotonic() + 14
        while time.monotonic() < until:
            sink.send(numbered(1, first=sent))
            confirm(sink, 1)
            sent += 1
            found += reader.take(1)
            reader.ack(found[-1:])
            time.sleep(0.05)
    assert seqs(found) == list(range(sent))


def test_a_source_that_is_paused_for_long_keeps_its_connection(server: RabbitMQ) -> None:
    """The broker hangs up on whoever sends nothing for two heartbeats."""
    broker = broker_at(f"{server.url}?heartbeat=2&prefetch=10")
    publish(broker, numbered(30))
    with Reader(broker) as reader:
        first = reader.take(4)
        reader.source.pause()
        began = time.monotonic()
        while time.monotonic() - began < 7:
            assert reader.source.poll(10, 0.3).messages == []
        reader.source.resume()
        reader.ack(first)
        assert seqs(reader.take(10)) == list(range(4, 14))


def test_a_pipeline_that_is_killed_and_cut_off_again_and_again_loses_nothing(
    server: RabbitMQ, proxy: Proxy, tmp_path: Path
) -> None:
    """Producer and consumer are killed, and now and then the network; as undisturbed in the end, byte for byte."""
    url = through(proxy, server)
    file = write_pipeline(tmp_path, f'{{url: "{url}", name: {next(names)}, partitions: 2}}', SEED)
    expected = Undisturbed(file)

    def disturb() -> None:
        proxy.cut()
        time.sleep(0.3)
        proxy.heal()

    carry_under_fault(file, random.Random(SEED), disturb)
    assert_as_undisturbed(file, expected)
    assert PASSWORD not in "".join(log.read_text() for log in tmp_path.glob("*.log"))
