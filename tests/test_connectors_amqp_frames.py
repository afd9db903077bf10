"""RabbitMQ's frames of plain messages, read and written as pika reads and writes them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pika import BasicProperties
from pika.frame import Body, Header, Heartbeat, Method, decode_frame
from pika.spec import Basic

from tocsin.connectors._amqp_frames import LARGEST, Connection, beginning, to_publish, told

CONSUMER = "ctag1.käse"


class Heard(Connection):
    """A connection without a network: what it gives to a receiver, and what is left to pika."""

    def __init__(self) -> None:
        self._frame_buffer, self.bytes_received = b"", 0
        self.given: list[tuple[Any, ...]] = []
        self.left: list[Any] = []
        self.receivers = {beginning(1, CONSUMER): lambda *told: self.given.append(told)}

    def _process_frame(self, frame_value: Any) -> None:
        self.left.append(frame_value)


def delivery(tag: int, body: bytes, channel: int = 1, key: str = "cook.0", **properties: Any) -> bytes:
    """The frames of a message, as pika writes them."""
    method = Basic.Deliver(CONSUMER, tag, False, "", key)
    frames = [Method(channel, method), Header(channel, len(body), BasicProperties(**properties))]
    parts = [body[low : low + LARGEST] for low in range(0, len(body), LARGEST)]
    return b"".join(frame.marshal() for frame in (*frames, *(Body(channel, part) for part in parts)))


OURS: dict[str, Any] = {
    "content_type": "application/json",
    "headers": {"tocsin": "1;readings;;;17;smoker"},
    "delivery_mode": 2,
    "message_id": "smoker:0:17",
}
STREAM = [
    (delivery(1, b"{}", **OURS), (1, "cook.0", "application/json", "1;readings;;;17;smoker", "smoker:0:17", b"{}")),
    (delivery(2, b"", key="other"), (2, "other", "", "", "", b"")),
    (delivery(3, b"\xce" * 300, delivery_mode=2), (3, "cook.0", "", "", "", b"\xce" * 300)),
    (delivery(4, b"x", headers={"tries": 3}, message_id="m"), (4, "cook.0", "", "", "m", b"x")),
    (
        delivery(5, b"x", **(OURS | {"headers": {"tocsin": "1;readings;;;17;smoker", "more": 1}})),
        (5, "cook.0", "application/json", "1;readings;;;17;smoker", "smoker:0:17", b"x"),
    ),
    (delivery(6, b"y" * LARGEST), (6, "cook.0", "", "", "", b"y" * LARGEST)),
]


def fed(data: bytes, sizes: list[int]) -> Heard:
    """What is heard when the bytes come in pieces of these sizes, in turn."""
    heard, at, turn = Heard(), 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        heard._on_data_available(data[at : at + size])
        at, turn = at + size, turn + 1
    return heard


@pytest.mark.parametrize("seed", range(20))
def test_plain_deliveries_are_given_however_the_bytes_come_in_pieces(seed: int) -> None:
    pieces = random.Random(seed)
    heard = fed(b"".join(data for data, _ in STREAM), [pieces.choice([1, 7, 100, 5_000, 60_000]) for _ in range(50)])
    assert heard.given == [told for _, told in STREAM]
    assert heard.left == []


@pytest.mark.parametrize("size", [1, 10, 100_000_000])
def test_everything_else_goes_pikas_way_in_its_place(size: int) -> None:
    other = Heartbeat().marshal() + delivery(9, b"z", channel=2) + delivery(10, b"w" * (LARGEST + 1))
    heard = fed(STREAM[0][0] + other + STREAM[1][0], [size if size > 1 else 997])
    assert [tag for tag, *_ in heard.given] == [1, 2]
    kinds = [type(frame).__name__ for frame in heard.left]
    assert kinds == ["Heartbeat", "Method", "Header", "Body", "Method", "Header", "Body", "Body"]


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 1_000])
def test_what_is_published_reads_as_pika_reads_it(body: bytes) -> None:
    data = to_publish(3, "cook.0", body, ("application/json", "1;readings;;;1;käse", "käse:0:1"), LARGEST)
    frames = []
    while data:
        size, frame = decode_frame(data)
        frames.append(frame)
        data = data[size:]
    method, header, *bodies = frames
    assert (method.channel_number, method.method.routing_key, method.method.mandatory) == (3, "cook.0", True)
    assert method.method.exchange == ""
    assert told(header.properties) == ("application/json", "1;readings;;;1;käse", "käse:0:1")
    assert (header.properties.delivery_mode, header.body_size) == (2, len(body))
    assert b"".join(one.fragment for one in bodies) == body


@pytest.mark.parametrize(
    "properties", [("", "1", "m"), ("application/json", "1", ""), ("application/json", "1", "m" * 256)]
)
def test_what_is_not_ours_to_write_is_left_to_pika(properties: tuple[str, str, str]) -> None:
    assert to_publish(1, "q", b"{}", properties, LARGEST) == b""
    assert to_publish(1, "q", b"{}", ("application/json", "1", "m"), 1) == b""
