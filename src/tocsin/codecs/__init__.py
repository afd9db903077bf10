"""Codecs: bytes to readings and rejects, one file a format; and what the user says about a format.

Every shape of input comes down to *cells*.  A row, or a JSON object, has one time and gives one
reading for each of its cells: the cell's number, with the device, metric and labels that are named
by other columns or constant.  A wide row has several cells, a long one has one.

A blank cell is no reading.  A row without a time, a device or a metric, with a number that is
none, or that cannot be taken apart, is a reject; when one of several cells is bad, the others still
count, and the reject names the bad one.

The settings stand here rather than beside their decoders because checking a file must not load the decoders' libraries.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from tocsin.errors import did_you_mean

if TYPE_CHECKING:
    from tocsin.reading import Series
    from tocsin.record import Decoded, Record

TIME_FORMATS = ("iso8601", "unix_s", "unix_ms", "unix_us", "unix_ns")
"""The named formats of time; any other format is a strptime pattern and has a `%`."""

Precision = Literal["ns", "us", "ms", "s"]
Ambiguous = Literal["reject", "earlier", "later"]


@dataclass(frozen=True, slots=True)
class Column:
    """What a column says; for JSON its name is a dotted path."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """What the pipeline file says, the same for every row."""

    value: str


@dataclass(frozen=True, slots=True)
class Beside:
    """What travels beside the body of a message, or a word of its topic: `$key`, `$topic`, `$arrival`, `$topic.device`."""

    name: str


Part = Column | Constant | Beside


@dataclass(frozen=True, slots=True)
class TimeSettings:
    """Where a row's time stands and how it is written.

    Several columns are joined with a space.  `zone` is for times that do not say theirs.  Local times
    that the change to or from summer time makes ambiguous, or skips, are rejects, unless `ambiguous`
    says which offset counts: the one that gives the earlier instant or the later.

    With `beside` the only column is what travels beside a message, `$time` or `$arrival`, in nanoseconds.
    """

    columns: tuple[str, ...]
    format: str = "iso8601"
    zone: str = "UTC"
    ambiguous: Ambiguous = "reject"
    beside: bool = False

    def __post_init__(self) -> None:
        """Refuse what can be known to be wrong without a file; ValueError says what was expected."""
        zone_of(self.zone)
        if self.format not in TIME_FORMATS:
            _check_pattern(self.format)


@dataclass(frozen=True, slots=True)
class Cell:
    """One reading of every row: the column of its number, and whose number it is."""

    value: str
    device: Part
    metric: Part
    labels: tuple[tuple[str, Part], ...] = ()


@dataclass(frozen=True, slots=True)
class CsvSettings:
    """Text in columns.  `header` names them where the file itself does not.

    `missing` are further ways to write a blank cell, such as `?`.
    """

    codec: ClassVar[str] = "csv"
    time: TimeSettings
    cells: tuple[Cell, ...]
    delimiter: str = ","
    header: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JsonLinesSettings:
    """One JSON object a line; columns are dotted paths into it."""

    codec: ClassVar[str] = "json_lines"
    time: TimeSettings
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class JsonSettings:
    """A JSON array of objects, or objects one after the other, over any number of lines."""

    codec: ClassVar[str] = "json"
    time: TimeSettings
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class NumbersSettings:
    """One number a line: the first is at `start`, each next one `every` later (both nanoseconds)."""

    codec: ClassVar[str] = "numbers"
    start: int
    every: int
    device: str
    metric: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LineProtocolSettings:
    """InfluxDB line protocol: `device` is the tag that names the device, by itself `device` or `host`."""

    codec: ClassVar[str] = "line_protocol"
    precision: Precision = "ns"
    device: str | None = None


@dataclass(frozen=True, slots=True)
class BinarySettings:
    """Packed numbers, one record after the other: of each field its name and its kind, such as `double` or `text 8`."""

    codec: ClassVar[str] = "binary"
    time: TimeSettings
    cells: tuple[Cell, ...]
    layout: tuple[tuple[str, str], ...]
    byte_order: Literal["little", "big"] = "little"


@dataclass(frozen=True, slots=True)
class MessageSettings:
    """How messages of others are read: the form of their bodies, and the template that takes their topics apart.

    Without a form they are readings in Tocsin's own.  `scheme` says what kind of broker they come from, and `topic` is
    the one that all have in common, where there is one.
    """

    form: CodecSettings | BinarySettings | None
    scheme: str
    topic: str = ""
    template: str | None = None


CodecSettings = CsvSettings | JsonLinesSettings | JsonSettings | NumbersSettings | LineProtocolSettings


class Decoder(Protocol):
    """Turns the records of one source into readings and rejects."""

    def begin(self, head: bytes, file: str) -> int:
        """Look at how the file begins, before the first record, and say how many bytes its header takes.

        Raises SetupError if a column is not there, or if this is not the format at all.
        """

    def whole(self, data: bytes) -> int:
        """How many of these bytes are whole lines (or values); the rest waits for what follows it."""

    def decode(self, record: Record) -> Decoded:
        """The readings and rejects of a record."""


def decoder(settings: CodecSettings, series: Series) -> Decoder:
    """The decoder for these settings, from the file of that name."""
    made: Decoder = import_module(f"tocsin.codecs.{settings.codec}").Decoder(settings, series)
    return made


def zone_of(name: str) -> tzinfo:
    """The time zone of a name (`Europe/Berlin`) or an offset (`+02:00`); ValueError if there is none."""
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)", name)
    if offset:
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(ahead if offset[1] == "+" else -ahead)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = did_you_mean(name, available_timezones())
        raise ValueError(
            f"'{name}' is not a time zone: expected one as in UTC, Europe/Berlin or +02:00.{near}"
        ) from None


def _check_pattern(form: str) -> None:
    """Refuse a format that is neither one of the named ones nor a strptime pattern."""
    named = ", ".join(TIME_FORMATS)
    if "%" not in form:
        raise ValueError(
            f"'{form}' is not a format of time: expected {named}, "
            f"or a pattern as in %d/%m/%Y %H:%M:%S.{did_you_mean(form, TIME_FORMATS)}"
        )
    sample = datetime(2024, 1, 31, 13, 5, tzinfo=UTC)
    try:
        datetime.strptime(sample.strftime(form), form)  # noqa: DTZ007 - only whether it can be read
    except ValueError as fault:
        raise ValueError(f"'{form}' is not a pattern of time: {fault}") from None


SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".json_lines": "json_lines",
    ".lp": "line_protocol",
}


def format_of(name: str) -> str | None:
    """The format that a file's name tells, `.gz` aside; None where it tells none."""
    plain = name.lower().removesuffix(".gz")
    return next((codec for suffix, codec in SUFFIXES.items() if plain.endswith(suffix)), None)


def names_in(time: TimeSettings, cells: Sequence[Cell]) -> list[str]:
    """The columns that are read as text: times, devices, metrics and labels, each once."""
    parts = [part for cell in cells for part in (cell.device, cell.metric, *(label for _, label in cell.labels))]
    written = () if time.beside else time.columns
    return list(dict.fromkeys([*written, *(part.name for part in parts if isinstance(part, Column))]))


def columns_of(time: TimeSettings, cells: Sequence[Cell]) -> list[str]:
    """Every column that these settings look at, each once."""
    return list(dict.fromkeys([*names_in(time, cells), *(cell.value for cell in cells)]))
