"""The kinds of values in the user's file: durations, times, columns, devices; each says what it expected.

A kind is a pydantic type: how to read what YAML gave, and how a JSON Schema describes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from tocsin.codecs import TIME_FORMATS, TimeSettings
from tocsin.errors import did_you_mean
from tocsin.instant import EARLIEST, LATEST, YEARS, parse_duration, parse_time

DURATION = r"^(\d+(\.\d+)?(ns|us|ms|s|m|h|d|w))+$"
METRIC = re.compile(r"[a-zA-Z_][a-zA-Z0-9_:.]*")
PIPELINE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""The name of a pipeline becomes part of file names, so it holds nothing that a path or a shell reads otherwise."""
SIZE = re.compile(r"(\d+(?:\.\d+)?)(kB|MB|GB|TB)")
BROKERS = ("amqp", "amqps", "kafka", "kafkas", "mqtt", "mqtts", "pubsub")
TEXT = {"type": ["string", "number", "boolean"]}
TEXTS = {"type": "array", "items": TEXT, "minItems": 1}


class Unfit(ValueError):
    """A value is not of the kind that its key expects; `steps` lead from there to what is wrong in it.

    With `in_key` they lead to a key that is wrong itself.
    """

    def __init__(self, message: str, *steps: str, in_key: bool = False) -> None:
        super().__init__(message)
        self.steps = steps
        self.in_key = in_key


def name_of(value: object) -> str:
    """What a value is, as its writer would call it: `a list`, `true`, `'5x'`."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    return f"'{value}'" if isinstance(value, str) else str(value).lower()


def _duration(value: object) -> int:
    if value == 0 and not isinstance(value, bool):
        return 0
    if not isinstance(value, str):
        raise Unfit(f"expected a duration with its unit, as in 90s, 2m30s or 1h, not {name_of(value)}")
    return parse_duration(value)


def _positive(value: object) -> int:
    duration = _duration(value)
    if duration == 0:
        raise Unfit("a duration of zero: expected more, as in 500ms, 90s or 2m30s")
    return duration


def _instant(value: object) -> int:
    try:
        instant = parse_time(str(value))
    except ValueError:
        raise Unfit(f"{name_of(value)} is not a time: expected ISO 8601, as in 2024-01-01T00:00:00Z") from None
    if not EARLIEST <= instant < LATEST:
        raise Unfit(f"{name_of(value)} lies outside {YEARS}")
    return instant


def _zone(value: object) -> str:
    return TimeSettings(("time",), zone=str(value)).zone


def _time_format(value: object) -> str:
    return TimeSettings(("time",), format=str(value)).format


def _letter(value: object) -> str:
    if not isinstance(value, str) or len(value.encode()) != 1:
        raise Unfit(f'expected one character, as in ";" or "\\t", not {name_of(value)}')
    return value


def _metric(value: object) -> str:
    if not isinstance(value, str) or not METRIC.fullmatch(value):
        raise Unfit(
            f"{name_of(value)} cannot be a metric: expected letters, digits and _ : . as in temp_f, no digit first"
        )
    return value


def _pipeline(value: object) -> str:
    name = str(value) if isinstance(value, str | int | float) else ""
    if not PIPELINE.fullmatch(name):
        better = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "smart-smoker"
        raise Unfit(
            f"{name_of(value)} cannot be the name of a pipeline: expected letters (a-z, A-Z), digits, "
            f"'-', '_' and '.', but no '.' first, as in {better}"
        )
    return name


def _texts(value: object) -> tuple[str, ...]:
    parts = value if isinstance(value, list) else [value]
    if not parts or not all(isinstance(part, str | int | float) for part in parts):
        raise Unfit(f"expected a name or a list of names, not {name_of(value)}")
    return tuple(str(part) for part in parts)


def _broker_url(value: object) -> str:
    if not isinstance(value, str):
        raise Unfit(f"expected journal or an address, as in amqp://host:5672, not {name_of(value)}")
    scheme, address, _ = value.partition("://")
    if value != "journal" and (scheme not in BROKERS or not address):
        known = ", ".join(["journal", *(f"{name}://" for name in BROKERS)])
        what = f"there is no broker '{scheme}'" if address else "this is not an address"  # it may hold a password
        near = did_you_mean(scheme, ["journal", *BROKERS]) if "@" not in scheme else ""
        raise Unfit(f"{what}.{near} Expected one of {known}")
    return value


def _url_of(*schemes: str) -> Callable[[object], str]:
    """The address of a broker of one kind, as text."""

    def check(value: object) -> str:
        scheme, _, address = value.partition("://") if isinstance(value, str) else ("", "", "")
        if not isinstance(value, str) or scheme not in schemes or not address:
            found = f"'{scheme}://…'" if address else "this"  # it may hold a password
            raise Unfit(f"{found} is not its address: expected one as in {schemes[0]}://host")
        return value

    return check


def _size(value: object) -> int:
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Unfit(f"expected a size with its unit, as in 500MB or 10GB, not {name_of(value)}")
    return int(float(found[1]) * {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}[found[2]])


def _devices(value: object) -> dict[str, dict[str, str]] | str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise Unfit(f"expected a mapping (device: its labels) or the path of a CSV file, not {name_of(value)}")
    for device, labels in value.items():
        if not device.strip():
            raise Unfit("expected the name of a device, found an empty text", device, in_key=True)
        if not isinstance(labels or {}, dict):
            raise Unfit(f"expected the device's labels, as in {{site: roof}}, not {name_of(labels)}", device)
        for label, text in (labels or {}).items():
            _check_label(device, label, text)
    return {device: labels or {} for device, labels in value.items()}


def _check_label(device: str, label: str, text: object) -> None:
    if not label.strip():
        raise Unfit("expected the name of a label, found an empty text", device, label, in_key=True)
    if label == "device":
        raise Unfit(
            f"the device is '{device}' already, as its key says: take this label out", device, label, in_key=True
        )
    if not isinstance(text, str):
        raise Unfit(f"expected a text, not {name_of(text)}", device, label)


_DEVICES: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "propertyNames": {"pattern": r"\S"},
            "additionalProperties": {
                "type": ["object", "null"],
                "propertyNames": {"pattern": r"\S", "not": {"const": "device"}},
                "additionalProperties": TEXT,
            },
        },
    ]
}
_DURATIONS: dict[str, Any] = {"type": "string", "pattern": DURATION}

Duration = Annotated[int, BeforeValidator(_duration), WithJsonSchema({"anyOf": [_DURATIONS, {"const": 0}]})]
PositiveDuration = Annotated[int, BeforeValidator(_positive), WithJsonSchema(_DURATIONS)]
Instant = Annotated[int, BeforeValidator(_instant), WithJsonSchema({"type": "string"})]
Zone = Annotated[str, BeforeValidator(_zone), WithJsonSchema({"type": "string"})]
TimeFormat = Annotated[
    str, BeforeValidator(_time_format), WithJsonSchema({"anyOf": [{"enum": list(TIME_FORMATS)}, {"pattern": "%"}]})
]
Letter = Annotated[str, BeforeValidator(_letter), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1})]
Text = Annotated[str, WithJsonSchema(TEXT)]
"""A text that need not be quoted when it looks like a number."""
PipelineName = Annotated[str, BeforeValidator(_pipeline), WithJsonSchema({**TEXT, "pattern": f"^{PIPELINE.pattern}$"})]
Metric = Annotated[str, BeforeValidator(_metric), WithJsonSchema({"type": "string", "pattern": f"^{METRIC.pattern}$"})]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts), WithJsonSchema({"anyOf": [TEXT, TEXTS]})]
BrokerUrl = Annotated[str, BeforeValidator(_broker_url), WithJsonSchema({"type": "string"})]
AmqpUrl = Annotated[str, BeforeValidator(_url_of("amqp", "amqps")), WithJsonSchema({"type": "string"})]
KafkaUrl = Annotated[str, BeforeValidator(_url_of("kafka", "kafkas")), WithJsonSchema({"type": "string"})]
MqttUrl = Annotated[str, BeforeValidator(_url_of("mqtt", "mqtts")), WithJsonSchema({"type": "string"})]
PubsubUrl = Annotated[str, BeforeValidator(_url_of("pubsub")), WithJsonSchema({"type": "string"})]
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": f"^{SIZE.pattern}$"})]
Devices = Annotated[dict[str, dict[str, str]] | str, BeforeValidator(_devices), WithJsonSchema(_DEVICES)]
