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
    tocsin-kind           readings; rejects: what a producer could not read, for the dead letters;
                          watermark, end: a producer's word that it has come so far, and has ended
    tocsin-watermark      the producer's watermark after this message, nanoseconds
    tocsin-arrival        when its readings first became durable, nanoseconds
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from tocsin.instant import LONG_AGO

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
    REJECTS = "rejects"
    WATERMARK = "watermark"
    END = "end"
    POISON = "poison"
    EXPELLED = "expelled"
    """Never sent: what a message becomes at which the process that took it ended, again and again."""


class Message(NamedTuple):
    """One message, to be sent or received.

    `key` is what the partition was chosen by on the way out, and the broker's own word (a key, a routing
    key, a topic) on the way in.  `broker_id` is the broker's stable name of the message, '' where it has none, and
    `time` its timestamp in nanoseconds where that is stable.  `arrival` is when a reading that has just been
    measured first became durable (nanoseconds; a file has none): what lies far ahead of it is from the future.
    `position` belongs to the connector: it says
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
    arrival: int | None = None
    position: Any = None


class Standing(IntEnum):
    """Whether an origin counts."""

    LIVE = 0
    ENDED = 1
    EXPIRED = 2


@dataclass(frozen=True, slots=True)
class Origin:
    """An origin as it is saved: the number that comes next, how far it has come, whether it counts, and its first event time."""

    partition: str
    producer: str
    next: int = -1
    mark: int = LONG_AGO
    newest: int = LONG_AGO
    standing: Standing = Standing.LIVE
    first: int | None = None

    def row(self) -> tuple[str, str, int, int, int, int, int | None]:
        """The same as plain values."""
        return self.partition, self.producer, self.next, self.mark, self.newest, int(self.standing), self.first


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
    if message.arrival is not None:
        headers[PREFIX + "arrival"] = str(message.arrival)
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
    seq, producer = get(PREFIX + "seq", ""), get(PREFIX + "producer", "")
    known = bool(producer) and seq.isdecimal()
    return Message(
        body,
        partition,
        get(CONTENT_TYPE, ""),
        producer if known else "",
        int(seq) if known else -1,
        get(PREFIX + "kind", Kind.READINGS),
        _number(get(PREFIX + "watermark", "")),
        get(PREFIX + "version", VERSION),
        key,
        broker_id,
        time,
        _number(get(PREFIX + "arrival", "")),
        position,
    )


def _number(text: str) -> int | None:
    return int(text) if text.removeprefix("-").isdecimal() else None
