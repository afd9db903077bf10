"""Every window function: a story worked out by hand, and long windows against numpy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from listed import NOON
from stories import feed, tell
from tocsin import functions
from tocsin.engine import Engine
from tocsin.instant import SECOND
from tocsin.reading import Batch, Series
from tocsin.rule import parse_rules

Floats = npt.NDArray[np.float64]

STORY = "0:100 10:4 20:9 30:2 40:4 50:5 60:5 70:4 80:7"
"""At 80 the last seventy seconds, both ends included, hold 4 9 2 4 5 5 4 7: mean 5, squares off it 32."""

AT_80 = {
    "avg(v[70s])": 5.0,
    "change(v[70s])": 3.0,
    "count(v[70s])": 8.0,
    "drop(v[70s])": 2.0,
    "first(v[70s])": 4.0,
    "last(v[70s])": 7.0,
    "max(v[70s])": 9.0,
    "median(v[70s])": 4.5,
    "min(v[70s])": 2.0,
    "quantile(0.9, v[70s])": 7.6,  # rank 6.3 of 2 4 4 4 5 5 7 9
    "rate(v[70s])": 17 / 70,  # 3, and 9 and 5 for the falls to 2 and to 4
    "rise(v[70s])": 5.0,
    "slope(v[70s])": 30 / 4200,
    "spread(v[70s])": 7.0,
    "stddev(v[70s])": 2.0,
    "sum(v[70s])": 40.0,
    "zscore(v[70s])": 1.0,
}

DEFAULT_COVERAGE = {
    **dict.fromkeys(("max", "min", "sum", "count", "first", "last", "drop", "rise", "change", "rate"), 0.0),
    **dict.fromkeys(("avg", "median", "quantile", "stddev", "spread", "slope", "zscore", "stuck"), 0.9),
    "missing": None,
}


def values_at(
    exprs: Sequence[str], times: npt.ArrayLike, values: npt.ArrayLike, step: int = 1
) -> list[list[float | None]]:
    """What each expression is at every `step`th reading: None where it is unknown.

    The alert is always open, so that its newest value tells.
    """
    named = [{"alert": expr, "expr": f"{expr} > -1e300", "on_unknown": "fire", "min_coverage": 0} for expr in exprs]
    series = Series()
    engine = Engine(parse_rules(named), series)
    when = NOON + np.round(np.asarray(times) * SECOND).astype(np.int64)
    batch = Batch(series, np.full(len(when), series.code("a", "v"), np.int32), when, np.asarray(values, np.float64))
    found = []
    for end in range(step, len(batch) + 1, step):
        engine.process(batch.take(slice(end - step, end)), int(when[end - 1]) + 1)
        last = {alert.rule: alert.last for alert in engine.open_alerts()}
        found.append([last[expr] for expr in exprs])
    return found


def told(story: str) -> tuple[list[float], list[float]]:
    pairs = [pair.split(":") for pair in story.split()]
    return [float(at) for at, _ in pairs], [float(value) for _, value in pairs]


class TestShortWindows:
    @pytest.mark.parametrize("expr", AT_80)
    def test_a_story_gives_what_was_worked_out_by_hand(self, expr: str) -> None:
        [*_, [newest]] = values_at([expr], *told(STORY))
        assert newest == pytest.approx(AT_80[expr], rel=1e-14)

    def test_every_function_with_a_value_has_its_story(self) -> None:
        told_of = {expr.split("(")[0] for expr in AT_80}
        assert told_of | {"missing", "stuck"} == set(functions.names())

    def test_a_single_reading_has_extremes_a_mean_and_no_spread(self) -> None:
        exprs = ["max(v[1m])", "min(v[1m])", "sum(v[1m])", "count(v[1m])", "avg(v[1m])", "median(v[1m])"]
        exprs += ["stddev(v[1m])", "spread(v[1m])", "drop(v[1m])", "change(v[1m])"]
        assert values_at(exprs, [0], [7]) == [[7, 7, 7, 1, 7, 7, 0, 0, 0, 0]]

    @pytest.mark.parametrize("expr", ["rate(v[1m])", "slope(v[1m])", "zscore(v[1m])"])
    def test_nothing_over_nothing_is_unknown(self, expr: str) -> None:
        assert values_at([expr], [0], [7]) == [[None]]

    def test_values_that_are_all_equal_have_no_zscore(self) -> None:
        assert values_at(["zscore(v[1m])", "stddev(v[1m])"], [0, 10, 20], [0.5] * 3) == [[None, 0.0]] * 3

    def test_a_sum_that_is_too_large_for_a_number_is_unknown(self) -> None:
        assert values_at(["sum(v[1m]) * 1"], [0, 10], [1e308, 1e308]) == [[1e308], [None]]

    def test_a_window_holds_both_its_ends_and_nothing_before(self) -> None:
        assert values_at(["count(v[10s])"], [0, 10, 20.000000001], [1, 1, 1]) == [[1], [2], [1]]

    def test_quantiles_at_the_ends_are_the_extremes(self) -> None:
        found = values_at(["quantile(0, v[1h])", "quantile(1, v[1h])"], [0, 1, 2, 3], [3, 1, 4, 2])
        assert found == [[3, 3], [1, 3], [1, 4], [1, 4]]

    def test_a_counter_that_starts_anew_still_counts_up(self) -> None:
        """10 20 5 15: up 10, then anew to 5, then up 10: 25 in 30 s."""
        [*_, [rate]] = values_at(["rate(v[1m])"], [0, 10, 20, 30], [10, 20, 5, 15])
        assert rate == 25 / 30

    def test_a_straight_line_has_its_slope_however_the_readings_are_spaced(self) -> None:
        times = [0, 1, 5, 6, 30]
        [*_, [slope]] = values_at(["slope(v[1m])"], times, [100 - 0.5 * t for t in times])
        assert slope == pytest.approx(-0.5, rel=1e-14)


class TestCoverage:
    @pytest.mark.parametrize("name", functions.names())
    def test_the_default_is_that_of_the_manual(self, name: str) -> None:
        assert functions.load(name).coverage == DEFAULT_COVERAGE[name]

    def test_a_mean_waits_for_nine_tenths_of_its_window(self) -> None:
        """100 s from 0 on: covered to nine tenths at 90."""
        assert tell("avg(v[100s]) > 0", "0:1 80:1 89:1 90:1") == "90 firing"

    def test_a_maximum_does_not_wait(self) -> None:
        assert tell("max(v[100s]) > 0", "0:1") == "0 firing"

    def test_a_minimum_of_coverage_of_the_rule_counts_for_every_function(self) -> None:
        assert tell("max(v[100s]) > 0", "0:1 49:1 50:1", min_coverage=0.5) == "50 firing"

    def test_a_device_that_reports_seldom_covers_its_window(self) -> None:
        """At 240 the minute holds one reading, but one came 120 s before."""
        assert tell("avg(v[1m]) > 0", "0:1 120:1 240:-1 241:-1") == "120 firing, 240 resolved"

    def test_a_reading_before_too_long_a_gap_does_not_cover(self) -> None:
        assert tell("avg(v[1m]) > 0", "0:1 300:1") == "300 firing"
        assert tell("avg(v[1m]) > 0", "0:1 300.000000001:1") == ""


class TestStuck:
    def test_it_needs_two_equal_readings_that_cover_the_window(self) -> None:
        assert tell("stuck(v[20s])", "0:5 10:5 18:5 20:5 30:6") == "18 firing, 30 resolved"

    def test_one_reading_is_not_stuck(self) -> None:
        assert tell("stuck(v[20s])", "0:5 100:5") == ""

    def test_it_begins_when_the_last_other_value_has_left_the_window(self) -> None:
        """At 30 the window [10, 30] still holds the 6 of 10; at 31 it does not."""
        assert tell("stuck(v[20s])", "0:5 10:6 20:5 30:5 31:5") == "31 firing"

    def test_it_knows_long_windows(self) -> None:
        """One reading a second: the 1 of second 100 leaves a window of 200 s at 301."""
        text = " ".join(f"{at}:{1 if at == 100 else 0}" for at in range(303))
        assert tell("stuck(v[200s])", text, min_coverage=1) == "301 firing"


class TestMissing:
    def test_it_fires_when_the_silence_has_lasted_as_long_and_ends_with_a_reading(self) -> None:
        assert tell("missing(v[60s])", "0:1 60:1 180:1") == "120 firing, 180 resolved"

    def test_its_value_is_the_seconds_of_silence(self) -> None:
        assert [move.value for move in feed("missing(v[60s])", "0:1 100:1").transitions] == [60.0, 0.0]

    def test_a_reading_at_the_very_time_is_no_silence(self) -> None:
        assert tell("missing(v[60s])", "0:1 60:1") == ""


class TestLongWindows:
    """Above 64 readings a window is put together from two parts; numpy looks at it whole."""

    BY_NUMPY: dict[str, Callable[[Floats, Floats], float]] = {  # noqa: RUF012 (a table, never changed)
        "avg(v[5m])": lambda _, v: math.fsum(v) / len(v),
        "change(v[5m])": lambda _, v: v[-1] - v[0],
        "count(v[5m])": lambda _, v: len(v),
        "drop(v[5m])": lambda _, v: v.max() - v[-1],
        "first(v[5m])": lambda _, v: v[0],
        "last(v[5m])": lambda _, v: v[-1],
        "max(v[5m])": lambda _, v: v.max(),
        "median(v[5m])": lambda _, v: float(np.median(v)),
        "min(v[5m])": lambda _, v: v.min(),
        "quantile(0.9, v[5m])": lambda _, v: float(np.quantile(v, 0.9)),
        "rate(v[5m])": lambda t, v: (v[-1] - v[0] + v[:-1][np.diff(v) < 0].sum()) / (t[-1] - t[0]),
        "rise(v[5m])": lambda _, v: v[-1] - v.min(),
        "slope(v[5m])": lambda t, v: float((t - t.mean()) @ (v - v.mean()) / ((t - t.mean()) ** 2).sum()),
        "spread(v[5m])": lambda _, v: float(np.ptp(v)),
        "stddev(v[5m])": lambda _, v: float(np.std(v)),
        "sum(v[5m])": lambda _, v: math.fsum(v),
        "zscore(v[5m])": lambda _, v: (v[-1] - v.mean()) / float(np.std(v)),
    }

    def test_every_function_with_a_value_is_among_them(self) -> None:
        assert sorted(expr.split("(")[0] for expr in self.BY_NUMPY) == sorted(
            name for name in functions.names() if functions.load(name).value and name != "missing"
        )

    @pytest.mark.parametrize("most", [2, 9], ids=["hundreds in each", "about sixty-four in each"])
    def test_numpy_finds_the_same(self, most: int) -> None:
        """Readings at uneven times, looked at at every thirteenth."""
        random = np.random.default_rng(7)
        times = np.cumsum(random.integers(1, 1000 * most, 1500)) / 1000
        values = random.normal(20, 5, len(times))
        for place, found in enumerate(values_at(list(self.BY_NUMPY), times, values, step=13)):
            end = 13 * (place + 1)
            inside = (times[:end] >= times[end - 1] - 300) & (times[:end] <= times[end - 1])
            expected = [by_numpy(times[:end][inside], values[:end][inside]) for by_numpy in self.BY_NUMPY.values()]
            if inside.sum() > 1:
                assert found == pytest.approx(expected, rel=1e-11, abs=1e-12)

    def test_only_order_statistics_may_cost_more_in_a_longer_window(self) -> None:
        assert [name for name in functions.names() if functions.load(name).whole_window] == ["median", "quantile"]
