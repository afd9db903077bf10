"""What travels through a broker: messages, each with where it comes from and where it stands.

A message is bytes that hold readings, and what the broker carries beside them.  One that Tocsin
published says its *origin*: its producer, and its number among that producer's messages of the
partition.  Both were given when it was first made durable, and stay the same however often it is sent.
A foreign message has no origin.

Beside the body travel, as headers, properties or attributes, whatever the broker calls them:

    content-type    application/json, application/vnd.apache.arrow.stream, …
    tocsin          the message's *stamp*, as in 1;readings;1700000000000000000;;17;smoker-1a2b

A stamp has these parts, each '' where there is none:

    version         1; another one is not read, and goes to the dead letters
    kind            readings; rejects: what a producer could not read, for the dead letters;
                    watermark, end: a producer's word that it has come so far, and has ended
    watermark       the producer's watermark after this message, nanoseconds
    arrival         when its readings first became durable, nanoseconds
    seq             its number, from 0, among the producer's messages of this partition
    producer        who published it; last, because it may have a semicolon in its name

One header, because brokers' clients take as long for each as for a small message.
"""

from __future__ import annotations

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
STAMP = "tocsin"


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


Said = tuple[str, int, str, int | None, str, int | None]
"""Producer, seq, kind, watermark, version and arrival, as a stamp says them."""
UNSTAMPED: Said = "", -1, Kind.READINGS, None, VERSION, None
"""A foreign message's."""


def stamp_of(message: Message) -> str:
    """A message's stamp, as it is written."""
    _, _, _, producer, seq, kind, watermark, version, _, _, _, arrival, _ = message
    upto = "" if watermark is None else str(watermark)
    since = "" if arrival is None else str(arrival)
    return ";".join((version, kind, upto, since, str(seq) if producer else "", producer))


def headers_of(message: Message) -> dict[str, str]:
    """What travels beside the body; all of it text."""
    if message.content_type:
        return {CONTENT_TYPE: message.content_type, STAMP: stamp_of(message)}
    return {STAMP: stamp_of(message)}


def message_of(
    body: bytes,
    content_type: str,
    stamp: str,
    partition: str,
    position: Any = None,
    key: str = "",
    broker_id: str = "",
    time: int | None = None,
) -> Message:
    """A received message; one without a stamp is foreign.

    What in a stamp is not as we would have written it is left as unsaid.  A version that we do not know is kept: what
    cannot be read is judged where bodies are decoded.
    """
    producer, seq, kind, watermark, version, arrival = UNSTAMPED
    if stamp:
        try:
            version, kind, upto, since, number, producer = stamp.split(";", 5)
            seq = int(number)
            watermark = int(upto) if upto else None
            arrival = int(since) if since else None
        except ValueError:
            seq = -1
        if seq < 0 or not (producer and kind):
            producer, seq, kind, watermark, version, arrival = _as_far_as_said(stamp)
    # Message(…) itself looks at its arguments one by one, which takes twice as long.
    received: Message = _new(
        Message,
        (
            body,
            partition,
            content_type,
            producer,
            seq,
            kind,
            watermark,
            version,
            key,
            broker_id,
            time,
            arrival,
            position,
        ),
    )
    return received


def _as_far_as_said(stamp: str) -> Said:
    version, kind, watermark, arrival, seq, producer = [*stamp.split(";", 5), "", "", "", "", ""][:6]
    known = seq.isdecimal() and producer != ""
    return (
        producer if known else "",
        int(seq) if known else -1,
        kind or Kind.READINGS,
        _number(watermark),
        version,
        _number(arrival),
    )


def _number(text: str) -> int | None:
    return int(text) if text.removeprefix("-").isdecimal() else None


_new: Any = tuple.__new__
