"""The forms of bodies: how those of many messages are put together, read at once, and looked at alone.

Each counts the rows of every body before it reads them, for what travels beside a message goes with each of its rows.
Whoever counts wrongly is found out, since the reader counts too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from tocsin.codecs import BinarySettings, CodecSettings, CsvSettings, JsonLinesSettings, JsonSettings
from tocsin.codecs._cells import Alongside
from tocsin.codecs._lines import BOM
from tocsin.codecs.binary import Decoder as BinaryDecoder
from tocsin.codecs.csv import Decoder as CsvDecoder
from tocsin.codecs.json import Decoder as JsonDecoder
from tocsin.codecs.json import objects_in
from tocsin.errors import SetupError
from tocsin.reading import Batch, Series
from tocsin.record import Record, Reject, few

Alone = tuple[Batch, list[Reject]]


class Form(Protocol):
    """How bodies of one form are read; `first` and `place` say which messages they are among those of `beside`."""

    def at_once(self, bodies: Sequence[bytes], beside: Alongside, first: int) -> Batch | None:
        """The readings of some bodies, if there is nothing to reject and no doubt; else None."""
        ...

    def closely(self, body: bytes, beside: Alongside, place: int) -> Alone:
        """The readings of one body, and what in it is at fault."""
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

    def closely(self, body: bytes, beside: Alongside, place: int) -> Alone:
        """A reject for each object that is at fault."""
        self._objects.cells.alongside = beside.of_one(place)
        batch, rejects = _alone(self._decoder.decode(_record(body)))
        return batch, few(rejects)


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

    def closely(self, body: bytes, beside: Alongside, place: int) -> Alone:
        """A reject for each line that is at fault."""
        batch, rejects = self.all_of(body, beside, place)
        return batch, few(rejects)

    def all_of(self, body: bytes, beside: Alongside, place: int) -> Alone:
        """The same, however many rejects there are."""
        self._decoder.cells.alongside = beside.of_one(place)
        return _alone(self._decoder.decode(_record(body)))


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

    def closely(self, body: bytes, beside: Alongside, place: int) -> Alone:
        """A reject for each line that is at fault, below its header, so that it can be read again."""
        head = _head(body)
        try:
            batch, rejects = self._of(head).all_of(_rest(body), beside, place)
        except SetupError as error:
            return Batch.empty(self._series), [Reject(body, {}, str(error).removeprefix("the message: "))]
        lower = [Reject(one.data, {"line": int(one.place["line"]) + 1}, one.reason) for one in rejects]
        return batch, few(lower, head=head + b"\n")

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

    def closely(self, body: bytes, beside: Alongside, place: int) -> Alone:
        """A reject for each record that is at fault."""
        self._decoder.cells.alongside = beside.of_one(place)
        batch, rejects = self._decoder.closely(body)
        return batch, few(rejects, between=b"")


def _record(body: bytes) -> Record:
    """A message as a piece of a source, though not its beginning, where a header would stand."""
    return Record(body, {"file": "the message", "line": 1, "offset": 1, "earlier": 0}, {})


def _alone(decoded: Any) -> Alone:
    rejects = [Reject(one.data, {"line": one.place["line"]}, one.reason) for one in decoded.rejects]
    return decoded.batch, rejects


def _lined_up(bodies: Sequence[bytes]) -> tuple[bytes, Any] | None:
    """The objects of all bodies, a line each, and how many each body has; None if anything else stands among them."""
    flat = [body.removeprefix(BOM).replace(b"\r", b" ").replace(b"\n", b" ") for body in bodies]
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


_IS_BETWEEN = np.isin(np.arange(256), np.frombuffer(b" \t\r\n,[]", np.uint8))
_MOST = 64
"""So many headers are remembered."""
