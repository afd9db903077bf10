"""The Python face: alerts from a frame, in a notebook or a program, with no file and no store.

    alerts = tocsin.detect(frame, "- {alert: Hot, expr: temp > 80, for: 3 readings}")

A frame is anything that Arrow can read: a pandas or Polars frame, a PyArrow table or batch.  It has
the columns `device`, `time`, `value` and, unless there is only one, `metric`; every other text
column is a label.  A blank value is no reading.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tocsin import engine
from tocsin.alert import Alert, State
from tocsin.config import rules_from
from tocsin.engine import Decision
from tocsin.errors import did_you_mean
from tocsin.instant import EARLIEST, LATEST, LONG_AGO, parse_duration, parse_time
from tocsin.node import selectors
from tocsin.reading import Batch, Codes, Series, Times
from tocsin.rule import Rule
from tocsin.watermark import Watermark

Rules = str | Path | Sequence[Mapping[str, Any]]
Devices = Mapping[str, Mapping[str, str]]

__all__ = ["Engine", "detect"]

_YEARS = "the years 1700 to 2199"


def detect(
    frame: Any,
    rules: Rules,
    *,
    devices: Devices | None = None,
    staleness: str = "5m",
    forget_after: str = "1d",
    pending: bool = False,
) -> pa.Table:
    """The alerts that these rules find in a frame of readings, in any order, as an Arrow table.

    `rules` are YAML text, the path of a file, or a list of mappings.  `devices` are those that are
    expected to report, with labels to add to their own.  The table has a row for each alert, in
    order of since, and the columns rule, key (a struct of labels), since, fired, until, state, level,
    value, peak, last and reason; an alert that never fired is there only with `pending`.

    Raises ConfigError for a mistake in the rules (SetupError if their file is not there) and ValueError
    for one in the frame; warns of a rule that no reading matched, or that was always unknown.
    """
    found = Engine(rules, devices=devices, staleness=staleness, forget_after=forget_after)
    readings = found.readings(frame)
    readings = readings.take(np.argsort(readings.time, kind="stable"))
    watermark = Watermark(lateness=0)
    watermark.admit(readings)
    ended = found.process(readings, watermark.end()).alerts
    alerts = [alert for alert in ended if alert.until is not None] + found.open_alerts()
    alerts.sort(key=lambda alert: (alert.since, alert.rule, alert.key))
    for rule, (evaluations, unknown) in found.counts().items() if len(readings) else ():
        if not evaluations:
            warnings.warn(f"rule '{rule}' was never evaluated: no reading matched what it selects", stacklevel=2)
        elif unknown == evaluations:
            warnings.warn(f"rule '{rule}' was unknown in all of its {evaluations:,} evaluations", stacklevel=2)
    return table_of([alert for alert in alerts if pending or alert.fired is not None], found.rules)


class Engine(engine.Engine):
    """The engine for a stream that a program feeds itself; rules and frames as `detect` takes them.

    `process(batch, watermark)` decides every event time before the watermark and returns a `Decision`:
    `transitions`, `alerts` and a flag for each reading.  `snapshot()` gives a value that pickles,
    `restore(snapshot)` takes a fresh engine with the same rules there.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        devices: Devices | None = None,
        staleness: str = "5m",
        forget_after: str = "1d",
    ) -> None:
        super().__init__(
            rules_from(rules),
            Series(devices),
            staleness=parse_duration(staleness),
            forget_after=parse_duration(forget_after),
        )

    def process(self, batch: Any, watermark: int | str | datetime | np.datetime64) -> Decision:
        """Decides every event time before the watermark; readings from it on wait inside.

        `batch` is a frame, or None.  The watermark is a time: a datetime (UTC unless it says
        otherwise), ISO 8601 text, or nanoseconds since 1970.
        """
        return super().process(None if batch is None else self.readings(batch), _watermark(watermark))

    def readings(self, frame: Any) -> Batch:
        """A frame's readings, in its order; ValueError says what is wrong with it."""
        return frame if isinstance(frame, Batch) else _readings(frame, self.series, self.rules)


def table_of(alerts: Sequence[Alert], rules: Sequence[Rule]) -> pa.Table:
    """Alerts as an Arrow table with the columns of `--json`; times are UTC, in nanoseconds."""
    labels = sorted({label for rule in rules for label in rule.by})
    instant = pa.timestamp("ns", "UTC")
    numbers = {name: pa.float64() for name in ("value", "peak", "last")}
    schema = pa.schema(
        {
            "rule": pa.string(),
            "key": pa.struct([(label, pa.string()) for label in labels]),
            **dict.fromkeys(("since", "fired", "until"), instant),
            "state": pa.string(),
            "level": pa.string(),
            **numbers,
            "reason": pa.string(),
        }
    )
    rows = [
        {
            **{name: getattr(alert, name) for name in schema.names},
            "key": dict(alert.key),
            "state": State(alert.state).name.lower(),
            "reason": alert.reason or None,
        }
        for alert in alerts
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def _readings(frame: Any, series: Series, rules: Sequence[Rule]) -> Batch:
    table = _with_plain_texts(_table(frame))
    for name in ("device", "time", "value"):
        if name not in table.column_names:
            near = did_you_mean(name, table.column_names)
            raise ValueError(f"the frame has no column '{name}', only {', '.join(table.column_names)}.{near}")
    table = table.filter(_is_reading(table["value"]))
    value = np.ascontiguousarray(table["value"].cast(pa.float64()).to_numpy(), np.float64) + 0.0
    if not np.isfinite(value).all():
        place = int(np.argmin(np.isfinite(value)))
        raise ValueError(
            f"the value of '{table['device'][place]}' at {table['time'][place]} is infinite: drop it first"
        )
    for name in ("device", "time"):
        if table[name].null_count:
            raise ValueError(f"the frame has {table[name].null_count} readings without a {name}: drop them first")
    return Batch(series, _codes(table, series, rules), _times(table["time"]), value)


def _table(frame: Any) -> pa.Table:
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if hasattr(frame, "__arrow_c_stream__"):
        return pa.table(frame)
    if hasattr(frame, "to_arrow"):
        return frame.to_arrow()
    if type(frame).__module__.startswith("pandas"):
        return pa.Table.from_pandas(frame, preserve_index=False)
    if isinstance(frame, Mapping):
        return pa.table(dict(frame))
    raise ValueError(f"expected a frame that Arrow can read (pandas, Polars, PyArrow), not {type(frame).__name__}")


def _with_plain_texts(table: pa.Table) -> pa.Table:
    """Texts come as views, large texts or dictionaries; Arrow cannot yet filter all of these."""
    kinds = [pa.string() if _is_text(field.type) else field.type for field in table.schema]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


def _is_reading(value: pa.ChunkedArray) -> pa.ChunkedArray:
    if not (pa.types.is_integer(value.type) or pa.types.is_floating(value.type) or pa.types.is_null(value.type)):
        raise ValueError(f"the column 'value' holds {value.type}: expected numbers")
    known = pc.is_valid(value)
    return pc.and_(known, pc.invert(pc.is_nan(value))) if pa.types.is_floating(value.type) else known


def _times(column: pa.ChunkedArray) -> Times:
    kind = column.type
    if len(column) == 0:
        return np.empty(0, np.int64)
    if pa.types.is_integer(kind):
        raise ValueError(
            "the column 'time' holds plain numbers: convert it to timestamps first, so that the unit is said"
        )
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        unique = column.combine_chunks().dictionary_encode()
        known = np.array([_time_of(text.as_py()) for text in unique.dictionary], np.int64)
        return np.asarray(known[unique.indices.to_numpy()], np.int64)
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise ValueError(f"the column 'time' holds {kind}: expected timestamps, or ISO 8601 texts")
    try:
        utc = column.cast(pa.timestamp("ns", getattr(kind, "tz", None)))
    except pa.ArrowInvalid as error:
        raise ValueError(f"the column 'time' holds times outside {_YEARS} ({error})") from None
    times = np.array(utc.cast(pa.int64()).to_numpy(), np.int64)
    outside = (times < EARLIEST) | (times >= LATEST)
    if outside.any():
        raise ValueError(f"{column[int(np.argmax(outside))]} in the column 'time' lies outside {_YEARS}")
    return times


def _time_of(text: str) -> int:
    try:
        time = parse_time(text)
    except ValueError:
        raise ValueError(f"'{text}' in the column 'time' is not an ISO 8601 time, as in 2024-01-01T00:00:00Z") from None
    if not EARLIEST <= time < LATEST:
        raise ValueError(f"'{text}' in the column 'time' lies outside {_YEARS}")
    return time


def _codes(table: pa.Table, series: Series, rules: Sequence[Rule]) -> Codes:
    """The series of each row: each combination of texts is looked up once."""
    metric = None if "metric" in table.column_names else _only_metric(rules)
    names = [name for name in table.column_names if name not in ("device", "metric", "time", "value")]
    labels = [name for name in names if _is_text(table[name].type)]
    texts = ["device", *(["metric"] if metric is None else []), *labels]
    coded = [table[name].cast(pa.string()).combine_chunks().dictionary_encode("encode") for name in texts]
    combined = np.zeros(len(table), np.int64)
    for column in coded:
        combined = combined * max(len(column.dictionary), 1) + column.indices.to_numpy()
    _, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
    rows = [[column.dictionary[column.indices[place].as_py()].as_py() for column in coded] for place in first.tolist()]
    found = np.empty(len(rows), np.int32)
    for place, (device, *rest) in enumerate(rows):
        own = dict(zip(labels, rest if metric is not None else rest[1:], strict=True))
        found[place] = series.code(device, metric or rest[0], {name: text or "" for name, text in own.items()})
    return np.asarray(found[inverse], np.int32)


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner))


def _only_metric(rules: Sequence[Rule]) -> str:
    metrics = sorted(
        {selector.metric for rule in rules for node, _, _ in rule.written() for selector in selectors(node)}
    )
    if len(metrics) != 1:
        raise ValueError(
            f"the frame has no column 'metric', and the rules speak of {', '.join(metrics)}: add the column"
        )
    return metrics[0]


def _watermark(time: int | str | datetime | np.datetime64) -> int:
    """Nanoseconds of a watermark, which may lie before every event time but not after all of them."""
    nanoseconds = _nanoseconds(time)
    if not LONG_AGO <= nanoseconds <= LATEST:
        raise ValueError(f"the watermark {time} lies outside {_YEARS}")
    return nanoseconds


def _nanoseconds(time: int | str | datetime | np.datetime64) -> int:
    match time:
        case str():
            return parse_time(time)
        case datetime():
            return parse_time(time.isoformat())
        case np.datetime64():
            return int(time.astype("datetime64[ns]").astype(np.int64))
    return int(time)
