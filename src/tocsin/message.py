"""What travels through a broker: messages, each with where it comes from and where it stands.

A message is bytes that hold readings, and what the broker carries beside them.  One that Tocsin
published says its *origin*: its producer, and its number among that producer's messages of the
partition.  Both were given when it was first made durable, and stay the same however often it is sent.
A foreign message has no origin.

Beside the body travel, as headers, properties or attributes, whatever the broker calls them:

    content-type          application/json, application/vnd.apache.arrow.stream, …
    tocsin-version        1; another one is not read, and goes to the dead letters
    tocsin-producer       who published it
    tocsin-seq            its number, from 0, among the producer's messages of this partition
    tocsin-kind           readings; watermark, end: a producer's word that it has come so far, and has ended
    tocsin-watermark      the producer's watermark after this message, nanoseconds
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

VERSION = "1"
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
CSV = "text/csv"
LINE_PROTOCOL = "text/x-influx-line-protocol"

CONTENT_TYPE = "content-type"
PREFIX = "tocsin-"


class Kind(StrEnum):
    """What a message says."""

    READINGS = "readings"
    WATERMARK = "watermark"
    END = "end"


class Message(NamedTuple):
    """One message, to be sent or received.

    `key` is what the partition was chosen by on the way out, and the broker's own word (a key, a routing
    key, a topic) on the way in.  `broker_id` is the broker's stable name of the message, '' where it has none, and
    `time` its timestamp in nanoseconds where that is stable.  `position` belongs to the connector: it says
    which message to acknowledge, and of a log (journal, Kafka) where reading goes on after it.
    """

    body: bytes
    partition: str = "0"
    content_type: str = ""
    producer: str = ""
    seq: int = -1
    kind: str = Kind.READINGS
    watermark: int | None = None
    version: str = VERSION
    key: str = ""
    broker_id: str = ""
    time: int | None = None
    position: Any = None


def headers_of(message: Message) -> dict[str, str]:
    """What travels beside the body; all of it text."""
    headers = {PREFIX + "version": message.version, PREFIX + "kind": message.kind}
    if message.content_type:
        headers[CONTENT_TYPE] = message.content_type
    if message.producer:
        headers[PREFIX + "producer"] = message.producer
        headers[PREFIX + "seq"] = str(message.seq)
    if message.watermark is not None:
        headers[PREFIX + "watermark"] = str(message.watermark)
    return headers


def message_of(
    body: bytes,
    headers: Mapping[str, str],
    *,
    partition: str,
    position: Any = None,
    key: str = "",
    broker_id: str = "",
    time: int | None = None,
) -> Message:
    """A received message; whatever is not there, or is not what we would have written, is left as unsaid.

    A version that we do not know is kept: what cannot be read is judged where bodies are decoded.
    """
    get = headers.get
    seq, watermark, producer = get(PREFIX + "seq", ""), get(PREFIX + "watermark", ""), get(PREFIX + "producer", "")
    known = bool(producer) and seq.isdecimal()
    return Message(
        body,
        partition,
        get(CONTENT_TYPE, ""),
        producer if known else "",
        int(seq) if known else -1,
        get(PREFIX + "kind", Kind.READINGS),
        int(watermark) if watermark.removeprefix("-").isdecimal() else None,
        get(PREFIX + "version", VERSION),
        key,
        broker_id,
        time,
        position,
    )
