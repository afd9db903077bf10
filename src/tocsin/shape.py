"""The shape of the user's file: which keys there are, what each may hold, and what it is for.

The descriptions are the reference: `tocsin schema` prints them for editors.  Rules are only listed
here; `rule.py` reads them, and `schema.py` describes them.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, ErrorDetails

from tocsin.document import Document, Steps
from tocsin.errors import ConfigError, did_you_mean
from tocsin.instant import SECOND
from tocsin.kinds import (
    AmqpUrl,
    BrokerUrl,
    Devices,
    Duration,
    Instant,
    KafkaUrl,
    Letter,
    Metric,
    MqttUrl,
    PipelineName,
    PositiveDuration,
    PubsubUrl,
    Size,
    Text,
    Texts,
    TimeFormat,
    Zone,
    name_of,
)


class Part(BaseModel):
    """A mapping in the file; where `short` names a key, a bare text stands for that key alone."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    short: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _lengthen(cls, value: object) -> object:
        return {cls.short: value} if cls.short and isinstance(value, str | list) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole = dict(handler.resolve_ref_schema(handler(core)))
        return {"anyOf": [whole["properties"][cls.short], whole]} if cls.short else whole


class Time(Part):
    """Which column holds the event time, and how it is written."""

    short = "column"
    column: Texts = Field(description="Column, or dotted path into JSON, of the time; several are joined with a space.")
    format: TimeFormat = Field(
        "iso8601", description="iso8601, unix_s, unix_ms, unix_us, unix_ns or a strptime pattern: %d/%m/%Y %H:%M."
    )
    zone: Zone = Field("UTC", description="Zone of times that name none: UTC, America/New_York.")
    ambiguous: Literal["reject", "earlier", "later"] = Field(
        "reject",
        description="What a local hour that is repeated or skipped means: a dead letter, or one of both instants.",
    )


class Column(Part):
    """A name that stands in a column, or {constant: NAME}; a bare text is the column."""

    short = "column"
    column: Text | None = Field(None, description="Column, or dotted path into JSON, that holds it.")
    constant: Text | None = Field(None, description="The same for every reading.")


class MetricName(Part):
    """The metric's name, or {column: COLUMN}; a bare text is the name."""

    short = "constant"
    column: Text | None = Field(None, description="Column, or dotted path into JSON, that holds the metric's name.")
    constant: Metric | None = Field(None, description="The same for every reading.")


class Cell(Part):
    """What the numbers of a column are; a bare text is the metric."""

    short = "metric"
    metric: Metric = Field(description="Name of the metric, as rules use it.")
    device: Text | None = Field(None, description="The device itself, where the column belongs to one.")
    labels: dict[str, Text] = Field({}, description="Labels of this column's readings, given here.")


class Source(Part):
    """Where readings come from, and how to read them."""

    file: str | None = Field(
        None, min_length=1, description="File of readings, relative to this file; .gz is unpacked."
    )
    http: str | None = Field(
        None, min_length=1, description="Listen for posted readings, at http://127.0.0.1:8086; instead of a file."
    )
    amqp: AmqpUrl | None = Field(None, description="Take messages of others out of RabbitMQ, at amqp://host.")
    queue: Texts | None = Field(None, description="The queue of amqp, or a list of them.")
    kafka: KafkaUrl | None = Field(None, description="Take messages of others out of Kafka, at kafka://host:9092.")
    mqtt: MqttUrl | None = Field(None, description="Take messages of others from an MQTT server, at mqtt://host.")
    topic: Text | None = Field(
        None,
        description="The topic of kafka; of mqtt a filter with + and #, or a template as in plant/{device}/{metric}.",
    )
    pubsub: PubsubUrl | None = Field(
        None, description="Take messages of others out of Google Pub/Sub, at pubsub://project."
    )
    subscription: Text | None = Field(None, description="The subscription of pubsub.")
    format: Literal["csv", "json", "json_lines", "line_protocol", "numbers", "binary"] | None = Field(
        None, description="Told by the file's name when unsaid; of messages json."
    )
    follow: bool = Field(False, description="Go on with what is appended, through rotation and truncation.")
    sort: bool = Field(False, description="Put a bounded file in order of time first.")
    delimiter: Letter | None = Field(None, description="What separates a CSV's columns; a comma when unsaid.")
    header: Texts | None = Field(None, description="Names of a CSV's columns, where its first line does not give them.")
    missing: Texts | None = Field(None, description="Further ways in which a CSV writes a blank cell, as in '?'.")
    time: Time | None = Field(None, description="Column of the event time, or {column, format, zone, ambiguous}.")
    device: Column | None = Field(
        None, description="Column of the device, or {constant: NAME}; with format numbers the name itself."
    )
    labels: dict[str, Column] = Field({}, description="Label: column, or {constant: VALUE}.")
    readings: dict[str, Cell] | None = Field(
        None, min_length=1, description="Column: metric, or {device, metric, labels}; for rows with several readings."
    )
    metric: MetricName | None = Field(None, description="The metric, or {column: COLUMN}; for rows with one reading.")
    value: Text | None = Field(None, description="Column of the value; for rows with one reading.")
    layout: dict[str, Text] | None = Field(
        None, min_length=1, description="For format binary, field: kind, in their order; {time: double, value: float}."
    )
    byte_order: Literal["little", "big"] | None = Field(
        None, description="For format binary, which byte of a number comes first; little when unsaid."
    )
    start: Instant | None = Field(None, description="Time of the first number; for format numbers.")
    precision: Literal["ns", "us", "ms", "s"] | None = Field(
        None, description="The unit of times in line protocol; ns when unsaid."
    )
    every: PositiveDuration | None = Field(None, description="From one number to the next; for format numbers.")


class Retention(Part):
    """How long a journal keeps what was consumed."""

    age: PositiveDuration = Field(7 * 86_400 * SECOND, description="How long messages stay that were consumed; 7d.")
    size: Size = Field(10 * 10**9, description="How large the file may get; 10GB. When it is full, producers wait.")


class Broker(Part):
    """What carries readings; a bare text is its address."""

    short = "url"
    url: BrokerUrl = Field(description="journal, or an address: amqp://, kafka://, pubsub:// or mqtt://HOST.")
    name: Text = Field("{pipeline}", description="Topic, or prefix of queues; the pipeline's name when unsaid.")
    partitions: int = Field(
        1, ge=1, le=10_000, description="Into how many parts a stream is divided, by the rules' keys."
    )
    queue: Text | None = Field(None, description="A queue for each device, as in {device}; for amqp.")
    create: bool = Field(True, description="Make the topic or the queues if they are not there.")
    retention: Retention = Field(
        default_factory=lambda: Retention.model_validate({}), description="How long a journal keeps what was consumed."
    )


class Store(Part):
    """Where what was read and decided is kept; a bare text is the database."""

    short = "url"
    url: str | None = Field(None, min_length=1, description="Database: sqlite:///FILE, relative to this file.")
    readings: Literal["all", "none"] = Field(
        "all", description="all readings are kept, or none but those that windows still need."
    )


class File(Part):
    """One pipeline: readings in, alerts out."""

    pipeline: PipelineName = Field(description="Name of the pipeline: letters, digits and - _ . as in smart-smoker.")
    source: Source = Field(description="Where readings come from, and how to read them.")
    broker: Broker | None = Field(
        None, description="What carries readings from producer to consumer: journal, or an address as amqp://host."
    )
    store: Store | None = Field(
        None,
        description="Database: sqlite:///FILE, relative to this file; PIPELINE.db if unsaid. Or {url, readings: none}.",
    )
    rules: list[Any] = Field(min_length=1, description="What to watch for.")
    notify: list[dict[str, Any]] = Field([], description="Who is told; this version tells nobody yet.")
    lateness: Duration | None = Field(
        None, description="How far a reading may lag behind the newest and still count; 0 for files."
    )
    idle_after: PositiveDuration = Field(
        5 * SECOND, description="After so long without a reading a live source's clock moves on by itself; 5s."
    )
    max_future: PositiveDuration = Field(
        300 * SECOND, description="How far ahead of its arrival a live reading's time may lie; 5m."
    )
    staleness: PositiveDuration = Field(
        300 * SECOND, description="How old a newest value may be and still stand for its metric; 5m."
    )
    forget_after: PositiveDuration = Field(
        86_400 * SECOND, description="After so long without a reading a device that is not expected is forgotten; 1d."
    )
    devices: Devices = Field(
        {}, description="Expected devices and their labels, or a CSV file: column device, the others are labels."
    )


def fill(document: Document) -> File | None:
    """The file's content.  Its mistakes go to the document, and what is left of it lets others be found.

    None if `source` or `devices` are wrong: nobody then knows which metrics and labels there are.
    """
    try:
        return File.model_validate(document.value)
    except ValidationError as found:
        errors = found.errors()
    document.errors.extend(_explain(error, document) for error in errors)
    wrong = {error["loc"][0] for error in errors if error["loc"]}
    if wrong & {"source", "devices"}:
        return None
    good = {key: value for key, value in document.value.items() if key not in wrong}
    return File.model_validate({"pipeline": "unnamed", "rules": [None], **good})


def is_text(steps: Steps) -> bool:
    """Whether the value there is a text even where YAML would see a number, as in `zip: 01234`."""
    if len(steps) > 1 and steps[-2] in {"labels", "annotations", "readings", "column", "header", "missing", "queue"}:
        return True
    names = {
        "pipeline",
        "queue",
        "topic",
        "subscription",
        "name",
        "device",
        "metric",
        "column",
        "constant",
        "value",
        "time",
        "alert",
        "header",
        "missing",
    }
    return bool(steps) and (steps[-1] in names or (steps[0] == "devices" and len(steps) == 3))


def keys_at(steps: Steps) -> dict[str, str]:
    """The keys that the mapping at this place may have, and what each is for."""
    model: type[Part] = File
    for step in steps:
        if step in model.model_fields:
            model = _model_in(model.model_fields[str(step)].annotation) or model
    return {name: field.description or "" for name, field in model.model_fields.items()}


def _model_in(annotation: object) -> type[Part] | None:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)


def _explain(error: ErrorDetails, document: Document) -> ConfigError:
    unfit = error.get("ctx", {}).get("error")
    steps: Steps = (*error["loc"], *getattr(unfit, "steps", ()))
    owner = f"`{'.'.join(map(str, steps))}`" if steps else "the file"
    if error["type"] == "extra_forbidden":
        known = keys_at(steps[:-1])
        remedy = did_you_mean(str(steps[-1]), known) or f" Expected one of {', '.join(known)}."
        return ConfigError(f"there is no key '{steps[-1]}' here.{remedy}", document.place_of_key(steps))
    if error["type"] == "missing":
        purpose = keys_at(steps[:-1])[str(steps[-1])]
        return ConfigError(f"{owner} is missing. {purpose}", document.place(steps[:-1]))
    place = document.place_of_key if getattr(unfit, "in_key", False) else document.place
    return ConfigError(f"{owner}: {_expected(error)}", place(steps))


def _expected(error: ErrorDetails) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        known = str(context["expected"]).replace("'", "")
        return f"expected {known}, not {name_of(value)}.{did_you_mean(str(value), re.split(', | or ', known))}"
    if kind in {"too_short", "string_too_short"}:
        return "is empty: expected at least one"
    if kind in {"greater_than_equal", "less_than_equal"}:
        bound = f"{context['ge']} or more" if "ge" in context else f"{context['le']:,} or less"
        return f"expected {bound}, not {name_of(value)}"
    return f"expected {_KINDS.get(kind, error['msg'])}, not {name_of(value)}"


_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "list_type": "a list (lines that begin with '- ')",
}
