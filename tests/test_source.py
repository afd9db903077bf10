"""A source finds the line of each of its readings again, for messages that name it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sources import TS, long_csv, read, wide_cells, write
from tocsin.codecs import Cell, CodecSettings, Constant, CsvSettings, JsonLinesSettings, JsonSettings, NumbersSettings
from tocsin.instant import SECOND

CSV = """\
ts,device,name,value

2024-01-01T00:00:00Z,a,v,1
2024-01-01T00:00:01Z,b,v,hot
2024-01-01T00:00:02Z,"a
b",v,3

2024-01-01T00:00:03Z,a,v,
2024-01-01T00:00:04Z,a,v,5
"""
JSON_LINES = """\
{"ts": "2024-01-01T00:00:00Z", "v": 1}

{"ts": "2024-01-01T00:00:01Z", "v": null}
{"ts": "2024-01-01T00:00:02Z", "v": 3}
nonsense
{"ts": "2024-01-01T00:00:03Z", "v": 4}
"""
JSON = """\
[
  {"ts": "2024-01-01T00:00:00Z",
   "v": 1},
  {"ts": "2024-01-01T00:00:01Z", "v": 2}, {"ts": "2024-01-01T00:00:02Z", "v": 3},

  {
    "ts": "2024-01-01T00:00:03Z", "v": 4}
]
"""
CELLS = (Cell("v", Constant("a"), Constant("v")),)
NUMBERS = NumbersSettings(0, SECOND, "a", "v")


@pytest.mark.parametrize(
    ("text", "codec", "lines"),
    [
        (CSV, long_csv(), [3, 5, 9]),
        (
            "\ufeffts,a,b\n2024-01-01,1,2\n2024-01-02,,\n2024-01-03,,3\n",
            CsvSettings(TS, wide_cells(a="a", b="b")),
            [2, 2, 4],
        ),
        ("2024-01-01,1\r\n2024-01-02,2\r\n", CsvSettings(TS, wide_cells(a="a"), header=("ts", "a")), [1, 2]),
        (JSON_LINES, JsonLinesSettings(TS, CELLS), [1, 4, 6]),
        (JSON, JsonSettings(TS, CELLS), [2, 4, 4, 6]),
        ("1\n\n3\nhot\n5", NUMBERS, [1, 3, 5]),
    ],
    ids=["csv", "wide csv", "csv without header", "json lines", "json", "numbers"],
)
def test_each_reading_has_its_line(tmp_path: Path, text: str, codec: CodecSettings, lines: list[int]) -> None:
    """Blank lines, rejects and rows over several lines count as they stand in the file."""
    for path in (write(tmp_path, text), write(tmp_path, gzip.compress(text.encode()), "data.gz")):
        _, _, steps = read(path, codec)
        assert [step.line_of(row) for step in steps for row in range(len(step.batch))] == lines


def test_the_line_is_that_of_the_file_in_every_block_of_it(tmp_path: Path) -> None:
    """At 27 bytes a line a file of 300,000 lines after its header takes two blocks of 6 MiB."""
    text = "ts,device,name,value\n" + "2024-01-01T00:00:00Z,a,v,1\n" * 300_000
    _, _, steps = read(write(tmp_path, text), long_csv())
    first, second = steps
    assert (first.line_of(0), first.line_of(len(first.batch) - 1)) == (2, len(first.batch) + 1)
    assert second.line_of(0) == len(first.batch) + 2
    assert second.line_of(len(second.batch) - 1) == 300_001


def test_a_file_that_is_no_longer_what_it_was_has_no_lines(tmp_path: Path) -> None:
    path = write(tmp_path, CSV)
    _, _, (step,) = read(path, long_csv())
    Path(path).write_text("ts,device,name,value\n")
    assert step.line_of(0) is None
    Path(path).unlink()
    assert step.line_of(0) is None


def test_a_reading_after_a_stop_has_its_line_too(tmp_path: Path) -> None:
    path = write(tmp_path, CSV)
    _, _, (before,) = read(path, long_csv())
    with Path(path).open("a") as file:
        file.write("2024-01-01T00:00:05Z,a,v,6\n")
    _, _, (step,) = read(path, long_csv(), position=before.position)
    assert step.line_of(0) == 10
    Path(path).write_text("ts,device,name,value\n2024-01-01T00:00:05Z,a,v,6\n")
    assert step.line_of(0) is None
