"""What holds for every codec: no bytes break it, and neither blocks nor a bad line change what the others give."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources import Row, long_csv, rows_of
from tocsin.codecs import (
    Cell,
    CodecSettings,
    Column,
    Constant,
    JsonLinesSettings,
    JsonSettings,
    NumbersSettings,
    TimeSettings,
    decoder,
)
from tocsin.codecs import Decoder as AnyDecoder
from tocsin.instant import SECOND
from tocsin.reading import Series
from tocsin.record import Decoded, Record, Reject

FLAT = (Cell("value", Column("device"), Constant("v")),)
TIME = TimeSettings(("ts",))
CODECS: list[CodecSettings] = [
    long_csv(),
    JsonLinesSettings(TIME, FLAT),
    JsonSettings(TIME, FLAT),
    NumbersSettings(0, SECOND, "p", "v"),
]
HEADER = b"ts,device,name,value\n"

SCRAPS = st.sampled_from(
    [
        *(mark.encode() for mark in '"\\,{}[]:a \n\r\x00é'),
        *b'2024-01-01|12|-1.5|nan|null|true|\\"|"ts"|"device"|"value"|"2024-01-01"|"\\ud800"'.split(b"|"),
        *(b"\xff", b"\xef\xbb\xbf", b"\r\n", b"2024-01-01,a,v,1\n"),
        b'{"ts": "2024-01-01", "device": "a", "value": 1}',
        b'{"ts": "2024-01-01", "device": "\\ud800", "value": 1}',
    ]
)
NOISE = st.lists(SCRAPS, max_size=40).map(b"".join)


def decode(made: AnyDecoder, data: bytes, line: int = 1, offset: int = 0) -> Decoded:
    place: dict[str, Any] = {"file": "x", "line": line, "offset": offset, "earlier": 0}
    return made.decode(Record(data, place, place))


def in_pieces(made: AnyDecoder, data: bytes, size: int) -> tuple[list[Row], list[Reject]]:
    """What comes of bytes that arrive a few at a time, cut where the codec says."""
    rows: list[Row] = []
    rejects: list[Reject] = []
    waiting, line, offset = b"", 1, 0
    for start in range(0, len(data), size):
        waiting += data[start : start + size]
        last = start + size >= len(data)
        while cut := made.whole(waiting) or (len(waiting) if last else 0):
            step = decode(made, waiting[:cut], line, offset)
            rows += rows_of(step)
            rejects += step.rejects
            line, offset, waiting = line + waiting[:cut].count(b"\n"), offset + cut, waiting[cut:]
    return rows, rejects


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.codec)
@given(noise=NOISE)
@settings(max_examples=150, deadline=None)
def test_no_bytes_break_a_codec(codec: CodecSettings, noise: bytes) -> None:
    made = decoder(codec, Series())
    data = (HEADER if codec.codec == "csv" else b"") + noise
    step = decode(made, data)
    assert all(value == value for value in step.batch.value.tolist())
    assert all(reject.reason for reject in step.rejects)
    assert 0 <= made.whole(data) <= len(data)


OBJECT = '{{"ts": "{}", "device": {}, "value": {}}}'
TEXT_TIMES = st.sampled_from(["2024-01-01T00:00:00Z", "2024-01-02", "2024-01-01 05:00:00+02:00", "", "noon"])
TEXT_VALUES = st.sampled_from(["1", "-2.5", "", "null", "1e3", '"7"', "warm", "nan"])


@given(
    rows=st.lists(st.tuples(TEXT_TIMES, st.sampled_from(['"a"', '"b c"', "17", '""']), TEXT_VALUES), max_size=12),
    size=st.integers(1, 80),
)
@settings(max_examples=100, deadline=None)
@pytest.mark.parametrize("codec", CODECS[:3], ids=lambda codec: codec.codec)
def test_how_bytes_arrive_changes_nothing(codec: CodecSettings, rows: list[tuple[str, str, str]], size: int) -> None:
    if codec.codec == "csv":
        data = HEADER + "".join(f"{time},{device},v,{value}\n" for time, device, value in rows).encode()
    else:
        data = "".join(OBJECT.format(*row) + "\n" for row in rows).encode()
    whole = decode(decoder(codec, Series()), data)
    found, rejects = in_pieces(decoder(codec, Series()), data, size)
    assert found == rows_of(whole)
    assert [(one.place, one.reason) for one in rejects] == [(one.place, one.reason) for one in whole.rejects]


@pytest.mark.parametrize("codec", CODECS[:3], ids=lambda codec: codec.codec)
@pytest.mark.parametrize("bad", [[], [0], [9_999], [19_999], [0, 1, 2, 7_000, 7_001, 12_345, 19_999]])
def test_bad_lines_are_found_in_a_large_block_and_the_others_all_count(codec: CodecSettings, bad: list[int]) -> None:
    if codec.codec == "csv":
        lines = [f"2024-01-01,d{place % 100},v,{place}\n".encode() for place in range(20_000)]
    else:
        lines = [(OBJECT.format("2024-01-01", f'"d{place % 100}"', place) + "\n").encode() for place in range(20_000)]
    for place in bad:
        lines[place] = b'{"ts": bad}\n'
    head = HEADER if codec.codec == "csv" else b""
    step = decode(decoder(codec, Series()), head + b"".join(lines))
    assert step.batch.value.tolist() == [float(place) for place in range(20_000) if place not in bad]
    first = 2 if codec.codec == "csv" else 1
    assert [reject.place["line"] for reject in step.rejects] == [place + first for place in bad]
    assert {reject.data for reject in step.rejects} <= {b'{"ts": bad}'}
