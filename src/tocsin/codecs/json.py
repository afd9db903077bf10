"""JSON: an array of objects, or objects one after the other, over any number of lines.

The objects are found by their braces, outside of strings, so that a long array can be read in
pieces: each piece ends after an object, and the next one begins with the comma.  A piece that cannot be read goes on
at the next brace that begins a line or follows another object.
"""

from __future__ import annotations

import json
import re

import numpy as np

from tocsin.codecs import JsonSettings
from tocsin.codecs._lines import BOM, check_text, reject
from tocsin.codecs._objects import Objects
from tocsin.reading import Series
from tocsin.record import Decoded, Record, Reject

_BETWEEN = b" \t\r\n,[]"
Line = tuple[int, bytes]
"""The number of an object's first line, and the object."""

_AGAIN = re.compile(rb"(?:\n|\})[\s,\[]*(\{)")
"""Where to go on after an object that cannot be read."""


class Decoder:
    """Reads one source of JSON values; with `all_hold`, an object that holds no value of the mapping is a reject."""

    def __init__(self, settings: JsonSettings, series: Series, *, all_hold: bool = False) -> None:
        self.objects = Objects(settings.time, settings.cells, series, all_hold=all_hold)

    def begin(self, head: bytes, file: str) -> int:
        """Look for the paths in the first objects; there is no header."""
        check_text(head, file)
        self.objects.begin([head[start:end] for start, end in objects_in(head)], file)
        return 0

    def whole(self, data: bytes) -> int:
        """Where the last complete object ends."""
        return max((end for _, end in objects_in(data)), default=0)

    def decode(self, record: Record) -> Decoded:
        """The readings of a record, read at once if all its objects are good."""
        batch = self.objects.at_once(record.data)
        if batch is None:
            batch = self.objects.at_once(lined_up(record.data))
        rejects: list[Reject] = []
        if batch is None:
            pieces, rejects = _Pieces(record).take_apart()
            batch, faults = self.objects.read(b"\n".join(_in_one_line(raw) for _, raw in pieces), 0, record)
            rejects += [_as_it_stands(fault, *pieces[int(fault.place["line"])]) for fault in faults]
        rejects.sort(key=lambda one: int(one.place["line"]))
        return Decoded(batch, rejects, record.end, len(record.data))


def lined_up(data: bytes) -> bytes:
    """Objects that only separators stand between, a line each; nothing that can be read if there is more."""
    flat = _in_one_line(data.removeprefix(BOM))
    spans = objects_in(flat)
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(flat)]
    if any(flat[end:start].strip(_BETWEEN) for end, start in zip(ends, starts, strict=True)):
        return b"null"
    return b"\n".join([flat[start:end] for start, end in spans])


def _as_it_stands(fault: Reject, line: int, raw: bytes) -> Reject:
    return Reject(raw, {**fault.place, "line": line}, fault.reason)


class _Pieces:
    """The objects of one record, and what stands between them but should not."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._data = record.data.removeprefix(BOM)
        self._line_ends = np.flatnonzero(np.frombuffer(self._data, np.uint8) == ord("\n"))
        self._pieces: list[Line] = []
        self._rejects: list[Reject] = []

    def take_apart(self) -> tuple[list[Line], list[Reject]]:
        """Every object with its line, and the rejects."""
        place: int | None = 0
        while place is not None:
            place = self._take_from(place)
        return self._pieces, self._rejects

    def _take_from(self, begin: int) -> int | None:
        """Take objects from here on; returns where to begin anew if one is broken and hides others."""
        place = begin
        for start, end in objects_in(self._data[begin:]):
            self._between(place, begin + start)
            again = (
                None if _is_json(self._data[begin + start : begin + end]) else self._again(begin + start, begin + end)
            )
            if again is not None:
                return again
            self._pieces.append((self._line(begin + start), self._data[begin + start : begin + end]))
            place = begin + end
        again = self._again(place, len(self._data)) if self._data[place:].strip(_BETWEEN) else None
        if again is None:
            self._between(place, len(self._data))
        return again

    def _again(self, start: int, end: int) -> int | None:
        """Where the next object begins inside a broken one, which is rejected up to there."""
        found = _AGAIN.search(self._data, start + 1, end)
        if found is None:
            return None
        self._between(start, found.start(1))
        return found.start(1)

    def _between(self, start: int, end: int) -> None:
        """Reject what stands here, unless it only separates."""
        raw = self._data[start:end]
        if raw.strip(_BETWEEN):
            line = self._line(end - len(raw.lstrip(_BETWEEN)))
            self._rejects.append(reject(raw.strip(_BETWEEN), self._record, line, "expected a JSON object here"))

    def _line(self, place: int) -> int:
        return int(self._record.place["line"]) + int(np.searchsorted(self._line_ends, place))


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw.decode())
    except (ValueError, RecursionError):
        return False
    return True


def objects_in(data: bytes) -> list[tuple[int, int]]:
    """Where the outermost objects of a text begin and end."""
    text = np.frombuffer(data.replace(rb"\\", b"__").replace(rb"\"", b"__"), np.uint8)
    outside = np.cumsum(text == ord('"'), dtype=np.int32) % 2 == 0
    opening, closing = (text == ord("{")) & outside, (text == ord("}")) & outside
    depth = np.cumsum(opening.astype(np.int8) - closing.astype(np.int8), dtype=np.int32)
    starts = np.flatnonzero(opening & (depth == 1)).tolist()
    ends = (np.flatnonzero(closing & (depth == 0)) + 1).tolist()
    return [(start, end) for start, end in zip(starts, ends, strict=False) if start < end]


def _in_one_line(raw: bytes) -> bytes:
    return raw.replace(b"\r", b" ").replace(b"\n", b" ")
