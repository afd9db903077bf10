"""Times and durations as people write them."""

from __future__ import annotations

import pytest

from tocsin.instant import SECOND, format_duration, format_time, parse_duration, parse_time

NOON = 1_704_110_400 * SECOND
"""2024-01-01T12:00:00Z."""


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0s", 0),
        ("7ns", 7),
        ("3us", 3_000),
        ("500ms", 500_000_000),
        ("90s", 90 * SECOND),
        ("2m30s", 150 * SECOND),
        ("1.5h", 5_400 * SECOND),
        ("0.1s", 100_000_000),
        ("1w2d", 9 * 86_400 * SECOND),
        ("30s2m", 150 * SECOND),
    ],
)
def test_a_duration_is_numbers_and_units_added_up(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "5", "m", "-5s", "5 s", "5s ", "1.s", ".5s", "5y", "1h-2m", "5M"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a number and a unit, as in .*90s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "1ns", "500ms", "59s", "1m", "2m30s", "1h1m1s1ms1us1ns", "7d", "3650d"])
def test_a_duration_is_written_as_it_is_read(text: str) -> None:
    assert format_duration(parse_duration(text)) == text


def test_a_week_is_written_in_days() -> None:
    assert format_duration(parse_duration("2w")) == "14d"


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (NOON, "2024-01-01T12:00:00Z"),
        (NOON + 1, "2024-01-01T12:00:00.000000001Z"),
        (NOON + 500_000_000, "2024-01-01T12:00:00.5Z"),
        (NOON + 120_000_000, "2024-01-01T12:00:00.12Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (-(10**9), "1969-12-31T23:59:59Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
        (-(2**63), "1677-09-21T00:12:43.145224192Z"),
    ],
)
def test_a_time_is_written_in_utc_to_the_nanosecond_without_trailing_zeros(nanoseconds: int, text: str) -> None:
    assert format_time(nanoseconds) == text
    assert parse_time(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T12:00:00",
        "2024-01-01 12:00:00",
        "2024-01-01T12:00:00Z",
        "2024-01-01T14:00:00+02:00",
        "2024-01-01T14:00:00+0200",
        "2024-01-01T07:30:00-04:30",
        "2024-01-01T12:00",
        " 2024-01-01T12:00:00Z ",
        "2024-01-01T12:00:00.0000000000001Z",
    ],
)
def test_one_moment_has_many_spellings(text: str) -> None:
    assert parse_time(text) == NOON


def test_a_day_alone_begins_at_midnight() -> None:
    assert parse_time("2024-01-01") == NOON - 12 * 3_600 * SECOND
    assert parse_time("2024-01-01+02:00") == NOON - 14 * 3_600 * SECOND


@pytest.mark.parametrize(
    "text", ["", "noon", "2024-13-01T00:00:00Z", "2024-01-01T25:00:00Z", "2024-02-30", "1704110400"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)
