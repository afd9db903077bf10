"""MQTT's plain messages, taken apart and put together as paho does it."""

from __future__ import annotations

from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tocsin.connectors._mqtt_client import Received, _plain, packed

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
        (packed("text/csv", STAMP).pack(), "text/csv", STAMP),
        (packed("", STAMP).pack(), "", STAMP),
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
    unpacked.unpack(packed("application/json", "x" * size).pack())  # type: ignore[no-untyped-call]
    told: Any = unpacked
    assert (told.ContentType, told.UserProperty) == ("application/json", [("tocsin", "x" * size)])
    assert len(packed("application/json", "x" * size).pack()) == len(expected)
