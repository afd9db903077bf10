"""paho's client, which asks the system for much at once, and makes objects only of what is unusual.

By itself it asks three times or more for each packet, and takes 90 µs for the properties of a message of MQTT 5.  A
message whose only properties are ours is taken apart here; any other packet goes paho's way.  What is published is
put together here, as many messages in one write as may go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from paho.mqtt.client import PUBLISH, Client
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

from tocsin.message import STAMP

MUCH = 1 << 16
"""Bytes that are asked for at a time."""
QOS, QOS_1 = 0b110, 0b010
"""The bits of a packet's first byte that say how it is to be confirmed, and what they are for QoS 1."""
CONTENT_TYPE, USER = b"\x03", b"\x26"
_STAMP = USER + len(STAMP).to_bytes(2, "big") + STAMP.encode()
"""How the property begins that holds a stamp."""
_PUBLISH, _PLAINLY_TAKEN = b"\x32", b"\x40\x02"
"""How a message of QoS 1 begins, and the confirmation of one that has a number and nothing else."""
_MID = 2
"""Bytes of a message's number."""
_SHORT = 128
"""A length below this takes one byte."""


class Received(NamedTuple):
    """A message as it came, not acknowledged yet."""

    topic: str
    payload: bytes
    content_type: str
    stamp: str
    mid: int
    qos: int


def packed(content_type: str, stamp: str) -> bytes:
    """The properties of one of our messages, as they travel."""
    typed = CONTENT_TYPE + _text(content_type) if content_type else b""
    beside = typed + _STAMP + _text(stamp)
    return _length(len(beside)) + beside


def publication(topic: str, mid: int, properties: bytes, body: bytes) -> bytes:
    """A message of QoS 1 as it travels; MQTT 3.1.1 has no properties."""
    told = _text(topic) + mid.to_bytes(2, "big") + properties
    return _PUBLISH + _length(len(told) + len(body)) + told + body


class Greedy(Client):
    """A client that has some of what comes in hand, and gives plain messages to `receive`.

    What is published by `write` goes out at once, and past paho's own list of what is under way: `taken` is told each
    number that the server confirms, with its reason code.
    """

    receive: Callable[[Received], None] | None = None
    taken: Callable[[int, int], None] | None = None
    _got = b""
    _at = 0

    @property
    def has_more(self) -> bool:
        """Whether bytes are in hand that no packet was made of yet: the socket does not tell of these."""
        return self._at < len(self._got)

    def write(self, packets: list[bytes]) -> None:
        """Send these, many in one write."""
        self._packet_queue(PUBLISH, b"".join(packets), 0, 1)

    def _packet_read(self) -> MQTTErrorCode:
        if self.taken is not None and self.has_more and not self._in_packet["command"]:
            while self._got.startswith(_PLAINLY_TAKEN, self._at) and self._at + 4 <= len(self._got):
                self.taken(int.from_bytes(self._got[self._at + 2 : self._at + 4], "big"), 0)
                self._at += 4
            if self._at == len(self._got):
                return MQTTErrorCode.MQTT_ERR_AGAIN
        return super()._packet_read()

    def _handle_pubackcomp(self, cmd: Any) -> MQTTErrorCode:
        told = bytes(self._in_packet["packet"])
        if self.taken is None or len(told) < _MID:
            return super()._handle_pubackcomp(cmd)
        self.taken(int.from_bytes(told[:_MID], "big"), told[_MID] if len(told) > _MID else 0)
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self.has_more:
            self._got, self._at = super()._sock_recv(max(bufsize, MUCH)), 0
        part = self._got[self._at : self._at + bufsize]
        self._at += len(part)
        return part

    def _handle_publish(self) -> MQTTErrorCode:
        packet: Any = self._in_packet
        plain = None
        if self.receive is not None and packet["command"] & QOS == QOS_1:
            plain = _plain(bytes(packet["packet"]), self._protocol == MQTTProtocolVersion.MQTTv5)
        if plain is None or self.receive is None:
            return super()._handle_publish()
        self.receive(plain)
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def _plain(packet: bytes, five: bool) -> Received | None:
    """A message of QoS 1, if it has no properties but ours; else None."""
    at = 2 + int.from_bytes(packet[:2], "big")
    try:
        topic = packet[2:at].decode()
        mid, at = int.from_bytes(packet[at : at + 2], "big"), at + 2
        content_type = stamp = ""
        if five:
            size = packet[at]
            beside, at = packet[at + 1 : at + 1 + size], at + 1 + size
            if size >= _SHORT or len(beside) < size:
                return None
            stamp, beside = _value(beside, _STAMP)
            content_type, beside = _value(beside, CONTENT_TYPE)
            if beside and not stamp:
                stamp, beside = _value(beside, _STAMP)
            if beside:
                return None
    except (IndexError, UnicodeDecodeError):
        return None
    return Received(topic, packet[at:], content_type, stamp, mid, 1) if topic else None


def _value(properties: bytes, name: bytes) -> tuple[str, bytes]:
    """The text of the first property, if it is of this name, and the properties after it."""
    if not properties.startswith(name):
        return "", properties
    begins = len(name) + 2
    ends = begins + int.from_bytes(properties[begins - 2 : begins], "big")
    return properties[begins:ends].decode(), properties[ends:]


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def _length(size: int) -> bytes:
    """As MQTT writes lengths: seven bits a byte, the lowest first."""
    written = b""
    while size >= _SHORT:
        written, size = written + bytes((size % _SHORT + _SHORT,)), size // _SHORT
    return written + bytes((size,))
