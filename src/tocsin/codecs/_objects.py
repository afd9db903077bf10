"""JSON objects to readings, whether each has a line of its own or all stand in one array.

Lines that are all written alike are taken apart by a loop of our own (`_alike.py`).  Others Arrow reads, a
block at once, if it is told what to expect: whether a device's id is written as
text or as a number is seen from the first objects of the block.  Pieces of it in which that does not
hold for every line, or that have anything amiss, are read object by object; both ways give the same.

A column with dots in its name is the key that is written so, where an object has it, else the path into inner
objects: each object by itself, for programs of both kinds may write into one topic.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as arrow_json

from tocsin.codecs import Cell, Column, TimeSettings, columns_of, names_in
from tocsin.codecs._alike import columns_alike
from tocsin.codecs._cells import Cells, Columns
from tocsin.codecs._lines import BOM, Entry, Fault, Read, line_end, narrow, not_text, told
from tocsin.errors import SetupError, did_you_mean
from tocsin.reading import Batch, Series
from tocsin.record import Record

_SAMPLE = 50
_ENOUGH = 10
"""So many lines without one object among them are not the format at all."""
_FEW = 20
"""So many columns of an object are named to a reader."""


class Written(str):
    """A JSON number as it is written, so that no digit of a time or an id is lost."""

    __slots__ = ()


class Objects:
    """The objects of one source; with `all_hold`, one in which no value of the mapping stands is a reject."""

    def __init__(self, time: TimeSettings, cells: tuple[Cell, ...], series: Series, *, all_hold: bool = False) -> None:
        self._time, self._settings, self._all_hold = time, cells, all_hold
        self._values = list(dict.fromkeys(cell.value for cell in cells))
        self._wanted = columns_of(time, cells)
        self._text = frozenset(names_in(time, cells))
        self._steps = {path: path.split(".") for path in self._wanted}
        self.cells = Cells(time, cells, series)
        self._series = series

    def begin(self, lines: Iterable[bytes], file: str) -> None:
        """Look for the columns in the first objects; raises SetupError if they are nowhere."""
        tried = [raw for raw in lines if not (raw.isspace() or not raw)]
        there = [thing for raw in tried if isinstance(thing := self._load(raw), dict)]
        if not there and len(tried) >= _ENOUGH:
            raise SetupError(
                f"{file}: none of the first {len(tried)} lines is a JSON object: expected one as in {_EXAMPLE}"
            )
        if there:
            self._check(there, file)

    def read(self, data: bytes, line: int, record: Record) -> Read:
        """The readings of lines with an object each, and a reject for every line that is at fault."""
        return narrow(data, line, self.at_once, partial(self._one_by_one, record), line_end)

    def at_once(self, data: bytes) -> Batch | None:
        """The readings of lines with an object each, if there is nothing to reject; else None."""
        data = data.removeprefix(BOM)
        if not data or data.isspace():
            return Batch.empty(self._series)
        if not_text(data):
            return None
        alike = columns_alike(data, self._wanted, self._text)
        if alike is not None:
            rows = len(alike[self._wanted[0]])
            if not self._fits(rows):
                return None
            return self.cells.readings_of_all(alike.__getitem__, rows)
        lines = _objects_in_lines(data)
        if not lines or not self._fits(lines):
            return None
        try:
            table = self._table(data)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            return None
        if table.num_rows != lines:
            return None
        columns = {path: _pick(table, path, steps) for path, steps in self._steps.items()}
        if any(column is None for column in columns.values()):
            return None
        if self._all_hold and _is_any_empty([columns[path] for path in self._values]):
            return None
        return self.cells.readings_of_all(columns.__getitem__, lines)

    def _fits(self, rows: int) -> bool:
        return self.cells.alongside is None or self.cells.alongside.fits(rows)

    def entry(self, line: int, raw: bytes) -> Entry:
        """What stands in a line, which is to be an object."""
        thing = self._load(raw)
        return Entry(line, raw, thing, self._holds_none(thing) if isinstance(thing, dict) else thing)

    def readings(self, entries: Sequence[Entry]) -> tuple[Batch, list[Fault]]:
        """The readings of entries that are objects, and which of them are at fault."""
        return self.cells.readings(self._columns([entry.says for entry in entries]), len(entries))

    def _one_by_one(self, record: Record, data: bytes, line: int) -> Read:
        entries = [self.entry(number, raw) for number, raw in enumerate(data.splitlines(), line) if raw.strip()]
        return told(entries, self.readings, record)

    def _holds_none(self, thing: dict[str, Any]) -> str:
        """Why an object has nothing to say, if it should; `null` says that there is no value."""
        if not self._all_hold or any(self._is_in(value, thing) for value in self._values):
            return ""
        there = list(islice(_paths(thing), _FEW))
        return f"none of {', '.join(self._values)} is in it; it has: {', '.join(there) or 'nothing'}"

    def _load(self, raw: bytes) -> dict[str, Any] | str:
        """The object that stands here, or why there is none."""
        if wrong := not_text(raw):
            return wrong
        try:
            text = raw.removeprefix(BOM).decode()
            thing = json.loads(text, parse_float=Written, parse_int=Written, parse_constant=Written)
            if "\\u" in text:
                json.dumps(thing, ensure_ascii=False).encode()
        except json.JSONDecodeError as fault:
            return f"not JSON: {fault.msg} at character {fault.pos + 1}"
        except UnicodeEncodeError:
            return "not JSON that can be read: half of a \\u pair stands alone"
        except RecursionError:
            return "not JSON that can be read: nested too deeply"
        return thing if isinstance(thing, dict) else f"expected a JSON object as in {_EXAMPLE}"

    def _columns(self, things: list[dict[str, Any]]) -> Columns:
        def column(path: str) -> pa.Array:
            steps, as_name = self._steps[path], path in self._text
            return pa.array([_text(_found(thing, path, steps), as_name) for thing in things], pa.string())

        return column

    def _table(self, data: bytes) -> Any:
        return arrow_json.read_json(
            pa.py_buffer(data),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=self._schema(data), unexpected_field_behavior="ignore"
            ),
        )

    def _schema(self, data: bytes) -> pa.Schema:
        """What Arrow is to expect, after a look at the first objects: a column with dots as a key and as a path."""
        sample = [thing for raw in _first_lines(data) if isinstance(thing := self._load(raw), dict)]
        tree: dict[str, Any] = {path: self._kind(path, sample) for path in self._wanted}
        for path, steps in sorted(self._steps.items(), key=lambda item: len(item[1])):
            if len(steps) > 1:
                _grow(tree, steps, tree[path])
        return pa.schema(_fields(tree))

    def _kind(self, path: str, sample: list[dict[str, Any]]) -> pa.DataType:
        steps = self._steps[path]
        first = next((it for thing in sample if (it := _found(thing, path, steps)) is not None), None)
        if path not in self._text:
            return pa.string() if isinstance(first, str) and not isinstance(first, Written) else pa.float64()
        if not isinstance(first, Written):
            return pa.string()
        if first.lstrip("-").isdigit():
            return pa.int64()
        return pa.decimal128(38, 9) if path in self._time.columns else pa.string()

    def _check(self, there: list[dict[str, Any]], file: str) -> None:
        known = list(dict.fromkeys(path for thing in there for path in _paths(thing)))
        devices = [cell.device.name for cell in self._settings if isinstance(cell.device, Column)]
        needed = [*self._time.columns, *devices]
        if not any(self._is_in(value, thing) for value in self._values for thing in there):
            needed += self._values
        for path in needed:
            if not any(self._is_in(path, thing) for thing in there):
                raise SetupError(
                    f"{file}: there is no '{path}' in its first objects.{did_you_mean(path, known)} "
                    f"They have: {', '.join(known)}."
                )

    def _is_in(self, path: str, thing: dict[str, Any]) -> bool:
        return path in thing or _has(thing, self._steps[path])


_EXAMPLE = '{"time": "2024-01-31T12:00:00Z", "value": 21.5}'


def _objects_in_lines(data: bytes) -> int:
    """How many lines there are, if each begins with a brace; else 0.

    Arrow is content with several objects a line, or none, and crashes on a text that begins with `null`.
    """
    text = np.frombuffer(data, np.uint8)
    starts = np.flatnonzero(text[:-1] == ord("\n")) + 1
    begun = data.startswith(b"{") and bool((text[starts] == ord("{")).all())
    return len(starts) + 1 if begun else 0


def _first_lines(data: bytes) -> Iterator[bytes]:
    start = 0
    for _ in range(_SAMPLE):
        end = data.find(b"\n", start)
        yield data[start : end if end >= 0 else len(data)]
        if end < 0:
            return
        start = end + 1


def _fields(tree: dict[str, Any]) -> list[pa.Field]:
    return [pa.field(name, pa.struct(_fields(kind)) if isinstance(kind, dict) else kind) for name, kind in tree.items()]


def _grow(tree: dict[str, Any], steps: list[str], kind: pa.DataType) -> None:
    """Add a path to the kinds of an object's fields, unless something on it is to be a value: Arrow says when it is not."""
    branch: Any = tree
    for step in steps[:-1]:
        branch = branch.setdefault(step, {})
        if not isinstance(branch, dict):
            return
    branch[steps[-1]] = kind


def _pick(table: Any, path: str, steps: list[str]) -> pa.Array | None:
    """A column, from where its values are; None if some stand under the key and some at the path."""
    key = _one(table.column(path))
    if len(steps) == 1 or not key.null_count:
        return key
    below = _one(table.column(steps[0]))
    for step in steps[1:]:
        if not pa.types.is_struct(below.type):
            return key
        below = pc.struct_field(below, step)
    if key.null_count == len(key):
        return below
    return key if below.null_count == len(below) else None


def _one(column: Any) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _is_any_empty(columns: list[pa.Array]) -> bool:
    """Whether there is a row in which all of these are null."""
    if not all(column.null_count for column in columns):
        return False
    nulls = [column.is_null().to_numpy(zero_copy_only=False) for column in columns]
    return bool(np.logical_and.reduce(nulls).any())


def _found(thing: dict[str, Any], path: str, steps: list[str]) -> Any:
    """What stands in an object under the key, else at the path."""
    found = thing.get(path)
    return _walk(thing, steps) if found is None and len(steps) > 1 else found


def _walk(thing: Any, steps: list[str]) -> Any:
    for step in steps:
        if not isinstance(thing, dict):
            return None
        thing = thing.get(step)
    return thing


def _has(thing: Any, steps: list[str]) -> bool:
    parent = _walk(thing, steps[:-1])
    return isinstance(parent, dict) and steps[-1] in parent


def _text(thing: Any, as_name: bool) -> str | None:
    """What stands there as text; a list or an object is nobody's name and no number."""
    if thing is None or isinstance(thing, str):
        return thing
    if isinstance(thing, bool):
        return str(thing).lower()
    return None if as_name else json.dumps(thing)


def _paths(thing: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, below in thing.items():
        if isinstance(below, dict):
            yield from _paths(below, f"{above}{name}.")
        else:
            yield above + name
