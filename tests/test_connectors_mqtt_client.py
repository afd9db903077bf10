"""MQTT's plain messages, taken apart and put together as paho does it."""

from __future__ import annotations

from socket import socketpair
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tocsin.connectors._mqtt_client import Greedy, Received, _plain, packed, publication

STAMP = "1;readings;;;17;käse"


def properties(**named: Any) -> bytes:
    """Properties of a message, as paho packs them."""
    made = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    for name, value in named.items():
        setattr(made, name, value)
    return bytes(made.pack())  # type: ignore[no-untyped-call]


def packet(beside: bytes, payload: bytes = b"{}") -> bytes:
    """A message to the topic plant/1 with the number 300, behind its fixed header."""
    return b"\x00\x07plant/1" + (300).to_bytes(2, "big") + beside + payload


@pytest.mark.parametrize(
    ("beside", "content_type", "stamp"),
    [
        (properties(), "", ""),
        (properties(ContentType="application/json"), "application/json", ""),
        (properties(UserProperty=("tocsin", STAMP)), "", STAMP),
        (properties(ContentType="text/csv", UserProperty=("tocsin", STAMP)), "text/csv", STAMP),
        (packed("text/csv", STAMP), "text/csv", STAMP),
        (packed("", STAMP), "", STAMP),
    ],
)
def test_a_message_with_no_properties_but_ours_is_taken_apart(beside: bytes, content_type: str, stamp: str) -> None:
    assert _plain(packet(beside), five=True) == Received("plant/1", b"{}", content_type, stamp, 300, 1)


@pytest.mark.parametrize(
    "beside",
    [
        properties(UserProperty=[("tocsin", STAMP), ("more", "x")]),
        properties(UserProperty=("other", "x")),
        properties(MessageExpiryInterval=5),
        properties(TopicAlias=5),
        properties(ContentType="x" * 200),
    ],
)
def test_any_other_message_is_left_to_paho(beside: bytes) -> None:
    assert _plain(packet(beside), five=True) is None


def test_a_topic_that_is_not_utf_8_or_not_there_is_left_to_paho() -> None:
    assert _plain(b"\x00\x01\xff\x00\x01\x00{}", five=True) is None
    assert _plain(b"\x00\x00\x00\x01\x00{}", five=True) is None


def test_version_3_1_1_has_no_properties() -> None:
    assert _plain(packet(b"", b"\x00{}"), five=False) == Received("plant/1", b"\x00{}", "", "", 300, 1)


@pytest.mark.parametrize("size", [1, 90, 127, 128, 20_000])
def test_what_is_packed_is_what_paho_packs(size: int) -> None:
    expected = properties(ContentType="application/json", UserProperty=("tocsin", "x" * size))
    unpacked = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    unpacked.unpack(packed("application/json", "x" * size))  # type: ignore[no-untyped-call]
    told: Any = unpacked
    assert (told.ContentType, told.UserProperty) == ("application/json", [("tocsin", "x" * size)])
    assert len(packed("application/json", "x" * size)) == len(expected)


@pytest.mark.parametrize("size", [0, 100, 300, 20_000])
def test_what_is_published_is_what_paho_writes(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    client, written = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5), []
    monkeypatch.setattr(client, "_packet_queue", lambda _command, packet, *_: written.append(bytes(packet)))
    beside = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    beside.unpack(packed("", STAMP))  # type: ignore[no-untyped-call]
    with monkeypatch.context() as connected:
        connected.setattr(client, "_sock", object())
        client._send_publish(300, "plant/käse".encode(), b"x" * size, qos=1, properties=beside)
    assert written == [publication("plant/käse", 300, packed("", STAMP), b"x" * size)]


PLAIN, NOBODY, REFUSED = b"\x40\x02\x00\x01", b"\x40\x03\x00\x02\x10", b"\x40\x04\x01\x00\x97\x00"


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7, 100])
def test_confirmations_are_told_in_whatever_pieces_they_come(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.connectors._mqtt_client.MUCH", piece)
    client, told, (near, far) = (
        Greedy(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5),
        [],
        socketpair(),
    )
    with near, far:
        near.setblocking(False)
        monkeypatch.setattr(client, "_sock", near)
        client.taken = lambda mid, code: told.append((mid, code))
        far.sendall(PLAIN + PLAIN + NOBODY + PLAIN + REFUSED + PLAIN)
        for _ in range(100):
            client._packet_read()
        monkeypatch.undo()
    assert told == [(1, 0), (1, 0), (2, 0x10), (1, 0), (256, 0x97), (1, 0)]
