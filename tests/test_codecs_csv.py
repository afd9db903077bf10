"""CSV: every well-formed line is readings, every other line is a reject with its number and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from sources import LONG, TS, lines_of, long_csv, read, wide_cells, write
from tocsin.codecs import Cell, Column, Constant, CsvSettings, TimeSettings
from tocsin.codecs.csv import OPEN_LIMIT, Decoder
from tocsin.connectors.file import Source
from tocsin.errors import SetupError
from tocsin.reading import Series
from tocsin.record import Record

HEADER = "ts,device,name,value\n"
GOOD = "2024-01-01T00:00:00Z,a,v,1\n"
FIRST = ("2024-01-01T00:00:00Z", "a", "v", 1.0)


def test_a_long_file_names_device_and_metric_in_every_row(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + GOOD + "2024-01-01T00:00:10Z,b,w,2.5\n")
    rows, rejects, _ = read(path, long_csv())
    assert rows == [FIRST, ("2024-01-01T00:00:10Z", "b", "w", 2.5)]
    assert rejects == []


def test_a_wide_row_gives_its_cells_from_left_to_right_and_a_blank_cell_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "ts,A,B\n2024-01-01,1,2\n2024-01-02,,3\n2024-01-03,,\n")
    rows, rejects, _ = read(path, CsvSettings(TS, wide_cells(A="a", B="b")))
    assert [(row[1], row[3]) for row in rows] == [("a", 1.0), ("b", 2.0), ("b", 3.0)]
    assert rejects == []


def test_labels_come_from_columns_and_from_the_settings(tmp_path: Path) -> None:
    cell = Cell("value", Column("device"), Constant("v"), (("zip", Column("zip")), ("kind", Constant("home"))))
    path = write(tmp_path, "ts,device,zip,value\n2024-01-01,a,10001,1\n2024-01-02,a,,2\n")
    _, _, (step,) = read(path, CsvSettings(TS, (cell,)))
    labels = [step.batch.series.describe(int(code))[2] for code in step.batch.code]
    assert labels == [(("kind", "home"), ("zip", "10001")), (("kind", "home"),)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_character_may_separate_the_columns(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path, (HEADER + GOOD).replace(",", delimiter))
    assert read(path, long_csv(delimiter=delimiter))[0] == [FIRST]


@pytest.mark.parametrize(
    "text",
    [
        (HEADER + GOOD).replace("\n", "\r\n"),
        (HEADER + GOOD).replace("\n", "\r"),
        "\ufeff" + HEADER + GOOD,
        HEADER + GOOD.rstrip("\n"),
        "\n\n" + HEADER + "\n" + GOOD + "\n  \n",
        "ts, device ,name,value\n2024-01-01T00:00:00Z , a, v, 1 \n",
        'ts,"device",name,"value"\n"2024-01-01T00:00:00Z","a","v","1"\n',
    ],
    ids=["CRLF", "CR", "byte-order mark", "no last line end", "blank lines", "spaces", "quotes"],
)
def test_the_same_reading_may_be_written_in_many_ways(tmp_path: Path, text: str) -> None:
    rows, rejects, _ = read(write(tmp_path, text), long_csv())
    assert (rows, rejects) == ([FIRST], [])


def test_a_quoted_field_may_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + '2024-01-01,"a,""b""\nc",v,1\n2024-01-02,d,v,x\n')
    rows, rejects, _ = read(path, long_csv())
    assert [row[1] for row in rows] == ['a,"b"\nc']
    assert lines_of(rejects) == [4], "the row before takes two lines"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"2024-01-01,a,v", "3 fields where the header has 4"),
        (b"2024-01-01,a,v,1,2", "5 fields where the header has 4"),
        (b"2024-01-01,a,v,warm", "value: 'warm' is not a number"),
        (b"2024-01-01,a,v,1_0", "value: '1_0' is not a number"),
        (b"2024-01-01,a,v,NaN", "value: NaN is not a finite number"),
        (b"2024-01-01,a,v,-inf", "value: -inf is not a finite number"),
        (b"2024-01-01,a,v,1e400", "value: '1e400' is too large"),
        (b"yesterday,a,v,1", "'yesterday' is not an ISO 8601 time"),
        (b",a,v,1", "the time is blank"),
        (b"2024-01-01,,v,1", "the device is blank (column 'device')"),
        (b"2024-01-01,a,,1", "the metric is blank (column 'name')"),
        (b"2024-01-01,caf\xe9,v,1", "byte 0xe9 is not UTF-8"),
        (b'2024-01-01,"a,v,1', "a quoted field is opened and not closed"),
    ],
)
def test_a_bad_line_is_a_reject_with_its_bytes_its_place_and_the_reason(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    path = write(tmp_path, HEADER.encode() + GOOD.encode() + line + b"\n" + b"2024-01-01T00:00:10Z,b,v,2\n")
    rows, (reject,), _ = read(path, long_csv())
    assert rows == [FIRST, ("2024-01-01T00:00:10Z", "b", "v", 2.0)]
    assert reject.data == line
    assert reject.place == {"file": path, "line": 3}
    assert reject.reason.startswith(reason)


def test_one_bad_cell_of_a_wide_row_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    path = write(tmp_path, "ts,A,B\n2024-01-01,ERR,2\n")
    rows, (reject,), _ = read(path, CsvSettings(TS, wide_cells(A="a", B="b")))
    assert [row[1:] for row in rows] == [("b", "v", 2.0)]
    assert reject.reason == "A: 'ERR' is not a number"


def test_the_good_rows_of_a_block_are_the_same_with_and_without_a_bad_one(tmp_path: Path) -> None:
    values = ["1", "-0.0", "+2", ".5", "5.", "1e3", " 7 ", "", '"8"']
    text = HEADER + "".join(f"2024-01-01T00:00:0{place}Z,a,v,{value}\n" for place, value in enumerate(values))
    alone = read(write(tmp_path, text), long_csv())[0]
    beside = read(write(tmp_path, text + "bad\n"), long_csv())[0]
    assert [row[3] for row in alone] == [1.0, 0.0, 2.0, 0.5, 5.0, 1000.0, 7.0, 8.0]
    assert beside == alone
    assert str(alone[1][3]) == "0.0", "minus zero is stored as zero"


def test_further_ways_to_write_a_blank_cell_can_be_named(tmp_path: Path) -> None:
    settings = CsvSettings(TS, wide_cells(A="a", B="b"), missing=("?", "n/a"))
    rows, rejects, _ = read(write(tmp_path, "ts,A,B\n2024-01-01,?,1\n2024-01-02,n/a,2\n"), settings)
    assert [row[3] for row in rows] == [1.0, 2.0]
    assert rejects == []


def test_a_file_without_a_header_gets_its_names_from_the_settings(tmp_path: Path) -> None:
    settings = CsvSettings(TS, LONG, header=("ts", "device", "name", "value"))
    assert read(write(tmp_path, GOOD), settings)[0] == [FIRST]
    assert read(write(tmp_path, HEADER + GOOD), settings)[0] == [FIRST], "the same header in the file is no reading"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ts,devise,name,value\n" + GOOD,
            "there is no column 'device'. Did you mean 'devise'? The file has: ts, devise",
        ),
        ("ts;device;name;value\nx;a;v;1\n", "Its columns seem to be separated by ';': set `delimiter: ';'`"),
        ("ts,device,device,name,value\n", "the column 'device' is there more than once"),
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        (HEADER, "there is a header and no line after it"),
        ("ts,device".encode("utf-16"), "this is UTF-16, expected UTF-8"),
    ],
)
def test_a_file_that_cannot_give_readings_is_refused_before_the_first(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(SetupError) as refused:
        read(write(tmp_path, text), long_csv())
    assert message in str(refused.value)


def test_a_forgotten_quote_costs_its_line_and_no_other(tmp_path: Path) -> None:
    lines = [f"2024-01-01T00:00:00Z,a,v,{value}\n" for value in range(6000)]
    lines[10] = '2024-01-01,"open,v,1\n'
    assert sum(map(len, lines)) > 2 * OPEN_LIMIT
    rows, rejects, _ = read(write(tmp_path, HEADER + "".join(lines)), long_csv())
    assert lines_of(rejects) == [12]
    assert [row[3] for row in rows] == [float(value) for value in range(6000) if value != 10]


def test_a_block_never_ends_inside_a_quoted_field() -> None:
    decoder = Decoder(long_csv(), Series())
    assert decoder.whole(b'a,b\n"x\ny",1\nz') == len(b'a,b\n"x\ny",1\n')
    assert decoder.whole(b'a,b\n"x\ny') == len(b"a,b\n")
    assert decoder.whole(b"a,b") == 0
    assert decoder.whole(b'a,5" pipe\nb,c\n') == len(b'a,5" pipe\nb,c\n')


def test_a_very_long_line_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + GOOD + "2024-01-01," + "x" * 9_000_000 + ",v,3\n" + GOOD)
    rows, rejects, _ = read(path, long_csv())
    assert [(len(row[1]), row[3]) for row in rows] == [(1, 1.0), (9_000_000, 3.0), (1, 1.0)]
    assert rejects == []


def test_two_columns_may_make_the_time(tmp_path: Path) -> None:
    time = TimeSettings(("Date", "Time"), "%d/%m/%Y %H:%M:%S")
    path = write(tmp_path, "Date;Time;A\n01/02/2007;0:01:00;0.326\n;0:02:00;1\n")
    rows, rejects, _ = read(path, CsvSettings(time, wide_cells(A="a"), ";"))
    assert rows == [("2007-02-01T00:01:00Z", "a", "v", 0.326)]
    assert lines_of(rejects) == [3]


@pytest.mark.parametrize("table", [0, 6, 1 << 23])
def test_every_combination_of_names_is_a_series_of_its_own(
    tmp_path: Path, table: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, and whether they come in one block or in several."""
    monkeypatch.setattr("tocsin.codecs._cells._TABLE", table)
    monkeypatch.setattr(Source.poll, "__defaults__", (700, 0.0))
    cell = Cell("value", Column("device"), Column("name"), (("zip", Column("zip")),))
    names = [(f"d{n % 7}", f"m{n % 5}", f"z{n % 3}" if n % 4 else "") for n in range(300)]
    text = "ts,device,name,zip,value\n" + "".join(f"2024-01-01,{d},{m},{z},{n}\n" for n, (d, m, z) in enumerate(names))
    rows, rejects, steps = read(write(tmp_path, text), CsvSettings(TS, (cell,)))
    series = steps[0].batch.series
    found = [series.describe(int(code)) for step in steps for code in step.batch.code]
    assert found == [(d, m, (("zip", z),) if z else ()) for d, m, z in names]
    assert len(series) == len(set(names))
    assert ([row[3] for row in rows], rejects) == ([float(n) for n in range(300)], [])
    assert len(steps) > 5


def test_few_rows_among_very_many_devices_are_found_as_well() -> None:
    decoder = Decoder(long_csv(), Series())
    place = {"file": "x", "offset": 0, "line": 1, "earlier": 0}
    many = HEADER + "".join(f"2024-01-01,d{n},v,1\n" for n in range(100))
    first = decoder.decode(Record(many.encode(), place, place)).batch
    few = b"2024-01-02,d7,v,1\n2024-01-02,new,v,1\n2024-01-02,d99,v,1\n2024-01-02,new,v,1\n"
    second = decoder.decode(Record(few, {**place, "offset": len(many)}, place)).batch
    assert [first.series.describe(int(code))[0] for code in second.code] == ["d7", "new", "d99", "new"]
    assert len(first.series) == 101
