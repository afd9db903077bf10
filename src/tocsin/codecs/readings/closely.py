"""Messages of JSON to readings, object by object: the judge of what Arrow did not read at once.

A message that is no JSON is one reject.  Of an array, or of lines, each element is good or a reject by itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tocsin.codecs._lines import BOM
from tocsin.codecs._times import Mask
from tocsin.codecs.readings.found import Body, Found
from tocsin.codecs.readings.times import from_text, why
from tocsin.codecs.readings.whose import codes_of
from tocsin.reading import Batch, Labels, Series, Times, labels_of
from tocsin.record import MOST_BAD, Reject

EXAMPLE = '{"device": "d", "metric": "temp", "time": "2024-01-31T12:00:00Z", "value": 21.5}'

MOST_LABELS = 32
"""So many names of labels are remembered; with more, columns of them would cost more than reading object by object."""


class Element(NamedTuple):
    """One object of a message: where it stands there, as it is written, what it is, and what is wrong with it."""

    message: int
    place: dict[str, int]
    data: bytes
    thing: Any
    fault: str = ""


class Closely:
    """Reads messages one by one, and remembers what labels are called."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self.label_names: dict[str, None] = {}

    def read(self, bodies: Sequence[Body]) -> Found:
        """The readings of these messages, and what else they hold."""
        elements = [_judged(element) for place, body in bodies for element in _elements(place, body)]
        likely = [place for place, element in enumerate(elements) if not element.fault]
        time, bad = _instants([elements[place].thing["time"] for place in likely])
        for place in np.array(likely, np.intp)[bad].tolist():
            elements[place] = elements[place]._replace(fault=why(elements[place].thing["time"]))
        good = [element for element in elements if not element.fault]
        rejects = [(one.message, Reject(one.data, one.place, one.fault)) for one in elements if one.fault]
        message_of = np.array([element.message for element in good], np.int64)
        return Found(self._batch([element.thing for element in good], time[~bad]), message_of, rejects)

    def _batch(self, things: list[dict[str, Any]], time: Times) -> Batch:
        labels = [_labels(one) for one in things]
        for name in [name for pairs in set(labels) for name, _ in pairs]:
            if len(self.label_names) <= MOST_LABELS:
                self.label_names[name] = None
        code = codes_of(
            self._series,
            [one["device"] for one in things],
            [one["metric"] for one in things],
            labels if any(labels) else None,
        )
        value = np.array([float(one["value"]) for one in things], np.float64)
        return Batch(self._series, code, time, value + 0.0)


def _elements(message: int, body: bytes) -> list[Element]:
    """What a message holds: its own text if it is one object, or if it cannot be taken apart."""
    body = body.removeprefix(BOM)
    if body.lstrip().startswith(b"["):
        return _of_array(message, body)
    alone = Element(message, {}, body, *_load(body))
    if isinstance(alone.thing, dict):
        return [alone]
    lines = [(number, raw) for number, raw in enumerate(body.split(b"\n"), 1) if raw.strip()]
    elements: list[Element] = []
    is_lines = False
    for number, raw in lines:
        elements.append(Element(message, {"line": number}, raw.rstrip(b"\r"), *_load(raw)))
        is_lines = is_lines or isinstance(elements[-1].thing, dict)
        if not is_lines and len(elements) >= MOST_BAD:
            break
    # An object over many lines that is broken is one fault, and not one in each of its lines; nor is what is no JSON at all.
    return elements if len(lines) > 1 and is_lines else [alone]


def _of_array(message: int, body: bytes) -> list[Element]:
    try:
        members = list(_members(body.decode()))
    except UnicodeDecodeError:
        return [Element(message, {}, body, None, _NOT_TEXT)]
    except (ValueError, RecursionError) as fault:
        return [Element(message, {}, body, None, _not_json(fault))]
    return [
        Element(message, {"element": number}, text.encode(), thing, _halves(text, thing))
        for number, (text, thing) in enumerate(members, 1)
    ]


def _members(text: str) -> Iterator[tuple[str, Any]]:
    """The members of an array, each as it is written and what it is; ValueError if it is none."""
    place, end = _after_space(text, text.index("[") + 1), ""
    if text[place : place + 1] == "]":
        end, place = "]", place + 1
    while not end:
        thing, stop = _DECODER.raw_decode(text, place)
        yield text[place:stop], thing
        place = _after_space(text, stop) + 1
        end = text[place - 1 : place]
        if end == ",":
            end, place = "", _after_space(text, place)
        elif end != "]":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, place - 1)
    if text[place:].strip():
        raise json.JSONDecodeError("Extra data", text, place)


def _load(raw: bytes) -> tuple[Any, str]:
    """What stands here, or nothing and why."""
    try:
        text = raw.decode()
        thing = json.loads(text)
    except UnicodeDecodeError:
        return None, _NOT_TEXT
    except (ValueError, RecursionError) as fault:
        return None, _not_json(fault) if raw.strip() else "the message is empty"
    return thing, _halves(text, thing)


def _halves(text: str, thing: Any) -> str:
    """What is wrong with the characters that are written by their numbers, if anything."""
    try:
        if "\\u" in text:
            json.dumps(thing, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "half of a \\u pair stands alone"
    return ""


def _judged(element: Element) -> Element:
    return element if element.fault else element._replace(fault=_wrong(element.thing))


def _wrong(thing: Any) -> str:
    """Why this is no reading, or ''."""
    if not isinstance(thing, dict):
        return f"expected an object as in {EXAMPLE}"
    return (
        _wrong_name("device", thing.get("device"))
        or _wrong_name("metric", thing.get("metric"))
        or _wrong_time(thing.get("time"))
        or _wrong_value(thing.get("value"))
        or _wrong_labels(thing.get("labels"))
    )


def _wrong_name(field: str, name: object) -> str:
    if name is None:
        return f"'{field}' is missing: expected an object as in {EXAMPLE}"
    if not isinstance(name, str):
        return f"'{field}' {_shown(name)} is not a text: put it in quotes"
    return "" if name.strip() else f"'{field}' is blank"


def _wrong_time(time: object) -> str:
    """As far as it can be told at once; texts are read by column."""
    return "" if isinstance(time, str) else why(time)


def _wrong_value(value: object) -> str:
    if value is None:
        return "'value' is missing: leave out the whole reading if there is none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"'value' {_shown(value)} is not a number: write one without quotes, 1 or 0 for true or false"
    try:
        return "" if math.isfinite(value) else f"'value' {value} is not a finite number"
    except OverflowError:
        return "'value' is too large"


def _wrong_labels(labels: object) -> str:
    if labels is None:
        return ""
    if not isinstance(labels, dict):
        return f'\'labels\' {_shown(labels)} is not an object of texts, as in {{"site": "a"}}'
    wrong = next((name for name, text in labels.items() if text is not None and not isinstance(text, str)), None)
    return "" if wrong is None else f"label '{wrong}' {_shown(labels[wrong])} is not a text: put it in quotes"


def _labels(thing: dict[str, Any]) -> Labels:
    return labels_of({name: text for name, text in (thing.get("labels") or {}).items() if text is not None})


def _instants(written: list[str | int]) -> tuple[Times, Mask]:
    """The instants of times, and which are none."""
    times = np.array([0 if isinstance(one, str) else one for one in written], np.int64)
    bad = np.zeros(len(times), bool)
    which = [place for place, one in enumerate(written) if isinstance(one, str)]
    if which:
        times[which], bad[which] = from_text(pa.array([written[place] for place in which], pa.string()))
    return times, bad


def _shown(thing: object) -> str:
    return json.dumps(thing, ensure_ascii=False)[:_SHOWN]


def _not_json(fault: ValueError | RecursionError) -> str:
    if isinstance(fault, RecursionError):
        return "not JSON that can be read: nested too deeply"
    return (
        f"not JSON: {fault.msg} at character {fault.pos + 1}"
        if isinstance(fault, json.JSONDecodeError)
        else f"not JSON that can be read: {fault}"
    )


def _after_space(text: str, place: int) -> int:
    while text[place : place + 1] in _SPACES:
        place += 1
    return place


_DECODER = json.JSONDecoder()
_NOT_TEXT = "this is not UTF-8, in which JSON is written"
_SHOWN = 80
_SPACES = (" ", "\t", "\r", "\n")
