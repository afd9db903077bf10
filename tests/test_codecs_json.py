"""JSON: an object a line, an array, or objects one after the other, with fields named by dotted paths."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sources import TS, Row, lines_of, read, write
from tocsin.codecs import Cell, Column, Constant, JsonLinesSettings, JsonSettings, TimeSettings
from tocsin.codecs.json import Decoder
from tocsin.errors import SetupError
from tocsin.reading import Series

FLAT = (Cell("v", Column("d"), Constant("v")),)
LINES = JsonLinesSettings(TS, FLAT)
ARRAY = JsonSettings(TS, FLAT)
GOOD = '{"ts": "2024-01-01T00:00:00Z", "d": "a", "v": 1}'
FIRST: Row = ("2024-01-01T00:00:00Z", "a", "v", 1.0)


def object_at(second: int, value: object = 1, device: object = "a") -> str:
    return json.dumps({"ts": f"2024-01-01T00:00:{second:02}Z", "d": device, "v": value})


def test_nested_fields_are_named_by_dotted_paths(tmp_path: Path) -> None:
    cells = (Cell("p.l.t", Column("who.id"), Constant("temp")), Cell("p.h", Column("who.id"), Constant("hum")))
    text = (
        '{"at": {"ts": "2024-01-01"}, "who": {"id": "a"}, "p": {"l": {"t": 1.5}, "h": 40}}\n'
        '{"at": {"ts": "2024-01-02"}, "who": {"id": "a"}, "p": {"l": null, "h": 41}}\n'
        '{"at": {"ts": "2024-01-03"}, "who": {"id": "a"}}\n'
    )
    rows, rejects, _ = read(write(tmp_path, text), JsonLinesSettings(TimeSettings(("at.ts",)), cells))
    assert [row[2:] for row in rows] == [("temp", 1.5), ("hum", 40.0), ("hum", 41.0)]
    assert rejects == []


def test_a_name_with_a_dot_in_it_is_found_too(tmp_path: Path) -> None:
    settings = JsonLinesSettings(TS, (Cell("s.temp", Column("d"), Constant("v")),))
    text = '{"ts": "2024-01-01T00:00:00Z", "d": "a", "s.temp": 1}\n'
    assert read(write(tmp_path, text), settings)[0] == [FIRST]


@pytest.mark.parametrize("device", [17, -3, "17", 17.25, True])
def test_a_device_may_be_a_number(tmp_path: Path, device: object) -> None:
    text = "\n".join(object_at(second, device=device) for second in range(3))
    rows, rejects, _ = read(write(tmp_path, text), LINES)
    assert [row[1] for row in rows] == [json.dumps(device).strip('"')] * 3
    assert rejects == []


def test_kinds_may_change_from_line_to_line(tmp_path: Path) -> None:
    text = "\n".join([object_at(0, 1, "a"), object_at(1, "2", 7), object_at(2, None, "a"), object_at(3, "", "a")])
    rows, rejects, _ = read(write(tmp_path, text), LINES)
    assert [(row[1], row[3]) for row in rows] == [("a", 1.0), ("7", 2.0)]
    assert rejects == []


def test_unix_times_keep_every_digit(tmp_path: Path) -> None:
    settings = JsonLinesSettings(TimeSettings(("ts",), "unix_s"), FLAT)
    text = '{"ts": 1704067200.123456789, "d": "a", "v": 1}\n{"ts": 1704067201, "d": "a", "v": 2}\n'
    assert [row[0] for row in read(write(tmp_path, text), settings)[0]] == [
        "2024-01-01T00:00:00.123456789Z",
        "2024-01-01T00:00:01Z",
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"ts": "2024-01-01", "d": "a", "v": 1', "not JSON"),
        (b"{'ts': 1}", "not JSON"),
        (GOOD.encode() + b" " + GOOD.encode(), "not JSON: Extra data"),
        (b"null", "expected a JSON object"),
        (b"[1, 2]", "expected a JSON object"),
        (b"plain text", "not JSON"),
        (b"[" * 50_000, "not JSON that can be read: nested too deeply"),
        (b'{"ts": "2024-01-01", "d": "caf\xe9", "v": 1}', "byte 0xe9 is not UTF-8"),
        (b'{"ts": "2024-01-01", "d": "a", "v": "warm"}', "v: 'warm' is not a number"),
        (b'{"ts": "2024-01-01", "d": "a", "v": true}', "v: 'true' is not a number"),
        (b'{"ts": "2024-01-01", "d": "a", "v": [1]}', "v: '[\"1\"]' is not a number"),
        (b'{"ts": "2024-01-01", "d": "a", "v": NaN}', "v: NaN is not a finite number"),
        (b'{"ts": "2024-01-01", "d": "a", "v": -Infinity}', "v: -Infinity is not a finite number"),
        (b'{"ts": "2024-01-01", "d": "a", "v": 1e400}', "v: '1e400' is too large"),
        (b'{"ts": "2024-01-01", "d": "\\ud800", "v": 1}', "not JSON that can be read: half of a \\u pair"),
        (b"\x00\x00 1", "not JSON"),
        (b'{"ts": "soon", "d": "a", "v": 1}', "'soon' is not an ISO 8601 time"),
        (b'{"d": "a", "v": 1}', "the time is blank"),
        (b'{"ts": "2024-01-01", "v": 1}', "the device is blank (column 'd')"),
        (b'{"ts": "2024-01-01", "d": {"x": 1}, "v": 1}', "the device is blank (column 'd')"),
    ],
)
@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_bad_line_is_a_reject_wherever_it_stands(tmp_path: Path, line: bytes, reason: str, place: int) -> None:
    good = [object_at(0).encode(), object_at(1).encode()]
    path = write(tmp_path, b"\n".join([*good[: place - 1], line, *good[place - 1 :]]) + b"\n")
    rows, (reject,), _ = read(path, LINES)
    assert [row[0] for row in rows] == ["2024-01-01T00:00:00Z", "2024-01-01T00:00:01Z"]
    assert (reject.data, reject.place) == (line, {"file": path, "line": place})
    assert reject.reason.startswith(reason)


def test_blank_lines_line_ends_and_marks_do_not_matter(tmp_path: Path) -> None:
    text = "\ufeff" + GOOD + "\r\n\r\n  \n " + object_at(1) + "\r\n"
    rows, rejects, _ = read(write(tmp_path, text), LINES)
    assert ([row[0] for row in rows], rejects) == (["2024-01-01T00:00:00Z", "2024-01-01T00:00:01Z"], [])


@pytest.mark.parametrize(
    "text",
    [
        "[{0}, {1}]",
        "[\n  {0},\n  {1}\n]\n",
        "{0}\n{1}\n",
        "{0}{1}",
        "\ufeff[{0}\r\n,\r\n{1}]",
    ],
)
def test_objects_may_stand_in_an_array_or_one_after_the_other(tmp_path: Path, text: str) -> None:
    pretty = json.dumps(json.loads(object_at(1, 2.5)), indent=2)
    rows, rejects, _ = read(write(tmp_path, text.format(GOOD, pretty)), ARRAY)
    assert rows == [FIRST, ("2024-01-01T00:00:01Z", "a", "v", 2.5)]
    assert rejects == []


def test_braces_and_quotes_inside_of_strings_are_text(tmp_path: Path) -> None:
    text = "[" + object_at(0, 1, 'a"}{\\') + "," + object_at(1, 2, "[{") + "]"
    rows, rejects, _ = read(write(tmp_path, text), ARRAY)
    assert [row[1] for row in rows] == ['a"}{\\', "[{"]
    assert rejects == []


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ('{"ts": }', 3),
        ('{"ts": "2024-01-01", "d": "a", "v": "warm"}', 3),
        ('{"ts": "2024-01-01", "d": "a", "v": 1', 3),
        ('{"ts": "2024-01-01", "d": "a, "v": 1}', 3),
        ("5", 3),
        ("null", 3),
        ('"text"', 3),
    ],
)
def test_a_broken_object_of_an_array_costs_itself_alone(tmp_path: Path, broken: str, line: int) -> None:
    path = write(tmp_path, f"[\n{object_at(0)},\n{broken},\n{object_at(1)},\n{object_at(2)}\n]\n")
    rows, rejects, _ = read(path, ARRAY)
    assert [row[0] for row in rows] == [f"2024-01-01T00:00:0{second}Z" for second in range(3)]
    assert lines_of(rejects) == [line]
    assert rejects[0].data == broken.encode()


@pytest.mark.parametrize("stray", ["}", "}}", '"', '"}', '{"ts": {', '{"d": "a'])
def test_what_is_open_or_closed_too_often_costs_itself_alone(tmp_path: Path, stray: str) -> None:
    path = write(tmp_path, f"{object_at(0)}\n{stray}\n{object_at(1)}\n{object_at(2)}\n")
    rows, rejects, _ = read(path, ARRAY)
    assert [row[0] for row in rows] == [f"2024-01-01T00:00:0{second}Z" for second in range(3)]
    assert [(reject.place["line"], reject.data, reject.reason) for reject in rejects] == [
        (2, stray.encode(), "expected a JSON object here")
    ]


@pytest.mark.parametrize(
    "broken",
    [
        '{"ts": "2024-01-01T00:00:00Z", "d": "a", "v":',
        '{"ts": "2024-01-01T00:00:00Z", "d": "a", "v": }',
        '{"ts": "2024-01-01T00:00:00Z", "d": {"e": 1} f}',
    ],
)
def test_very_many_broken_objects_cost_themselves_alone(tmp_path: Path, broken: str) -> None:
    """Each of them could hold all that follows: who looks for its end each time has no end himself."""
    lines = [object_at(number % 60, number) if number % 2 else broken for number in range(40_000)]
    rows, rejects, _ = read(write(tmp_path, "\n".join(lines)), ARRAY)
    assert [row[3] for row in rows] == list(range(1, 40_000, 2))
    assert lines_of(rejects) == list(range(1, 40_001, 2))
    assert {reject.data for reject in rejects} == {broken.encode()}


def test_a_long_array_can_be_cut_after_any_object() -> None:
    text = ("[" + ",\n".join(object_at(second) for second in range(20)) + "]").encode()
    decoder = Decoder(ARRAY, Series())
    for size in range(len(text)):
        cut = decoder.whole(text[:size])
        assert cut == 0 or text[:cut].endswith(b"}")
        assert text[:cut].count(b"{") == text[:cut].count(b"}")


@pytest.mark.parametrize("settings", [LINES, ARRAY])
def test_a_path_that_is_nowhere_is_refused_with_what_is_there(
    tmp_path: Path, settings: JsonLinesSettings | JsonSettings
) -> None:
    path = write(tmp_path, '{"ts": "2024-01-01", "dd": "a", "v": 1, "x": {"y": 2}}\n')
    with pytest.raises(SetupError, match=r"there is no 'd' in its first objects\.") as refused:
        read(path, settings)
    assert "They have: ts, dd, v, x.y." in str(refused.value)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "ts,d,v\n" + "2024-01-01,a,1\n" * 20)
    with pytest.raises(SetupError, match="none of the first 21 lines is a JSON object"):
        read(path, LINES)
