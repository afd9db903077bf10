"""Numbers: a line's place is its time, whatever stands in the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from sources import read, write
from tocsin.codecs import NumbersSettings
from tocsin.instant import SECOND, parse_time

SETTINGS = NumbersSettings(parse_time("2024-01-01T00:00:00Z"), SECOND // 2, "p", "bpm", (("ward", "3"),))


def test_each_number_follows_the_one_before_by_the_interval(tmp_path: Path) -> None:
    rows, rejects, (step, _) = read(write(tmp_path, "60.5\n61\n-1e1"), SETTINGS)
    assert rows == [
        ("2024-01-01T00:00:00Z", "p", "bpm", 60.5),
        ("2024-01-01T00:00:00.5Z", "p", "bpm", 61.0),
        ("2024-01-01T00:00:01Z", "p", "bpm", -10.0),
    ]
    assert rejects == []
    assert step.batch.series.describe(int(step.batch.code[0]))[2] == (("ward", "3"),)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_blank_line_is_a_moment_without_a_reading(tmp_path: Path, line_end: str) -> None:
    rows, rejects, _ = read(write(tmp_path, line_end.join(["\ufeff60", "", " ", " 61 ", ""])), SETTINGS)
    assert [(row[0], row[3]) for row in rows] == [("2024-01-01T00:00:00Z", 60.0), ("2024-01-01T00:00:01.5Z", 61.0)]
    assert rejects == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"beat", "the line: 'beat' is not a number"),
        (b"1,5", "the line: '1,5' is not a number"),
        (b'"7"', "the line: '\"7\"' is not a number"),
        (b"nan", "the line: nan is not a finite number"),
        (b"\xe9", "byte 0xe9 is not UTF-8"),
    ],
)
def test_a_bad_line_moves_no_other_reading(tmp_path: Path, line: bytes, reason: str) -> None:
    path = write(tmp_path, b"60\n" + line + b"\n62\n")
    rows, (reject,), _ = read(path, SETTINGS)
    assert [(row[0], row[3]) for row in rows] == [("2024-01-01T00:00:00Z", 60.0), ("2024-01-01T00:00:01Z", 62.0)]
    assert (reject.data, reject.place) == (line, {"file": path, "line": 2})
    assert reject.reason.startswith(reason)
