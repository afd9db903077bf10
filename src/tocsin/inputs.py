"""What the user's file says about its input, made into settings: the source's format and the expected devices.

Which keys go with which format is a table here; everything that does not fit together is a mistake
with its place.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tocsin.codecs import (
    BinarySettings,
    Cell,
    CodecSettings,
    Column,
    Constant,
    CsvSettings,
    JsonLinesSettings,
    JsonSettings,
    LineProtocolSettings,
    NumbersSettings,
    TimeSettings,
    format_of,
)
from tocsin.codecs import Part as Named
from tocsin.document import Document, Steps, text_of
from tocsin.errors import ConfigError, Place, did_you_mean
from tocsin.shape import Column as ColumnShape
from tocsin.shape import MetricName, Source, Time

T = TypeVar("T")

ROWS = ("csv", "json", "json_lines", "binary")
ONLY_IN = {
    "delimiter": ("csv",),
    "header": ("csv",),
    "missing": ("csv",),
    "time": ROWS,
    "readings": ROWS,
    "value": ROWS,
    "metric": (*ROWS, "numbers"),
    "labels": (*ROWS, "numbers"),
    "precision": ("line_protocol",),
    "layout": ("binary",),
    "byte_order": ("binary",),
    "start": ("numbers",),
    "every": ("numbers",),
}
"""The keys that not every format has."""


OTHERS = {"amqp": ("queue",), "kafka": ("topic",), "mqtt": ("topic",), "pubsub": ("subscription",)}
"""The brokers that messages of others are taken out of, and the keys that only some of them have."""


class Mistake(Exception):
    """What does not fit together, and at which key of the source."""

    def __init__(self, message: str, *steps: str) -> None:
        super().__init__(message)
        self.steps = steps

    @property
    def all(self) -> Sequence[Mistake]:
        """This one alone."""
        return [self]


class Mistakes(Mistake):
    """Several that have nothing to do with each other."""

    def __init__(self, found: Sequence[Mistake]) -> None:
        super().__init__("; ".join(map(str, found)))
        self._found = found

    @property
    def all(self) -> Sequence[Mistake]:
        """Each of them once."""
        return list({(str(one), one.steps): one for one in self._found}.values())


def together(*parts: Callable[[], Any]) -> list[Any]:
    """What each of these gives; the mistakes of all of them are raised together."""
    given: list[Any] = []
    found: list[Mistake] = []
    for part in parts:
        try:
            given.append(part())
        except Mistake as mistake:
            found += mistake.all
    if found:
        raise Mistakes(found)
    return given


def is_one_source(source: Source, document: Document) -> bool:
    """Whether the source is one, and has nothing that belongs to another; else the document has the mistake."""
    given = [name for name in ("file", "http", *OTHERS) if getattr(source, name) is not None]
    mistake = _two_sources(source, given)
    if mistake is not None:
        document.errors.append(placed(mistake, document))
    return mistake is None


def _two_sources(source: Source, given: list[str]) -> Mistake | None:
    if not given:
        places = ", ".join(f"`{name}:`" for name in OTHERS)
        return Mistake(
            f"expected `file:` or `http:`, where readings come from, or for messages of others one of {places}"
        )
    if source.http and (said := sorted(name for name in source.model_fields_set if name != "http")):
        return Mistake("posted readings say themselves what they are: take this out, or `http`", said[0])
    if len(given) > 1:
        return Mistake(f"readings come from one place: keep `{given[0]}` or `{given[1]}`", given[1])
    for key in dict.fromkeys(key for keys in OTHERS.values() for key in keys):
        if getattr(source, key) is not None and key not in OTHERS.get(given[0], ()):
            fit = " and ".join(name for name, keys in OTHERS.items() if key in keys)
            return Mistake(f"`{key}` is for {fit}; this source is {given[0]}", key)
    return None


def codec_settings(source: Source, document: Document) -> CodecSettings | None:
    """How the file's bytes are read; None if that cannot be told, and then the document has the mistakes."""
    assert source.file is not None
    try:
        form = _format_of(source)
        misplaced = _all_misplaced(source, form)
        if misplaced:
            document.errors.extend(placed(mistake, document) for mistake in misplaced)
            return None
        if form == "line_protocol":
            return line_protocol_of(source)
        return _numbers(source) if form == "numbers" else _rows(source, form)
    except Mistake as mistake:
        document.errors.append(placed(mistake, document))
        return None


def metrics_given(codec: CodecSettings | BinarySettings) -> frozenset[str] | None:
    """The metrics that the source can give; None where a column, or each line, names them."""
    if isinstance(codec, LineProtocolSettings):
        return None
    if isinstance(codec, NumbersSettings):
        return frozenset({codec.metric})
    named = [cell.metric for cell in codec.cells]
    known = [metric.value for metric in named if isinstance(metric, Constant)]
    return frozenset(known) if len(known) == len(named) else None


def devices_given(codec: CodecSettings | BinarySettings) -> list[str]:
    """The devices that the file itself names; those that a column names are not known."""
    if isinstance(codec, NumbersSettings):
        return [codec.device]
    if isinstance(codec, LineProtocolSettings):
        return []
    return [cell.device.value for cell in codec.cells if isinstance(cell.device, Constant)]


def labels_given(
    codec: CodecSettings | BinarySettings, devices: Mapping[str, Mapping[str, str]]
) -> frozenset[str] | None:
    """The labels that a reading can have, its device among them; None where each line names its own."""
    if isinstance(codec, LineProtocolSettings):
        return None
    pairs = (
        codec.labels if isinstance(codec, NumbersSettings) else [pair for cell in codec.cells for pair in cell.labels]
    )
    added = (label for labels in devices.values() for label in labels)
    return frozenset({"device", *(label for label, _ in pairs), *added})


def devices_in(path: Path) -> dict[str, dict[str, str]]:
    """The devices of a CSV file: the column `device` names them, the others are their labels."""
    rows = csv.reader(text_of(path).splitlines(keepends=True), strict=True)
    devices: dict[str, dict[str, str]] = {}
    try:
        header = [name.strip() for name in next(rows, [])]
        if "device" not in header:
            near = did_you_mean("device", header)
            raise ConfigError(
                f"expected a column `device` among the columns {', '.join(header) or '(none)'}.{near}",
                Place(str(path), 1),
            )
        _check_header(header, path)
        for row in rows:
            if row:
                device, labels = _device(header, row, Place(str(path), rows.line_num))
                if device in devices:
                    raise ConfigError(
                        f"device '{device}' stands here twice; keep one of them", Place(str(path), rows.line_num)
                    )
                devices[device] = labels
    except csv.Error as error:
        raise ConfigError(f"this is not CSV: {error}", Place(str(path), rows.line_num)) from None
    return devices


def _check_header(header: list[str], path: Path) -> None:
    for place, name in enumerate(header):
        if not name:
            raise ConfigError(f"column {place + 1} has no name: expected a label", Place(str(path), 1))
        if name in header[:place]:
            raise ConfigError(f"the column '{name}' stands here twice: keep one of them", Place(str(path), 1))


def _device(header: list[str], row: list[str], place: Place) -> tuple[str, dict[str, str]]:
    if len(row) != len(header):
        raise ConfigError(f"expected {len(header)} cells ({', '.join(header)}), found {len(row)}", place)
    labels = dict(zip(header, row, strict=True))
    device = labels.pop("device")
    if not device.strip():
        raise ConfigError("expected the name of a device, found a blank cell", place)
    return device, labels


def _format_of(source: Source) -> str:
    file = source.file or ""
    form = source.format or format_of(file)
    if form == "binary":
        raise Mistake("binary is for messages; expected csv, json, json_lines, line_protocol or numbers", "format")
    if form is None:
        raise Mistake(
            f"the format cannot be told from the name '{file}': add `format:` csv, json, json_lines, line_protocol or numbers",
            "file",
        )
    return form


def check_keys(source: Source, form: str, *, of_messages: bool) -> None:
    """Raise the first mistake if there are keys that a format does not have; a message that is a number has a time."""
    extra = ("time",) if of_messages and form == "numbers" else ()
    misplaced = [mistake for mistake in _all_misplaced(source, form) if mistake.steps[0] not in extra]
    if misplaced:
        raise misplaced[0]


def _all_misplaced(source: Source, form: str) -> list[Mistake]:
    return [
        _misplaced(key, form)
        for key, forms in ONLY_IN.items()
        if getattr(source, key) not in (None, {}) and form not in forms
    ]


def _misplaced(key: str, form: str) -> Mistake:
    return Mistake(f"`{key}` is for format {' and '.join(ONLY_IN[key])}; this source is {form}", key)


def placed(mistake: Mistake, document: Document) -> ConfigError:
    """The mistake with its place in the file."""
    steps: Steps = ("source", *mistake.steps)
    return ConfigError(f"`{'.'.join(map(str, steps))}`: {mistake}", document.place_of_key(steps))


def _numbers(source: Source) -> NumbersSettings:
    _check_sort(source)
    metric = needed(source.metric, "metric", "bpm")
    if metric.constant is None:
        raise Mistake("one number a line has no columns: name the metric itself", "metric")
    return NumbersSettings(
        start=needed(source.start, "start", "2024-01-01T00:00:00Z"),
        every=needed(source.every, "every", "500ms"),
        device=_itself(needed(source.device, "device", "p207"), "device"),
        metric=metric.constant,
        labels=tuple(sorted((label, _itself(value, "labels", label)) for label, value in source.labels.items())),
    )


def line_protocol_of(source: Source) -> CodecSettings:
    """What line protocol needs."""
    _check_sort(source)
    if source.device is not None and source.device.column is None:
        raise Mistake("name the tag that tells the device, as in device: host", "device")
    return LineProtocolSettings(source.precision or "ns", source.device.column if source.device else None)


def needed(value: T | None, key: str, example: str) -> T:
    """What must be said; a mistake with an example if it is not."""
    if value is None:
        raise Mistake(f"`{key}` is missing, as in {key}: {example}")
    return value


def _itself(named: ColumnShape, *steps: str) -> str:
    """Without columns a bare text is the name itself."""
    text = named.constant if named.column is None else named.column
    if text is None:
        raise Mistake("expected a name", *steps)
    return text


def _check_sort(source: Source) -> None:
    if source.sort and source.follow:
        raise Mistake("a file that is followed never ends, so it cannot be sorted: keep `sort` or `follow`", "sort")


def _rows(source: Source, form: str) -> CodecSettings:
    _check_sort(source)
    time, cells = time_of(needed(source.time, "time", "ts")), cells_of(source)
    if form == "csv":
        usual = "\t" if (source.file or "").lower().removesuffix(".gz").endswith(".tsv") else ","
        return CsvSettings(time, cells, source.delimiter or usual, source.header, source.missing or ())
    return JsonLinesSettings(time, cells) if form == "json_lines" else JsonSettings(time, cells)


def time_of(time: Time) -> TimeSettings:
    """How the time is written."""
    return TimeSettings(time.column, time.format, time.zone, time.ambiguous)


def cells_of(source: Source) -> tuple[Cell, ...]:
    """The readings of a row."""
    labels = {label: _named(value, "labels", label) for label, value in source.labels.items()}
    if source.readings is None:
        return (_long_cell(source, labels),)
    for key in ("metric", "value"):
        if getattr(source, key) is not None:
            raise Mistake(
                "`readings` says already which columns hold numbers: keep `readings` or `metric` and `value`", key
            )
    device = _named(source.device, "device") if source.device else None
    cells = []
    for column, cell in source.readings.items():
        owner = Constant(cell.device) if cell.device is not None else device
        if owner is None:
            raise Mistake("whose readings are these? Add `device:` here or to the source", "readings", column)
        own = {label: Constant(value) for label, value in cell.labels.items()}
        cells.append(Cell(column, owner, Constant(cell.metric), tuple(sorted({**labels, **own}.items()))))
    return tuple(cells)


def _long_cell(source: Source, labels: Mapping[str, Named]) -> Cell:
    if source.metric is None and source.value is None:
        raise Mistake("which columns hold numbers? Add `readings` (column: metric), or `metric` and `value`")
    return Cell(
        needed(source.value, "value", "value"),
        _named(needed(source.device, "device", "device"), "device"),
        _named(needed(source.metric, "metric", "{column: name}"), "metric"),
        tuple(sorted(labels.items())),
    )


def _named(named: ColumnShape | MetricName, *steps: str) -> Named:
    if named.column is not None and named.constant is None:
        return Column(named.column)
    if named.constant is not None and named.column is None:
        return Constant(named.constant)
    raise Mistake("expected either `column` or `constant`", *steps)
