"""RabbitMQ's frames of plain messages, read and written many at once; whatever else travels is pika's.

A message takes three frames: a method (deliver or publish), a header with the properties, and the body.  pika makes an
object of each, and of all that is in them, which takes longer than everything else that is done with a message.  Here
a delivery whose frames are all there is taken out of what has been received as it stands, and messages to be
published become bytes for one write.  A delivery that is in any way different, a body in several frames, or a
channel that nobody asked for, goes pika's way, frame by frame and in the same order.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pika import BasicProperties
from pika.adapters.select_connection import SelectConnection
from pika.frame import Method, decode_frame
from pika.spec import Basic

from tocsin.message import STAMP

METHOD, HEADER, BODY, LAST = b"\x01", b"\x02", b"\x03", 0xCE
END = bytes((LAST,))
LARGEST = 100_000
"""Bytes of the largest body that is looked for whole; in larger ones frames are of no account."""
CONTENT = struct.Struct(">HHQH")
"""How a header begins: class, weight, size of the body, and which properties it has."""
SIZE = struct.Struct(">L")
FRAME = struct.Struct(">cHL")
PERSISTENT = 2
"""AMQP's delivery mode of a message that outlives a restart of the broker."""
SHORT = 255
"""Bytes of a short text at most."""

Receive = Callable[[int, str, str, str, str, bytes], None]
"""What takes a delivery: tag, routing key, content type, stamp, message id and body."""


class Connection(SelectConnection):  # type: ignore[misc]  # it has no types
    """pika's connection, which gives plain deliveries of some channels straight to who wants them."""

    _frame_buffer: bytes

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.receivers: dict[bytes, Receive] = {}
        """By how a delivery's first frame begins: see `beginning`."""
        super().__init__(*arguments, **named)

    def _on_data_available(self, data_in: bytes) -> None:
        if not self.receivers:
            super()._on_data_available(data_in)
            return
        self.bytes_received += len(data_in)  # or a busy connection would be taken for a silent one, and closed
        data: bytes = self._frame_buffer + data_in
        at = 0
        while at < len(data):
            after = self._delivered(data, at)
            if after == at:  # not all of it is there yet
                break
            if after < 0:
                size = SIZE.unpack_from(data, at + 3)[0] + 8 if len(data) >= at + 7 else 7
                after, frame = decode_frame(data[at : at + size])
                if not frame:
                    break
                self._frame_buffer = data[at + after :]
                self._process_frame(frame)
                data, after = self._frame_buffer, 0
            at = after
        self._frame_buffer = data[at:]

    def _delivered(self, data: bytes, at: int) -> int:
        """Where it goes on after the delivery that begins here; the same place if its end is missing, -1 if it is none."""
        if data[at] != 1 or len(data) < at + 12:
            return -1
        tag_at = at + 12 + data[at + 11]
        receive = self.receivers.get(data[at : at + 3] + data[at + 7 : tag_at])
        header = at + 8 + int.from_bytes(data[at + 3 : at + 7], "big")
        if receive is None:
            return -1
        if len(data) < header + 19:
            return at
        properties_end = header + 7 + int.from_bytes(data[header + 3 : header + 7], "big")
        size = int.from_bytes(data[header + 11 : header + 19], "big")
        body = properties_end + 1
        end = body + size + 8 if size else body
        channel = data[at + 1 : at + 3]
        if size > LARGEST or data[header : header + 3] != HEADER + channel:
            return -1
        if len(data) < end:
            return at
        if size and (
            data[body : body + 3] != BODY + channel or int.from_bytes(data[body + 3 : body + 7], "big") != size
        ):
            return -1
        if data[header - 1] != LAST or data[properties_end] != LAST or data[end - 1] != LAST:
            return -1
        content_type, stamp, message_id = _properties(data[header + 19 : properties_end])
        key = _routing_key(data[tag_at + 9 : header - 1])
        tag = int.from_bytes(data[tag_at : tag_at + 8], "big")
        receive(tag, key, content_type, stamp, message_id, data[body + 7 : end - 1] if size else b"")
        return end


def beginning(channel: int, consumer: str) -> bytes:
    """How the first frame of a delivery begins, but for its size."""
    name, kind = consumer.encode(), SIZE.pack(Basic.Deliver.INDEX)
    return METHOD + channel.to_bytes(2, "big") + kind + bytes((len(name),)) + name


@lru_cache(maxsize=1024)
def _routing_key(names: bytes) -> str:
    """The second of two short texts, the exchange's name and the routing key."""
    return names[names[0] + 2 :].decode("utf-8", "replace")


_OURS_FLAGS = (
    BasicProperties.FLAG_CONTENT_TYPE
    | BasicProperties.FLAG_HEADERS
    | BasicProperties.FLAG_DELIVERY_MODE
    | BasicProperties.FLAG_MESSAGE_ID
)
_OURS = _OURS_FLAGS.to_bytes(2, "big")
_PERSISTENT = bytes((PERSISTENT,))
_STAMP = bytes((len(STAMP),)) + STAMP.encode() + b"S"
_BEFORE = 4 + len(_STAMP) + 4
"""Bytes of a table of headers before its only value, our stamp."""


def _properties(encoded: bytes) -> tuple[str, str, str]:
    """Content type, stamp and message id."""
    if encoded[:2] == _OURS:
        table = 3 + encoded[2]
        stamp_at = table + _BEFORE
        if encoded[table + 4 : stamp_at - 4] == _STAMP:
            size = int.from_bytes(encoded[stamp_at - 4 : stamp_at], "big")
            if int.from_bytes(encoded[table : table + 4], "big") == len(_STAMP) + 4 + size:
                end = stamp_at + size
                return (
                    encoded[3:table].decode("utf-8", "replace"),
                    encoded[stamp_at:end].decode("utf-8", "replace"),
                    encoded[end + 2 : end + 2 + encoded[end + 1]].decode("utf-8", "replace"),
                )
    return _any_properties(encoded)


@lru_cache(maxsize=1024)
def _any_properties(encoded: bytes) -> tuple[str, str, str]:
    properties: Any = BasicProperties().decode(encoded)
    return told(properties)


def told(properties: Any) -> tuple[str, str, str]:
    """Content type, stamp and message id as texts; a foreign publisher may have put numbers or tables in."""
    stamp = properties.headers.get(STAMP) if properties.headers else None
    return properties.content_type or "", "" if stamp is None else str(stamp), properties.message_id or ""


def to_publish(channel: int, queue: str, body: bytes, properties: tuple[str, str, str], most: int) -> bytes:
    """The frames of a persistent message for a queue, b'' if they are for pika to make.

    `properties` are content type, stamp and message id; a frame holds `most` bytes.
    """
    content_type, stamp, message_id = (text.encode() for text in properties)
    if not (len(body) <= most and 0 < len(content_type) <= SHORT and 0 < len(message_id) <= SHORT):
        return b""
    table = _STAMP + SIZE.pack(len(stamp)) + stamp
    header = (
        CONTENT.pack(Basic.INDEX, 0, len(body), _OURS_FLAGS)
        + bytes((len(content_type),))
        + content_type
        + SIZE.pack(len(table))
        + table
        + _PERSISTENT
        + bytes((len(message_id),))
        + message_id
    )
    frames = _publish(channel, queue) + FRAME.pack(HEADER, channel, len(header)) + header + END
    return frames + FRAME.pack(BODY, channel, len(body)) + body + END if body else frames


@lru_cache(maxsize=1024)
def _publish(channel: int, queue: str) -> bytes:
    """The first frame of a message for a queue."""
    publish = Basic.Publish(exchange="", routing_key=queue, mandatory=True)
    marshalled: bytes = Method(channel, publish).marshal()
    return marshalled
