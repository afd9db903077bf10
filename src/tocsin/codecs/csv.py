"""CSV: text in columns, with any delimiter, quoted fields and a header.

Arrow reads a block at once.  Where it finds anything amiss, the block is cut into ever smaller pieces,
and those that hold a bad line are taken apart line by line; both ways read numbers and times alike.

A quoted field may hold delimiters and line ends.  One that is still open after 64 kB is taken for a
forgotten quote: its first line is a reject and the next line begins anew.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv

from tocsin.codecs import CsvSettings, columns_of, names_in
from tocsin.codecs._cells import Cells, Columns
from tocsin.codecs._lines import BOM, Entry, Fault, check_text, narrow, not_text, told
from tocsin.errors import SetupError, did_you_mean
from tocsin.reading import Batch, Series
from tocsin.record import Decoded, Record, Reject

POST = "the post"
"""What a table is called that was posted: there is no file of it, and no settings."""
OPEN_LIMIT = 64 << 10
"""How far a quoted field may reach before its quote counts as a mistake."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the text: where it begins and ends, how many lines it takes, and whether its quotes are closed."""

    start: int
    end: int
    lines: int
    closed: bool


class Decoder:
    """Reads one CSV source."""

    def __init__(self, settings: CsvSettings, series: Series) -> None:
        self._settings = settings
        self._delimiter = settings.delimiter.encode()
        self._wanted = columns_of(settings.time, settings.cells)
        self._text = frozenset(names_in(settings.time, settings.cells))
        self.cells = Cells(settings.time, settings.cells, series)
        self._series = series
        self._header: list[str] | None = list(settings.header) if settings.header else None

    def begin(self, head: bytes, file: str) -> int:
        """Learn the header that a file begins with, and say how many bytes it takes."""
        check_text(head, file)
        size, _ = self._learn(head, file)
        return size

    @property
    def header(self) -> list[str]:
        """The names of the columns, as far as they are known."""
        return list(self._header or ())

    def whole(self, data: bytes) -> int:
        """Where the last row ends that is complete."""
        end = data.rfind(b"\n") + 1
        if data.count(b'"', 0, end) % 2 == 0:
            return end
        whole = 0
        for row in rows_of(data[:end], self._delimiter):
            if not row.closed and end - row.start <= OPEN_LIMIT:
                break
            whole = row.end
        return whole

    def decode(self, record: Record) -> Decoded:
        """The readings of a record, read at once if all its lines are good."""
        data, line = record.data, int(record.place["line"])
        if record.place["offset"] == 0:
            size, lines = self._learn(data, record.place["file"])
            data, line = data[size:], line + lines
        batch, rejects = narrow(data, line, self.at_once, partial(self._row_by_row, record), self.whole)
        return Decoded(batch, rejects, record.end, len(record.data))

    def _learn(self, data: bytes, file: str) -> tuple[int, int]:
        """Take the header from the first row that is not blank; how many bytes and lines there are before the data."""
        start = len(BOM) if data.startswith(BOM) else 0
        lines = 0
        for row in rows_of(data[start:], self._delimiter):
            lines += row.lines
            text = data[start + row.start : start + row.end].decode("utf-8", "replace").strip()
            if not text:
                continue
            names = [name.strip() for name in self._fields(text)]
            if self._header == names:
                return start + row.end, lines
            if self._settings.header or (self._header and not set(self._wanted) <= set(names)):
                break
            self._header = names
            _check_columns(self._wanted, names, file, self._settings.delimiter)
            return start + row.end, lines
        if self._header:
            _check_columns(self._wanted, self._header, file, self._settings.delimiter)
        return start, 0

    def at_once(self, data: bytes) -> Batch | None:
        """The readings, if there is nothing to reject; None if any line needs a closer look."""
        if not data or data.isspace():
            return Batch.empty(self._series)
        if self._header is None or not_text(data):
            return None
        names = [str(place) for place in range(len(self._header))]
        place = {name: str(self._header.index(name)) for name in self._wanted}
        types = {place[name]: pa.string() if name in self._text else pa.float64() for name in self._wanted}
        try:
            table = self._table(data, names, types)
        except (pa.ArrowInvalid, pa.ArrowKeyError):
            return None
        if self.cells.alongside is not None and not self.cells.alongside.fits(table.num_rows):
            return None
        return self.cells.readings_of_all(lambda name: _one(table.column(place[name])), table.num_rows)

    def _table(self, data: bytes, names: list[str], types: dict[str, Any]) -> Any:
        return arrow_csv.read_csv(
            pa.py_buffer(data),
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            parse_options=arrow_csv.ParseOptions(delimiter=self._settings.delimiter),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=["", *self._settings.missing],
                strings_can_be_null=True,
            ),
        )

    def _row_by_row(self, record: Record, data: bytes, line: int) -> tuple[Batch, list[Reject]]:
        return told(self.entries(data, line), self.readings, record)

    def entries(self, data: bytes, line: int) -> list[Entry]:
        """The rows of a text that begins with this line, but for blank ones."""
        entries = []
        width = len(self._header or ())
        for row in rows_of(data, self._delimiter):
            raw = data[row.start : row.end]
            fault, fields = self._take_apart(raw, row, width)
            if fault or fields:
                entries.append(Entry(line, raw, fields, fault or ""))
            line += row.lines
        return entries

    def readings(self, entries: Sequence[Entry]) -> tuple[Batch, list[Fault]]:
        """The readings of entries that have all their fields, and which of them are at fault."""
        return self.cells.readings(self._columns([entry.says for entry in entries]), len(entries))

    def _take_apart(self, raw: bytes, row: Row, width: int) -> tuple[str | None, list[str]]:
        """What is wrong with a row, or its fields; neither for a blank one."""
        if fault := not_text(raw):
            return fault, []
        text = raw.decode().rstrip("\r\n")
        if not text.strip():
            return None, []
        if not row.closed:
            return "a quoted field is opened and not closed", []
        fields = self._fields(text)
        if len(fields) != width:
            named = "field" if len(fields) == 1 else "fields"
            return f"{len(fields)} {named} where the header has {width}", []
        return None, fields

    def _fields(self, text: str) -> list[str]:
        if '"' not in text:
            return text.split(self._settings.delimiter)
        csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=self._settings.delimiter))

    def _columns(self, rows: list[Sequence[str]]) -> Columns:
        blank = {"", *self._settings.missing}
        header = self._header or []

        def column(name: str) -> pa.Array:
            place = header.index(name)
            return pa.array([None if fields[place] in blank else fields[place] for fields in rows], pa.string())

        return column


def rows_of(data: bytes, delimiter: bytes) -> Iterator[Row]:
    """The rows of a text in order, each with its line end; lines inside quotes belong to one row."""
    lines = data.splitlines(keepends=True)
    start, place = 0, 0
    while place < len(lines):
        end, taken, closed = start + len(lines[place]), 1, True
        if b'"' in lines[place]:
            more = _more_lines(lines, place, delimiter)
            closed = more is not None
            taken += more or 0
            end = start + sum(len(line) for line in lines[place : place + taken])
        yield Row(start, end, taken, closed)
        start, place = end, place + taken


def _more_lines(lines: list[bytes], place: int, delimiter: bytes) -> int | None:
    """How many lines after this one its quoted fields reach over; None if they are never closed."""
    size, quoted = 0, False
    for taken, line in enumerate(lines[place:]):
        quoted = _ends_quoted(line, delimiter, quoted)
        size += len(line)
        if not quoted:
            return taken
        if size > OPEN_LIMIT:
            return None
    return None


def _ends_quoted(line: bytes, delimiter: bytes, quoted: bool) -> bool:
    """Whether a quoted field is open at the end of a line, given whether one was at its start."""
    if not quoted and not line.startswith(b'"') and delimiter + b'"' not in line:
        return False
    fresh = not quoted
    for piece in line.split(delimiter):
        opens = fresh and piece.startswith(b'"')
        quotes = piece.count(b'"')
        if opens or quoted:
            quoted = (quotes + (0 if opens else 1)) % 2 == 1
        fresh = not quoted
    return quoted


def _one(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _check_columns(wanted: list[str], there: list[str], file: str, delimiter: str) -> None:
    for name in wanted:
        if there.count(name) > 1:
            raise SetupError(f"{file}: the column '{name}' is there more than once: rename one of them")
        if name not in there:
            raise SetupError(
                f"{file}: there is no column '{name}'.{did_you_mean(name, there)} "
                f"{_subject(file)} has: {', '.join(there)}.{_other_delimiter(there, delimiter, file)}"
            )


def _subject(file: str) -> str:
    """What has the columns: not every table is a file."""
    return f"T{file[1:]}" if file in (POST, "the message") else "The file"


def _other_delimiter(there: list[str], delimiter: str, file: str) -> str:
    if len(there) > 1:
        return ""
    found = next((mark for mark in ";,\t|" if mark != delimiter and mark in there[0]), None)
    if not found:
        return ""
    remedy = "over HTTP commas separate them" if file == POST else f"set `delimiter: {found!r}`"
    return f" Its columns seem to be separated by {found!r}: {remedy}."
