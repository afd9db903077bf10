"""How messages of others are read: the mapping of files, and what messages alone have.

That is binary, the words of a topic, and the names of what travels beside a body, which are looked up in a table of what
each broker has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tocsin.codecs import (
    Beside,
    BinarySettings,
    Cell,
    CodecSettings,
    Column,
    CsvSettings,
    JsonSettings,
    Part,
    TimeSettings,
    columns_of,
)
from tocsin.errors import did_you_mean
from tocsin.inputs import Mistake, cells_of, check_keys, line_protocol_of, needed, time_of, together
from tocsin.packed import Packed
from tocsin.shape import Column as ColumnShape
from tocsin.shape import MetricName, Source
from tocsin.topic import Template

BESIDE = {
    "amqp": ("$key", "$topic", "$arrival"),
    "kafka": ("$key", "$topic", "$time", "$arrival"),
    "mqtt": ("$topic", "$arrival"),
    "pubsub": ("$key", "$time", "$arrival"),
}
"""What travels beside a body."""
TIMES = ("$time", "$arrival")
MAPPING = ("format", "time", "device", "labels", "readings", "metric", "value", "delimiter", "header", "missing", "precision", "layout", "byte_order")  # fmt: skip
"""The keys that say that messages are not in Tocsin's own form."""
_NUMBER = "the message"
"""What a message is called that is a number alone."""


def form_of(source: Source, scheme: str, template: Template | None) -> CodecSettings | BinarySettings | None:
    """The form of the bodies; None if nothing is said of it, as of messages in Tocsin's own."""
    if not (template and template.names) and all(getattr(source, key) in (None, {}) for key in MAPPING):
        return None
    form = source.format or ("binary" if source.layout else "json")
    check_keys(source, form, of_messages=True)
    if form == "line_protocol":
        if template and template.names:
            raise Mistake("line protocol says devices and metrics itself: put + for the words in braces", "topic")
        return line_protocol_of(source)
    source = _with_words(source, template)
    if form == "numbers":
        source = source.model_copy(update={"value": _NUMBER})
    time, cells = together(partial(_time_of, source, form, scheme), partial(_cells_of, source, scheme))
    if form == "numbers":
        return CsvSettings(time, cells, "\x1f", (_NUMBER,))
    if form == "binary":
        return _binary(source, time, cells)
    if form == "csv":
        return _csv(source, time, cells)
    return JsonSettings(time, cells)


def _with_words(source: Source, template: Template | None) -> Source:
    """The source with what the words of its topic say."""
    labels = dict(source.labels)
    told: dict[str, object] = {}
    for name in template.names if template else ():
        word = f"$topic.{name}"
        key = name if name in ("device", "metric") else "labels"
        if (key in ("device", "metric") and getattr(source, key) is not None) or name in labels:
            raise Mistake(
                f"`topic` says the {name if key != 'labels' else f'label {name}'} already: take this out, or write + there",
                key,
            )
        if key == "metric" and source.readings is not None:
            raise Mistake(
                "`topic` says the metric already: keep `readings`, or `value` with {metric} in the topic", "readings"
            )
        if key == "labels":
            labels[name] = ColumnShape(column=word, constant=None)
        else:
            told[key] = (
                ColumnShape(column=word, constant=None) if key == "device" else MetricName(column=word, constant=None)
            )
    return source.model_copy(update={**told, "labels": labels})


def _time_of(source: Source, form: str, scheme: str) -> TimeSettings:
    times = " or ".join(_times(scheme))
    time = _beside_time(time_of(needed(source.time, "time", f"ts, or {times}")), source, scheme)
    if form == "numbers" and not time.beside:
        raise Mistake(f"a number alone has no columns: expected {times}", "time")
    return time


def _cells_of(source: Source, scheme: str) -> tuple[Cell, ...]:
    return tuple(together(*(partial(_beside_cell, cell, scheme) for cell in cells_of(source))))


def _beside_time(time: TimeSettings, source: Source, scheme: str) -> TimeSettings:
    for name in time.columns:
        if name.startswith("$"):
            _check_beside(name, scheme, _times(scheme), "time")
            said = {"format", "zone", "ambiguous"} & (source.time.model_fields_set if source.time else set())
            if len(time.columns) > 1 or said:
                raise Mistake(f"`{name}` is an instant already: expected `time: {name}` alone", "time")
            return replace(time, format="unix_ns", beside=True)
    return time


def _beside_cell(cell: Cell, scheme: str) -> Cell:
    if cell.value.startswith("$"):
        raise Mistake(f"`{cell.value}` is no number: expected a column of the message", "value")
    names = tuple(name for name in BESIDE[scheme] if name not in TIMES)

    def known(part: Part, *steps: str) -> Part:
        if not isinstance(part, Column) or not part.name.startswith("$"):
            return part
        if not part.name.startswith("$topic."):
            _check_beside(part.name, scheme, names, *steps)
        return Beside(part.name)

    device, metric, *labels = together(
        partial(known, cell.device, "device"),
        partial(known, cell.metric, "metric"),
        *(partial(known, part, "labels", label) for label, part in cell.labels),
    )
    return Cell(cell.value, device, metric, tuple(zip([label for label, _ in cell.labels], labels, strict=True)))


def _check_beside(name: str, scheme: str, known: Sequence[str], *steps: str) -> None:
    if name not in known:
        why = (
            "RabbitMQ's timestamp is its sender's clock, and MQTT has none; "
            if name == "$time" and "$time" not in BESIDE[scheme]
            else ""
        )
        raise Mistake(
            f"there is no `{name}` here: {why}{scheme} has {' and '.join(known)}.{did_you_mean(name, known)}", *steps
        )


def _times(scheme: str) -> tuple[str, ...]:
    return tuple(name for name in BESIDE[scheme] if name in TIMES)


def _csv(source: Source, time: TimeSettings, cells: tuple[Cell, ...]) -> CsvSettings:
    if source.header:
        _check_columns(source.header, time, cells, "header")
    return CsvSettings(time, cells, source.delimiter or ",", source.header, source.missing or ())


def _binary(source: Source, time: TimeSettings, cells: tuple[Cell, ...]) -> BinarySettings:
    fields = needed(source.layout, "layout", "{time: double, value: float}")
    for name, kind in fields.items():
        try:
            Packed([(name, kind)])
        except ValueError as error:
            raise Mistake(str(error), "layout", name) from None
    layout = tuple(fields.items())
    _check_columns(Packed(layout).names, time, cells, "layout")
    return BinarySettings(time, cells, layout, source.byte_order or "little")


def _check_columns(known: Sequence[str], time: TimeSettings, cells: Sequence[Cell], key: str) -> None:
    for name in columns_of(time, cells):
        if name not in known:
            raise Mistake(
                f"there is no column '{name}' here, which `source` names.{did_you_mean(name, known)} It has: {', '.join(known)}",
                key,
            )
