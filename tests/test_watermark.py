"""How far event time has come, and which readings come too late for it, or too soon."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tocsin.instant import LONG_AGO
from tocsin.reading import Batch, Flag, Series
from tocsin.watermark import Watermark


def at(*times: int) -> Batch:
    series = Series()
    code = series.code("a", "v")
    return Batch(series, np.full(len(times), code, np.int32), np.array(times, np.int64), np.zeros(len(times)))


def flags(watermark: Watermark, *times: int, arrival: int | None = None) -> list[Flag]:
    return named(watermark.admit(at(*times), arrival))


def named(given: Iterable[int]) -> list[Flag]:
    return [Flag(flag) for flag in given]


OK, LATE, FUTURE = Flag.ACCEPTED, Flag.LATE, Flag.FUTURE


def test_before_the_first_reading_nothing_is_in() -> None:
    watermark = Watermark(lateness=10)
    assert (watermark.value, watermark.newest) == (LONG_AGO, LONG_AGO)


def test_it_is_the_newest_time_less_the_lateness() -> None:
    watermark = Watermark(lateness=10)
    flags(watermark, 100, 130, 125)
    assert (watermark.value, watermark.newest) == (120, 130)


def test_a_reading_before_it_is_late_and_one_at_it_is_not() -> None:
    assert flags(Watermark(lateness=10), 100, 90, 89) == [OK, OK, LATE]


def test_with_no_lateness_readings_of_one_time_stay_together() -> None:
    assert flags(Watermark(lateness=0), 100, 100, 99, 101, 100) == [OK, OK, LATE, OK, LATE]


def test_lateness_is_judged_reading_by_reading_however_they_are_batched() -> None:
    times = [100, 120, 105, 112, 130, 119, 120, 100]
    whole, one_by_one = Watermark(lateness=10), Watermark(lateness=10)
    together = flags(whole, *times)
    assert together == [OK, OK, LATE, OK, OK, LATE, OK, LATE]
    assert [flag for time in times for flag in flags(one_by_one, time)] == together
    assert (whole.value, whole.newest) == (one_by_one.value, one_by_one.newest)


def test_a_late_reading_never_moves_it_back() -> None:
    watermark = Watermark(lateness=10)
    flags(watermark, 100, 20)
    assert (watermark.value, watermark.newest) == (90, 100)


def test_a_reading_too_far_ahead_of_its_arrival_is_flagged_and_moves_nothing() -> None:
    watermark = Watermark(lateness=10, max_future=300)
    assert flags(watermark, 1000, 1300, 1301, 1290, arrival=1000) == [OK, OK, FUTURE, OK]
    assert (watermark.value, watermark.newest) == (1290, 1300)


def test_without_an_arrival_nothing_is_from_the_future() -> None:
    assert flags(Watermark(lateness=10, max_future=300), 0, 10**18) == [OK, OK]


def test_without_a_limit_nothing_is_from_the_future() -> None:
    assert flags(Watermark(lateness=10), 0, 10**18, arrival=0) == [OK, OK]


def test_silence_moves_it_and_it_never_goes_back() -> None:
    watermark = Watermark(lateness=10)
    flags(watermark, 100)
    watermark.advance(150)
    watermark.advance(120)
    assert watermark.value == 150
    assert flags(watermark, 149, 150) == [LATE, OK]
    assert watermark.value == 150


def test_a_bounded_input_ends_just_after_its_newest_time() -> None:
    watermark = Watermark(lateness=10)
    flags(watermark, 100, 95)
    assert watermark.end() == watermark.value == 101


def test_an_input_without_a_reading_ends_where_it_began() -> None:
    assert Watermark(lateness=10).end() == LONG_AGO


def test_times_before_1970_are_times() -> None:
    watermark = Watermark(lateness=10)
    assert flags(watermark, -100, -120, -105) == [OK, LATE, OK]
    assert watermark.value == -110


def test_an_empty_batch_changes_nothing() -> None:
    watermark = Watermark(lateness=10)
    assert flags(watermark) == []
    assert watermark.value == LONG_AGO
