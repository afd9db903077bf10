"""Columns of a block to readings: what every codec does once its rows are taken apart.

A codec gives its columns as it has them, Arrow arrays of text or of numbers; this gives the batch, in the order of
rows and, within a row, of cells, and says which rows have a fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.codecs import Beside, Cell, Column, Constant, Part, TimeSettings
from tocsin.codecs._lines import Fault
from tocsin.codecs._times import BLANK, READ, Clock, Mask, States
from tocsin.reading import Batch, Codes, Labels, Series, Times, Values, labels_of

Columns = Callable[[str], pa.Array]
Places = npt.NDArray[np.intp]

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_FINITE = re.compile(_NUMBER, re.ASCII)
_INFINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)


class Alongside:
    """What travels beside some messages, as columns with a value for each of their rows.

    `places` says of each row which message it is of; without it all rows are of one message.
    """

    def __init__(self, columns: dict[str, pa.Array], places: Places | None = None) -> None:
        self._columns = columns
        self._places = places

    def of(self, places: Places) -> Alongside:
        """The same for rows of these messages."""
        return Alongside(self._columns, places)

    def of_one(self, place: int) -> Alongside:
        """The same for rows of one message alone."""
        return Alongside({name: column.slice(place, 1) for name, column in self._columns.items()})

    def only(self, rows: Places) -> Alongside:
        """The same for some of its rows."""
        return self if self._places is None else Alongside(self._columns, self._places[rows])

    def fits(self, rows: int) -> bool:
        """Whether there are as many rows as there should be."""
        return self._places is None or len(self._places) == rows

    def has(self, name: str) -> bool:
        """Whether this is not in the body."""
        return name in self._columns

    def column(self, name: str, rows: int) -> pa.Array:
        """The value of each row."""
        return self._columns[name].take(pa.array(np.zeros(rows, np.intp) if self._places is None else self._places))


class Cells:
    """The cells of one source's rows; `alongside` is what is not in them, where they are of messages."""

    def __init__(self, time: TimeSettings, cells: Sequence[Cell], series: Series) -> None:
        self._clock = Clock(time)
        self._time_columns = time.columns
        self._cells = cells
        self._owners = [_Owner(cell, series) for cell in cells]
        self._places = Seen()
        self._series = series
        self.alongside: Alongside | None = None

    def readings(self, columns: Columns, rows: int) -> tuple[Batch, list[Fault]]:
        """The readings of so many rows, and the faults in the order of rows."""
        if rows == 0:
            return Batch.empty(self._series), []
        columns = cache(self._with_alongside(columns, rows))
        written = self._written(columns)
        found = self._found(columns, written, rows)
        good = found.good()
        faults = [(row, self._why(row, columns, written, found)) for row in found.faulty(good).tolist()]
        return self._batch(found, good), faults

    def readings_of_all(self, columns: Columns, rows: int) -> Batch | None:
        """The readings of so many rows if nothing is at fault; else None, at once."""
        if rows == 0:
            return Batch.empty(self._series)
        columns = cache(self._with_alongside(columns, rows))
        found = self._found(columns, self._written(columns), rows)
        good = found.good()
        return None if len(found.faulty(good)) else self._batch(found, good)

    def _found(self, columns: Columns, written: pa.Array, rows: int) -> _Found:
        times, states = self._clock.read(written)
        numbers = [to_numbers(columns(cell.value)) for cell in self._cells]
        value, bad = (np.column_stack(columns) for columns in zip(*numbers, strict=True))
        return _Found(times, states, value, bad, self._codes(columns, rows))

    def _batch(self, found: _Found, good: Mask) -> Batch:
        which = good.ravel()
        time = np.repeat(found.times, len(self._cells)) if len(self._cells) > 1 else found.times
        # Adding 0.0 makes -0.0 plain zero.
        return Batch(self._series, found.code.ravel()[which], time[which], found.value.ravel()[which] + 0.0)

    def _with_alongside(self, columns: Columns, rows: int) -> Columns:
        beside = self.alongside
        if beside is None:
            return columns
        return lambda name: beside.column(name, rows) if beside.has(name) else columns(name)

    def _written(self, columns: Columns) -> pa.Array:
        parts = [columns(name) for name in self._time_columns]
        if len(parts) == 1:
            return parts[0]
        return pc.binary_join_element_wise(*[part.cast(pa.string()) for part in parts], " ")

    def _codes(self, columns: Columns, rows: int) -> Codes:
        places = {names: self._places.of(columns, names, rows) for names in {owner.columns for owner in self._owners}}
        return np.column_stack([owner.codes(columns, places[owner.columns]) for owner in self._owners])

    def _why(self, row: int, columns: Columns, written: pa.Array, found: _Found) -> str:
        state = int(found.states[row])
        if state != READ:
            return self._clock.reason(written[row].as_py(), state)
        reasons = []
        for place, cell in enumerate(self._cells):
            if found.bad[row, place]:
                reasons.append(wrong_number(cell.value, columns(cell.value)[row].as_py()))
            elif found.code[row, place] < 0 and not np.isnan(found.value[row, place]):
                reasons.append(_nobody(cell, int(found.code[row, place])))
        return "; ".join(dict.fromkeys(reasons))


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands in a block: for every row its time and how it was read; for every cell its number, any fault, its series."""

    times: Times
    states: States
    value: Values
    bad: Mask
    code: Codes

    def good(self) -> Mask:
        """The cells that are readings."""
        mask: Mask = ~np.isnan(self.value) & (self.code >= 0) & (self.states == READ)[:, None]
        return mask

    def faulty(self, good: Mask) -> Places:
        """The rows that say something and are at fault; one without a time and without a number says nothing."""
        given = ~np.isnan(self.value) | self.bad
        timeless = (self.states != READ) & ((self.states != BLANK) | given.any(axis=1))
        return np.flatnonzero(timeless | (given & ~good).any(axis=1))


def to_numbers(column: pa.Array) -> tuple[Values, Mask]:
    """Every row's number, NaN where it is blank, and whether what stands there is none (or not finite)."""
    if not pa.types.is_floating(column.type):
        return _from_text(column.cast(pa.string()))
    values = column.fill_null(0.0).to_numpy(zero_copy_only=False)
    bad = ~np.isfinite(values)
    if column.null_count or bad.any():
        values = np.where(bad | column.is_null().to_numpy(zero_copy_only=False), np.nan, values)
    return values, bad


def _from_text(column: pa.Array) -> tuple[Values, Mask]:
    text = pc.utf8_trim_whitespace(column).fill_null("")
    blank = pc.equal(text, "").to_numpy(zero_copy_only=False)
    number = pc.match_substring_regex(text, _NUMBER)
    digits = pc.if_else(number, pc.utf8_ltrim(text, "+"), None)
    values = digits.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    bad = ~np.isfinite(values) & ~blank
    return np.where(bad, np.nan, values), bad


def wrong_number(column: str, text: object) -> str:
    """Why what stands in a column is not a reading's number."""
    plain = str(text).strip()
    if isinstance(text, float) or _INFINITE.fullmatch(plain):
        return f"{column}: {text} is not a finite number"
    return f"{column}: '{text}' is too large" if _FINITE.fullmatch(plain) else f"{column}: '{text}' is not a number"


_NO_DEVICE, _NO_METRIC = -1, -2


def _nobody(cell: Cell, code: int) -> str:
    what, part = ("device", cell.device) if code == _NO_DEVICE else ("metric", cell.metric)
    if isinstance(part, Beside):
        return f"the {what} is blank ({part.name})"
    return f"the {what} is blank" + (f" (column '{part.name}')" if isinstance(part, Column) else "")


class _Owner:
    """Whose reading a cell is: from the names in a row to the code of its series."""

    def __init__(self, cell: Cell, series: Series) -> None:
        self._parts: list[Part] = [cell.device, cell.metric, *(part for _, part in cell.labels)]
        self._labels = [name for name, _ in cell.labels]
        self._series = series
        self._codes = np.empty(0, np.int32)
        self.columns = tuple(dict.fromkeys(part.name for part in self._parts if not isinstance(part, Constant)))

    def codes(self, columns: Columns, places: Places) -> Codes:
        """The code of every row's series; negative where the row does not say whose it is.

        `places` are those of the row's names, which a new series is learned from when its place is first seen.
        """
        new = int(places.max()) + 1 - len(self._codes)
        if new > 0:
            row_of = np.zeros(new, np.intp)
            rows = np.flatnonzero(places >= len(self._codes))
            row_of[places[rows] - len(self._codes)] = rows
            self._codes = np.append(self._codes, self._learn(columns, pa.array(row_of)))
        return self._codes[places]

    def _learn(self, columns: Columns, rows: pa.Array) -> Codes:
        devices, metrics, *labels = [self._names(part, columns, rows) for part in self._parts]
        codes = np.full(len(rows), _NO_DEVICE, np.int32)
        by_metric: dict[str, list[int]] = {}
        for place, (device, metric) in enumerate(zip(devices, metrics, strict=True)):
            if device and metric:
                by_metric.setdefault(metric, []).append(place)
            elif device:
                codes[place] = _NO_METRIC
        for metric, group in by_metric.items():
            sets = [self._label_set(labels, place) for place in group] if labels else None
            codes[group] = self._series.codes([devices[place] for place in group], metric, sets)
        return codes

    def _label_set(self, labels: list[list[str]], place: int) -> Labels:
        return labels_of({name: told[place] for name, told in zip(self._labels, labels, strict=True)})

    def _names(self, part: Part, columns: Columns, rows: pa.Array) -> list[str]:
        if isinstance(part, Constant):
            return [part.value] * len(rows)
        return [(name or "").strip() for name in columns(part.name).take(rows).cast(pa.string()).to_pylist()]


class Seen:
    """Of every combination of names that was ever seen, its place: the first is 0, the next 1, and so on.

    Several columns are combined two by two; each step numbers the pairs of places.
    """

    def __init__(self) -> None:
        self._names: dict[str, _Known] = {}
        self._pairs: dict[tuple[str, ...], _Pairs] = {}

    def of(self, columns: Columns, names: tuple[str, ...], rows: int) -> Places:
        """The place of every row's names."""
        if not names:
            return np.zeros(rows, np.intp)
        column = columns(names[-1]).cast(pa.string()).fill_null("")
        last = self._names.setdefault(names[-1], _Known(pa.array([], pa.string()))).places(column)
        if len(names) == 1:
            return last
        return self._pairs.setdefault(names, _Pairs()).places(self.of(columns, names[:-1], rows), last)


class _Pairs:
    """Pairs of places, numbered in the order in which they were first seen: by a table as long as that is small."""

    def __init__(self) -> None:
        self._table = np.empty((0, 0), np.int32)
        self._count = 0
        self._known: _Known | None = None

    def places(self, left: Places, right: Places) -> Places:
        """The place of every row's pair, given now if it is new."""
        if self._known is None and not self._has_room(int(left.max()), int(right.max())):
            self._known = _Known(pa.array(self._in_order()))
        if self._known is not None:
            return self._known.places(pa.array(left << 32 | right))
        new = np.unique((left << 32 | right)[self._table[left, right] < 0])
        self._table[new >> 32, new & 0xFFFF_FFFF] = np.arange(self._count, self._count + len(new))
        self._count += len(new)
        return self._table[left, right].astype(np.intp)

    def _has_room(self, left: int, right: int) -> bool:
        """Whether the table has these places, or can be made to."""
        had, wanted = self._table.shape, (left + 1, right + 1)
        size = [have if want <= have else max(want, 2 * have) for have, want in zip(had, wanted, strict=True)]
        if size[0] * size[1] > _TABLE:
            return False
        if tuple(size) != had:
            table = np.full(size, -1, np.int32)
            table[: had[0], : had[1]] = self._table
            self._table = table
        return True

    def _in_order(self) -> npt.NDArray[np.int64]:
        left, right = np.nonzero(self._table >= 0)
        return (left << 32 | right)[np.argsort(self._table[left, right])]


class _Known:
    """Values in the order in which they were first seen.

    Arrow finds a whole column among them at once, but looks at all of them each time to do so; for a few rows
    among very many values a dictionary is quicker.
    """

    def __init__(self, values: pa.Array) -> None:
        self._values = values
        self._place_of: dict[Any, int] = {}

    def places(self, column: pa.Array) -> Places:
        """The place of every row's value, given now if it is new."""
        if len(self._values) > _FEW * len(column):
            return self._one_by_one(column)
        found = pc.index_in(column, value_set=self._values)
        if found.null_count:
            self._values = pa.concat_arrays([self._values, column.filter(found.is_null()).unique()])
            found = pc.index_in(column, value_set=self._values)
        places: Places = found.to_numpy(zero_copy_only=False).astype(np.intp)
        return places

    def _one_by_one(self, column: pa.Array) -> Places:
        place_of = self._place_of
        if len(place_of) < len(self._values):
            added = self._values.slice(len(place_of)).to_pylist()
            place_of.update(zip(added, range(len(place_of), len(self._values)), strict=True))
        encoded = column.dictionary_encode()
        values = encoded.dictionary.to_pylist()
        new = [value for value in values if value not in place_of]
        if new:
            self._values = pa.concat_arrays([self._values, pa.array(new, self._values.type)])
            place_of.update(zip(new, range(len(place_of), len(self._values)), strict=True))
        places: Places = np.array([place_of[value] for value in values], np.intp)
        rows: Places = places[encoded.indices.to_numpy(zero_copy_only=False)]
        return rows


_TABLE = 1 << 23
"""A table of pairs may have so many places (32 MB)."""
_FEW = 4
"""So many times more values than rows, and the dictionary is quicker."""
