"""Messages that are Arrow streams to readings: each is checked whole, and then all are read as one table.

Its bytes came from outside, so nothing in it is looked up before Arrow has found it sound.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.codecs._times import Mask
from tocsin.codecs.readings.found import Body, Fault, Found, Places, whole
from tocsin.codecs.readings.times import from_integers, outside, why
from tocsin.codecs.readings.whose import Whose
from tocsin.instant import format_time
from tocsin.reading import Batch, Labels, Series, Times, labels_of
from tocsin.record import Reject

_NAMES = ("device", "metric")
_BROKEN = (pa.ArrowException, ValueError, TypeError, OSError, MemoryError)

Columns = dict[str, pa.Array]


class Tables:
    """Reads messages of Arrow."""

    def __init__(self, series: Series, whose: Whose) -> None:
        self._series = series
        self._whose = whose
        self._labels: dict[str, Labels] = {"": ()}

    def read(self, places: Places, bodies: Sequence[bytes]) -> Found:
        """The readings of these messages, and what else they hold."""
        alike: dict[Any, list[tuple[Body, Any]]] = {}
        broken = []
        for place, body in zip(places.tolist(), bodies, strict=True):
            try:
                table = pa.ipc.open_stream(body).read_all()
                table.validate(full=True)
                alike.setdefault(table.schema, []).append(((place, body), table))
            except _BROKEN as fault:
                broken.append((place, _not_read(body, fault)))
        parts = [self._stacked(tables) for tables in alike.values()]
        return Found.join(self._series, [*parts, Found.nothing(self._series, broken)])

    def _stacked(self, tables: list[tuple[Body, Any]]) -> Found:
        """The readings of tables with the same columns; of each alone if there are some that cannot be taken so."""
        try:
            columns, bad = _columns(pa.concat_tables([table for _, table in tables]))
        except _BROKEN as fault:
            if len(tables) > 1:
                return Found.join(self._series, [self._stacked([one]) for one in tables])
            place, body = tables[0][0]
            return Found.nothing(self._series, [(place, _not_read(body, fault))])
        sizes = np.array([table.num_rows for _, table in tables])
        message_of = np.repeat(np.array([place for (place, _), _ in tables], np.int64), sizes)
        rejects: list[Fault] = []
        bad |= self._without_labels(columns["labels"])
        if bad.any():
            element = np.arange(len(bad)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
            rejects = [
                (
                    int(message_of[row]),
                    self._reject({name: it[row].as_py() for name, it in columns.items()}, element[row]),
                )
                for row in np.flatnonzero(bad).tolist()
            ]
            columns = {name: column.filter(pa.array(~bad)) for name, column in columns.items()}
        return Found(self._batch(columns), message_of[~bad], rejects)

    def _batch(self, columns: Columns) -> Batch:
        names = {name: columns[name] for name in (*_NAMES, "labels")}
        if columns["labels"].null_count == len(columns["labels"]):
            del names["labels"]
        code = self._whose.codes(names, lambda row: self._labels[row[0]])
        # Adding 0.0 makes -0.0 plain zero.
        return Batch(self._series, code, columns["time"].to_numpy(), columns["value"].to_numpy() + 0.0)

    def _without_labels(self, column: pa.Array) -> Mask:
        """Which rows say labels that cannot be read; the others are known from now on."""
        wrong = [text for text in column.unique().to_pylist() if text and not self._knows(text)] if len(column) else []
        return _mask(pc.is_in(column, value_set=pa.array(wrong, pa.string()))) if wrong else np.zeros(len(column), bool)

    def _knows(self, text: str) -> bool:
        if text not in self._labels:
            try:
                thing = json.loads(text)
                text.encode()
            except (ValueError, RecursionError):
                return False
            if not isinstance(thing, dict) or not all(isinstance(label, str) for label in thing.values()):
                return False
            self._labels[text] = labels_of(thing)
        return True

    def _reject(self, told: dict[str, Any], element: int) -> Reject:
        time = None if told["time"] is None else format_time(told["time"])
        data = json.dumps({**told, "time": time}, ensure_ascii=False).encode()
        return Reject(data, {"element": int(element)}, self._why(told))

    def _why(self, told: dict[str, Any]) -> str:
        for name in _NAMES:
            if not (told[name] or "").strip():
                return f"'{name}' is {'missing' if told[name] is None else 'blank'}"
        if told["value"] is None or not np.isfinite(told["value"]):
            return (
                f"'value' {told['value']} is not a finite number" if told["value"] is not None else "'value' is missing"
            )
        if told["labels"] and told["labels"] not in self._labels:
            return '\'labels\' is not the text of a JSON object of texts, as in {"site": "a"}'
        return why(told["time"])


def _not_read(body: bytes, fault: BaseException) -> Reject:
    return whole(body, f"not an Arrow stream of readings: {fault}")


def _columns(table: Any) -> tuple[Columns, Mask]:
    """A table's columns, each of the one type that is read here, and which rows have a fault in them."""
    for name in (*_NAMES, "time", "value"):
        if table.schema.names.count(name) != 1:
            raise ValueError(f"expected one column '{name}' among its columns {', '.join(table.schema.names)}")
    time, bad = _times(table.column("time"))
    columns = {name: _text(table, name) for name in _NAMES}
    columns |= {"time": time, "value": _numbers(table.column("value"))}
    columns["labels"] = _text(table, "labels") if "labels" in table.schema.names else pa.nulls(len(time), pa.string())
    value = columns["value"].fill_null(np.nan).to_numpy(zero_copy_only=False)
    bad = bad | ~np.isfinite(value)
    for name in _NAMES:
        bad |= _mask(pc.equal(pc.utf8_trim_whitespace(columns[name].fill_null("")), ""))
    return columns, bad


def _text(table: Any, name: str) -> pa.Array:
    kind = table.schema.field(name).type
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(plain) or pa.types.is_large_string(plain)):
        raise ValueError(f"column '{name}' is {kind}: expected text, or a dictionary of texts")
    return _one(table.column(name).cast(pa.string()))


def _numbers(column: Any) -> pa.Array:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise ValueError(f"column 'value' is {column.type}: expected numbers, 1 or 0 for true or false")
    return _one(column.cast(pa.float64(), safe=False))


def _times(column: Any) -> tuple[pa.Array, Mask]:
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        raise ValueError("column 'time' says no zone: expected timestamps with one, as in timestamp[ns, tz=UTC]")
    if not (pa.types.is_timestamp(column.type) or pa.types.is_int64(column.type)):
        raise ValueError(f"column 'time' is {column.type}: expected timestamps with a zone, or int64 nanoseconds")
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ns", "UTC"))
    time = _one(column.cast(pa.int64()))
    times: Times = time.fill_null(0).to_numpy(zero_copy_only=False)
    bad = from_integers(times)[1] if pa.types.is_int64(column.type) else outside(times)
    return time, bad | _mask(time.is_null())


def _mask(column: pa.Array) -> Mask:
    mask: Mask = column.to_numpy(zero_copy_only=False)
    return mask


def _one(column: Any) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
