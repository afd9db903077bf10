"""Line protocol taken apart: where its lines end, and what stands before, in and after a line's fields.

A space, comma or equals sign after a backslash belongs to the name; inside a text only a quote ends it, and line ends
belong to it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

OPEN_LIMIT = 64 << 10
"""How far a text may reach before its quote counts as a mistake."""
EXAMPLE = "weather,device=attic temp=21.5 1704067200000000000"
SHOWN = 60

Parts = tuple[str, list[tuple[str, str]], str]
"""A line's measurement with its tags, its fields, and its time, as they are written."""


def lines_of(data: bytes, line: int) -> Iterator[tuple[int, bytes, bool]]:
    """Lines, those inside a text joined: the number of the first, and whether a text in it is never closed."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    place = 0
    while place < len(lines):
        raw, number = lines[place], line + place
        more = _more(lines, place) if b'"' in raw else 0
        place += 1
        if more:
            raw, place = b"\n".join([raw, *lines[place : place + more]]), place + more
        yield number, raw, more is None


def _more(lines: list[bytes], place: int) -> int | None:
    """How many lines after this one its texts reach over; None if one is never closed."""
    head = _BEFORE_FIELDS.match(lines[place])
    if head is None or lines[place].lstrip().startswith(b"#"):
        return 0
    is_open, size, end = _ends_open(lines[place], head.end()), len(lines[place]), place
    while is_open and size <= OPEN_LIMIT and end + 1 < len(lines):
        end += 1
        size += len(lines[end]) + 1
        closing = _CLOSING.match(lines[end])
        is_open = closing is None or _ends_open(lines[end], closing.end())
    return None if is_open else end - place


def _ends_open(raw: bytes, begin: int) -> bool:
    """Whether a text is begun after this place and not ended in this line."""
    return b'"' in _CLOSED.sub(b"", raw[begin:])


def _simply(text: str) -> Parts | None:
    """The parts of a line without escapes and texts; None if it takes more care."""
    if "\\" in text or '"' in text:
        return None
    parts = [part for part in text.strip(_BLANK).split(" ") if part]
    if not 2 <= len(parts) <= 3:
        return None
    fields = [(name, value) for name, _, value in (field.partition("=") for field in parts[1].split(","))]
    return parts[0], fields, parts[2] if len(parts) == 3 else ""


def _carefully(text: str) -> Parts:
    """The parts of a line sign by sign."""
    text = text.strip(_BLANK)
    head = _HEAD.match(text)
    if head is None:
        raise ValueError(f"expected a measurement with tags, then fields, then a time, as in {EXAMPLE}")
    fields, place, more = [], head.end(), True
    while more:
        field = _FIELD.match(text, place)
        if field is None:
            raise ValueError(_wrong_field(text[place:]))
        fields.append((plain(field[1]), field[2]))
        place, more = field.end(), field[3] == ","
    return head[1], fields, text[place:].strip(_BLANK)


def _wrong_field(rest: str) -> str:
    if _OPEN.search(rest):
        return "a text is begun with a quote and not ended"
    return f"'{rest[:SHOWN]}': a field is not written as name=value, as in {EXAMPLE}"


def taken_apart(text: str) -> Parts:
    """The parts of any line; ValueError says what is wrong with it."""
    return _simply(text) or _carefully(text)


def plain(text: str) -> str:
    """A name without the backslashes before what they protect."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


_BLANK = " \t\r\n"
"""What may stand around a line. Other signs that Unicode calls spaces are part of names."""
_HEAD = re.compile(r"((?:[^ ]|(?<=\\) )+) +")
_FIELD = re.compile(r'((?:[^,= ]|(?<=\\)[,= ])+)=("(?:[^"\\]|\\.)*"|[^," ]+)(,|(?= |\Z))', re.DOTALL)
_OPEN = re.compile(r'^[^"]*="(?:[^"\\]|\\.)*$', re.DOTALL)
_BEFORE_FIELDS = re.compile(rb"\s*(?:[^ ]|(?<=\\) )+ +")
_CLOSING = re.compile(rb'(?:[^"\\]|\\.|\\$)*"', re.DOTALL)
_CLOSED = re.compile(rb'\\.|"(?:[^"\\]|\\.)*"', re.DOTALL)
_ESCAPED = re.compile(r"\\([,= ])")
