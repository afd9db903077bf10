"""Messages of JSON to readings: all of a poll's at once; object by object a few, and where that fails.

At once they are read by a loop of our own if all are written alike (`_alike.py`), and else by Arrow.  Both want one
object after the other.  A line feed cannot stand inside a JSON text's strings, so the objects
of an array are set apart by putting one for the comma in `},{`: inside a string it is refused, and inside an inner
array too.  If then every line feed stands in `}` `{`, and there are as many objects as lines, each line is one
whole object, and each message begins with a new one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as arrow_json

from tocsin.codecs._alike import columns_alike
from tocsin.codecs._lines import not_text
from tocsin.codecs.readings.closely import MOST_LABELS, Closely
from tocsin.codecs.readings.found import Found, Places
from tocsin.codecs.readings.times import from_integers, from_text
from tocsin.codecs.readings.whose import Whose
from tocsin.reading import Batch, Labels, Series, labels_of

_COLUMNS = "device", "metric", "time", "value"
_TEXTS = frozenset(_COLUMNS[:3])
_TEXT_TIME = re.compile(rb'"time"\s*:\s*"')
_KINDS = [[pa.string(), pa.string(), time, pa.float64()] for time in (pa.string(), pa.int64())]
_PARTS = 8
_SMALL = 8 << 10
"""So few bytes, some 80 readings, are read sooner object by object: Arrow takes half a millisecond to begin."""
_DEPTH = 500
"""So many brackets may stand inside the objects of a group: deeper ones Python cannot read, which has the last word."""


class Texts:
    """Reads messages of JSON."""

    def __init__(self, series: Series, whose: Whose) -> None:
        self._series = series
        self._whose = whose
        self._closely = Closely(series)

    def read(self, places: Places, bodies: Sequence[bytes]) -> Found:
        """The readings of these messages, read at once if there are many and all are good, else in ever smaller groups."""
        size = sum(map(len, bodies))
        found = self._at_once(places, bodies) if size > _SMALL else None
        if found is not None:
            return found
        if size <= _SMALL or len(bodies) == 1:
            return self._closely.read(list(zip(places.tolist(), bodies, strict=True)))
        return Found.join(self._series, [self.read(*part) for part in _parts(places, bodies)])

    def _at_once(self, places: Places, bodies: Sequence[bytes]) -> Found | None:
        """The readings, if there is nothing to reject; else None."""
        lines, counts = b"\n".join(bodies), np.ones(len(bodies), np.int64)
        columns = _alike(lines, len(bodies))
        if columns is None:
            lines, counts = _lined_up(lines, bodies)
            rows = int(counts.sum())
            columns = _alike(lines, rows) or self._columns(lines, rows)
        batch = None if columns is None else self._batch(columns)
        return None if batch is None else Found(batch, np.repeat(places, counts), [])

    def _columns(self, lines: bytes, rows: int) -> dict[str, pa.Array] | None:
        """The objects as columns, as Arrow reads them; None if there is anything else."""
        if not lines.startswith(b"{") or lines.count(b"}\n{") != rows - 1 or not_text(lines):
            return None
        table = self._table(lines, rows)
        if table is None or table.num_rows != rows:
            return None
        return {name: _one(table.column(name)) for name in table.column_names}

    def _table(self, lines: bytes, rows: int) -> Any:
        """The objects as columns; None if any is not as the first one lets expect."""
        labelled = b'"labels"' in lines or b"\\" in lines
        brackets = lines.count(b"{") + lines.count(b"[") - rows * (2 if labelled else 1)
        if brackets > _DEPTH or (labelled and len(self._closely.label_names) > MOST_LABELS):
            return None
        try:
            first = json.loads(lines[: lines.find(b"\n")] if rows > 1 else lines)
            return arrow_json.read_json(
                pa.py_buffer(lines),
                read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
                parse_options=self._expected(isinstance(first.get("time"), str), labelled),
            )
        except (pa.ArrowException, ValueError):
            return None

    def _expected(self, time_is_text: bool, labelled: bool) -> Any:
        fields = [("device", pa.string()), ("metric", pa.string()), ("value", pa.float64())]
        fields.append(("time", pa.string() if time_is_text else pa.int64()))
        if labelled:
            fields.append(("labels", pa.struct([(name, pa.string()) for name in self._closely.label_names])))
        # A field that nobody asks for means nothing; but inside labels it is one whose name was not seen yet.
        return arrow_json.ParseOptions(
            explicit_schema=pa.schema(fields), unexpected_field_behavior="error" if labelled else "ignore"
        )

    def _batch(self, columns: dict[str, pa.Array]) -> Batch | None:
        names = {name: columns[name] for name in ("device", "metric")}
        if any(columns[name].null_count for name in ("device", "metric", "time", "value")):
            return None
        time, wrong = _instants(columns["time"])
        value = columns["value"].to_numpy()
        if wrong.any() or not np.isfinite(value).all() or any(map(_has_blank, names.values())):
            return None
        code = self._codes(names, columns.get("labels"))
        # Adding 0.0 makes -0.0 plain zero.
        return Batch(self._series, code, time, value + 0.0)

    def _codes(self, names: dict[str, pa.Array], told: pa.Array | None) -> Any:
        labels = [] if told is None else [field.name for field in told.type]
        columns = {f"labels.{name}": pc.struct_field(told, [place]) for place, name in enumerate(labels)}

        def read(row: Sequence[str]) -> Labels:
            return labels_of(dict(zip(labels, row, strict=True)))

        return self._whose.codes({**names, **columns}, read)


def _alike(lines: bytes, rows: int) -> dict[str, pa.Array] | None:
    """The columns of so many objects if all are written like the first one, a line each; else, or if there are labels, None."""
    if not lines.startswith(b"{") or b'"labels"' in lines or lines.count(b"\n") != rows - 1 or not_text(lines):
        return None
    columns = columns_alike(lines, _COLUMNS, _TEXTS)
    if columns is None or len(columns["value"]) != rows:
        return None
    return columns if [columns[name].type for name in _COLUMNS] in _KINDS else None


def _parts(places: Places, bodies: Sequence[bytes]) -> Iterator[tuple[Places, Sequence[bytes]]]:
    """Those that write times as texts and as integers apart, if there are both; else some parts of them."""
    texts = [_TEXT_TIME.search(body) is not None for body in bodies]
    if any(texts) and not all(texts):
        for which in (np.array(texts), ~np.array(texts)):
            yield places[which], list(compress(bodies, which.tolist()))
        return
    size = -(-len(bodies) // _PARTS)
    for low in range(0, len(bodies), size):
        yield places[low : low + size], bodies[low : low + size]


def _has_blank(names: pa.Array) -> bool:
    """Whether any of these names is nothing but spaces."""
    return bool(pc.any(pc.equal(pc.utf8_trim_whitespace(names), "")).as_py())


def _lined_up(lines: bytes, bodies: Sequence[bytes]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """All objects with a line feed between them, and how many each message has, if these are what they should be.

    `lines` is what they are if each message is one.
    """
    if lines.startswith(b"{") and lines.count(b"\n") == lines.count(b"}\n{") == len(bodies) - 1:
        return lines, np.ones(len(bodies), np.int64)
    apart = [_apart(body) for body in bodies]
    return b"\n".join(apart), np.array([one.count(b"\n") + 1 for one in apart], np.int64)


def _apart(body: bytes) -> bytes:
    """The objects of one message with a line feed between them."""
    body = body.strip()
    if not body.startswith(b"["):
        return body.replace(b"}\r\n{", b"}\n{")
    # One that is there already is not a comma.
    return (
        b""
        if b"\n" in body or not body.endswith(b"]")
        else body[1:-1].strip().replace(b"},{", b"}\n{").replace(b"}, {", b"}\n{")
    )


def _instants(column: pa.Array) -> tuple[Any, Any]:
    return from_integers(column.to_numpy()) if pa.types.is_integer(column.type) else from_text(column)


def _one(column: Any) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
