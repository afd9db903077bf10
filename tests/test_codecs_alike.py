"""JSON lines that are all written alike are read by a loop of our own: what it takes, and that others would read the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources import rows_of
from tocsin.codecs import Cell, Column, Constant, JsonLinesSettings, TimeSettings, decoder
from tocsin.codecs._alike import columns_alike
from tocsin.reading import Series
from tocsin.record import Decoded, Record

LINES = JsonLinesSettings(TimeSettings(("ts",), "unix_ms"), (Cell("v", Column("d"), Constant("temp")),))
WANTED, NAMES = ["ts", "d", "v"], frozenset({"ts", "d"})


def found(text: str) -> dict[str, list[object]] | None:
    columns = columns_alike(text.encode(), WANTED, NAMES)
    return None if columns is None else {name: column.to_pylist() for name, column in columns.items()}


def step_of(data: bytes, *, alike: bool) -> Decoded:
    made = decoder(LINES, Series())
    if not alike:
        made._objects._alike = lambda _: None  # type: ignore[attr-defined]
    place = {"file": "x", "line": 1, "offset": 0, "earlier": 0}
    return made.decode(Record(data, place, place))


@pytest.mark.parametrize("end", ["", "\n"])
def test_values_are_taken_from_every_line(end: str) -> None:
    text = '{"ts":1,"d":"a","v":1.5}\n{"ts":-20,"d":"ä b","v":-0.25}\n{"ts":3,"d":"","v":7}' + end
    assert found(text) == {"ts": [1, -20, 3], "d": ["a", "ä b", ""], "v": [1.5, -0.25, 7.0]}


def test_spaces_other_fields_and_their_order_do_not_matter_as_long_as_they_stay() -> None:
    text = ' { "v" : 1, "note": "x", "d":17, "n":2.5 ,"ts":"noon" }\r\n { "v" : 2, "note": "", "d":-3, "n":0 ,"ts":"" }\r\n'
    assert found(text) == {"ts": ["noon", ""], "d": [17, -3], "v": [1.0, 2.0]}


def test_whole_numbers_of_nanoseconds_are_exact() -> None:
    text = '{"ts":1234567890123456789,"d":"a","v":1}\n{"ts":-9223372036854775807,"d":"a","v":1}\n'
    assert found(text) == {"ts": [1234567890123456789, -9223372036854775807], "d": ["a"] * 2, "v": [1.0] * 2}


def test_a_number_of_many_digits_is_the_nearest_there_is() -> None:
    written = [
        "0.1",
        "123456789012345",
        "0.30000000000000004",
        "1234567890123456789012.5",
        "-9007199254740993",
        "1.7976931348623157",
    ]
    text = "".join(f'{{"ts":1,"d":"a","v":{number}}}\n' for number in written)
    assert found(text) == {"ts": [1] * 6, "d": ["a"] * 6, "v": list(map(float, written))}


@pytest.mark.parametrize(
    "other",
    [
        '{"ts":2,"d":"b"}',
        '{"d":"b","ts":2,"v":3}',
        '{"ts":2,"d":"b","v":3,"w":4}',
        '{"ts":2, "d":"b","v":3}',
        '{"ts":2,"d":"b","v":3} ',
        '{"ts":2,"d":"b","v":3}{"ts":2,"d":"b","v":3}',
        '{"ts":2,"d":"b\\"","v":3}',
        '{"ts":2,"d":"b\t","v":3}',
        '{"ts":2,"d":null,"v":3}',
        '{"ts":2,"d":7,"v":3}',
        '{"ts":2,"d":"b","v":"3"}',
        '{"ts":2,"d":"b","v":null}',
        '{"ts":2,"d":"b","v":1e3}',
        '{"ts":2,"d":"b","v":03}',
        '{"ts":2,"d":"b","v":3.}',
        '{"ts":2,"d":"b","v":.3}',
        '{"ts":2,"d":"b","v":+3}',
        '{"ts":2,"d":"b","v":-}',
        '{"ts":2,"d":"b","v":',
        '{"ts":2,"d":"b',
        '{"ts":2.5,"d":"b","v":3}',
        '{"ts":9223372036854775808,"d":"b","v":3}',
        '{"ts":12345678901234567890,"d":"b","v":3}',
        "",
        "null",
    ],
)
def test_one_line_that_is_written_otherwise_leaves_the_block_to_others(other: str) -> None:
    line = '{"ts":1,"d":"a","v":1}'
    assert found(f"{line}\n{line}\n") is not None
    assert found(f"{line}\n{other}\n{line}\n") is None
    assert found(f"{other}\n{line}\n") is None


@pytest.mark.parametrize(
    "line",
    [
        '{"ts":1,"d":"a","v":1,"v":2}',
        '{"ts":1,"d":"a","v":{"x":1}}',
        '{"ts":1,"d":"a","v":[1]}',
        '{"ts":1,"d":"a"}',
        '{"ts":1,"d":"a","\\u0076":1}',
        '{"ts":1,"d":"a","v":1,"ok":true}',
    ],
)
def test_lines_of_another_kind_are_left_to_others_however_alike(line: str) -> None:
    assert found(f"{line}\n{line}\n") is None


NUMBERS = st.one_of(st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False))
ROWS = st.lists(st.tuples(st.integers(-(10**14), 10**14), st.text(max_size=5), NUMBERS), min_size=1, max_size=8)


@given(rows=ROWS, ascii_only=st.booleans(), gap=st.sampled_from(["", " "]))
@settings(max_examples=300, deadline=None)
def test_others_read_the_same(rows: list[tuple[int, str, float]], ascii_only: bool, gap: str) -> None:
    separators = f",{gap}", f":{gap}"
    lines = [dict(zip(WANTED, row, strict=True)) for row in rows]
    data = "\n".join(json.dumps(line, ensure_ascii=ascii_only, separators=separators) for line in lines).encode()
    one, other = step_of(data, alike=True), step_of(data, alike=False)
    assert rows_of(one) == rows_of(other)
    assert one.rejects == other.rejects
