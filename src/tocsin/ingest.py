"""What is posted over HTTP, decoded and handed on: the half of the server that knows what readings are.

Decoding is by column.  The good readings of a post are taken even if others are bad; these are kept for the dead letters,
though their sender is told as much.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from tocsin.codecs import Cell, Column, CsvSettings, TimeSettings
from tocsin.codecs.csv import POST
from tocsin.codecs.csv import Decoder as CsvDecoder
from tocsin.codecs.line_protocol import Lines
from tocsin.codecs.readings import Decoder
from tocsin.connectors.http import Bad, Post, Taken
from tocsin.errors import SetupError
from tocsin.message import CONTENT_TYPE, CSV, LINE_PROTOCOL, Message
from tocsin.reading import Batch, Series
from tocsin.record import MOST_BAD, Record, Reject, few


class Posted(NamedTuple):
    """What a post held, and the key by which it is known when it is sent again."""

    batch: Batch
    rejects: list[Reject]
    key: str | None


Take = Callable[[Sequence[Posted]], None]
"""Makes what posts held durable, and returns then."""

_UNSAID = ("application/x-www-form-urlencoded", "text/plain", "application/octet-stream")
"""What programs say who were told nothing about the content: curl, browsers."""
_NEEDED = ("device", "metric", "time", "value")
_OTHER_TAG = "name another in this server's address: `?device=TAG`"
_MOST = 64
MOST_COLUMNS = 100
"""Of a table; each but four is a label, and every reading has them all."""
LONGEST_HEADER = 8 << 10
"""Bytes of a table's header: each bad row is kept with it."""
SOURCE = "http"
"""Where a dead letter says it came from."""


class Ingest:
    """Receives posts, as many at a time as there are; `rejected` counts what their senders were told is not taken."""

    def __init__(self, series: Series, take: Take, device_tag: str | None = None) -> None:
        self._series = series
        self._take = take
        self._device_tag = device_tag
        self._decoder = Decoder(series, besides=(CSV,))
        self._lines: dict[str, Lines] = {}
        self._tables: dict[tuple[str, ...], CsvDecoder] = {}
        self.rejected = 0

    def receive(self, posts: Sequence[Post]) -> list[Taken]:
        """Decode posts, and have their good readings made durable; returns then."""
        found = [self.read(post) for post in posts]
        full = [one for one in found if len(one.batch) or one.rejects]
        if full:
            self._take(full)
        self.rejected += sum(len(one.rejects) for one in found)
        return [Taken(len(one.batch), [_bad(reject) for reject in one.rejects]) for one in found]

    def read(self, post: Post) -> Posted:
        """The readings of a post, and what is none; a reject can be posted again as it is (`post_of`)."""
        try:
            batch, bad = self._decoded(post)
        except Exception as error:  # noqa: BLE001 - a body that nobody thought of must not take the server from all others
            reason = f"a mistake in Tocsin itself, please report it: {type(error).__name__}: {error}"
            batch, bad = Batch.empty(self._series), [Reject(post.body, {}, reason)]
        how = {CONTENT_TYPE: post.content_type, "precision": post.precision.removeprefix("ns")}
        more = {name: said for name, said in how.items() if said}
        rejects = [
            replace(reject, place={"source": SOURCE, **reject.place, **more, "arrival": post.arrival}) for reject in bad
        ]
        return Posted(batch, rejects, _key(post))

    def _decoded(self, post: Post) -> tuple[Batch, list[Reject]]:
        kind = _kind_of(post)
        if kind == LINE_PROTOCOL:
            return self._of_lines(post)
        if kind == CSV:
            return self._of_table(post.body)
        found = self._decoder.decode([Message(post.body, content_type=kind)])
        return found.batch, few([reject for _, reject in found.rejects])

    def _of_lines(self, post: Post) -> tuple[Batch, list[Reject]]:
        if post.precision not in self._lines:
            self._lines[post.precision] = Lines(self._series, self._device_tag, post.precision, _OTHER_TAG)
        told = self._lines[post.precision].read(post.body, arrival=post.arrival, most_bad=MOST_BAD)
        return told.batch, [Reject(line, {"line": number}, reason) for number, line, reason in told.bad]

    def _of_table(self, body: bytes) -> tuple[Batch, list[Reject]]:
        """CSV: every column but the four of a reading is a label.  A row that is bad takes the header with it."""
        head = body.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")
        first = head.decode("utf-8", "replace")
        try:
            names = [name.strip() for name in next(csv.reader([first.strip()]), [])]
        except csv.Error as error:
            return Batch.empty(self._series), [
                Reject(body, {"line": 1}, f"its first line is no header of a CSV: {error}")
            ]
        if len(names) > MOST_COLUMNS or len(head) > LONGEST_HEADER:
            reason = (
                f"its header has {len(names)} columns and {len(head):,} bytes: expected device, metric, time, value and labels, "
                f"{MOST_COLUMNS} and {LONGEST_HEADER:,} at most"
            )
            return Batch.empty(self._series), [Reject(body, {"line": 1}, reason)]
        labels = tuple(sorted({name for name in names if name and name not in _NEEDED}))
        form = _form_of_time(body, names)
        table = self._tables.get((form, *labels))
        if table is None:
            if len(self._tables) >= _MOST:
                self._tables.clear()
            table = self._tables[form, *labels] = CsvDecoder(_table(labels, form), self._series)
        place = {"file": POST, "line": 1, "offset": 0}
        try:
            step = table.decode(Record(body, place, place))
        except SetupError as error:
            return Batch.empty(self._series), [Reject(body, {"line": 1}, str(error))]
        bad = [Reject(bad.data, {"line": bad.place["line"]}, bad.reason) for bad in step.rejects]
        return step.batch, few(bad, head=head + b"\n")


def post_of(letter: bytes, place: Mapping[str, Any]) -> Post:
    """A reject of a post, to be read once more."""
    return Post(letter, place.get(CONTENT_TYPE, ""), place.get("precision", "ns"), arrival=place.get("arrival", 0))


def _bad(reject: Reject) -> Bad:
    """What its sender is told of a reject."""
    return Bad({name: reject.place[name] for name in ("line", "element") if name in reject.place}, reject.reason)


def _kind_of(post: Post) -> str:
    said = post.content_type.partition(";")[0].strip().lower()
    return "" if said in _UNSAID else said


def _key(post: Post) -> str | None:
    """By what a post is known again: its key and what it holds, since one that was mended is another post."""
    return f"{post.key}/{hashlib.sha256(post.body).hexdigest()[:16]}" if post.key else None


def _form_of_time(body: bytes, names: list[str]) -> str:
    """How a table writes its times, by its first row: integers of nanoseconds, or ISO 8601."""
    rows = csv.reader(line.decode("utf-8", "replace") for line in body.split(b"\n", 8)[:8] if line.strip())
    try:
        first = next(islice(rows, 1, None), [])
    except csv.Error:  # which is told when the table is read
        return "iso8601"
    text = first[names.index("time")].strip() if "time" in names and names.index("time") < len(first) else ""
    return "unix_ns" if text.removeprefix("-").isdecimal() else "iso8601"


def _table(labels: tuple[str, ...], form: str) -> CsvSettings:
    cell = Cell("value", Column("device"), Column("metric"), tuple((label, Column(label)) for label in labels))
    return CsvSettings(TimeSettings(("time",), form), (cell,))
