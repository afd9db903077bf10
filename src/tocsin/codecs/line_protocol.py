"""InfluxDB line protocol: a measurement, its tags, its fields and a time, one line each.

    weather,device=attic,site=north temp=21.5,open=t,note="windy" 1704067200000000000

Each field with a number is a reading: of the metric `weather_temp`, or `weather` alone where the field is called
`value`.  True and false are 1 and 0; texts are passed over and counted.  The device is a tag, `device` or `host` unless the
user names another; the other tags are labels.  A line with a fault is a reject as a whole.

A text may hold line ends.  One that is still open after 64 kB is taken for a forgotten quote: its line is a reject, and the
next line begins anew.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from tocsin.codecs import LineProtocolSettings
from tocsin.codecs._line_parts import EXAMPLE, OPEN_LIMIT, SHOWN, lines_of, plain, taken_apart
from tocsin.codecs._lines import check_text, line_end, not_text, reject
from tocsin.instant import EARLIEST, LATEST, UNITS
from tocsin.reading import Batch, Labels, Series, labels_of
from tocsin.record import Decoded, Record

DEVICE_TAGS = ("device", "host")
"""Which tags name the device where the user says nothing: ours, and the one that Telegraf writes."""

Bad = tuple[int, bytes, str]
"""A line's number, its bytes, and what is wrong with it."""


class Told(NamedTuple):
    """What some lines held; `passed_over` is how many fields were texts."""

    batch: Batch
    bad: list[Bad]
    passed_over: int


class Lines:
    """Reads lines, and remembers which series they were of; `remedy` says how another tag for the device is named."""

    def __init__(
        self,
        series: Series,
        device: str | None = None,
        precision: str = "ns",
        remedy: str = "name another in the settings",
    ) -> None:
        self._series = series
        self._tags = (device,) if device else DEVICE_TAGS
        self._remedy = remedy
        self._unit = UNITS[precision]
        self._heads: dict[str, _Head] = {}
        self._codes: dict[tuple[str, str], int] = {}

    def read(self, data: bytes, line: int = 1, arrival: int | None = None, most_bad: int | None = None) -> Told:
        """The readings of whole lines; one without a time is of `arrival`, or a reject if there is none.

        After `most_bad` bad lines what is left is not read, and is one more of them.
        """
        codes: list[int] = []
        times: list[int] = []
        values: list[float] = []
        bad: list[Bad] = []
        passed_over = 0
        for number, raw, _ in lines_of(data, line):
            if raw.lstrip()[:1] in (b"", b"#"):
                continue
            try:
                found, texts, time = self._line(raw, arrival)
            except ValueError as fault:
                if len(bad) == most_bad:
                    left = b"\n".join(data.split(b"\n")[number - line :])
                    bad.append(
                        (number, left, f"{most_bad:,} lines before this one are bad: it and all after it were not read")
                    )
                    break
                bad.append((number, raw.rstrip(b"\r"), str(fault)))
                continue
            passed_over += texts
            codes += [code for code, _ in found]
            values += [value for _, value in found]
            times += [time] * len(found)
        batch = Batch(
            self._series, np.array(codes, np.int32), np.array(times, np.int64), np.array(values, np.float64) + 0.0
        )
        return Told(batch, bad, passed_over)

    def _line(self, raw: bytes, arrival: int | None) -> tuple[list[tuple[int, float]], int, int]:
        """A line's series and values, how many of its fields are texts, and its time."""
        if wrong := not_text(raw):
            raise ValueError(wrong.partition(":")[0])
        text = raw.decode()
        head, fields, time = taken_apart(text)
        values = [(name, _value(name, written)) for name, written in fields]
        instant = self._instant(time, arrival)
        found = [(self._code(head, name), value) for name, value in values if value is not None]
        return found, len(values) - len(found), instant

    def _instant(self, time: str, arrival: int | None) -> int:
        if not time:
            if arrival is None:
                raise ValueError(f"there is no time at its end: expected one as in {EXAMPLE}")
            return arrival
        if not _INTEGER.fullmatch(time):
            raise ValueError(f"'{time[:SHOWN]}' is no time: expected an integer at the end, as in {EXAMPLE}")
        instant = int(time) * self._unit
        if not EARLIEST <= instant < LATEST:
            raise ValueError(f"the time {time[:SHOWN]} lies outside the years 1700 to 2199: is the precision right?")
        return instant

    def _code(self, head: str, field: str) -> int:
        known = self._codes.get((head, field))
        if known is None:
            owner = self._heads.get(head) or _owner(head, self._tags, self._remedy)
            metric = owner.measurement if field == "value" else f"{owner.measurement}_{field}"
            known = self._series.code(owner.device, metric, dict(owner.labels))
            if len(self._codes) >= _MOST:
                self._codes.clear()
                self._heads.clear()
            self._heads[head], self._codes[head, field] = owner, known
        return known


class Decoder:
    """Reads one file of lines; `passed_over` is how many fields were texts so far."""

    def __init__(self, settings: LineProtocolSettings, series: Series) -> None:
        self._lines = Lines(series, settings.device, settings.precision)
        self.passed_over = 0

    def begin(self, head: bytes, file: str) -> int:
        """There is no header, and no column that could be missing."""
        check_text(head, file)
        return 0

    def whole(self, data: bytes) -> int:
        """Where the last complete line ends."""
        end = line_end(data)
        if b'"' not in data[:end]:
            return end
        begin = 0
        for _, raw, is_open in lines_of(data[:end], 1):
            if is_open and end - begin <= OPEN_LIMIT:
                break
            begin += len(raw) + 1
        return begin

    def decode(self, record: Record) -> Decoded:
        """The readings of a record."""
        told = self._lines.read(record.data, int(record.place["line"]))
        self.passed_over += told.passed_over
        rejects = [reject(raw, record, number, reason) for number, raw, reason in told.bad]
        return Decoded(told.batch, rejects, record.end, len(record.data))


class _Head(NamedTuple):
    """What stands before a line's fields."""

    measurement: str
    device: str
    labels: Labels


def _owner(head: str, tags: tuple[str, ...], remedy: str) -> _Head:
    """Whose the readings of a line are; ValueError if it does not say."""
    measurement, *pairs = _TAG_COMMA.split(head)
    told: dict[str, str] = {}
    for pair in pairs:
        tag = _TAG.fullmatch(pair)
        if tag is None:
            raise ValueError(f"the tag '{pair[:SHOWN]}' is not written as name=value")
        told[plain(tag[1])] = plain(tag[2])
    if not measurement:
        raise ValueError(f"the measurement is missing: expected one before its tags, as in {EXAMPLE}")
    device = next((told.pop(tag) for tag in tags if tag in told), "")
    if not device.strip():
        expected = " or ".join(f"`{tag}`" for tag in tags)
        raise ValueError(f"no tag says the device: expected {expected}, or {remedy}")
    return _Head(_MEASUREMENT.sub(r"\1", measurement), device, labels_of(told))


def _value(name: str, written: str) -> float | None:
    """A field's number, None for a text."""
    if not name or not written:
        raise ValueError(f"a field is not written as name=value, as in {EXAMPLE}")
    if _NUMBER.fullmatch(written):
        value = float(written)
        if value in (float("inf"), float("-inf")):
            raise ValueError(f"field '{name[:SHOWN]}': {written[:SHOWN]} is too large")
        return value
    if whole := _WHOLE.fullmatch(written):
        low, high = (-(2**63), 2**63) if whole[2] == "i" else (0, 2**64)
        if len(whole[1]) > _DIGITS or not low <= int(whole[1]) < high:
            raise ValueError(f"field '{name[:SHOWN]}': {written[:SHOWN]} does not fit into 64 bits")
        return float(int(whole[1]))
    if written in _TRUE:
        return 1.0
    if written in _FALSE:
        return 0.0
    if _STRING.fullmatch(written):
        return None
    raise ValueError(
        f"field '{name[:SHOWN]}': {written[:SHOWN]} is neither a number, true or false, nor a text in quotes"
    )


_MOST = 1 << 20
"""So many series are remembered by how they are written; then all are looked up anew."""
_DIGITS = 40
_TRUE, _FALSE = frozenset({"t", "T", "true", "True", "TRUE"}), frozenset({"f", "F", "false", "False", "FALSE"})
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"([+-]?\d+)([iu])", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,40}", re.ASCII)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_MEASUREMENT = re.compile(r"\\([, ])")
"""What a measurement's name protects; an equals sign needs no backslash there, so before one it is itself."""
_TAG_COMMA = re.compile(r"(?<!\\),")
_TAG = re.compile(r"((?:[^=]|(?<=\\)=)+)=(.+)", re.DOTALL)
