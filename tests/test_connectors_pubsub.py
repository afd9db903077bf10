"""Pub/Sub against Google's in-memory server: there and back, deadlines, lost connections, and what is not as it should be.

The server loses everything when it ends, so here only connections are cut.  It keeps order only where ordering is
asked for.
"""

from __future__ import annotations

import importlib
import itertools
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from services import running
from services.pubsub import PubSub, Relay
from tocsin.address import parse_address
from tocsin.connectors import Broker, Sink, Source, open_sink, open_source
from tocsin.connectors._pubsub_api import translated
from tocsin.errors import NotConnected, RetryLater, SetupError
from tocsin.message import JSON, Kind, Message

pytestmark = pytest.mark.xdist_group("pubsub")

numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSub]:
    yield from running(lambda: PubSub(tmp_path_factory.mktemp("pubsub")))


@pytest.fixture
def name(server: PubSub, monkeypatch: pytest.MonkeyPatch) -> str:
    """A topic that no other test has; the library finds the server."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.address)
    return f"cook-{next(numbers)}"


def broker(name: str, options: str = "", create: bool = True, queue: str | None = None) -> Broker:
    return Broker(parse_address(f"pubsub://kitchen{options}", {}), name, queue=queue, create=create)


def reading_from(broker: Broker) -> Source:
    source = open_source(broker, "alerts")
    source.open()
    source.begin("0")
    return source


def publishing_to(broker: Broker) -> Sink:
    sink = open_sink(broker)
    sink.open()
    return sink


def messages(start: int, end: int) -> list[Message]:
    return [Message(b'{"n":%d}' % n, content_type=JSON, producer="p", seq=n, key="d") for n in range(start, end)]


def publish(broker: Broker, sent: list[Message]) -> None:
    sink = publishing_to(broker)
    sink.send(sent)
    confirm(sink, len(sent))
    sink.close()


def confirm(sink: Sink, expected: int) -> None:
    confirmed = 0
    for _ in range(50):
        confirmed += sink.confirmed(0.2)
        if confirmed >= expected:
            break
    assert confirmed == expected


def take(source: Source, expected: int) -> list[Message]:
    """So many messages, and not one more."""
    found: list[Message] = []
    for _ in range(50):
        found += source.poll(1000, 0.2).messages
        if len(found) >= expected:
            break
    assert len(found) == expected
    return found


def numbered(found: list[Message]) -> list[int]:
    return sorted(message.seq for message in found)


def nothing(source: Source, seconds: float) -> None:
    """Nothing comes for so long."""
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        assert source.poll(1000, 0.2).messages == []


def connect_again(*parts: Source | Sink) -> None:
    """As the library lets us: it waits a while itself before it tries an address again."""
    for part in parts:
        for _ in range(100):
            try:
                part.open()
                break
            except NotConnected:
                time.sleep(0.1)


def test_messages_come_as_they_were_sent_with_what_stands_beside_them(name: str) -> None:
    there = broker(name)
    source = reading_from(there)
    began = time.time_ns()
    sent = [
        Message(b"\x00\xff", content_type=JSON, producer="smoker-1a2b", seq=17, watermark=-5),
        Message(b"", producer="smoker-1a2b", seq=18, kind=Kind.END, watermark=1_700_000_000_000_000_000),
        Message(b"[]", version="9"),
    ]
    publish(there, sent)
    found = sorted(take(source, 3), key=lambda message: message.broker_id)
    source.close()
    assert {message._replace(position=None, broker_id="", time=None) for message in found} == set(sent)
    assert len({message.broker_id for message in found} - {""}) == 3
    assert all(began - 10**9 < (message.time or 0) < time.time_ns() + 10**9 for message in found)


def test_with_ordering_the_messages_of_a_key_come_in_order(name: str) -> None:
    there = broker(name, "?ordering=true")
    source = reading_from(there)
    publish(there, messages(0, 20))
    found: list[Message] = []
    while len(found) < 20:
        found += source.poll(1000, 0.5).messages
        source.ack(found)
    assert [message.seq for message in found] == list(range(20))
    assert {message.key for message in found} == {"d"}
    source.close()


def test_what_was_acknowledged_is_gone_and_the_rest_comes_again_at_once(name: str) -> None:
    there = broker(name)
    source = reading_from(there)
    publish(there, messages(0, 50))
    found = take(source, 50)
    source.ack(found[10:20])
    source.close()
    source = reading_from(there)
    again = take(source, 30)
    assert numbered(again) == numbered(found[20:])
    source.close()


def test_thousands_are_held_given_in_portions_and_acknowledged_in_batches(name: str) -> None:
    there = broker(name)
    source = reading_from(there)
    publish(there, messages(0, 2500))
    found: list[Message] = []
    while len(found) < 2500:
        given = source.poll(300, 0.5).messages
        assert len(given) <= 300
        found += given
    assert numbered(found) == list(range(2500))
    source.ack(found)
    source.close()
    source = reading_from(there)
    nothing(source, 0.8)
    source.close()


@pytest.mark.parametrize("paused", [False, True])
def test_what_is_held_longer_than_its_deadline_does_not_come_again(name: str, paused: bool) -> None:
    there = broker(name, "?deadline=1")
    source = reading_from(there)
    publish(there, messages(0, 20))
    found = take(source, 20)
    if paused:
        source.pause()
    nothing(source, 2.5)
    source.resume()
    nothing(source, 0.5)
    source.ack(found)
    source.close()


def test_while_paused_nothing_is_given(name: str) -> None:
    there = broker(name)
    source = reading_from(there)
    source.pause()
    publish(there, messages(0, 3))
    nothing(source, 0.6)
    source.resume()
    assert numbered(take(source, 3)) == [0, 1, 2]
    source.close()


def test_before_begin_and_after_end_nothing_is_given(name: str) -> None:
    there = broker(name)
    source = open_source(there, "alerts")
    source.open()
    publish(there, messages(0, 3))
    nothing(source, 0.3)
    source.begin("0")
    found = take(source, 3)
    source.end("0")
    nothing(source, 0.3)
    source.begin("0")
    assert len(take(source, 3)) == 3
    source.ack(found)
    source.close()
    source = reading_from(there)
    assert len(take(source, 3)) == 3, "an acknowledgement from before the end means nothing"
    source.close()


def test_after_end_what_a_request_still_brings_is_left_to_others(name: str) -> None:
    there = broker(name)
    one, other = reading_from(there), reading_from(there)
    nothing(one, 0.1)
    one.end("0")
    publish(there, messages(0, 10))
    nothing(one, 1)
    assert numbered(take(other, 10)) == list(range(10))
    one.close()
    other.close()


def test_a_cut_connection_is_not_connected_and_everything_arrives_after_it(
    server: PubSub, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(server.port)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", relay.address)
    there = broker(name, "?deadline=2")
    source, sink = reading_from(there), publishing_to(there)
    sent = messages(0, 60)
    sink.send(sent[:30])
    confirm(sink, 30)
    found = take(source, 30)
    source.ack(found[:10])
    nothing(source, 0.1)  # a poll that gives nothing has seen what came of acknowledgements
    relay.cut()
    sink.send(sent[30:])
    with pytest.raises(NotConnected):
        sink.confirmed(5)
    source.ack(found)
    with pytest.raises(NotConnected):
        nothing(source, 5)
    for part in (source, sink):
        part.close()
        with pytest.raises(NotConnected):
            part.open()
    relay.mend()
    connect_again(source, sink)
    source.begin("0")
    sink.send(sent[30:])
    confirm(sink, 30)
    source.ack(found)
    assert numbered(take(source, 50)) == sorted({*range(60)} - {message.seq for message in found[:10]})
    source.close()
    sink.close()
    relay.cut()


def test_a_poll_keeps_to_its_time_though_the_server_is_frozen(server: PubSub, name: str) -> None:
    source = reading_from(broker(name))
    server.send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert source.poll(1000, 0.3).messages == []
        assert time.monotonic() - began < 2
    finally:
        server.send(signal.SIGCONT)
        source.close()


def test_nobody_there_is_not_connected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:9")
    for part in (open_source(broker(name), "alerts"), open_sink(broker(name))):
        with pytest.raises(NotConnected):
            part.open()
        part.close()
        part.close()


def test_what_may_not_be_made_must_be_there(name: str) -> None:
    for part in (open_source(broker(name, create=False), "alerts"), open_sink(broker(name, create=False))):
        with pytest.raises(
            SetupError, match=f"kitchen/[a-z]*/{name}[-a-z]* is not there: make it there, .*create: true"
        ):
            part.open()
        part.close()
    reading_from(broker(name)).close()
    reading_from(broker(name, create=False)).close()
    publishing_to(broker(name, create=False)).close()


def test_a_subscription_that_is_not_as_described_is_said(name: str) -> None:
    reading_from(broker(name)).close()
    with pytest.raises(SetupError, match="its enable_message_ordering is False, expected True"):
        reading_from(broker(name, "?ordering=true"))
    with pytest.raises(SetupError, match=f"its topic is projects/kitchen/topics/{name}, expected"):
        reading_from(broker("other", queue=f"{name}-alerts"))


def test_the_topic_may_stand_in_the_address_and_the_subscription_in_queue(name: str) -> None:
    address = parse_address(f"pubsub://kitchen/{name}", {})
    there = Broker(address, "cook", queue=f"of-{name}")
    source = reading_from(there)
    publish(broker(name), [Message(b"71.5")])
    assert take(source, 1)[0].body == b"71.5"
    source.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("?ordering=yes", "expected true or false"),
        ("?deadline=0", "expected seconds, from 10 to 600"),
        ("?dedline=30", "Did you mean 'deadline'"),
    ],
)
def test_parameters_are_checked(options: str, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        open_sink(broker("cook", options))


def test_there_is_one_partition() -> None:
    with pytest.raises(SetupError, match="Pub/Sub has one partition"):
        open_sink(Broker(parse_address("pubsub://kitchen", {}), "cook", ("0", "1")))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ServiceUnavailable", NotConnected),
        ("DeadlineExceeded", NotConnected),
        ("InternalServerError", NotConnected),
        ("ResourceExhausted", RetryLater),
        ("PermissionDenied", SetupError),
        ("Unauthenticated", SetupError),
        ("InvalidArgument", SetupError),
    ],
)
def test_an_error_says_what_happens_next(name: str, kind: type[Exception]) -> None:
    exceptions: Any = importlib.import_module("google.api_core.exceptions")
    found = translated(parse_address("pubsub://kitchen", {}), "doing", getattr(exceptions, name)("because"))
    assert type(found) is kind
    assert str(found).startswith("pubsub://kitchen: doing: because")


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ("broker", "make it there, correct its name in `broker:`, or say `create: true`"),
        ("source", "make it there, or correct its name in `source:`"),
    ],
)
def test_what_is_missing_is_named_once(setting: str, remedy: str) -> None:
    """The service answers with the name alone, or with a sentence that holds it."""
    exceptions: Any = importlib.import_module("google.api_core.exceptions")
    address = parse_address("pubsub://kitchen", {}, setting=setting)
    found = translated(address, "subscription a/b", exceptions.NotFound("subscription a/b"))
    assert type(found) is SetupError
    assert str(found) == f"pubsub://kitchen: subscription a/b is not there: {remedy}"
    found = translated(address, "publishing to a/b", exceptions.NotFound("topic a/b"))
    assert str(found) == f"pubsub://kitchen: publishing to a/b: it is not there (topic a/b): {remedy}"


def test_without_an_account_it_is_said_how_to_name_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/none.json")
    with pytest.raises(SetupError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        publishing_to(broker(name))


def test_without_the_library_the_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud", None)
    with pytest.raises(SetupError, match=r"pip install -e '\.\[pubsub\]'"):
        open_sink(broker("cook")).open()


def test_with_ordering_each_key_is_in_order_and_all_are_confirmed(name: str) -> None:
    there = broker(name, "?ordering=true")
    source = reading_from(there)
    sent = [message._replace(key=f"d{message.seq % 7}") for message in messages(0, 70)]
    publish(there, sent)
    found: list[Message] = []
    while len(found) < 70:
        found += source.poll(1000, 0.5).messages
        source.ack(found)
    for key in {message.key for message in sent}:
        assert [each.seq for each in found if each.key == key] == [each.seq for each in sent if each.key == key]
    source.close()


def test_a_key_that_is_too_long_for_the_service_still_keeps_together_what_has_it(name: str) -> None:
    there = broker(name, "?ordering=true")
    source = reading_from(there)
    keys = ["ü" * 1_000, "ü" * 512, "d"]
    publish(there, [message._replace(key=keys[message.seq % 3]) for message in messages(0, 9)])
    found: list[Message] = []
    while len(found) < 9:
        found += source.poll(1000, 0.5).messages
        source.ack(found)
    of_key: dict[str, list[int]] = {}
    for each in found:
        of_key.setdefault(each.key, []).append(each.seq)
    assert sorted(of_key.values()) == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert max(len(key.encode()) for key in of_key) == 1_024
    source.close()


def test_more_than_goes_into_a_request_is_published_in_several(name: str) -> None:
    there = broker(name)
    source = reading_from(there)
    sent = [*messages(0, 2500), *[Message(b"x" * 700_000, producer="p", seq=seq) for seq in range(2500, 2503)]]
    publish(there, sent)
    assert numbered(take(source, len(sent))) == list(range(2503))
    source.close()


def test_a_message_that_the_service_does_not_take_is_said(name: str) -> None:
    sink = publishing_to(broker(name))
    with pytest.raises(SetupError, match="10,000,001 bytes, of which the service takes 10,000,000: put fewer readings"):
        sink.send([Message(b"x" * 10_000_001)])
    sink.close()


def test_an_acknowledgement_that_failed_is_said_by_a_poll(
    server: PubSub, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(server.port)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", relay.address)
    source = reading_from(broker(name))
    publish(broker(name), messages(0, 10))
    found = take(source, 10)
    source.pause()
    server.send(signal.SIGSTOP)
    try:
        source.ack(found)
        relay.cut()
        said: list[str] = []
        while not any("acknowledging" in one for one in said):
            assert len(said) < 5, said  # a request for messages that was under way may say so first
            with pytest.raises(NotConnected) as told:
                source.poll(1000, 0)
            said.append(str(told.value))
    finally:
        server.send(signal.SIGCONT)
    source.close()


def test_what_is_pulled_may_be_larger_than_four_megabytes(name: str) -> None:
    """The limit of a plain gRPC channel; sixty messages of 100 kilobytes come in one answer."""
    sink = open_sink(broker(name))
    sink.open()
    source = reading_from(broker(name))
    sink.send([Message(b"x" * 100_000)._replace(producer="p", seq=seq) for seq in range(60)])
    confirmed = 0
    while confirmed < 60:
        confirmed += sink.confirmed(5)
    found: list[Message] = []
    while len(found) < 60:
        found += source.poll(1000, 5).messages
    assert sorted(message.seq for message in found) == list(range(60))
    source.close()
    sink.close()
