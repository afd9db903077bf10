"""A batch to a message's body, by column: as JSON that people can read, or as an Arrow stream that costs next to nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tocsin.instant import SECOND
from tocsin.reading import Batch, Codes, Labels, Series, Times

_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_UNITS = {SECOND: "s", 1_000_000: "ms", 1_000: "us", 1: "ns"}


def to_json(batch: Batch) -> bytes:
    """An array of objects; times in UTC with Z, as many digits as they need."""
    if not len(batch):
        return b"[]"
    used, which = np.unique(batch.code, return_inverse=True)
    before, after = _around(batch.series, used)
    rows = pc.binary_join_element_wise(
        before.take(pa.array(which)),
        _iso(batch.time),
        'Z","value":',
        pa.array(batch.value).cast(pa.string()),
        after.take(pa.array(which)),
        "",
    )
    return b"[" + _text(rows)[:-1] + b"]"


def to_arrow(batch: Batch) -> bytes:
    """An Arrow stream: names in dictionaries, labels as the text of a JSON object, a column that is left out if all are empty."""
    series = batch.series
    used, which = np.unique(batch.code, return_inverse=True)
    columns = {
        "device": _named(series.device[used], series.devices, which),
        "metric": _named(series.metric[used], series.metrics, which),
        "time": pa.array(batch.time).cast(pa.timestamp("ns", "UTC")),
        "value": pa.array(batch.value),
    }
    if any(series.label_sets[place] for place in np.unique(series.labels[used]).tolist()):
        columns["labels"] = _named(series.labels[used], series.label_sets, which)
    rows = pa.RecordBatch.from_pydict(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_batch(rows)
    return bytes(sink.getvalue())


def _around(series: Series, codes: Codes) -> tuple[pa.Array, pa.Array]:
    """Of each series: what stands before a reading's time, and after its value."""
    columns = (series.device[codes].tolist(), series.metric[codes].tolist(), series.labels[codes].tolist())
    devices, metrics, sets = series.devices, series.metrics, series.label_sets
    labels = {place: f',"labels":{_json(dict(sets[place]))}}},' if sets[place] else "}," for place in set(columns[2])}
    named = {place: f',"metric":{_json(metrics[place])},"time":"' for place in set(columns[1])}
    before = [
        f'{{"device":{_json(devices[device])}{named[metric]}' for device, metric in zip(*columns[:2], strict=True)
    ]
    return pa.array(before), pa.array([labels[place] for place in columns[2]])


def _iso(times: Times) -> pa.Array:
    """ISO 8601 without the Z, in the coarsest unit that tells all of these times."""
    size = next(size for size in _UNITS if not (times % size).any())
    return pc.binary_replace_slice(
        pa.array(times // size).cast(pa.timestamp(_UNITS[size])).cast(pa.string()), 10, 11, "T"
    )


def _text(column: pa.Array) -> bytes:
    """All rows of a fresh column of text, one after the other."""
    _, ends, data = column.buffers()
    whole: bytes = data.to_pybytes()
    return whole[: np.frombuffer(ends, np.int32)[len(column)]]


def _named(places: Codes, things: Sequence[str | Labels], which: npt.NDArray[np.integer[Any]]) -> pa.Array:
    """A column of names, in a dictionary of those that occur; of labels, the text of an object, null if there are none."""
    used, own = np.unique(places, return_inverse=True)
    names = [
        thing if isinstance(thing, str) else _json(dict(thing)) for thing in map(things.__getitem__, used.tolist())
    ]
    empty = np.array([not things[place] for place in used.tolist()], bool)
    rows = own[which].astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(rows, mask=empty[rows]), pa.array(names, pa.string()))
