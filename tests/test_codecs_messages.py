"""Messages of others: all forms of bodies, what travels beside them, and that a bad one changes nothing for the others."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.codecs import (
    Beside,
    BinarySettings,
    Cell,
    Column,
    Constant,
    CsvSettings,
    JsonSettings,
    LineProtocolSettings,
    MessageSettings,
    Part,
    TimeSettings,
)
from tocsin.codecs import messages as codecs_messages
from tocsin.codecs.messages import Decoder, forms
from tocsin.codecs.messages.forms import LONG
from tocsin.message import JSON, Message
from tocsin.reading import Series

SECOND = 10**9
START = 1_700_000_000
ARRIVAL = 1_800_000_000 * SECOND

Read = tuple[list[tuple[str, str, dict[str, str], int, float]], list[tuple[int, bytes, str]]]


def read(settings: MessageSettings, messages: Sequence[Message]) -> Read:
    """Readings as (device, metric, labels, time, value), and faults as (message, bytes, reason); read twice alike."""
    series = Series()
    decoder = Decoder(settings, series)
    arrivals = [ARRIVAL + place for place in range(len(messages))]
    found = []
    for _ in range(2):
        batch, faults = decoder.decode(messages, arrivals)
        columns = zip(batch.code.tolist(), batch.time.tolist(), batch.value.tolist(), strict=True)
        readings = [
            (*series.describe(code)[:2], dict(series.describe(code)[2]), time, value) for code, time, value in columns
        ]
        found.append((readings, [(place, reject.data, reject.reason) for place, reject in faults]))
    assert found[0] == found[1]
    return found[0]


def json_of(device: Part, path: str = "a.t", scheme: str = "amqp") -> MessageSettings:
    cells = (Cell(path, device, Constant("temp")),)
    return MessageSettings(JsonSettings(TimeSettings(("ts",), "unix_s"), cells), scheme)


def thing(number: int, device: str = "d") -> str:
    return json.dumps({"id": device, "ts": START + number, "a": {"t": number / 2}})


def expected(numbers: Sequence[int], device: str = "d") -> list[tuple[str, str, dict[str, str], int, float]]:
    return [(device, "temp", {}, (START + number) * SECOND, number / 2) for number in numbers]


def test_a_poll_of_single_objects() -> None:
    readings, faults = read(json_of(Column("id")), [Message(thing(number).encode()) for number in range(500)])
    assert readings == expected(range(500))
    assert faults == []


@pytest.mark.parametrize(
    "write",
    [
        lambda some: "[" + ",".join(some) + "]",
        lambda some: "\n".join(some) + "\n",
        lambda some: "\ufeff[\n  " + ",\n  ".join(some) + "\n]",
        " ".join,
    ],
)
def test_messages_with_several_objects(write: Callable[[list[str]], str]) -> None:
    """Of 1, 2 and 3 objects by turns, and none: each gets what travels beside its own message."""
    messages, readings, number = [Message(b"[]", key="nobody")], [], 0
    for place in range(60):
        count = place % 3 + 1
        messages.append(Message(write([thing(number + one) for one in range(count)]).encode(), key=f"k{place}"))
        readings += expected(range(number, number + count), f"k{place}")
        number += count
    assert read(json_of(Beside("$key")), messages) == (readings, [])


def test_a_brace_in_a_text_or_an_inner_object_is_no_object_of_its_own() -> None:
    bodies = [
        '{"id": "}{\\"", "ts": 1700000001, "a": {"t": 1}, "more": [{"t": 2}, {"t": 3}]}',
        '{"more": {"ts": 1}, "id": "x", "ts": 1700000002, "a": {"t": 1}}',
    ]
    readings, faults = read(json_of(Column("id")), [Message(body.encode()) for body in bodies * 20])
    assert [(device, time // SECOND - START) for device, _, _, time, _ in readings] == [('}{"', 1), ("x", 2)] * 20
    assert faults == []


@pytest.mark.parametrize("count", [1, 40, 700])
def test_bad_messages_are_rejects_with_their_own_bytes(count: int) -> None:
    """Among good ones; one that is open must not swallow what follows."""
    bad = [
        b'{"id": "x"',
        b"hello",
        b"",
        b"\xff\xfe",
        b'{"id": "x", "ts": "soon", "a": {"t": 1}}',
        b'"',
        b"}",
        b'{"id": "',
    ]
    messages = [Message(thing(number).encode()) for number in range(count)]
    for place, body in enumerate(bad):
        messages.insert(place * 2, Message(body))
    readings, faults = read(json_of(Column("id")), messages)
    assert readings == expected(range(count))
    assert [messages[place].body for place, _, _ in faults] == bad
    assert [data for _, data, _ in faults] == bad
    assert faults[2][2] == "the message is empty"
    assert faults[4][2] == "'soon' is not a Unix time in seconds"


def test_one_bad_object_of_an_array_leaves_the_others() -> None:
    body = f'[{thing(1)}, {{"id": "d", "ts": {START + 2}, "a": {{"t": "warm"}}}}, {thing(3)}]'
    readings, faults = read(json_of(Column("id")), [Message(thing(0).encode()), Message(body.encode())])
    assert readings == expected([0, 1, 3])
    ((place, data, reason),) = faults
    assert (place, json.loads(data)["a"]["t"], reason) == (1, "warm", "a.t: 'warm' is not a number")


def test_a_key_may_have_a_dot_itself() -> None:
    body = json.dumps({"id": "d", "ts": START, "a.t": 7})
    readings, _ = read(json_of(Column("id")), [Message(body.encode())])
    assert [value for *_, value in readings] == [7.0]


@pytest.mark.parametrize("at", [0, 10, 50])
def test_whether_a_name_with_a_dot_is_a_key_or_a_path_is_each_objects_own_affair(at: int) -> None:
    bodies = [thing(number) for number in range(100)]
    bodies[at] = json.dumps({"id": "d", "ts": START + at, "a.t": at / 2})
    readings, faults = read(json_of(Column("id")), [Message(body.encode()) for body in bodies])
    assert (readings, faults) == (expected(range(100)), [])


def test_the_key_counts_before_the_path_unless_it_is_null() -> None:
    bodies: list[dict[str, object]] = [{"a.t": 1, "a": {"t": 2}}, {"a.t": None, "a": {"t": 3}}, {"a.t": 4, "a": 5}]
    messages = [Message(json.dumps({"id": "d", "ts": START, **body}).encode()) for body in bodies]
    readings, faults = read(json_of(Column("id")), messages)
    assert ([value for *_, value in readings], faults) == ([1.0, 3.0, 4.0], [])


def test_a_message_that_holds_nothing_of_the_mapping_is_not_lost() -> None:
    """One whose value is null says that there is none; one in which it is not at all may be misread."""
    bodies = [*(thing(number) for number in range(50)), f'{{"id": "d", "ts": {START}, "a": {{"t": null}}}}']
    odd = f'{{"id": "d", "ts": {START}, "a": {{"temp": 7}}}}'
    readings, faults = read(json_of(Column("id")), [Message(body.encode()) for body in [*bodies, odd]])
    assert readings == expected(range(50))
    assert faults == [(51, odd.encode(), "none of a.t is in it; it has: id, ts, a.temp")]


def test_each_row_has_the_key_of_its_own_message_however_lines_end() -> None:
    """A carriage return alone ends a line too, and a blank line is none: together they leave the sum as it was."""
    cells = (Cell("v", Beside("$key"), Constant("m")),)
    form = CsvSettings(TimeSettings(("ts",), "unix_s"), cells, header=("ts", "v"))
    bodies = [f"{START},{number}" for number in range(40)]
    bodies[3], bodies[20], bodies[30] = f"{START},3\r{START},3.5", "\n", f"{START},30\r\n{START},30.5\r\n"
    messages = [Message(body.encode(), key=f"k{place}") for place, body in enumerate(bodies)]
    readings, faults = read(MessageSettings(form, "amqp"), messages)
    values = sorted({*range(40), 3.5, 30.5} - {20})
    assert [(device, value) for device, *_, value in readings] == [(f"k{int(value)}", value) for value in values]
    assert faults == []


@pytest.mark.parametrize("count", [1, 3])
def test_a_message_full_of_bad_lines_makes_a_thousand_rejects_and_one(count: int) -> None:
    form = CsvSettings(TimeSettings(("ts",), "unix_s"), (Cell("v", Column("id"), Constant("m")),))
    bad = [f"{START},d,x{number}" for number in range(2_500)]
    body = "\n".join(["ts,id,v", *bad, f"{START},d,1"])
    readings, faults = read(MessageSettings(form, "amqp"), [Message(body.encode())] * count)
    assert [value for *_, value in readings] == [1.0] * count
    assert [place for place, *_ in faults] == [place for place in range(count) for _ in range(1_001)]
    assert faults[999][1:] == (f"ts,id,v\n{bad[999]}".encode(), "v: 'x999' is not a number")
    assert faults[1_000][1] == "\n".join(["ts,id,v", *bad[1_000:]]).encode()
    assert faults[1_000][2] == "1,000 before this one are bad, and 1,499 after it: v: 'x1000' is not a number"


def test_a_very_long_header_does_not_stand_before_each_bad_row() -> None:
    """A megabyte of them for each of a thousand rows would be a gigabyte."""
    form = CsvSettings(TimeSettings(("ts",), "unix_s"), (Cell("v", Column("id"), Constant("m")),))
    head = f"ts,id,v,{'x' * 400_000}"
    bad = [f"{START},d,x{number}," for number in range(30)]
    _, faults = read(MessageSettings(form, "amqp"), [Message("\n".join([head, *bad]).encode())])
    assert [data.decode().split("\n") for _, data, _ in faults] == [[head, bad[0]], [head, bad[1]], [head, *bad[2:]]]
    assert faults[2][2] == "2 before this one are bad, and 27 after it: v: 'x2' is not a number"


def test_a_reason_that_quotes_very_much_is_cut() -> None:
    body = json.dumps({"id": "d", "ts": START, "a": {"t": "x" * 1_500_000}}).encode()
    _, ((_, data, reason),) = read(json_of(Column("id")), [Message(body)])
    assert data == body
    assert len(reason) < 2_100
    assert reason.startswith("a.t: 'xxx")
    assert reason.endswith("xxx' is not a number")


def test_lines_of_values_whose_names_the_file_gives() -> None:
    cells = (Cell("value", Beside("$topic"), Constant("bpm")),)
    settings = MessageSettings(CsvSettings(TimeSettings(("time",), "unix_s"), cells, ",", ("time", "value")), "amqp")
    messages = [Message(f"{START + number},{number}".encode(), f"q{number % 3}") for number in range(100)]
    messages[7] = messages[7]._replace(body=f"{START + 7},7\n\n{START + 8},8.5\r\n".encode())
    messages[9] = messages[9]._replace(body=b"now,9")
    messages[11] = messages[11]._replace(body=b"1,2,3")
    readings, faults = read(settings, messages)
    assert [(device, value) for device, *_, value in readings[6:10]] == [("q0", 6), ("q1", 7), ("q1", 8.5), ("q2", 8)]
    assert len(readings) == 99
    assert [(place, data) for place, data, _ in faults] == [(9, b"now,9"), (11, b"1,2,3")]
    assert faults[1][2] == "3 fields where the header has 2"


def test_tables_each_with_its_own_header() -> None:
    cells = (Cell("v", Column("d"), Constant("m")),)
    settings = MessageSettings(CsvSettings(TimeSettings(("t",), "unix_s"), cells), "amqp")
    bodies = [
        f"t,d,v\n{START},a,1\n{START + 1},b,2\n",
        f"v,d,t\r\n3,c,{START}\r\n",
        "d,v\na,1\n",
        f"t,d,v\nx,a,4\n{START},e,5\n",
    ]
    readings, faults = read(settings, [Message(body.encode()) for body in bodies])
    assert [(device, value) for device, *_, value in readings] == [("a", 1), ("b", 2), ("c", 3), ("e", 5)]
    assert [(place, data) for place, data, _ in faults] == [(2, b"d,v\na,1\n"), (3, b"t,d,v\nx,a,4")]
    assert faults[0][2] == "there is no column 't'. The message has: d, v."
    # What was set aside keeps its header, so it can be read again.
    assert read(settings, [Message(faults[1][1].replace(b"x", str(START).encode()))])[0][0][4] == 4


KEYED = (Cell("v", Beside("$key"), Constant("m")), Cell("w", Column("id"), Constant("n")))
IN_SECONDS = TimeSettings(("t",), "unix_s")
FORMS: dict[str, tuple[JsonSettings | CsvSettings | BinarySettings, list[bytes]]] = {
    "json": (
        JsonSettings(IN_SECONDS, KEYED),
        [
            b'{"t": 1, "id": "a", "v": 2, "w": 3}',
            b'{"t": 4, "id": "b", "v": 5}',
            b'{"t": 4, "id": "", "w": "hot"}',
            b'{"t": "now", "v": 1}',
            b'[{"t": 6, "v": 7},\n {"t": 8, "v": "x"}, 9, {"t": 10, "id": "c", "w": 1}]',
            b'{"t": 11,\n"v": 1e999}\n{"t": 12, "v": 0}\r\n',
            b'\xef\xbb\xbf{"t": 13, "v": 1}',
            b'{"t": 14, "v": 1',
            b'{"t": 15}',
            b"\xff",
            b"  ",
            b'{"t": 16, "v": 1, "odd": ' + b"9" * 5_000 + b"}",
            b'[{"t": 17, "v": ' + b"9" * 5_000 + b'}, {"t": 18, "v": 2, "id": 1e' + b"9" * 5_000 + b"}]",
        ],
    ),
    "csv": (
        CsvSettings(IN_SECONDS, KEYED, header=("t", "id", "v", "w")),
        [
            b"1,a,2,3",
            b"4,b,5,\n6,c,,7\r\n",
            b"8,d,x,9\n10,,1,2",
            b"11,e",
            b"\n\n",
            b'12,"f',
            b"13,\xff,1,1",
            b"now,g,1,1\r",
        ],
    ),
    "tables": (
        CsvSettings(IN_SECONDS, KEYED),
        [
            b"t,id,v,w\n1,a,2,3",
            b"t,id,v,w\n4,b,x,5\n6,c,7,",
            b"w,v,id,t\r\n8,9,d,10\r\n1,2,3",
            b"t,v\n11,12",
            b"t,id,v,w",
            b"\xff",
        ],
    ),
    "binary": (
        BinarySettings(IN_SECONDS, KEYED, (("t", "double"), ("id", "text 1"), ("v", "float"), ("w", "float"))),
        [
            struct.pack("<dcff", 1, b"a", 2, 3),
            struct.pack("<dcffdcff", 4, b"b", float("inf"), 5, 6, b"c", 7, 8),
            struct.pack("<dcff", 9, b"\xff", 10, 11),
            struct.pack("<dcff", float("nan"), b"d", 12, 13),
            struct.pack("<dcff", 14, b"\0", 15, 16),
            b"short",
        ],
    ),
}


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data(), long=st.sampled_from([1, 40, LONG]))
@settings(deadline=None)
def test_messages_are_read_together_as_each_is_alone(form: str, data: st.DataObject, long: int) -> None:
    """Whether row by row or in pieces, `long` being where a body counts as one to be looked at in pieces."""
    settings_of, kinds = FORMS[form]
    bodies = data.draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=40))
    messages = [Message(body, key=f"k{place}") for place, body in enumerate(bodies)]
    alone = [read(MessageSettings(settings_of, "amqp"), [message]) for message in messages]
    with pytest.MonkeyPatch.context() as patch:
        for module in (forms, codecs_messages):
            patch.setattr(module, "LONG", long)
        readings, faults = read(MessageSettings(settings_of, "amqp"), messages)
    assert readings == [reading for some, _ in alone for reading in some]
    assert faults == [(place, *fault[1:]) for place, (_, some) in enumerate(alone) for fault in some]


BINARY = (("time", "double"), ("value", "float"))


@pytest.mark.parametrize(("order", "mark"), [("little", "<"), ("big", ">")])
def test_packed_records(order: str, mark: str) -> None:
    """One or two in a message; a time is the digits of its double, not the nearest number of nanoseconds."""
    cells = (Cell("value", Beside("$key"), Constant("v")),)
    form = BinarySettings(TimeSettings(("time",), "unix_s"), cells, BINARY, order)  # type: ignore[arg-type]
    pack = struct.Struct(f"{mark}df").pack
    messages = [Message(pack(START + 0.1, 1.5), key="a"), Message(pack(START, 2) + pack(START + 1, 3), key="b")] * 20
    readings, faults = read(MessageSettings(form, "amqp"), messages)
    assert readings == [
        ("a", "v", {}, START * SECOND + 100_000_000, 1.5),
        ("b", "v", {}, START * SECOND, 2.0),
        ("b", "v", {}, (START + 1) * SECOND, 3.0),
    ] * 20  # fmt: skip
    assert faults == []


def test_packed_records_that_are_at_fault() -> None:
    cells = (Cell("value", Constant("a"), Constant("v")),)
    form = BinarySettings(TimeSettings(("time",), "unix_s"), cells, BINARY)
    good, bad = struct.pack("<df", START, 1), struct.pack("<df", START + 1, float("nan"))
    readings, faults = read(MessageSettings(form, "amqp"), [Message(good), Message(good + bad), Message(b"short")])
    assert len(readings) == 2
    assert faults == [
        (1, bad, "value: nan is not a finite number"),
        (2, b"short", "5 bytes are no whole records of 12: expected time double, value float"),
    ]


def test_packed_texts_and_whole_numbers() -> None:
    layout = (("id", "text 4"), ("_", "skip 2"), ("at", "uint64"), ("v", "int16"))
    form = BinarySettings(TimeSettings(("at",), "unix_ms"), (Cell("v", Column("id"), Constant("m")),), layout)
    pack = struct.Struct("<4s2xQh").pack
    messages = [Message(pack(b"ab", START * 1000, -5)), Message(pack(b"\xff\xfe", START * 1000, 1))]
    readings, faults = read(MessageSettings(form, "amqp"), messages)
    assert readings == [("ab", "m", {}, START * SECOND, -5.0)]
    (fault,) = faults
    assert fault == (1, messages[1].body, "id: byte 0xff is not UTF-8 (it may be Latin-1): save or send it as UTF-8")


def test_a_packed_label_that_is_no_text_is_a_reject_and_what_nobody_looks_at_is_not() -> None:
    layout = (("id", "text 1"), ("site", "text 2"), ("note", "text 1"), ("v", "int16"))
    cells = (Cell("v", Column("id"), Constant("m"), (("site", Column("site")),)),)
    form = BinarySettings(TimeSettings(("$arrival",), "unix_ns", beside=True), cells, layout)
    records = [(b"a", "ü".encode(), b"n", 1), (b"a", b"\xfcb", b"n", 2), (b"a", b"s", b"\xfc", 3)]
    body = b"".join(struct.pack("<1s2s1sh", *record) for record in records)
    readings, faults = read(MessageSettings(form, "amqp"), [Message(body)])
    assert [(labels, value) for _, _, labels, _, value in readings] == [({"site": "ü"}, 1.0), ({"site": "s"}, 3.0)]
    assert [(data, reason.partition(":")[0]) for _, data, reason in faults] == [(body[6:12], "site")]


def test_numbers_alone_in_topics_with_words() -> None:
    """The time is that of the arrival, and no two messages arrive at once."""
    labels = (("site", Beside("$topic.site")),)
    cells = (Cell("number", Beside("$topic.device"), Beside("$topic.metric"), labels),)
    time = TimeSettings(("$arrival",), "unix_ns", beside=True)
    form = CsvSettings(time, cells, "\x1f", ("number",))
    settings = MessageSettings(form, "mqtt", template="home/{site}/{device}/{metric}")
    messages = [Message(str(place).encode(), key=f"home/s{place % 2}/d{place}/temp") for place in range(40)]
    messages += [Message(b"on", key="home/a/b/c"), Message(b"1", key="other")]
    readings, faults = read(settings, messages)
    assert readings == [(f"d{place}", "temp", {"site": f"s{place % 2}"}, ARRIVAL + place, place) for place in range(40)]
    assert faults == [
        (40, b"on", "number: 'on' is not a number"),
        (41, b"1", "the topic 'other' is none of home/{site}/{device}/{metric}"),
    ]


def test_the_time_that_the_broker_keeps() -> None:
    """A message that has none is a dead letter."""
    form = JsonSettings(TimeSettings(("$time",), "unix_ns", beside=True), (Cell("v", Beside("$topic"), Constant("m")),))
    settings = MessageSettings(form, "kafka", "sensors")
    messages = [Message(b'{"v": 1}', time=START * SECOND), Message(b'{"v": 2}')] * 10
    readings, faults = read(settings, messages)
    assert readings == [("sensors", "m", {}, START * SECOND, 1.0)] * 10
    assert {reason for *_, reason in faults} == {"the time is blank"}


def test_line_protocol() -> None:
    body = f"m,host=a v=1 {START * SECOND}\nm,host=b v=2\nbad".encode()
    readings, faults = read(MessageSettings(LineProtocolSettings(), "amqp"), [Message(b"# nothing"), Message(body)])
    assert readings == [("a", "m_v", {}, START * SECOND, 1.0), ("b", "m_v", {}, ARRIVAL + 1, 2.0)]
    assert [(place, data) for place, data, _ in faults] == [(1, b"bad")]


def test_without_a_mapping_messages_are_in_our_own_form() -> None:
    body = b'{"device": "a", "metric": "m", "time": "2024-01-01T00:00:00Z", "value": 2}'
    readings, faults = read(MessageSettings(None, "amqp"), [Message(body, content_type=JSON), Message(b"?")])
    assert readings == [("a", "m", {}, 1_704_067_200 * SECOND, 2.0)]
    assert [place for place, *_ in faults] == [1]
