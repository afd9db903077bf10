"""Tocsin's own readings on the wire: a batch to a message's body, and the messages of a whole poll back to one batch.

As JSON, one object, an array of them, or a line each:

    {"device": "smoker", "metric": "temp_f", "time": "2024-01-31T12:00:00Z", "value": 225.5, "labels": {"site": "a"}}

or as an Arrow stream with the same columns.  A time is ISO 8601 with a zone, or an integer of nanoseconds.  All of
the messages are read at once, by column; what has a fault is a reject, and changes nothing for the others.

This is not a format of files, whose columns the user names; hence a folder of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter

import numpy as np

from tocsin.codecs._lines import BOM
from tocsin.codecs.readings.found import Found, whole
from tocsin.codecs.readings.from_arrow import Tables
from tocsin.codecs.readings.from_json import Texts
from tocsin.codecs.readings.whose import Whose
from tocsin.codecs.readings.written import to_arrow, to_json
from tocsin.message import ARROW, JSON, JSON_LINES, VERSION, Message
from tocsin.reading import Series

__all__ = ["Decoder", "Found", "to_arrow", "to_json"]

_BODY, _CONTENT_TYPE, _VERSION = attrgetter("body"), attrgetter("content_type"), attrgetter("version")
_ARROW_BEGINS = b"\xff\xff\xff\xff"
_KNOWN = {JSON: JSON, JSON_LINES: JSON, ARROW: ARROW}
"""How a content type is read: whether JSON is one object, an array or lines is seen from the text itself."""


class Decoder:
    """Messages of one pipeline to readings.

    It remembers the names that it has seen, and is used by one thread.  `besides` are content types that whoever calls it reads
    itself: what is neither is told of them, too.
    """

    def __init__(self, series: Series, besides: Sequence[str] = ()) -> None:
        self._expected = f"{', '.join((JSON, JSON_LINES, *besides))} or {ARROW}"
        whose = Whose(series)
        self._series = series
        self._read = {JSON: Texts(series, whose).read, ARROW: Tables(series, whose).read}

    def decode(self, messages: Sequence[Message]) -> Found:
        """The readings of messages, in the order of the messages and within each, and what could not be read."""
        alike = _alike(messages)
        if alike:
            return self._read[alike](np.arange(len(messages)), list(map(_BODY, messages)))
        places: dict[str, list[int]] = {form: [] for form in self._read}
        faults = []
        for place, message in enumerate(messages):
            form = _form(message.content_type, message.version, self._expected) or _guess(message.body, self._expected)
            if form in places:
                places[form].append(place)
            else:
                faults.append((place, whole(message.body, form)))
        found = [
            self._read[form](np.array(some), [messages[place].body for place in some])
            for form, some in places.items()
            if some
        ]
        return Found.join(self._series, [*found, Found.nothing(self._series, faults)])


def _alike(messages: Sequence[Message]) -> str:
    """How all of these are read, if that can be told of all at once, as mostly it can; else ''."""
    content_types, versions = set(map(_CONTENT_TYPE, messages)), set(map(_VERSION, messages))
    if not len(content_types) == len(versions) == 1:
        return ""
    form = _form(content_types.pop(), versions.pop(), "")
    if not form:
        firsts = {body[:1] for body in map(_BODY, messages)}
        return JSON if firsts <= {b"{", b"["} else ""
    return form if form in (JSON, ARROW) else ""


@lru_cache(maxsize=256)
def _form(content_type: str, version: str, expected: str) -> str:
    """How a body is read, '' if its content type does not say, or why it is not."""
    if version != VERSION:
        return f"version '{version}' of the message is not known: expected {VERSION}; it may be from a newer Tocsin"
    plain = content_type.partition(";")[0].strip().lower()
    return _KNOWN.get(plain, f"content type '{content_type}' is not known: expected {expected}") if plain else ""


def _guess(body: bytes, expected: str) -> str:
    """What an unsaid body is by its first bytes, or why that cannot be told."""
    if body.startswith(_ARROW_BEGINS):
        return ARROW
    if body.removeprefix(BOM).lstrip()[:1] in (b"{", b"["):
        return JSON
    if not body:
        return "the message is empty"
    return f"this is neither JSON nor an Arrow stream: set the content type to {expected}"
