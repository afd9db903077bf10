"""The forms of bodies: how those of many messages are put together, read at once, and looked at alone.

Each counts the rows of every body before it reads them, for what travels beside a message goes with each of its rows.
Whoever counts wrongly is found out, since the reader counts too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Protocol

import numpy as np

from tocsin.codecs import BinarySettings, CodecSettings, CsvSettings, JsonLinesSettings, JsonSettings
from tocsin.codecs._cells import Alongside
from tocsin.codecs._lines import BOM, Entry, judged
from tocsin.codecs._objects import Objects
from tocsin.codecs._pieces import BETWEEN, in_one_line, objects_in
from tocsin.codecs.binary import Decoder as BinaryDecoder
from tocsin.codecs.csv import Decoder as CsvDecoder
from tocsin.codecs.json import Decoder as JsonDecoder
from tocsin.codecs.readings.found import Fault
from tocsin.errors import SetupError
from tocsin.reading import Batch, Series
from tocsin.record import Record, Reject, few

Read = tuple[Batch, list[Fault]]
"""Readings in the order of the messages; and what could not be read, each with the place of its message."""

LONG = 16 << 10
"""A body of more bytes is looked at by itself, and in pieces; shorter ones together, row by row."""


class Form(Protocol):
    """How bodies of one form are read; `first` and `place` say which messages they are among those of `beside`."""

    def at_once(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Batch | None:
        """The readings of some bodies, if there is nothing to reject and no doubt; else None."""
        ...

    def closely(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Read:
        """The readings of a few bodies, or of one that is long, and what in them is at fault."""
        ...


def form_of(settings: CodecSettings | BinarySettings, series: Series) -> Form:
    """The form that these settings describe."""
    if isinstance(settings, BinarySettings):
        return Binary(settings, series)
    if isinstance(settings, CsvSettings):
        return Csv(settings, series) if settings.header else HeadedCsv(settings, series)
    assert isinstance(settings, JsonSettings | JsonLinesSettings)
    return Json(settings, series)


class Json:
    """Objects, arrays of them, or a line each."""

    def __init__(self, settings: JsonSettings | JsonLinesSettings, series: Series) -> None:
        self._decoder = JsonDecoder(JsonSettings(settings.time, settings.cells), series, all_hold=True)
        self._objects = self._decoder.objects

    def at_once(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Batch | None:
        """Single objects are a line each; others are found by their braces."""
        if all(body[:1] == b"{" and body[-1:] == b"}" and b"\n" not in body for body in bodies):
            self._objects.cells.alongside = beside.of(np.arange(first, first + len(bodies)))
            batch = self._objects.at_once(b"\n".join(bodies))
            if batch is not None:
                return batch
        lined = _lined_up(bodies)
        if lined is None:
            return None
        lines, counts = lined
        self._objects.cells.alongside = beside.of(first + np.repeat(np.arange(len(bodies)), counts))
        return self._objects.at_once(lines)

    def closely(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Read:
        """A reject for each object that is at fault."""
        return few_of_each(*_closely(self._decoder, self._objects, bodies, beside, first))


class Csv:
    """Lines whose columns the pipeline file names."""

    def __init__(self, settings: CsvSettings, series: Series) -> None:
        self._decoder = CsvDecoder(settings, series)

    def at_once(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Batch | None:
        """All lines as one text."""
        lines = [body.rstrip(b"\r\n") for body in bodies]
        counts = np.array([line.count(b"\n") + 1 for line in lines])
        text = b"\n".join(lines)
        if _has_other_lines(text):
            return None
        if b'"' in text and (int(counts.max()) > 1 or any(line.count(b'"') % 2 for line in lines)):
            return None  # a quoted line end would be in the count
        self._decoder.cells.alongside = beside.of(first + np.repeat(np.arange(len(bodies)), counts))
        return self._decoder.at_once(text)

    def closely(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Read:
        """A reject for each line that is at fault."""
        return few_of_each(*self.all_of(bodies, beside, first))

    def all_of(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Read:
        """The same, however many rejects there are."""
        return _closely(self._decoder, self._decoder, bodies, beside, first)


class HeadedCsv:
    """Small tables, each with a header of its own; those that have the same are read together."""

    def __init__(self, settings: CsvSettings, series: Series) -> None:
        self._settings, self._series = settings, series
        self._known: dict[bytes, Csv] = {}

    def at_once(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Batch | None:
        """The rows of all, if they have one header."""
        heads = {_head(body) for body in bodies}
        if len(heads) > 1:
            return None
        (head,) = heads
        try:
            return self._of(head).at_once([_rest(body) for body in bodies], beside, first)
        except SetupError:
            return None

    def closely(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Read:
        """A reject for each line that is at fault, below its header, so that it can be read again."""
        batches, faults = [], []
        for head, some in groupby(bodies, _head):
            alike = list(some)
            batch, bad = self._below(head, alike, beside, first)
            batches.append(batch)
            faults += bad
            first += len(alike)
        return Batch.join(batches), faults

    def _below(self, head: bytes, bodies: Sequence[bytes], beside: Alongside, first: int) -> Read:
        try:
            batch, faults = self._of(head).all_of([_rest(body) for body in bodies], beside, first)
        except SetupError as error:
            why = str(error).removeprefix("the message: ")
            return Batch.empty(self._series), [
                (place, Reject(body, {}, why)) for place, body in enumerate(bodies, first)
            ]
        lower = [(at, replace(one, place={"line": int(one.place["line"]) + 1})) for at, one in faults]
        return few_of_each(batch, lower, head=head + b"\n")

    def _of(self, head: bytes) -> Csv:
        if head not in self._known:
            if len(self._known) >= _MOST:
                self._known.clear()
            first = CsvDecoder(self._settings, self._series)
            first.begin(head + b"\n", "the message")
            self._known[head] = Csv(replace(self._settings, header=tuple(first.header)), self._series)
        return self._known[head]


class Binary:
    """Packed records."""

    def __init__(self, settings: BinarySettings, series: Series) -> None:
        self._decoder = BinaryDecoder(settings, series)

    def at_once(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Batch | None:
        """All records as one array."""
        sizes = np.array([len(body) for body in bodies])
        if (sizes % self._decoder.size).any():
            return None
        counts = sizes // self._decoder.size
        self._decoder.cells.alongside = beside.of(first + np.repeat(np.arange(len(bodies)), counts))
        return self._decoder.at_once(b"".join(bodies))

    def closely(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Read:
        """A reject for each record that is at fault."""
        size = self._decoder.size
        faults = [
            (place, Reject(body, {}, why))
            for place, body in enumerate(bodies, first)
            if (why := self._decoder.wrong(body))
        ]
        whole = {place: len(body) // size for place, body in enumerate(bodies, first) if len(body) % size == 0}
        owner = np.repeat(np.array(list(whole), np.intp), list(whole.values()))
        number = np.concatenate([np.arange(1, count + 1) for count in whole.values()]) if whole else owner
        data = b"".join([bodies[place - first] for place in whole])
        self._decoder.cells.alongside = beside.of(owner)
        batch, bad = self._decoder.closely(data)
        faults += [
            (int(owner[row]), Reject(data[row * size : (row + 1) * size], {"record": int(number[row])}, why))
            for row, why in bad
        ]
        return few_of_each(batch, sorted(faults, key=lambda fault: fault[0]), between=b"")


def _record(body: bytes) -> Record:
    """A message as a piece of a source, though not its beginning, where a header would stand."""
    return Record(body, {"file": "the message", "line": 1, "offset": 1, "earlier": 0}, {})


def _closely(
    decoder: JsonDecoder | CsvDecoder,
    rows: Objects | CsvDecoder,
    bodies: Sequence[bytes],
    beside: Alongside,
    first: int,
) -> Read:
    """The readings of a few bodies of text, or of a long one, and all that is at fault in them."""
    if len(bodies[0]) > LONG:
        rows.cells.alongside = beside.of_one(first)
        decoded = decoder.decode(_record(bodies[0]))
        return decoded.batch, [(first, _reject(one.data, one.place["line"], one.reason)) for one in decoded.rejects]
    entries: list[Entry] = []
    owners: list[int] = []
    for place, body in enumerate(bodies, first):
        entries += decoder.entries(body, 1)
        owners += [place] * (len(entries) - len(owners))
    good = [owner for owner, entry in zip(owners, entries, strict=True) if not entry.fault]
    rows.cells.alongside = beside.of(np.array(good, np.intp))
    batch, faults = judged(entries, rows.readings)
    return batch, [(owners[row], _reject(entries[row].raw, entries[row].line, why)) for row, why in faults]


def _reject(raw: bytes, line: int, reason: str) -> Reject:
    return Reject(raw.rstrip(b"\r\n"), {"line": line}, reason)


def few_of_each(batch: Batch, faults: list[Fault], between: bytes = b"\n", head: bytes = b"") -> Read:
    """The same with few rejects for every message; `head` goes before each."""
    each = groupby(faults, key=lambda fault: fault[0])
    return batch, [
        (place, one) for place, some in each for one in few([reject for _, reject in some], between=between, head=head)
    ]


def _lined_up(bodies: Sequence[bytes]) -> tuple[bytes, Any] | None:
    """The objects of all bodies, a line each, and how many each body has; None if anything else stands among them."""
    flat = [in_one_line(body.removeprefix(BOM)) for body in bodies]
    text = b"\n".join(flat)
    spans = np.array(objects_in(text), np.int64).reshape(-1, 2)
    ends = np.cumsum([len(body) + 1 for body in flat])
    owner = np.searchsorted(ends, spans[:, 0], "right")
    if (np.searchsorted(ends, spans[:, 1] - 1, "right") != owner).any():
        return None  # one that is open reaches into the next message
    if not _only_separated(text, spans):
        return None
    lines = b"\n".join([text[start:end] for start, end in spans.tolist()])
    return lines, np.bincount(owner, minlength=len(bodies))


def _only_separated(text: bytes, spans: Any) -> bool:
    """Whether nothing but commas, brackets and blanks stands between the objects."""
    outside = np.ones(len(text), bool)
    change = np.zeros(len(text) + 1, np.int64)
    change[spans[:, 0]] += 1
    change[spans[:, 1]] -= 1
    outside = np.cumsum(change[:-1]) == 0
    between = np.frombuffer(text, np.uint8)[outside]
    return bool(_IS_BETWEEN[between].all())


def _has_other_lines(text: bytes) -> bool:
    """Whether a line ends without a line feed, or is blank: each of them would be counted as what it is not."""
    if b"\n\n" in text or text.startswith(b"\n") or text.endswith(b"\n"):
        return True
    return b"\r" in text and (text.count(b"\r") != text.count(b"\r\n") or b"\n\r\n" in text or text[:1] == b"\r")


def _head(body: bytes) -> bytes:
    return body.removeprefix(BOM).lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")


def _rest(body: bytes) -> bytes:
    return body.removeprefix(BOM).lstrip(b"\r\n").partition(b"\n")[2]


_IS_BETWEEN = np.isin(np.arange(256), np.frombuffer(BETWEEN, np.uint8))
_MOST = 64
"""So many headers are remembered."""
