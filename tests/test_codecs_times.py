"""Times: every way to write one gives the instant it means, and what means none is refused with the reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.codecs import Ambiguous, TimeSettings
from tocsin.codecs._times import BLANK, OUTSIDE, READ, SKIPPED, TWICE, UNREADABLE, Clock
from tocsin.instant import format_time

NEW_YEAR = "2024-01-01T00:00:00Z"


def clock(form: str = "iso8601", zone: str = "UTC", ambiguous: Ambiguous = "reject") -> Clock:
    return Clock(TimeSettings(("t",), form, zone, ambiguous))


def one(text: str, form: str = "iso8601", zone: str = "UTC", ambiguous: Ambiguous = "reject") -> str | int:
    """The instant of a text, or the state of one that has none."""
    times, states = clock(form, zone, ambiguous).read(pa.array([text]))
    return format_time(int(times[0])) if states[0] == READ else int(states[0])


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T00:00:00Z",
        "2024-01-01T00:00:00",
        "2024-01-01 00:00:00",
        "2024-01-01 00:00",
        "2024-01-01",
        "2024-01-01T01:00:00+01:00",
        "2024-01-01T01:00:00+0100",
        "2023-12-31T19:00:00-05",
        "2024-01-01t00:00:00z",
        "20240101T000000Z",
        "2024-01-01 00:00:00 Z",
        " 2024-01-01T00:00:00Z ",
        "2024-01-01T00:00:00.000Z",
        "2024-01-01T00:00:00,000Z",
    ],
)
def test_iso_8601_may_be_written_in_many_ways(text: str) -> None:
    assert one(text) == NEW_YEAR


def test_every_way_is_read_the_same_beside_any_other() -> None:
    texts = [
        "2024-01-01T00:00:00Z",
        "2024-01-01",
        "2024-01-01T01:00:00+01:00",
        "nonsense",
        None,
        "2024-01-01T00:00:00Z",
    ]
    times, states = clock().read(pa.array(texts))
    assert [format_time(int(time)) for time, state in zip(times, states, strict=True) if state == READ] == [
        NEW_YEAR
    ] * 4
    assert states.tolist() == [READ, READ, READ, UNREADABLE, BLANK, READ]


def test_nothing_finer_than_a_nanosecond_is_kept() -> None:
    assert one("2024-01-01T00:00:00.1234567891Z") == "2024-01-01T00:00:00.123456789Z"


@pytest.mark.parametrize("text", ["yesterday", "2024-02-30", "2024-01-01T25:00:00Z", "12:00:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    assert one(text) == UNREADABLE


@pytest.mark.parametrize(
    "text", ["1000-01-01", "1699-12-31T23:59:59Z", "2200-01-01", "2500-01-01", "9999-12-31T23:59:59Z"]
)
def test_a_time_outside_1700_to_2199_is_told_as_such(text: str) -> None:
    assert one(text) == OUTSIDE


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("1704067200", "unix_s", NEW_YEAR),
        ("1704067200.5", "unix_s", "2024-01-01T00:00:00.5Z"),
        ("1704067200.123456789", "unix_s", "2024-01-01T00:00:00.123456789Z"),
        ("1.7040672e9", "unix_s", NEW_YEAR),
        ("1704067200000", "unix_ms", NEW_YEAR),
        ("1704067200000.25", "unix_ms", "2024-01-01T00:00:00.00025Z"),
        ("1704067200000000", "unix_us", NEW_YEAR),
        ("1704067200000000001", "unix_ns", "2024-01-01T00:00:00.000000001Z"),
        ("-1", "unix_s", "1969-12-31T23:59:59Z"),
        ("0", "unix_s", "1970-01-01T00:00:00Z"),
        ("1704067200000", "unix_s", OUTSIDE),
        ("1e30", "unix_s", OUTSIDE),
        ("-1e30", "unix_ns", OUTSIDE),
        ("99999999999999999999", "unix_ns", OUTSIDE),
        ("nan", "unix_s", UNREADABLE),
        ("1e999999999", "unix_s", UNREADABLE),
        ("noon", "unix_ms", UNREADABLE),
        ("9" * 400, "unix_s", OUTSIDE),
        ("9" * 400, "unix_ns", OUTSIDE),
        ("1704067200." + "0" * 400, "unix_s", "2024-01-01T00:00:00Z"),
        ("1704067200." + "1" * 49, "unix_s", "2024-01-01T00:00:00.111111111Z"),
        ("-1." + "0" * 170, "unix_s", "1969-12-31T23:59:59Z"),
    ],
)
def test_unix_times_are_exact_to_the_nanosecond(text: str, form: str, expected: str | int) -> None:
    assert one(text, form) == expected


def test_unix_times_may_be_numbers() -> None:
    times, states = clock("unix_ms").read(pa.array([1704067200000, None], pa.int64()))
    assert (format_time(int(times[0])), states.tolist()) == (NEW_YEAR, [READ, BLANK])


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        ("05/22/21 12:20:15", "%m/%d/%y %H:%M:%S", "2021-05-22T12:20:15Z"),
        ("01/02/2007 0:00:00", "%d/%m/%Y %H:%M:%S", "2007-02-01T00:00:00Z"),
        ("31/02/2007 0:00:00", "%d/%m/%Y %H:%M:%S", UNREADABLE),
        ("29/02/2024 0:00:00", "%d/%m/%Y %H:%M:%S", "2024-02-29T00:00:00Z"),
        ("29/02/2023 0:00:00", "%d/%m/%Y %H:%M:%S", UNREADABLE),
        ("1 Feb 2007 1:00 PM", "%d %b %Y %I:%M %p", "2007-02-01T13:00:00Z"),
        ("08.06.2024 21:26:38.619245", "%d.%m.%Y %H:%M:%S.%f", "2024-06-08T21:26:38.619245Z"),
        ("01.03.2024 21:26:38.5", "%d.%m.%Y %H:%M:%S.%f", "2024-03-01T21:26:38.5Z"),
        ("08.06.2024 21:26:38", "%d.%m.%Y %H:%M:%S.%f", UNREADABLE),
        ("01/02/2007 01:00:00 +0100", "%d/%m/%Y %H:%M:%S %z", "2007-02-01T00:00:00Z"),
        ("032 2007", "%j %Y", "2007-02-01T00:00:00Z"),
        ("01/02/2007 0:00:00 and more", "%d/%m/%Y %H:%M:%S", UNREADABLE),
        ("05/05/3024 0:00:00", "%d/%m/%Y %H:%M:%S", OUTSIDE),
        ("01/01/1500 0:00:00", "%d/%m/%Y %H:%M:%S", OUTSIDE),
        ("05.05.3024 21:26:38.5", "%d.%m.%Y %H:%M:%S.%f", OUTSIDE),
        ("05/05/2200", "%d/%m/%Y", OUTSIDE),
        ("31/12/2199", "%d/%m/%Y", "2199-12-31T00:00:00Z"),
    ],
)
def test_a_pattern_reads_what_python_reads(text: str, form: str, expected: str | int) -> None:
    assert one(text, form) == expected


@given(st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)), min_size=1))  # noqa: DTZ001 - wall times are drawn
def test_a_pattern_is_read_back_as_it_was_written(moments: list[datetime]) -> None:
    form = "%d/%m/%Y %H:%M:%S.%f"
    times, states = clock(form).read(pa.array([moment.strftime(form) for moment in moments]))
    assert states.tolist() == [READ] * len(moments)
    whole = [
        (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        for moment in moments
    ]
    assert times.tolist() == [microseconds * 1000 for microseconds in whole]


@pytest.mark.parametrize(
    ("text", "zone", "ambiguous", "expected"),
    [
        ("2024-01-01 00:00", "America/New_York", "reject", "2024-01-01T05:00:00Z"),
        ("2024-07-01 00:00", "America/New_York", "reject", "2024-07-01T04:00:00Z"),
        ("2024-07-01 00:00Z", "America/New_York", "reject", "2024-07-01T00:00:00Z"),
        ("2024-07-01 00:00", "+02:00", "reject", "2024-06-30T22:00:00Z"),
        # The clock goes back from 02:00 EDT to 01:00 EST: 01:30 is 05:30 and 06:30 UTC.
        ("2018-11-04 01:30", "US/Pacific", "reject", TWICE),
        ("2018-11-04 01:30", "America/New_York", "earlier", "2018-11-04T05:30:00Z"),
        ("2018-11-04 01:30", "America/New_York", "later", "2018-11-04T06:30:00Z"),
        ("2018-11-04 00:59:59", "America/New_York", "reject", "2018-11-04T04:59:59Z"),
        ("2018-11-04 02:00", "America/New_York", "reject", "2018-11-04T07:00:00Z"),
        # The clock goes from 02:00 EST to 03:00 EDT: 02:30 is 06:30 UTC by EDT and 07:30 by EST.
        ("2018-03-11 02:30", "America/New_York", "reject", SKIPPED),
        ("2018-03-11 02:30", "America/New_York", "earlier", "2018-03-11T06:30:00Z"),
        ("2018-03-11 02:30", "America/New_York", "later", "2018-03-11T07:30:00Z"),
        ("2018-03-11 03:00", "America/New_York", "reject", "2018-03-11T07:00:00Z"),
    ],
)
def test_local_times_follow_summer_time(text: str, zone: str, ambiguous: Ambiguous, expected: str | int) -> None:
    assert one(text, zone=zone, ambiguous=ambiguous) == expected


@given(st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)), min_size=1))  # noqa: DTZ001 - wall times are drawn
def test_local_times_agree_with_the_zone_database(moments: list[datetime]) -> None:
    zone = ZoneInfo("Australia/Lord_Howe")  # half an hour of summer time
    times, states = clock(zone="Australia/Lord_Howe", ambiguous="earlier").read(
        pa.array([moment.isoformat() for moment in moments])
    )
    assert states.tolist() == [READ] * len(moments)
    for moment, time in zip(moments, times.tolist(), strict=True):
        both = [moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time // 1000) == min(both)


def test_the_reason_says_how_to_mend_it() -> None:
    local = clock(zone="Europe/Berlin")
    assert "set `ambiguous: earlier` or `ambiguous: later`" in local.reason("2024-10-27 02:30", TWICE)
    assert clock("%d/%m/%Y").reason("x", UNREADABLE) == "'x' is not a time as in '%d/%m/%Y', for instance 31/01/2024"
    assert clock().reason("3024-01-01", OUTSIDE) == "'3024-01-01' lies outside the years 1700 to 2199"
    assert clock("unix_s").reason("1704067200000", OUTSIDE) == (
        "'1704067200000' as a Unix time in seconds lies outside the years 1700 to 2199"
    )


@pytest.mark.parametrize(
    ("form", "zone", "message"),
    [
        ("iso8601", "Europe/Berln", "'Europe/Berln' is not a time zone: expected one as in UTC, Europe/Berlin"),
        ("unix_seconds", "UTC", "'unix_seconds' is not a format of time: expected iso8601, unix_s"),
        ("%Q", "UTC", "'%Q' is not a pattern of time"),
    ],
)
def test_an_impossible_format_or_zone_is_refused_at_once(form: str, zone: str, message: str) -> None:
    with pytest.raises(ValueError, match="is not a") as refused:
        TimeSettings(("t",), form, zone)
    assert message in str(refused.value)
