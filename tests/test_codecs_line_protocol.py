"""Line protocol: by hand, as InfluxDB's own client writes it, and in pieces."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources import read, write
from tocsin.codecs import LineProtocolSettings
from tocsin.codecs._line_parts import OPEN_LIMIT
from tocsin.codecs.line_protocol import Decoder, Lines, Told
from tocsin.config import load
from tocsin.instant import SECOND
from tocsin.reading import Labels, Series
from tocsin.record import Record

influxdb: Any = import_module("influxdb_client")

T = 1_704_067_200 * SECOND
Row = tuple[str, str, Labels, int, float]


def told(text: str | bytes, arrival: int | None = None, **settings: Any) -> Told:
    return Lines(Series(), **settings).read(text.encode() if isinstance(text, str) else text, arrival=arrival)


def rows_of(found: Told) -> list[Row]:
    batch = found.batch
    named = [batch.series.describe(code) for code in batch.code.tolist()]
    return [
        (*name, time, value) for name, time, value in zip(named, batch.time.tolist(), batch.value.tolist(), strict=True)
    ]


def test_every_field_with_a_number_is_a_reading() -> None:
    """By hand: texts are passed over, true is 1, and the field `value` needs no name."""
    found = told(f'weather,site=n,device=attic temp=21.5,hum=-4i,up=7u,on=t,off=FALSE,note="a b, c=1",value=1e3 {T}')
    assert rows_of(found) == [
        ("attic", "weather_temp", (("site", "n"),), T, 21.5),
        ("attic", "weather_hum", (("site", "n"),), T, -4.0),
        ("attic", "weather_up", (("site", "n"),), T, 7.0),
        ("attic", "weather_on", (("site", "n"),), T, 1.0),
        ("attic", "weather_off", (("site", "n"),), T, 0.0),
        ("attic", "weather", (("site", "n"),), T, 1000.0),
    ]
    assert (found.bad, found.passed_over) == ([], 1)


def test_lines_that_say_nothing_are_passed_over_and_still_counted() -> None:
    found = told('\n# a comment "\n\r\n   \n m,device=a value=1 5 \r\nbad\n')
    assert [row[3:] for row in rows_of(found)] == [(5, 1.0)]
    assert [(number, raw) for number, raw, _ in found.bad] == [(6, b"bad")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (r"my\ room\,x,device=a\ b,ta\=g=v\,1 f\ 1=2 7", ("a b", "my room,x_f 1", (("ta=g", "v,1"),), 7, 2.0)),
        (r'm,device=a"b x=1 7', ('a"b', "m_x", (), 7, 1.0)),
        (r"m,device=a\b x=1 7", (r"a\b", "m_x", (), 7, 1.0)),
        ('m,device=a t="two\nlines, \\"quoted\\" \\\\",x=1 7', ("a", "m_x", (), 7, 1.0)),
        ('m,device=a x=1,t="# no comment" 7', ("a", "m_x", (), 7, 1.0)),
        ("m,device=é  x=1   7", ("é", "m_x", (), 7, 1.0)),
        ("m,device=a\u00a0b x=1 7", ("a\u00a0b", "m_x", (), 7, 1.0)),
        ('\u00a0m,device=a\u00a0 x=1,t="" 7', ("a\u00a0", "\u00a0m_x", (), 7, 1.0)),
        ('  m,device=a t="",x=1  7\r', ("a", "m_x", (), 7, 1.0)),
        ("m,device=a x=.5 -7", ("a", "m_x", (), -7, 0.5)),
    ],
)
def test_what_is_escaped_or_quoted_keeps_its_signs(line: str, expected: Row) -> None:
    assert rows_of(told(f"{line}\nz,device=z value=1 1")) == [expected, ("z", "z", (), 1, 1.0)]


@pytest.mark.parametrize(
    ("precision", "unit"), [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", SECOND), ("h", 3_600 * SECOND)]
)
def test_times_have_a_precision(precision: str, unit: int) -> None:
    assert told("m,device=a value=1 7", precision=precision).batch.time.tolist() == [7 * unit]


def test_a_line_without_a_time_is_of_its_arrival() -> None:
    assert told("m,device=a value=1", arrival=T, precision="s").batch.time.tolist() == [T]
    assert "there is no time at its end" in told("m,device=a value=1").bad[0][2]


def test_the_device_is_a_tag() -> None:
    line = "m,host=h,device=d,id=i value=1 1"
    assert rows_of(told(line))[0][:3] == ("d", "m", (("host", "h"), ("id", "i")))
    assert rows_of(told("m,host=h value=1 1"))[0][:3] == ("h", "m", ())
    assert rows_of(told(line, device="id"))[0][:3] == ("i", "m", (("device", "d"), ("host", "h")))
    assert "no tag says the device: expected `id`" in told("m,host=h value=1 1", device="id").bad[0][2]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m", "expected a measurement with tags, then fields, then a time"),
        ("m,device=a 7", "a field is not written as name=value"),
        ("m,device=a x=1,,y=2 7", "a field is not written as name=value"),
        ("m,device=a x= 7", "a field is not written as name=value"),
        ("m,device=a x=1, 7", "a field is not written as name=value"),
        ("m,device=a =1 7", "a field is not written as name=value"),
        (r"m,device=a x\ =1,t= 7", "a field is not written as name=value"),
        ("m,device=a x=nan 7", "field 'x': nan is neither a number, true or false, nor a text in quotes"),
        ("m,device=a x=1_000 7", "field 'x': 1_000 is neither"),
        ("m,device=a x=1e999 7", "field 'x': 1e999 is too large"),
        ("m,device=a x=9223372036854775808i 7", "does not fit into 64 bits"),
        ("m,device=a x=-1u 7", "does not fit into 64 bits"),
        ("m,device=a x=1.5i 7", "field 'x': 1.5i is neither"),
        ("m,device=a x=tRUE 7", "field 'x': tRUE is neither"),
        ("m,device=a x=1 noon", "'noon' is no time: expected an integer at the end"),
        ("m,device=a x=1 1.5", "'1.5' is no time"),
        ("m,device=a x=1 7 8", "'7 8' is no time"),
        (f"m,device=a x=1 {10**19}", "lies outside the years 1700 to 2199: is the precision right?"),
        ("m,device= x=1 7", "the tag 'device=' is not written as name=value"),
        ("m,device x=1 7", "the tag 'device' is not written as name=value"),
        (",device=a x=1 7", "the measurement is missing"),
        ("m x=1 7", "no tag says the device: expected `device` or `host`"),
        ('m,device=a t="open,x=1 7', "a text is begun with a quote and not ended"),
        ("m,device=\xff x=1 7".encode("latin-1"), "byte 0xff is not UTF-8"),
    ],
)
def test_a_line_with_a_fault_is_a_reject_and_the_others_count(line: str | bytes, reason: str) -> None:
    raw = line.encode() if isinstance(line, str) else line
    found = told(b"m,device=a value=1 1\n" + raw + b"\nm,device=a value=2 2\n")
    assert [row[4] for row in rows_of(found)] == [1.0, 2.0]
    ((number, data, said),) = found.bad
    assert (number, data) == (2, raw)
    assert reason in said


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=6).filter(
    lambda name: not name.endswith("\\") and name[0] not in "#_" and bool(name.strip())
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
FIELDS = st.dictionaries(
    NAMES.filter(lambda name: '"' not in name and name != "value"),
    st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    min_size=1,
    max_size=4,
)
POINTS = st.tuples(NAMES, st.dictionaries(NAMES, NAMES, max_size=3), NAMES, FIELDS, st.integers(0, 2**62))


def test_a_backslash_before_an_equals_sign_is_itself_in_a_measurement_and_not_in_a_tag() -> None:
    found = told(r"a\=\,b\ c,device=d,t\=u=v\=w x=1 1")
    assert rows_of(found) == [("d", r"a\=,b c_x", (("t=u", "v=w"),), 1, 1.0)]


@given(points=st.lists(POINTS, max_size=5))
@settings(max_examples=200, deadline=None)
def test_what_influxdbs_own_client_writes_is_read(points: list[Any]) -> None:
    """Numbers to the last digit its client writes, and whatever stands in names and texts."""
    lines, expected, texts = [], [], 0
    for measurement, tags, device, fields, time in points:
        point = influxdb.Point(measurement).tag("device", device).time(time, "ns")
        for name, value in (tags := {name: tag for name, tag in tags.items() if name != "device"}).items():
            point = point.tag(name, value)
        for name, value in fields.items():
            point = point.field(name, value)
            texts += isinstance(value, str)
        lines.append(point.to_line_protocol())
        expected += [
            (device, f"{measurement}_{name}", tuple(sorted(tags.items())), time, float(value))
            for name, value in sorted(fields.items())
            if not isinstance(value, str)
        ]
    found = told("\n".join(lines))
    assert found.bad == []
    assert rows_of(found) == expected
    assert found.passed_over == texts


def test_a_date_of_the_client_is_read_in_any_precision() -> None:
    moment = datetime(2024, 1, 31, 12, tzinfo=UTC)
    for precision in ("s", "ms", "us", "ns"):
        line = influxdb.Point("m").tag("host", "h").field("value", 1.5).time(moment, precision).to_line_protocol()
        assert told(line, precision=precision).batch.time.tolist() == [int(moment.timestamp()) * SECOND]


SCRAPS = st.sampled_from(
    [
        "m",
        ",",
        "device=a",
        " ",
        "x=1",
        "=",
        '"',
        "\\",
        '\\"',
        "\n",
        't="',
        "# ",
        "7",
        "\r\n",
        "é",
        'm,device=a t="x\ny" 1\n',
    ]
)


@given(noise=st.lists(SCRAPS, max_size=30).map("".join), size=st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_neither_noise_nor_the_way_bytes_arrive_breaks_it(noise: str, size: int) -> None:
    """In pieces, cut where the codec says, it gives what it gives at once."""
    data = noise.encode()
    whole = told(data)
    decoder = Decoder(LineProtocolSettings(), Series())
    rows: list[Any] = []
    bad: list[Any] = []
    waiting, line = b"", 1
    for start in range(0, len(data), size):
        waiting += data[start : start + size]
        last = start + size >= len(data)
        while cut := decoder.whole(waiting) or (len(waiting) if last else 0):
            place = {"file": "x", "line": line, "offset": 0}
            step = decoder.decode(Record(waiting[:cut], place, place))
            rows += rows_of(Told(step.batch, [], 0))
            bad += [(one.place["line"], one.data) for one in step.rejects]
            line, waiting = line + waiting[:cut].count(b"\n"), waiting[cut:]
    assert rows == rows_of(whole)
    assert bad == [(number, raw.rstrip(b"\r\n")) for number, raw, _ in whole.bad]


def test_a_forgotten_quote_costs_its_own_line_alone() -> None:
    data = 'm,device=a t="open 1\n' + "m,device=a value=1 2\n" * (OPEN_LIMIT // 10)
    found = told(data)
    assert [number for number, _, _ in found.bad] == [1]
    assert len(found.batch) == OPEN_LIMIT // 10


@pytest.mark.parametrize(
    "data",
    [
        'm,device=a t="\n' * 40_000,
        ('m,device=a t="' + '\\"\n' * 20_000) * 8,
        "m,device=a x=" + "1" * 500_000 + "i 1",
        "m,device=a x=1e" + "9" * 500_000 + "z 1",
        "m" * 500_000,
        "\\ " * 250_000,
        "m,device=a " + "," * 500_000,
    ],
    ids=range(7),
)
def test_lines_made_to_take_long_do_not(data: str) -> None:
    """Each took minutes where every length of a match, or every line after it, was tried again."""
    began = process_time()
    found = told(data)
    assert process_time() - began < 5
    assert len(found.batch) == 0
    assert all(len(reason) < 300 for _, _, reason in found.bad)


def test_a_file_of_lines_is_read_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, f"cpu,host=a,site=x idle=97.5 {T}\ncpu,host=a idle=96\n", "telegraf.lp")
    text = """
pipeline: p
source: {file: telegraf.lp, device: host}
rules: [{alert: Busy, expr: 'cpu_idle{site="x"} < 10'}]
"""
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    config = load(tmp_path / "p.yaml")
    assert config.codec == LineProtocolSettings("ns", "host")
    rows, rejects, _ = read(config.source.path, config.codec)
    assert rows == [("2024-01-01T00:00:00Z", "a", "cpu_idle", 97.5)]
    assert [(reject.place["line"], reject.data) for reject in rejects] == [(2, b"cpu,host=a idle=96")]
