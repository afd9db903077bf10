"""Columns of written times to instants, by column.

A block repeats its times, so every distinct text is read once and the result spread over the rows.
Arrow reads what it is sure of; Python is the judge of the rest, one distinct text at a time.

Local times are taken to UTC by the minute: a zone's offset never changes within one, and a block holds
few of them.  A local minute with two possible offsets is ambiguous (the clock was put back) or skipped
(it was put forward).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.codecs import TimeSettings, zone_of
from tocsin.instant import EARLIEST, LATEST, SECOND, YEARS
from tocsin.reading import Times

READ, BLANK, UNREADABLE, TWICE, SKIPPED, OUTSIDE = range(6)
"""What became of a written time."""

States = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_MINUTE = 60 * SECOND
_SPAN = 9_200_000_000 * SECOND
"""Times from 1678 to 2261 fit into int64 nanoseconds."""
_FAR = Decimal(2 * _SPAN)
_DIGITS = {"unix_s": 9, "unix_ms": 6, "unix_us": 3, "unix_ns": 0}
_UNIT_NAMES = {"unix_s": "seconds", "unix_ms": "milliseconds", "unix_us": "microseconds", "unix_ns": "nanoseconds"}
_ISO = re.compile(
    r"(\d{4}-?\d\d-?\d\d(?:[T ]\d\d(?::?\d\d(?::?\d\d)?)?)?)(?:[.,](\d+))?(?: ?(Z|[+-]\d\d(?::?\d\d)?))?", re.IGNORECASE
)
_SURE = frozenset("YmdHMSybBIp")
"""The directives that Arrow and Python read alike, but for days that a month does not have."""
_SURE_LENGTH = 38
"""A decimal of 128 bits has so many digits; of more, Arrow 26 makes other numbers, and says nothing."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Read = tuple[int, bool] | None
"""Nanoseconds and whether they are local; None for a text that is no time."""


class Clock:
    """Reads one source's times."""

    def __init__(self, settings: TimeSettings) -> None:
        self._settings = settings
        self._zone = None if settings.zone == "UTC" else zone_of(settings.zone)
        self._offsets: dict[int, tuple[int, int]] = {}

    def read(self, column: pa.Array) -> tuple[Times, States]:
        """The instant of every row, and whether there is one."""
        if pa.types.is_integer(column.type) and self._settings.format in _DIGITS and not column.null_count:
            return _whole(column.to_numpy(), _DIGITS[self._settings.format])
        encoded = column.dictionary_encode()
        texts = pc.utf8_trim_whitespace(encoded.dictionary.cast(pa.string()))
        times, states = self._distinct(texts)
        rows = encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)
        return np.append(times, 0)[rows], np.append(states, np.uint8(BLANK))[rows]

    def reason(self, text: str | None, state: int) -> str:
        """Why a time could not be used, and how to mend it."""
        if state == BLANK:
            return "the time is blank"
        if state == UNREADABLE:
            return f"'{text}' is not {_expected(self._settings.format)}"
        if state == OUTSIDE:
            unit = _UNIT_NAMES.get(self._settings.format)
            return f"'{text}' {f'as a Unix time in {unit} ' if unit else ''}lies outside {YEARS}"
        fault = "happens twice" if state == TWICE else "is skipped"
        return (
            f"'{text}' {fault} in {self._settings.zone}, where the clock is changed: "
            "set `ambiguous: earlier` or `ambiguous: later` beside the zone"
        )

    def _distinct(self, texts: pa.Array) -> tuple[Times, States]:
        times, local, states = self._parse(texts)
        states[(states == READ) & ((times < EARLIEST) | (times >= LATEST))] = OUTSIDE
        if self._zone is not None:
            self._to_utc(times, states, local & (states == READ), self._zone)
        states[pc.equal(texts, "").to_numpy(zero_copy_only=False)] = BLANK
        return times, states

    def _parse(self, texts: pa.Array) -> tuple[Times, Mask, States]:
        form = self._settings.format
        if form == "iso8601":
            return iso(texts)
        return _unix(texts, _DIGITS[form]) if form in _DIGITS else _pattern(texts, form)

    def _to_utc(self, times: Times, states: States, local: Mask, zone: Any) -> None:
        minutes, which = np.unique(times[local] // _MINUTE, return_inverse=True)
        offsets = np.array([self._offset(int(minute), zone) for minute in minutes], np.int64).reshape(-1, 2)[which]
        first, second = offsets[:, 0], offsets[:, 1]
        later = np.minimum(first, second) if self._settings.ambiguous == "later" else np.maximum(first, second)
        times[local] -= later
        if self._settings.ambiguous == "reject":
            states[local] = np.where(first == second, READ, np.where(first > second, TWICE, SKIPPED))

    def _offset(self, minute: int, zone: Any) -> tuple[int, int]:
        known = self._offsets.get(minute)
        if known is None:
            wall = (_EPOCH + timedelta(minutes=minute)).replace(tzinfo=zone)
            known = self._offsets[minute] = (
                _nanoseconds(wall.utcoffset()),
                _nanoseconds(wall.replace(fold=1).utcoffset()),
            )
        return known


def _expected(form: str) -> str:
    if form == "iso8601":
        return "an ISO 8601 time, as in 2024-01-31T12:00:00Z"
    if form in _UNIT_NAMES:
        return f"a Unix time in {_UNIT_NAMES[form]}"
    return f"a time as in '{form}', for instance {datetime(2024, 1, 31, 13, 5, tzinfo=UTC).strftime(form)}"


def iso(texts: pa.Array) -> tuple[Times, Mask, States]:
    """Of ISO 8601 texts: their instants, whether they are local (say no zone), and whether they are times at all."""
    for kind, local in ((pa.timestamp("ns", "UTC"), False), (pa.timestamp("ns"), True)):
        try:
            times = texts.cast(kind).cast(pa.int64()).to_numpy(zero_copy_only=False).copy()
        except pa.ArrowInvalid:
            continue
        return times, np.full(len(times), local), np.zeros(len(times), np.uint8)
    return _by_one([_read_iso(text) for text in texts.to_pylist()])


def _read_iso(text: str) -> Read:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    whole, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(whole + (zone or "").upper()) if zone else datetime.fromisoformat(whole)
    except ValueError:
        return None
    return _instant(moment) + int((fraction or "0")[:9].ljust(9, "0")), moment.tzinfo is None


def _unix(texts: pa.Array, digits: int) -> tuple[Times, Mask, States]:
    if (pc.max(pc.binary_length(texts)).as_py() or 0) > _SURE_LENGTH:
        return _by_one([_read_unix(text, digits) for text in texts.to_pylist()])
    try:
        exact = texts.cast(pa.decimal128(38, digits))
    except pa.ArrowInvalid:
        return _by_one([_read_unix(text, digits) for text in texts.to_pylist()])
    # An Arrow decimal is its digits without the point, in 128 bits: just the nanoseconds, if the upper half
    # is only their sign.
    words = np.frombuffer(exact.buffers()[1], np.int64)[2 * exact.offset :][: 2 * len(exact)]
    times = words[::2].copy()
    states = np.where(words[1::2] == times >> 63, READ, OUTSIDE).astype(np.uint8)
    return times, np.zeros(len(times), bool), states


def _whole(numbers: Times, digits: int) -> tuple[Times, States]:
    """The same of whole numbers, as the codec has them."""
    unit = 10**digits
    sure = np.abs(numbers) <= _SPAN // unit
    times = np.where(sure, numbers, 0) * unit
    states = np.where((times < EARLIEST) | (times >= LATEST), OUTSIDE, READ)
    return times, np.where(sure, states, UNREADABLE).astype(np.uint8)


def _read_unix(text: str, digits: int) -> Read:
    try:
        exact = Decimal(text).scaleb(digits)
    except ArithmeticError:
        return None
    return (int(max(-_FAR, min(exact, _FAR))), False) if exact.is_finite() else None


def _pattern(texts: pa.Array, form: str) -> tuple[Times, Mask, States]:
    plain = form.removesuffix(".%f")
    if not set(re.findall(r"%(.)", plain)) <= _SURE:
        return _by_one([_read_pattern(text, form) for text in texts.to_pylist()])
    wholes, fractions = (texts, None) if plain == form else _split_fraction(texts)
    seconds = pc.strptime(wholes, plain, "s", error_is_null=True)
    sure = pc.greater(pc.day(seconds), 3).fill_null(False)
    if fractions is not None:
        sure = pc.and_(sure, pc.match_substring_regex(fractions, r"^\d{1,6}$"))
        fractions = pc.if_else(sure, pc.utf8_rpad(fractions, 9, "0"), "0").cast(pa.int64()).to_numpy()
    whole = seconds.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    certain = sure.to_numpy(zero_copy_only=False) & (np.abs(whole) < _SPAN // SECOND)
    times = whole * SECOND
    times = times + (0 if fractions is None else fractions)
    local, states = np.ones(len(times), bool), np.zeros(len(times), np.uint8)
    # Arrow takes 31 February for 3 March: whatever falls on the first days of a month is read again, and
    # so is what nanoseconds cannot hold.
    doubtful = np.flatnonzero(~certain)
    times[doubtful], local[doubtful], states[doubtful] = _by_one(
        [_read_pattern(text, form) for text in texts.take(pa.array(doubtful)).to_pylist()]
    )
    return times, local, states


def _split_fraction(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    parts = pc.extract_regex(texts, r"^(?P<whole>.*)\.(?P<fraction>\d+)$")
    return parts.field("whole").fill_null(""), parts.field("fraction").fill_null("")


def _read_pattern(text: str, form: str) -> Read:
    try:
        moment = datetime.strptime(text, form)  # noqa: DTZ007 - whether it is local is told to the caller
    except ValueError:
        return None
    return _instant(moment), moment.tzinfo is None


def _by_one(reads: list[Read]) -> tuple[Times, Mask, States]:
    rows = [
        (0, False, UNREADABLE) if read is None else (*read, READ) if abs(read[0]) < _SPAN else (0, False, OUTSIDE)
        for read in reads
    ]
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return np.array(columns[0], np.int64), np.array(columns[1], bool), np.array(columns[2], np.uint8)


def _instant(moment: datetime) -> int:
    return _nanoseconds((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH)


def _nanoseconds(span: timedelta | None) -> int:
    span = span or timedelta(0)
    return (span.days * 86_400 + span.seconds) * SECOND + span.microseconds * 1000
