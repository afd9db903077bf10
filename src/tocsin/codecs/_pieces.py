"""A text that should be JSON objects, taken apart where something in it is not.

Braces are matched once, for a text that begins outside a string and for one that begins inside, since a quote that is
missing turns one into the other.  What is broken is left at the next brace that begins a line or follows another
object, as a reader would.  All of it takes time in proportion to the text, however much of it is broken.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tocsin.codecs._lines import BOM

BETWEEN = b" \t\r\n,[]"
"""What may stand between objects."""
Places = npt.NDArray[np.int64]


class Piece(NamedTuple):
    """Some of a text: its first line, its bytes, and whether it is an object, or else what should not be there.

    An object is closed; it may yet be no JSON.
    """

    line: int
    raw: bytes
    is_object: bool

    def in_one_line(self) -> bytes:
        """Its bytes without line ends."""
        return in_one_line(self.raw)


def pieces_of(data: bytes, line: int) -> list[Piece]:
    """All that a text holds, in its order, but for what only separates; `line` is the number of its first line."""
    return _Text(data.removeprefix(BOM), line).pieces()


def objects_in(data: bytes) -> list[tuple[int, int]]:
    """Where the outermost objects of a text begin and end."""
    text = _without_escapes(data)
    outside = np.cumsum(text == ord('"'), dtype=np.int32) % 2 == 0
    opening, closing = (text == ord("{")) & outside, (text == ord("}")) & outside
    depth = np.cumsum(opening.astype(np.int8) - closing.astype(np.int8), dtype=np.int32)
    starts = np.flatnonzero(opening & (depth == 1)).tolist()
    ends = (np.flatnonzero(closing & (depth == 0)) + 1).tolist()
    return [(start, end) for start, end in zip(starts, ends, strict=False) if start < end]


def in_one_line(raw: bytes) -> bytes:
    """The same JSON without line ends."""
    return raw.replace(b"\r", b" ").replace(b"\n", b" ")


class _Text:
    def __init__(self, data: bytes, line: int) -> None:
        text = _without_escapes(data)
        self._data, self._first = data, line
        self._quoted = np.cumsum(text == ord('"'), dtype=np.int32) % 2
        self._braces = [_matched(text, self._quoted == quoted) for quoted in (0, 1)]
        self._fresh = _fresh_starts(text)
        self._line_ends = np.flatnonzero(text == ord("\n"))
        self._pieces: list[Piece] = []

    def pieces(self) -> list[Piece]:
        quoted, place, broken = 0, 0, -1
        while (found := self._next(quoted, place)) is not None:
            start, end = found
            if end < 0:
                again = self._again(place, len(self._data))
                if again is None:
                    break
                self._between(place, again)
            else:
                self._between(place, start)
                # One that is broken inside is so for each object around that place.
                wrong = broken if start <= broken < end else self._wrong(start, end)
                again = None if wrong < 0 else self._again(start, end)
                if again is None:
                    self._pieces.append(Piece(self._line(start), self._data[start:end], is_object=True))
                    place = end
                    continue
                self._between(start, again)
                broken = wrong
            if int(self._quoted[again]) != quoted:
                quoted, broken = 1 - quoted, -1
            place = again
        self._between(place, len(self._data))
        return self._pieces

    def _next(self, quoted: int, place: int) -> tuple[int, int] | None:
        """The next brace outside strings and the end of what it opens, -1 if it never ends.

        Where there is none it is where a quote that was left open may hide others, open too.
        """
        starts, ends = self._braces[quoted]
        which = int(np.searchsorted(starts, place))
        if which < len(starts):
            return int(starts[which]), int(ends[which])
        return (place, -1) if self._data[place:].strip(BETWEEN) else None

    def _wrong(self, start: int, end: int) -> int:
        """Where what stands here is no JSON; -1 if it is, or is nested too deeply to say."""
        try:
            # Of this text alone: where a fault is, Python counts the lines from the beginning.
            _, stop = _DECODER.raw_decode(self._data[start:end].decode("latin-1"))
        except json.JSONDecodeError as fault:
            return min(start + fault.pos, end - 1)
        except RecursionError:
            return -1
        return -1 if start + stop == end else start + stop

    def _again(self, start: int, end: int) -> int | None:
        """Where the next object may begin inside a broken one."""
        braces, marks = self._fresh
        which = int(np.searchsorted(marks, start + 1))
        return int(braces[which]) if which < len(braces) and braces[which] < end else None

    def _between(self, start: int, end: int) -> None:
        """Keep what stands here apart, unless it only separates."""
        raw = self._data[start:end]
        if raw.strip(BETWEEN):
            line = self._line(end - len(raw.lstrip(BETWEEN)))
            self._pieces.append(Piece(line, raw.strip(BETWEEN), is_object=False))

    def _line(self, place: int) -> int:
        return self._first + int(np.searchsorted(self._line_ends, place))


def _without_escapes(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data.replace(rb"\\", b"__").replace(rb"\"", b"__"), np.uint8)


def _matched(text: npt.NDArray[np.uint8], outside: Any) -> tuple[Places, Places]:
    """Every opening brace outside strings, and just behind the one that closes it, -1 if none does."""
    places = np.flatnonzero(((text == ord("{")) | (text == ord("}"))) & outside)
    opens = text[places] == ord("{")
    # How deep a brace is: an opening one and the one that closes it are equally deep, and next to each other there.
    depth = np.cumsum(np.where(opens, 1, -1)) + ~opens
    order = np.argsort(depth, kind="stable")
    ends = np.full(len(places), -1, np.int64)
    pairs = (depth[order[:-1]] == depth[order[1:]]) & opens[order[:-1]] & ~opens[order[1:]]
    ends[order[:-1][pairs]] = places[order[1:][pairs]] + 1
    return places[opens], ends[opens]


def _fresh_starts(text: npt.NDArray[np.uint8]) -> tuple[Places, Places]:
    """The braces that begin a line or follow an object, and for each that line's end or that object's last brace."""
    place = np.arange(len(text), dtype=np.int32)
    solid = np.maximum.accumulate(np.where(_SEPARATES[text], -1, place))
    line_end = np.maximum.accumulate(np.where(text == ord("\n"), place, -1))
    braces = np.flatnonzero(text == ord("{"))
    braces = braces[braces > 0]
    before, line = solid[braces - 1], line_end[braces - 1]
    closed = (before >= 0) & (text[before] == ord("}"))
    marks = np.where(line > before, line, np.where(closed, before, -1))
    fresh = marks >= 0
    return braces[fresh], marks[fresh].astype(np.int64)


_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
"""Looks whether it is JSON: numbers stay as they are, whatever their length."""
_SEPARATES = np.isin(np.arange(256), np.frombuffer(b" \t\r\n\v\f,[", np.uint8))
