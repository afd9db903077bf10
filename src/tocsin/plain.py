"""Long plain mappings in a YAML file, such as thousands of devices, read line by line.

The YAML library takes a fifth of a millisecond for a device with two labels, which is a second for five
thousand.  A mapping at the top of the file is plain if all its lines are like these, and then its
meaning is beyond doubt:

    devices:
      oven: {site: New York, max_temp: 250}
      grill:
        site: Ohio

A mapping with any other line, or with few, is left to the library, whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

MANY = 100
"""A mapping with fewer entries costs the library next to nothing."""

Steps = tuple[str | int, ...]
"""The way from the top of the file to a value: `("rules", 3, "expr")`."""
Spot = tuple[int, int]
"""Line and column, from 0."""

_WORD = r"\w[\w./-]*(?: [\w./-]+)*"
_KEY = re.compile(r"([A-Za-z_][\w-]*): *(?:#.*)?")
_BLANK = re.compile(r" *(?:#.*)?")
_ENTRY = re.compile(rf"( +)({_WORD}): *(?: (\{{.*\}}) *)?")
_LABEL = re.compile(rf"( +)({_WORD}): +({_WORD}) *")
_PAIR = re.compile(rf" *({_WORD}): +({_WORD}) *(?:,(?! *\}})|(?=\}}$))")
_NULL = {"null", "Null", "NULL"}


class _NotPlain(Exception):
    """A line that only the library can judge."""


@dataclass(slots=True)
class Plain:
    """A plain mapping: the line of its key, its values, and where each of them and of their keys begins."""

    key: str
    line: int
    end: int = 0
    value: dict[str, dict[str, str] | None] = field(default_factory=dict)
    places: dict[Steps, Spot] = field(default_factory=dict)
    keys: dict[Steps, Spot] = field(default_factory=dict)


def plain_mappings(lines: Sequence[str], text_at: Callable[[Steps], bool]) -> list[Plain]:
    """The long plain mappings among the lines of a file; `text_at` says which values are texts as they are written."""
    found = []
    for number, line in enumerate(lines):
        key = _KEY.fullmatch(line)
        if key and (mapping := _Reader(Plain(key[1], number), text_at).read(lines)):
            found.append(mapping)
    return found


class _Reader:
    def __init__(self, made: Plain, text_at: Callable[[Steps], bool]) -> None:
        self._made = made
        self._text_at = text_at
        self._indents: dict[str, int] = {}
        self._open: str | None = None

    def read(self, lines: Sequence[str]) -> Plain | None:
        """The mapping, if it is plain and long."""
        made = self._made
        try:
            for number in range(made.line + 1, len(lines)):
                if lines[number] and lines[number][0] not in " #":
                    break
                self._line(number, lines[number])
                made.end = number + 1
        except _NotPlain:
            return None
        return made if len(made.value) >= MANY else None

    def _line(self, number: int, line: str) -> None:
        if entry := _ENTRY.fullmatch(line):
            self._entry(number, entry)
        elif self._open is not None and (label := _LABEL.fullmatch(line)):
            self._indent("label", label)
            self._label(self._open, number, label)
        elif not _BLANK.fullmatch(line):
            raise _NotPlain

    def _entry(self, number: int, entry: re.Match[str]) -> None:
        name, made = entry[2], self._made
        self._indent("entry", entry)
        if name in made.value:
            raise _NotPlain
        self._open = name if entry[3] is None else None
        made.value[name] = None if entry[3] is None else {}
        made.keys[made.key, name] = number, entry.start(2)
        made.places[made.key, name] = number, entry.start(3) if entry[3] else entry.end(2)
        if entry[3] and entry[3][1:-1].strip(" "):
            self._pairs(name, number, entry)

    def _pairs(self, name: str, number: int, entry: re.Match[str]) -> None:
        place, end = entry.start(3) + 1, entry.end(3) - 1
        while place < end:
            pair = _PAIR.match(entry.string, place, end + 1)
            if pair is None:
                raise _NotPlain
            self._value(name, number, pair, 1)
            place = pair.end()

    def _label(self, name: str, number: int, label: re.Match[str]) -> None:
        if self._made.value[name] is None:
            self._made.value[name] = {}
            self._made.places[self._made.key, name] = number, label.start(2)
        self._value(name, number, label, 2)

    def _value(self, name: str, number: int, found: re.Match[str], group: int) -> None:
        steps = (self._made.key, name, found[group])
        labels = self._made.value[name]
        if labels is None or found[group] in labels or found[group + 1] in _NULL or not self._text_at(steps):
            raise _NotPlain
        labels[found[group]] = found[group + 1]
        self._made.keys[steps] = number, found.start(group)
        self._made.places[steps] = number, found.start(group + 1)

    def _indent(self, kind: str, found: re.Match[str]) -> None:
        """All entries stand in one column, and all labels in another one right of it."""
        columns = self._indents
        if columns.setdefault(kind, found.end(1)) != found.end(1) or columns["entry"] >= columns.get("label", 99):
            raise _NotPlain
