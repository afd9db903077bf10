"""MQTT against Mosquitto: there and back, what is not acknowledged, lost connections, and who is let in.

Mosquitto forgets what it acknowledged when it is killed at once; so here it is asked to end, frozen, or only the
connection is cut.
"""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from paho.mqtt.publish import single

from services import or_skip, running
from services.mosquitto import PASSWORD, USER, Mosquitto
from tocsin.address import parse_address
from tocsin.connectors import Broker, Sink, Source, open_sink, open_source
from tocsin.errors import NotConnected, RetryLater, SetupError
from tocsin.message import JSON, Kind, Message

pytestmark = pytest.mark.xdist_group("mosquitto")

numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    yield from running(lambda: Mosquitto(tmp_path_factory.mktemp("mosquitto")))


@pytest.fixture
def name() -> str:
    """A name that no other test has, so that sessions do not meet."""
    return f"cook-{next(numbers)}"


def broker(server: Mosquitto, name: str, options: str = "", queue: str | None = None) -> Broker:
    text = f"mqtt://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}{options}"
    return Broker(parse_address(text, {}), name, queue=queue)


def reading_from(broker: Broker) -> Source:
    source = open_source(broker, broker.name)
    source.open()
    source.begin("0")
    return source


def publishing_to(broker: Broker) -> Sink:
    sink = open_sink(broker)
    sink.open()
    return sink


def messages(start: int, end: int) -> list[Message]:
    return [Message(b'{"n":%d}' % n, content_type=JSON, producer="p", seq=n) for n in range(start, end)]


def publish(broker: Broker, sent: list[Message]) -> None:
    sink = publishing_to(broker)
    sink.send(sent)
    confirm(sink, len(sent))
    sink.close()


def tell(server: Mosquitto, name: str, topic: str, *, retain: bool = False) -> None:
    """A message of somebody who does not mind whether anybody has subscribed to it."""
    sink = publishing_to(broker(server, name))
    sink._link.client.publish(topic, b"71.5", qos=1, retain=retain)  # type: ignore[attr-defined]
    with suppress(RetryLater):
        sink.confirmed(0.2)
    sink.close()


def confirm(sink: Sink, expected: int) -> None:
    confirmed = 0
    for _ in range(100):
        confirmed += sink.confirmed(0.1)
        if confirmed >= expected:
            break
    assert confirmed == expected


def take(source: Source, expected: int) -> list[Message]:
    """So many messages, and not one more."""
    found: list[Message] = []
    for _ in range(50):
        found += source.poll(1000, 0.1).messages
        if len(found) >= expected:
            break
    assert len(found) == expected
    return found


def bodies(found: list[Message]) -> list[bytes]:
    return [message.body for message in found]


def cut(part: Source | Sink) -> None:
    """Take the connection away from under a source or sink."""
    part._link.client.socket().shutdown(2)  # type: ignore[union-attr]


@pytest.mark.parametrize("options", ["", "?version=3.1.1"])
def test_messages_come_as_they_were_sent_with_what_stands_beside_them(
    server: Mosquitto, name: str, options: str
) -> None:
    there = broker(server, name, options)
    source = reading_from(there)
    sent = [
        Message(b"\x00\xff", content_type=JSON, producer="smoker-1a2b", seq=17, watermark=-5),
        Message(b"", producer="smoker-1a2b", seq=18, kind=Kind.END, watermark=1_700_000_000_000_000_000),
        Message(b"tocsin;\n[]\n", producer="smoker;ü", seq=0, arrival=5),
        Message(b"[]", version="9"),
    ]
    publish(there, sent)
    found = take(source, 4)
    source.close()
    assert [message._replace(position=None) for message in found] == [
        message._replace(key=f"{name}/0") for message in sent
    ]


def test_a_reader_of_version_5_understands_what_was_published_by_3_1_1(server: Mosquitto, name: str) -> None:
    source = reading_from(broker(server, name))
    sent = Message(b"[]", content_type=JSON, producer="p-1", seq=3)
    publish(broker(server, name, "?version=3.1.1"), [sent])
    assert [message._replace(position=None) for message in take(source, 1)] == [sent._replace(key=f"{name}/0")]
    source.close()


@pytest.mark.parametrize("payload", [b"tocsin;", b"tocsin;x\n[]", b"tocsin;a;\xff\n[]", b"tocsin;a;b", b"tocsin"])
def test_what_only_looks_like_ours_is_anothers(server: Mosquitto, name: str, payload: bytes) -> None:
    there = broker(server, name, "?version=3.1.1")
    source, address = reading_from(there), there.address
    login: Any = {"username": address.user, "password": address.password}
    single(f"{name}/0", payload, 1, hostname="127.0.0.1", port=server.port, auth=login)
    (found,) = take(source, 1)
    assert (found.body, found.producer, found.seq) == (payload, "", -1)
    source.close()


@pytest.mark.parametrize("options", ["", "?version=3.1.1"])
def test_what_was_acknowledged_is_gone_and_the_rest_comes_again_in_order(
    server: Mosquitto, name: str, options: str
) -> None:
    there = broker(server, name, options)
    source = reading_from(there)
    publish(there, messages(0, 15))
    found = take(source, 15)
    source.ack(found[3:6])
    source.close()
    source = reading_from(there)
    assert bodies(take(source, 9)) == bodies(found[6:])
    source.close()


def test_an_acknowledgement_right_before_the_end_counts_though_more_was_coming(server: Mosquitto, name: str) -> None:
    there = broker(server, name)
    reading_from(there).close()
    publish(there, messages(0, 1500))
    source = reading_from(there)
    found: list[Message] = []
    while len(found) < 200:
        found += source.poll(200 - len(found), 0.2).messages
    source.ack(found)
    source.close()
    source = reading_from(there)
    assert source.poll(1, 1).messages[0].seq == 200
    source.close()


def test_what_is_published_while_nobody_reads_is_kept(server: Mosquitto, name: str) -> None:
    there = broker(server, name)
    reading_from(there).close()
    publish(there, messages(0, 50))
    source = reading_from(there)
    assert [message.seq for message in take(source, 50)] == list(range(50))
    source.close()


def test_another_topic_is_another_session(server: Mosquitto, name: str) -> None:
    """What waits for one group under its old topic is no business of the new one, and there when it comes back."""
    old, new = broker(server, name), broker(server, f"{name}-new")
    first = reading_from(old)
    publish(old, messages(0, 3))
    take(first, 3)
    first.close()
    second = open_source(new, name)
    second.open()
    second.begin("0")
    publish(new, messages(7, 8))
    publish(old, messages(3, 4))
    assert bodies(take(second, 1)) == [b'{"n":7}']
    second.close()
    again = reading_from(old)
    assert bodies(take(again, 4)) == [b'{"n":%d}' % n for n in range(4)]
    again.close()


def test_far_more_than_twenty_may_be_unacknowledged(server: Mosquitto, name: str) -> None:
    there = broker(server, name)
    source = reading_from(there)
    publish(there, messages(0, 500))
    found = take(source, 500)
    assert [message.seq for message in found] == list(range(500))
    source.ack(found)
    publish(there, messages(500, 501))
    assert take(source, 1)[0].seq == 500
    source.close()


@pytest.mark.parametrize("options", ["?inflight=30", "?version=3.1.1"])
def test_where_the_server_stops_what_is_there_is_given_and_acknowledging_goes_on(
    server: Mosquitto, name: str, options: str
) -> None:
    """At the parameter, or at Mosquitto's 20, where a session of 3.1.1 cannot say how many it takes."""
    limit = 30 if "inflight" in options else 20
    there = broker(server, name, options)
    source = reading_from(there)
    publish(there, messages(0, limit + 5))
    found = take(source, limit)
    assert source.poll(1000, 0.1).messages == []
    source.ack(found)
    assert bodies(take(source, 5)) == bodies(messages(limit, limit + 5))
    source.close()


def test_a_poll_gives_no_more_than_it_was_asked_for(server: Mosquitto, name: str) -> None:
    there = broker(server, name)
    source = reading_from(there)
    publish(there, messages(0, 5))
    assert [len(source.poll(2, 0.2).messages) for _ in range(4)] == [2, 2, 1, 0]
    source.close()


def test_a_filter_with_wildcards_takes_foreign_messages_and_the_topic_is_their_key(
    server: Mosquitto, name: str
) -> None:
    source = reading_from(broker(server, name, queue=f"{name}/+/temp"))
    for topic in ("smoker/temp", "smoker/humidity", "oven/temp"):
        tell(server, name, f"{name}/{topic}")
    assert [message.key for message in take(source, 2)] == [f"{name}/smoker/temp", f"{name}/oven/temp"]
    source.close()


def test_a_retained_message_comes_once_like_any_other(server: Mosquitto, name: str) -> None:
    """With the first subscription, and not again when the session goes on."""
    tell(server, name, f"{name}/7/temp", retain=True)
    there = broker(server, name, queue=f"{name}/#")
    source = reading_from(there)
    source.ack(take(source, 1))
    source.close()
    source = reading_from(there)
    assert source.poll(10, 0.2).messages == []
    source.close()


def test_while_paused_nothing_is_given_and_the_connection_is_kept(server: Mosquitto, name: str) -> None:
    """For longer than the server waits for a word: one and a half times a second."""
    there = broker(server, name, "?keepalive=1")
    source = reading_from(there)
    source.pause()
    publish(there, messages(0, 3))
    assert [source.poll(1000, 0.5).messages for _ in range(5)] == [[]] * 5
    source.resume()
    assert [message.seq for message in take(source, 3)] == [0, 1, 2]
    source.close()


def test_while_paused_what_nobody_acknowledges_neither_holds_up_a_poll_nor_fills_the_memory(
    server: Mosquitto, name: str
) -> None:
    """Messages at QoS 0, of which no more than `inflight` wait."""
    source = reading_from(broker(server, name, "?inflight=10"))
    source.pause()
    sink = publishing_to(broker(server, name))
    for _ in range(500):
        sink._link.client.publish(f"{name}/0", b"71.5")  # type: ignore[attr-defined]
    began = time.monotonic()
    for _ in range(5):
        source.poll(1000, 0.1)
    assert time.monotonic() - began < 2
    source.resume()
    assert len(take(source, 10)) == 10
    source.close()
    sink.close()


@pytest.mark.parametrize("options", ["", "?version=3.1.1"])
def test_a_connection_that_is_cut_is_not_connected_and_what_was_held_comes_again(
    server: Mosquitto, name: str, options: str
) -> None:
    there = broker(server, name, options)
    source = reading_from(there)
    publish(there, messages(0, 10))
    found = take(source, 10)
    source.ack(found[:4])
    assert source.poll(1000, 0.1).messages == []
    cut(source)
    with pytest.raises(NotConnected, match="connection is lost"):
        source.poll(1000, 1)
    source.close()
    source.open()
    source.begin("0")
    source.ack(found)
    assert bodies(take(source, 6)) == bodies(found[4:]), "an acknowledgement from before means nothing"
    source.close()


def test_what_was_not_confirmed_is_sent_again_and_everything_arrives(server: Mosquitto, name: str) -> None:
    there = broker(server, name)
    source = reading_from(there)
    sink = publishing_to(there)
    sent = messages(0, 400)
    sink.send(sent)
    done = sink.confirmed(1)
    cut(sink)
    with pytest.raises(NotConnected):
        sink.confirmed(1)
    sink.close()
    sink.open()
    sink.send(sent[done:])
    confirm(sink, len(sent) - done)
    sink.close()
    found: list[Message] = []
    while not found or found[-1].seq < 399:
        found += source.poll(1000, 2).messages
        source.ack(found[-1:])
    assert {message.seq for message in found} == set(range(400))
    source.close()


def test_a_server_that_ends_and_comes_back_still_has_what_it_confirmed(tmp_path: Path, name: str) -> None:
    server = or_skip(lambda: Mosquitto(tmp_path))
    server.start()
    try:
        there = broker(server, name)
        source = reading_from(there)
        sink = publishing_to(there)
        sink.send(messages(0, 30))
        confirm(sink, 30)
        server.stop()
        for attempt in (lambda: source.poll(1000, 1), lambda: sink.confirmed(1), sink.open):
            with pytest.raises(NotConnected):
                attempt()
        source.close()
        server.start()
        source = reading_from(there)
        assert [message.seq for message in take(source, 30)] == list(range(30))
        source.close()
        sink.close()
    finally:
        server.stop()


def test_a_frozen_server_is_found_out_by_the_lack_of_a_word(tmp_path: Path, name: str) -> None:
    server = or_skip(lambda: Mosquitto(tmp_path))
    server.start()
    source = reading_from(broker(server, name, "?keepalive=1"))
    server.send(signal.SIGSTOP)
    try:
        with pytest.raises(NotConnected):
            source.poll(1000, 5)
    finally:
        source.close()
        server.kill()


@pytest.mark.parametrize("options", ["", "?version=3.1.1"])
def test_a_second_reader_of_the_group_takes_over_and_the_first_is_told(
    server: Mosquitto, name: str, options: str
) -> None:
    there = broker(server, name, options)
    first = reading_from(there)
    publish(there, messages(0, 3))
    take(first, 3)
    second = open_source(there, name)
    second.open()
    assert first.poll(1000, 0.2).messages == [], "to open is not to take over"
    second.begin("0")
    with pytest.raises(NotConnected, match="only one may read"):
        first.poll(1000, 1)
    first.close()
    assert len(take(second, 3)) == 3
    second.close()


@pytest.mark.parametrize("options", ["", "?version=3.1.1"])
def test_a_wrong_password_is_said_without_it(server: Mosquitto, name: str, options: str) -> None:
    address = parse_address(f"mqtt://{USER}:hidden@127.0.0.1:{server.port}{options}", {})
    for part in (open_source(Broker(address, name), name), open_sink(Broker(address, name))):
        with pytest.raises(SetupError, match="check user and password") as said:
            part.open()
        assert "hidden" not in str(said.value)
        part.close()


def test_a_topic_that_may_not_be_used_is_said(server: Mosquitto, name: str) -> None:
    """To publish to, that is: Mosquitto lets anybody subscribe, and sends nothing."""
    sink = publishing_to(broker(server, name, queue="secret/7"))
    sink.send(messages(0, 1))
    with pytest.raises(SetupError, match="refused a message to 'secret/7'"):
        sink.confirmed(1)
    sink.close()


def test_tls_with_the_servers_authority(server: Mosquitto, name: str) -> None:
    text = f"mqtts://{USER}:{quote(PASSWORD, safe='')}@localhost:{server.tls_port}?ca={server.ca}"
    there = Broker(parse_address(text, {}), name)
    source = reading_from(there)
    publish(there, messages(0, 100))
    assert [message.seq for message in take(source, 100)] == list(range(100))
    source.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the library leaves a socket behind when TLS fails
def test_tls_that_cannot_be_trusted_is_to_be_mended(server: Mosquitto, name: str) -> None:
    for port, options, says in [
        (server.tls_port, "", "certificate is not trusted"),
        (server.tls_port, "?ca=/none.pem", r"cannot be used \(ca=/none.pem\)"),
        (server.port, f"?ca={server.ca}", "Is this the port for TLS"),
    ]:
        sink = open_sink(Broker(parse_address(f"mqtts://localhost:{port}{options}", {}), name))
        with pytest.raises((SetupError, NotConnected), match=says):
            sink.open()
        sink.close()
        gc.collect()


def test_nobody_there_is_not_connected(name: str) -> None:
    there = Broker(parse_address("mqtt://u:hidden@127.0.0.1:9", {}), name)
    for part in (open_source(there, name), open_sink(there)):
        with pytest.raises(NotConnected, match="no connection came about"):
            part.open()
        part.close()
        part.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("?version=4", "expected 5 or 3.1.1"),
        ("?inflight=0", "expected a whole number from 1 to 65535"),
        ("?keepalife=3", "Did you mean 'keepalive'"),
    ],
)
def test_parameters_are_checked(name: str, options: str, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        open_sink(Broker(parse_address(f"mqtt://127.0.0.1{options}", {}), name)).open()


def test_there_is_one_partition_and_no_publishing_to_a_filter() -> None:
    address = parse_address("mqtt://127.0.0.1", {})
    with pytest.raises(SetupError, match="MQTT has one partition, not 2"):
        open_source(Broker(address, "cook", ("0", "1")), "cook")
    with pytest.raises(SetupError, match="is a filter"):
        open_sink(Broker(address, "cook", queue="plant/+/temp"))


def test_a_filter_that_is_none_is_said(server: Mosquitto, name: str) -> None:
    source = open_source(broker(server, name, queue="plant/#/temp"), name)
    source.open()
    with pytest.raises(SetupError, match="no MQTT filter"):
        source.begin("0")
    source.close()


def test_without_the_library_the_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    with pytest.raises(SetupError, match=r"pip install -e '\.\[mqtt\]'"):
        open_sink(Broker(parse_address("mqtt://127.0.0.1", {}), "cook")).open()


def test_what_nobody_has_subscribed_to_is_not_confirmed(server: Mosquitto, name: str) -> None:
    """The server would take it and keep it for nobody."""
    sent = messages(0, 3)
    sink = publishing_to(broker(server, name))
    sink.send(sent)
    with pytest.raises(RetryLater, match=r"nobody has subscribed to 'cook-.*start `tocsin watch`"):
        confirm(sink, 3)
    sink.close()
    reading_from(broker(server, name)).close()
    publish(broker(server, name), sent)
