"""Tocsin's own readings on the wire: what is written is read again, many messages as one by one, and bad ones alone."""

from __future__ import annotations

import json
import math
import random
from datetime import datetime
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.codecs.readings import Decoder, Found, from_json, to_arrow, to_json
from tocsin.instant import EARLIEST, LATEST, SECOND, format_time
from tocsin.message import ARROW, JSON, JSON_LINES, Message
from tocsin.reading import Batch, Labels, Series, labels_of

Row = tuple[int, str, str, Labels, int, float]
"""The place of its message, device, metric, labels, time and value."""

T = 1_706_702_400 * SECOND
GOOD = {"device": "smoker", "metric": "temp_f", "time": "2024-01-31T12:00:00Z", "value": 225.5}
WRITTEN = json.dumps(GOOD).encode()


def decode(*messages: Message | bytes | str, series: Series | None = None) -> Found:
    plain = [one.encode() if isinstance(one, str) else one for one in messages]
    return Decoder(series or Series()).decode([Message(one) if isinstance(one, bytes) else one for one in plain])


def rows_of(found: Found) -> list[Row]:
    batch = found.batch
    named = [batch.series.describe(code) for code in batch.code.tolist()]
    columns = zip(found.message_of.tolist(), named, batch.time.tolist(), batch.value.tolist(), strict=True)
    return [(message, *names, time, value) for message, names, time, value in columns]


def faults(found: Found) -> list[tuple[int, dict[str, Any], bytes, str]]:
    return [(place, reject.place, reject.data, reject.reason) for place, reject in found.rejects]


def batch_of(rows: list[tuple[str, str, dict[str, str], int, float]]) -> Batch:
    series = Series()
    codes = [series.code(device, metric, labels) for device, metric, labels, _, _ in rows]
    times, values = [row[3] for row in rows], [row[4] for row in rows]
    return Batch(series, np.array(codes, np.int32), np.array(times, np.int64), np.array(values, np.float64))


def one(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in {**GOOD, **changes}.items() if value is not ...}).encode()


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda name: bool(name.strip()))
LABELS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=4), st.text(st.characters(codec="utf-8")), max_size=3
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.integers(EARLIEST, LATEST - 1) | st.integers(EARLIEST // SECOND, LATEST // SECOND - 1).map(
    lambda s: s * SECOND
)
BATCHES = st.lists(st.tuples(NAMES, NAMES, LABELS | st.just({}), TIMES, FLOATS), max_size=20).map(batch_of)


@pytest.mark.parametrize(("encode", "form"), [(to_json, JSON), (to_arrow, ARROW)])
@pytest.mark.parametrize("said", [True, False])
@given(batches=st.lists(BATCHES, max_size=4))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_again(encode: Any, form: str, said: bool, batches: list[Batch]) -> None:
    """Bit for bit, whatever the names; only −0 becomes 0."""
    with patch.object(from_json, "_SMALL", 0 if said else from_json._SMALL):
        found = decode(*[Message(encode(batch), content_type=form if said else "") for batch in batches])
    expected = [
        row for place, batch in enumerate(batches) for row in rows_of(Found(batch, np.full(len(batch), place), []))
    ]
    assert rows_of(found) == expected
    assert found.rejects == []


@given(batch=BATCHES)
@settings(max_examples=60, deadline=None)
def test_what_is_written_as_json_is_what_any_reader_of_json_sees(batch: Batch) -> None:
    expected = [
        {"device": device, "metric": metric, "time": format_time(time), "value": value}
        | ({"labels": dict(labels)} if labels else {})
        for _, device, metric, labels, time, value in rows_of(Found(batch, np.zeros(len(batch), np.int64), []))
    ]
    found = json.loads(to_json(batch))
    for thing in found:
        whole, _, fraction = thing["time"].removesuffix("Z").partition(".")
        thing["time"] = f"{whole}.{fraction}".rstrip("0").rstrip(".") + "Z" if fraction else thing["time"]
    assert found == expected


def test_another_program_reads_our_arrow() -> None:
    batch = batch_of([("a", "m", {"site": "x"}, T, 1.0), ("b", "m", {}, T + 1, 2.0)])
    table = pa.ipc.open_stream(to_arrow(batch)).read_all()
    assert table.cast(
        pa.schema(
            [
                (n, t)
                for n, t in zip(
                    table.schema.names,
                    [pa.string(), pa.string(), pa.timestamp("ns", "UTC"), pa.float64(), pa.string()],
                    strict=True,
                )
            ]
        )
    ).column("labels").to_pylist() == ['{"site":"x"}', None]
    assert "labels" not in pa.ipc.open_stream(to_arrow(batch.take(slice(1, 2)))).read_all().schema.names


def test_every_form_of_json_is_told_by_its_text() -> None:
    """An object, also over several lines, an array, and lines, whatever of these the content type says."""
    for form in (JSON, JSON_LINES, "", "Application/JSON; charset=utf-8"):
        pretty = json.dumps(GOOD, indent=2).encode()
        lines = WRITTEN + b"\r\n\n" + WRITTEN + b"\n"
        bodies = [WRITTEN, pretty, b"[]", b" [" + WRITTEN + b",\n" + WRITTEN + b"] ", lines, b"\xef\xbb\xbf" + WRITTEN]
        found = decode(*[Message(body, content_type=form) for body in bodies])
        assert found.message_of.tolist() == [0, 1, 3, 3, 4, 4, 5]
        assert found.rejects == []


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2024-01-31T12:00:00Z", T),
        ("2024-01-31T14:00:00+02:00", T),
        ("2024-01-31 12:00:00.123456789Z", T + 123_456_789),
        ("20240131T120000Z", T),
        (T + 1, T + 1),
        ("1969-12-31T23:59:59.5Z", -SECOND // 2),
    ],
)
def test_a_time_is_iso_8601_with_a_zone_or_nanoseconds(time: object, expected: int) -> None:
    assert decode(one(time=time)).batch.time.tolist() == [expected]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": ...}, "'device' is missing"),
        ({"device": None}, "'device' is missing"),
        ({"metric": 7}, "'metric' 7 is not a text: put it in quotes"),
        ({"device": " "}, "'device' is blank"),
        ({"value": ...}, "'value' is missing"),
        ({"value": True}, "'value' true is not a number: write one without quotes, 1 or 0 for true or false"),
        ({"value": "7"}, "'value' \"7\" is not a number"),
        ({"value": math.nan}, "'value' nan is not a finite number"),
        ({"value": math.inf}, "'value' inf is not a finite number"),
        ({"value": 10**400}, "'value' is too large"),
        ({"time": ...}, "'time' is missing"),
        ({"time": True}, "'time' True is neither a text nor an integer"),
        ({"time": 1.5e18}, "'time' 1.5e+18 is neither a text nor an integer"),
        ({"time": 1_706_702_400}, "'time' 1706702400 is too small for nanoseconds, it may be in seconds"),
        ({"time": 10**30}, "lies outside the years 1700 to 2199"),
        ({"time": "2024-01-31T12:00:00"}, "says no zone: add Z if it is UTC"),
        ({"time": "noon"}, "'time' 'noon' cannot be read: expected ISO 8601 with a zone"),
        ({"time": "1650-01-01T00:00:00Z"}, "1650-01-01T00:00:00Z"),
        ({"labels": "x"}, "'labels' \"x\" is not an object of texts"),
        ({"labels": {"site": 3}}, "label 'site' 3 is not a text: put it in quotes"),
        ({"device": "\ud800"}, "half of a \\u pair stands alone"),
    ],
)
def test_a_reading_with_a_fault_is_a_reject_that_says_how_to_mend_it(changes: dict[str, Any], reason: str) -> None:
    """Alone, and as the second of three in an array and in lines, where the others count."""
    bad = one(**changes)
    alone = decode(bad)
    assert len(alone.batch) == 0
    assert faults(alone)[0][:3] == (0, {}, bad)
    assert reason in faults(alone)[0][3]
    among = decode(WRITTEN, b"[" + b", ".join([WRITTEN, bad, WRITTEN]) + b"]", b"\n".join([WRITTEN, bad, WRITTEN]))
    assert among.message_of.tolist() == [0, 1, 1, 2, 2]
    assert [fault[:3] for fault in faults(among)] == [(1, {"element": 2}, bad), (2, {"line": 2}, bad)]
    assert all(reason in fault[3] for fault in faults(among))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message(b""), "the message is empty"),
        (Message(b"", content_type=JSON), "the message is empty"),
        (Message(b"hello"), "neither JSON nor an Arrow stream: set the content type"),
        (Message(WRITTEN, version="2"), "version '2' of the message is not known: expected 1"),
        (Message(WRITTEN, content_type="text/html"), "content type 'text/html' is not known"),
        (Message(WRITTEN[:-1]), "not JSON: Expecting ',' delimiter at character"),
        (Message(b"[" + WRITTEN), "not JSON: Expecting ',' delimiter"),
        (Message(b"[" + WRITTEN + b"] x"), "not JSON: Extra data"),
        (Message(b"5", content_type=JSON), "expected an object as in"),
        (Message(b'{"device": "\xff"}'), "this is not UTF-8"),
        (Message(b'["\xff"]'), "this is not UTF-8"),
        (Message(b'{"a":' * 100_000), "nested too deeply"),
        (Message(b"[" * 100_000), "nested too deeply"),
        (Message(b"\xff\xff\xff\xff rubbish"), "not an Arrow stream of readings"),
        (Message(b"{}", content_type=ARROW), "not an Arrow stream of readings"),
    ],
)
def test_a_message_that_cannot_be_read_is_one_reject(message: Message, reason: str) -> None:
    found = decode(WRITTEN, message, WRITTEN)
    assert found.message_of.tolist() == [0, 2]
    ((place, where, data, said),) = faults(found)
    assert (place, where, data) == (1, {}, message.body)
    assert reason in said


SCRAPS = st.sampled_from(
    [
        *(one(value=value).decode() for value in (1, -0.0, 1e300, "x")),
        *(one(device=device, labels={"site": device}).decode() for device in ("a", "b\n", '},{"', "")),
        one(labels={"site": None, "x": "y"}).decode(),
        one(time=T).decode(),
        one(more={"a": [1, {"b": 2}]}).decode(),
        '{"device":"a","metric":"m","time":"2024-01-31T12:00:00Z","value":1,"value":2}',
        '{"device":"a","metric":"m","time":"2024-01-31T12:00:00Z","value":1,"\\u006cabels":{"k":"v"}}',
        *("{", "}", "[", "]", ",", "\n", "},{", "}, {", "\r\n", '"', "null", " ", "{}", "[]"),
    ]
)
ARRAYS = st.lists(SCRAPS, max_size=4).map(lambda parts: "[" + ",".join(parts) + "]")
BODIES = SCRAPS | ARRAYS | st.lists(SCRAPS, max_size=5).map("".join) | st.lists(SCRAPS, max_size=4).map("\n".join)


@given(bodies=st.lists(BODIES, max_size=12))
@settings(max_examples=300, deadline=None)
def test_messages_are_read_together_as_one_by_one(bodies: list[str]) -> None:
    """And so a bad one changes nothing for the others; nor does it matter which of the two ways reads them."""
    with patch.object(from_json, "_SMALL", 0):
        together = decode(*[Message(body.encode(), content_type=JSON) for body in bodies])
    apart = [decode(Message(body.encode(), content_type=JSON)) for body in bodies]
    assert rows_of(together) == [(place, *row[1:]) for place, found in enumerate(apart) for row in rows_of(found)]
    assert faults(together) == [(place, *fault[1:]) for place, found in enumerate(apart) for fault in faults(found)]


ALIKE = [one(value=1).decode(), one(value=2.5, device="b").decode()]
OTHERS = [
    one(value=3, time=T).decode(),
    one(value=4, labels={"x": "y"}).decode(),
    one(value="x").decode(),
    "",
    "{}",
    "\n",
]
ENDS = st.sampled_from(["", "\n", " ", "\r\n"])
LINES = st.lists(st.sampled_from(ALIKE), min_size=1, max_size=3).map("\n".join)
POLLS = st.lists(st.tuples(LINES, ENDS).map("".join), max_size=6)


@given(bodies=POLLS, other=st.sampled_from(["", *OTHERS]), at=st.integers(0, 6))
@settings(max_examples=200, deadline=None)
def test_messages_written_alike_but_for_one_are_read_as_one_by_one(bodies: list[str], other: str, at: int) -> None:
    """However their objects are shared out among them: as many lines as messages need not be a line each."""
    bodies.insert(at, other)
    with patch.object(from_json, "_SMALL", 0):
        together = decode(*[Message(body.encode(), content_type=JSON) for body in bodies])
    apart = [decode(Message(body.encode(), content_type=JSON)) for body in bodies]
    assert rows_of(together) == [(place, *row[1:]) for place, found in enumerate(apart) for row in rows_of(found)]
    assert faults(together) == [(place, *fault[1:]) for place, found in enumerate(apart) for fault in faults(found)]


def plainly(text: str) -> list[tuple[str, str, dict[str, str], float, float]] | None:
    """What a body holds, by the standard library alone; None if anything about it is wrong."""
    if not text.strip():
        return None
    try:
        whole = json.loads(text)
    except ValueError:
        try:
            whole = [json.loads(line) for line in text.split("\n") if line.strip()]
        except ValueError:
            return None
    found = []
    for thing in whole if isinstance(whole, list) else [whole]:
        try:
            time = thing["time"]
            moment = datetime.fromisoformat(time).timestamp() if isinstance(time, str) else time / SECOND
            labels = {name: label for name, label in (thing.get("labels") or {}).items() if label}
            if not thing["device"] or isinstance(thing["value"], str):
                return None
            found.append((thing["device"], thing["metric"], labels, moment, float(thing["value"])))
        except (TypeError, KeyError, AttributeError):
            return None
    return found


@pytest.mark.parametrize("small", [0, from_json._SMALL])
@given(bodies=st.lists(BODIES, max_size=12))
@settings(max_examples=200, deadline=None)
def test_the_standard_library_agrees(small: int, bodies: list[str]) -> None:
    with patch.object(from_json, "_SMALL", small):
        found = decode(*[Message(body.encode(), content_type=JSON) for body in bodies])
    for place, body in enumerate(bodies):
        expected = plainly(body)
        wrong = [reject for at, reject in found.rejects if at == place]
        rows = [
            (device, metric, dict(labels), time / SECOND, value)
            for at, device, metric, labels, time, value in rows_of(found)
            if at == place
        ]
        assert bool(wrong) == (expected is None), (body, wrong)
        assert expected is None or rows == expected


def test_many_messages_of_every_kind_are_read_in_their_order() -> None:
    chance = random.Random(7)
    makers = [
        lambda place: one(value=place),
        lambda place: one(value=place, time=T + place),
        lambda place: one(value=place, labels={f"l{place % 50}": "x"}),
        lambda place: b"[" + one(value=place) + b"]",
        lambda place: to_arrow(batch_of([(f"d{place % 9}", "m", {"k": "v"} if place % 2 else {}, T, float(place))])),
    ]
    places = list(range(3_000))
    bodies = [chance.choice(makers)(place) for place in places]
    for place in (0, 5, 1_234, 2_999):
        bodies[place] = b"{bad"
    found = decode(*bodies)
    good = [place for place in places if bodies[place] != b"{bad"]
    assert found.message_of.tolist() == good
    assert found.batch.value.tolist() == [float(place) for place in good]
    assert [place for place, _ in found.rejects] == [0, 5, 1_234, 2_999]


def test_what_was_learned_holds_for_the_next_messages() -> None:
    series = Series({"smoker": {"site": "yard"}})
    decoder = Decoder(series)
    first = decoder.decode([Message(one(labels={"kind": "a"}))])
    again = decoder.decode([Message(one(labels={"kind": "a"})), Message(one(device="new")), Message(WRITTEN)])
    assert again.batch.code[0] == first.batch.code[0]
    assert [series.describe(code)[2] for code in again.batch.code.tolist()] == [
        labels_of({"kind": "a", "site": "yard"}),
        (),
        (("site", "yard"),),
    ]


def stream(**changes: Any) -> bytes:
    columns = {
        "device": pa.array(["a", "b"]),
        "metric": pa.array(["m", "m"]),
        "time": pa.array([T, T + 1]).cast(pa.timestamp("ns", "UTC")),
        "value": pa.array([1.0, 2.0]),
    }
    columns = {name: column for name, column in {**columns, **changes}.items() if column is not None}
    sink = pa.BufferOutputStream()
    table = pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    "changes",
    [
        {"time": pa.array([T, T + 1])},
        {"device": pa.array(["a", "b"], pa.large_string()), "extra": pa.array([1, 2])},
        {"value": pa.array([1, 2], pa.int16())},
        {"labels": pa.array(["{}", None]).dictionary_encode()},
    ],
)
def test_tables_of_other_programs_are_read_too(changes: dict[str, Any]) -> None:
    found = decode(stream(**changes), stream())
    assert rows_of(found) == [
        (at, name, "m", (), T + v - 1, float(v)) for at in (0, 1) for name, v in (("a", 1), ("b", 2))
    ]


def test_arrow_in_other_units_of_time_is_the_same_instant() -> None:
    seconds = pa.array([T // SECOND, T // SECOND]).cast(pa.timestamp("s", "Europe/Berlin"))
    assert decode(stream(time=seconds)).batch.time.tolist() == [T, T]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": None}, "expected one column 'device' among its columns metric, time, value"),
        ({"time": pa.array(["x", "y"])}, "column 'time' is string: expected timestamps with a zone"),
        ({"time": pa.array([T, T]).cast(pa.timestamp("ns"))}, "column 'time' says no zone"),
        ({"value": pa.array([True, False])}, "column 'value' is bool: expected numbers"),
        ({"metric": pa.array([1, 2])}, "column 'metric' is int64: expected text"),
    ],
)
def test_a_table_of_another_shape_is_one_reject(changes: dict[str, Any], reason: str) -> None:
    found = decode(stream(**changes), stream())
    assert found.message_of.tolist() == [1, 1]
    assert len(found.rejects) == 1
    assert reason in found.rejects[0][1].reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": pa.array([1.0, math.inf])}, "'value' inf is not a finite number"),
        ({"value": pa.array([1.0, None])}, "'value' is missing"),
        ({"device": pa.array(["a", ""])}, "'device' is blank"),
        ({"metric": pa.array(["m", None])}, "'metric' is missing"),
        ({"time": pa.array([T, 5])}, "'time' 5 is too small for nanoseconds"),
        ({"time": pa.array([T, None], pa.timestamp("ns", "UTC"))}, "'time' is missing"),
        ({"time": pa.array([T, EARLIEST - 1]).cast(pa.timestamp("ns", "UTC"))}, "outside the years 1700 to 2199"),
        ({"labels": pa.array([None, "[]"])}, "'labels' is not the text of a JSON object of texts"),
    ],
)
def test_a_row_with_a_fault_leaves_the_others(changes: dict[str, Any], reason: str) -> None:
    found = decode(WRITTEN, stream(**changes))
    assert rows_of(found)[1:] == [(1, "a", "m", (), T, 1.0)]
    ((place, where, data, said),) = faults(found)
    assert (place, where) == (1, {"element": 2})
    assert reason in said
    assert json.loads(data).keys() >= {"device", "metric", "time", "value"}


def test_no_bytes_of_arrow_break_it() -> None:
    chance = random.Random(11)
    whole = to_arrow(batch_of([(f"d{place % 7}", "m", {"k": "v"}, T + place, 1.0) for place in range(50)]))
    decoder = Decoder(Series())
    for _ in range(400):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        found = decoder.decode([Message(bytes(body)), Message(WRITTEN)])
        assert np.isfinite(found.batch.value).all()
        assert found.message_of[-1] == 1


@pytest.mark.parametrize(("encode", "kind"), [(to_arrow, ARROW), (to_json, JSON)])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whose_a_reading_is_does_not_depend_on_what_was_read_before(
    encode: Any, kind: str, data: st.DataObject
) -> None:
    """Messages with and without labels, several or many in a poll, read one after the other by one decoder."""
    whose = st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["m", "n"]),
        st.dictionaries(st.sampled_from(["site", "room"]), st.sampled_from(["1", "2"])),
    )
    decoder, series = Decoder(own := Series()), own
    for names in data.draw(st.lists(st.lists(whose, min_size=1, max_size=6), min_size=1, max_size=8)):
        rows = [(*one, SECOND * place, 0.0) for place, one in enumerate(names)]
        copies = data.draw(st.sampled_from([1, 200]))
        messages = [Message(encode(batch_of([row])), content_type=kind) for row in rows] * copies
        found = decoder.decode(messages)
        told = [series.describe(code) for code in found.batch.code.tolist()]
        assert told == [(device, metric, labels_of(labels)) for device, metric, labels in names] * copies
