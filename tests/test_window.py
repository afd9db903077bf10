"""The recent readings of keys: their blocks of memory, and long windows put together from two parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.instant import LONG_AGO, SECOND
from tocsin.kernels import arena, order
from tocsin.kernels.arena import AT, BEFORE, LIVE, NEWEST, ROOM, SHIFT, SIZE
from tocsin.key import Keys
from tocsin.node import Selector
from tocsin.reading import Series
from tocsin.window import Recent, View, Wanted

Floats = npt.NDArray[np.float64]
MINUTE = 60 * SECOND
SUMMARIES = ["sum", "min", "max", "moment2", "count", "first", "last", "resets", "covariance", "time_moment2", "span"]


class Stream:
    """One selection whose readings are kept and looked at through one window."""

    def __init__(self, length: int, summaries: Sequence[str] = SUMMARIES, by: tuple[str, ...] = ("device",)) -> None:
        self.series = Series()
        self.length = length
        self.summaries = list(summaries)
        self.recent = Recent(Selector("v"), Keys(by, self.series), self.series, staleness=5 * MINUTE)
        self.recent.longest = max(self.recent.longest, length)
        columns = {name: place for place, name in enumerate(self.summaries)}
        self.view = View(self.recent, Wanted(windows={length: columns}))
        self.recent.views.append(self.view)

    def send(self, times: npt.ArrayLike, values: npt.ArrayLike, devices: Sequence[str] = ("a",)) -> dict[str, Floats]:
        """Keeps readings in time order, those of the devices in turn; each summary at each of them."""
        when = np.asarray(times, np.int64)
        codes = np.resize(self.series.codes(devices, "v"), len(when))
        self.recent.keys.extend(len(self.series))
        self.recent.extend(len(self.series))
        out = np.empty((len(self.summaries), len(when)))
        cutoff = int(when[0]) - self.recent.longest
        slots, numbers = self.recent.slot_of[codes], np.asarray(values, np.float64)
        nothing = np.empty(0, np.int64)
        self.recent._observe(self.view, slots, when, numbers, codes, True, True, cutoff, nothing, out)
        return dict(zip(self.summaries, out, strict=True))

    def used(self) -> int:
        """How many places of the arena were ever given out."""
        return int(self.recent.top[0])

    def of(self, slot: int, column: int) -> int:
        return int(self.recent.meta[slot, column])


class TestBlocks:
    def test_a_key_without_readings_takes_no_place(self) -> None:
        meta = arena.new_meta(2)
        assert meta[:, [ROOM, SIZE]].tolist() == [[0, 0], [0, 0]]
        assert meta[:, [NEWEST, BEFORE]].tolist() == [[LONG_AGO] * 2] * 2

    @pytest.mark.parametrize(("room", "size_class"), [(1, 0), (8, 0), (9, 1), (16, 1), (17, 2), (1024, 7)])
    def test_blocks_come_in_powers_of_two_from_eight_on(self, room: int, size_class: int) -> None:
        assert arena.block_class(room) == size_class

    def test_a_bound_is_the_first_place_not_before_a_time(self) -> None:
        time = np.array([10, 20, 20, 30])
        assert [arena.lower_bound(time, 0, 4, t) for t in (5, 10, 15, 20, 21, 31)] == [0, 0, 1, 1, 3, 4]
        assert arena.lower_bound(time, 2, 3, 40) == 3

    def test_letting_go_keeps_the_newest_before_the_cutoff(self) -> None:
        meta, time = arena.new_meta(1), np.array([10, 20, 30, 40])
        meta[0, [ROOM, SIZE]] = 8, 4
        arena.let_go(meta, 0, time, 35)
        assert meta[0, LIVE] == 2
        arena.let_go(meta, 0, time, 100)
        assert meta[0, LIVE] == 3

    def test_a_block_doubles_when_all_of_it_is_wanted(self) -> None:
        stream = Stream(MINUTE)
        found = [stream.send([at * SECOND], [at])["sum"][0] for at in range(20)]
        assert (stream.of(0, ROOM), stream.of(0, SIZE)) == (32, 20)
        assert found == [at * (at + 1) / 2 for at in range(20)]

    def test_a_block_moves_to_a_smaller_one_when_little_is_wanted(self) -> None:
        """A thousand readings in ten seconds, and then one each minute."""
        stream = Stream(MINUTE)
        stream.send(np.arange(1000) * SECOND // 100, np.ones(1000))
        assert stream.of(0, ROOM) == 1024
        for minute in range(10, 60):
            assert stream.send([minute * MINUTE], [1])["count"].tolist() == [2 if minute > 10 else 1]
        assert stream.of(0, ROOM) <= 16

    def test_the_ordinal_of_a_reading_survives_its_moves(self) -> None:
        stream = Stream(MINUTE)
        for at in range(1000):
            stream.send([at * SECOND], [at])
        assert stream.of(0, SHIFT) + stream.of(0, SIZE) == 1000

    def test_keys_do_not_disturb_each_other(self) -> None:
        """Three devices in turn: of each, the readings of the last minute alone."""
        stream = Stream(MINUTE)
        for start in range(0, 3000, 30):
            times = np.repeat(np.arange(start, start + 30), 3) * SECOND
            found = stream.send(times, np.tile([1.0, 10.0, 100.0], 30), devices=("a", "b", "c"))
            count = min(start + 30, 61)
            assert found["sum"][-3:].tolist() == [count, 10 * count, 100 * count]


class TestMemory:
    def test_it_does_not_grow_while_a_steady_stream_runs(self) -> None:
        stream = Stream(MINUTE)

        def run(first: int, last: int) -> None:
            for minute in range(first, last):
                times = minute * MINUTE + np.arange(60) * SECOND
                stream.send(np.repeat(times, 4), np.ones(240), devices=("a", "b", "c", "d"))
                stream.recent.release(int(times[-1]) + 1)

        run(0, 20)
        used, room = stream.used(), len(stream.recent.time)
        run(20, 200)
        assert (stream.used(), len(stream.recent.time)) == (used, room)

    def test_the_block_of_a_silent_device_is_freed_and_used_again(self) -> None:
        stream = Stream(MINUTE)
        stream.send(np.arange(8) * SECOND, np.ones(8), devices=("a",))
        place, used = stream.of(0, AT), stream.used()
        stream.send([20 * MINUTE], [1], devices=("b",))
        stream.recent.release(20 * MINUTE)
        assert (stream.of(0, ROOM), stream.of(0, SIZE)) == (0, 0)
        assert stream.of(0, NEWEST) == 7 * SECOND
        between = stream.used()
        assert between > used
        stream.send([20 * MINUTE], [1], devices=("c",))
        assert (stream.of(2, AT), stream.used()) == (place, between)

    def test_a_device_that_comes_back_remembers_when_it_was_heard_last(self) -> None:
        stream = Stream(MINUTE)
        stream.send([0], [1])
        stream.recent.release(20 * MINUTE)
        found = stream.send([30 * MINUTE], [5])
        assert (found["sum"][0], found["count"][0]) == (5, 1)
        assert stream.of(0, BEFORE) == 0

    def test_a_device_that_still_reports_keeps_its_block(self) -> None:
        stream = Stream(MINUTE)
        for minute in range(20):
            stream.send([minute * MINUTE], [1])
            stream.recent.release(minute * MINUTE + 1)
        assert stream.of(0, SIZE) > 0

    def test_thousands_of_devices_that_come_and_go_take_turns(self) -> None:
        """Each hour a hundred others: the arena needs room for those of one hour, and of the next."""
        stream = Stream(MINUTE)
        for hour in range(30):
            names = [f"d{hour}-{number}" for number in range(100)]
            stream.recent.release(hour * 60 * MINUTE)
            stream.send(np.full(100, hour * 60 * MINUTE), np.ones(100), devices=names)
        assert stream.used() <= 2 * 100 * arena.SMALLEST


def exact_deviation(values: Floats) -> float:
    off = values - math.fsum(values) / len(values)
    return math.sqrt(math.fsum(off * off) / len(values))


class TestLongWindows:
    """More than 64 readings: what lies before an edge, and what comes after it."""

    def check(self, stream: Stream, times: npt.NDArray[np.int64], values: Floats, found: dict[str, Floats]) -> None:
        for end in range(1, len(times) + 1, 7):
            t = times[end - 1]
            inside = slice(int(np.searchsorted(times, t - stream.length)), end)
            v, clock = values[inside], (times[inside] - t) / SECOND
            off, away = v - math.fsum(v) / len(v), clock - clock.mean()
            expected = {
                "sum": math.fsum(v),
                "min": v.min(),
                "max": v.max(),
                "moment2": math.fsum(off * off),
                "count": len(v),
                "first": v[0],
                "last": v[-1],
                "resets": v[:-1][np.diff(v) < 0].sum(),
                "covariance": math.fsum(off * away),
                "time_moment2": math.fsum(away * away),
                "span": clock[-1] - clock[0],
            }
            for name, number in expected.items():
                assert found[name][end - 1] == pytest.approx(number, rel=1e-10, abs=1e-9), (name, end)

    @pytest.mark.parametrize("batch", [1, 7, 10_000])
    def test_summaries_are_those_of_the_readings_in_it(self, batch: int) -> None:
        random = np.random.default_rng(3)
        times = np.cumsum(random.integers(0, 2 * SECOND, 1200))
        values = random.normal(0, 10, len(times))
        stream = Stream(3 * MINUTE)
        parts = [stream.send(times[at : at + batch], values[at : at + batch]) for at in range(0, len(times), batch)]
        self.check(stream, times, values, {name: np.concatenate([it[name] for it in parts]) for name in SUMMARIES})

    def test_a_reading_at_an_edge_belongs_to_the_window_once(self) -> None:
        """Two readings a second, and edges at whole minutes: 121 readings in the closed minute."""
        stream = Stream(MINUTE)
        found = stream.send(np.arange(0, 600 * SECOND, SECOND // 2), np.ones(1200))
        assert (found["sum"] == np.minimum(np.arange(1, 1201), 121)).all()

    def test_edges_before_1970_are_edges(self) -> None:
        stream = Stream(MINUTE)
        times = np.arange(-300 * SECOND, 300 * SECOND, SECOND // 2)
        assert (stream.send(times, np.ones(1200))["sum"] == np.minimum(np.arange(1, 1201), 121)).all()

    def test_a_window_may_go_from_long_to_short_and_back(self) -> None:
        gaps = np.concatenate([np.full(300, SECOND // 4), np.full(30, 10 * SECOND), np.full(300, SECOND // 4)])
        times, values = np.cumsum(gaps), np.arange(630.0) % 17
        stream = Stream(MINUTE)
        self.check(stream, times, values, stream.send(times, values))

    def test_a_value_depends_on_the_readings_of_its_window_alone(self) -> None:
        """To the last bit: whoever starts ninety thousand readings later finds the same."""
        random = np.random.default_rng(5)
        times = np.arange(100_000) * SECOND
        values = 1e9 + random.normal(0, 1, len(times))
        names = ["sum", "moment2", "covariance", "min"]
        old, young = Stream(10 * MINUTE, names), Stream(10 * MINUTE, names)
        everything = old.send(times, values)
        part = young.send(times[90_000:], values[90_000:])
        for name in names:
            assert (everything[name][91_000:] == part[name][1000:]).all(), name

    def test_sums_means_and_deviations_of_large_numbers_do_not_drift(self) -> None:
        """Six hundred values around 1e9, after a hundred thousand of them, against exact sums."""
        random = np.random.default_rng(5)
        values = 1e9 + random.normal(0, 1, 100_000)
        found = Stream(10 * MINUTE, ["sum", "moment2", "count"]).send(np.arange(100_000) * SECOND, values)
        for end in range(99_000, 100_000, 37):
            v = values[end - 600 : end + 1]
            assert found["count"][end] == 601
            assert found["sum"][end] == pytest.approx(math.fsum(v), rel=2.3e-16)  # one unit in the last place
            assert math.sqrt(found["moment2"][end] / 601) == pytest.approx(exact_deviation(v), rel=1e-7)

    def test_a_deviation_is_as_exact_in_a_long_window_as_in_a_short_one(self) -> None:
        values = 1e9 + np.random.default_rng(5).normal(0, 1, 2000)
        for seconds in (60, 600):
            found = Stream(seconds * SECOND, ["moment2"]).send(np.arange(2000) * SECOND, values)
            v = values[-seconds - 1 :]
            assert math.sqrt(found["moment2"][-1] / len(v)) == pytest.approx(exact_deviation(v), rel=1e-12)

    def test_a_value_far_out_leaves_nothing_behind(self) -> None:
        """1e18 once: when it has left, sums of small numbers are exact again."""
        values = np.full(1000, 0.5)
        values[100] = 1e18
        found = Stream(100 * SECOND, ["sum", "moment2"]).send(np.arange(1000) * SECOND, values)
        assert (found["sum"][201:] == 50.5).all()
        assert (found["moment2"][201:] == 0.0).all()

    def test_many_keys_have_long_windows_at_once(self) -> None:
        """More than the rows that are there at first."""
        stream, count = Stream(200 * SECOND, ["sum", "count"]), 40
        names = [f"d{number}" for number in range(count)]
        times = np.repeat(np.arange(300) * SECOND, count)
        found = stream.send(times, np.tile(np.arange(float(count)), 300), devices=names)
        assert found["count"][-count:].tolist() == [201] * count
        assert found["sum"][-count:].tolist() == [201 * number for number in range(count)]

    def test_what_was_dropped_is_built_again(self) -> None:
        times, values = np.arange(400) * SECOND, np.arange(400.0)
        whole, cut = Stream(3 * MINUTE), Stream(3 * MINUTE)
        expected = whole.send(times, values)
        cut.send(times[:250], values[:250])
        cut.view.forget_long_windows()
        found = cut.send(times[250:], values[250:])
        for name in SUMMARIES:
            assert (found[name] == expected[name][250:]).all(), name


class TestCoverage:
    def coverage(self, length: int, *times: int) -> list[float]:
        found = Stream(length, ["coverage"]).send([at * SECOND for at in times], np.ones(len(times)))
        return [float(number) for number in found["coverage"]]

    def test_it_grows_from_the_first_reading(self) -> None:
        assert self.coverage(100 * SECOND, 0, 25, 90, 100, 101) == [0, 0.25, 0.9, 1, 1]

    def test_a_reading_before_the_window_covers_its_start_unless_the_gap_is_too_long(self) -> None:
        assert self.coverage(100 * SECOND, 0, 300, 601) == [0, 1, 0]

    def test_a_long_window_is_covered_alike(self) -> None:
        assert self.coverage(100 * SECOND, *range(200))[70:] == [min(at / 100, 1) for at in range(70, 200)]

    @pytest.mark.parametrize("readings", [1, 200])
    def test_of_several_series_each_counts_for_itself_and_the_best_counts(self, readings: int) -> None:
        """At 100 a has been silent too long to cover; b is there since 50."""
        stream = Stream(100 * SECOND, ["coverage"], by=("site",))
        at = np.linspace(50, 100, readings + 1) * SECOND
        assert stream.send(at, at, devices=("b",))["coverage"][-1] == 0.5
        assert stream.send([101 * SECOND], [1], devices=("a",))["coverage"].tolist() == [0.51]


class TestQuantiles:
    def quantile(self, q: float, values: Sequence[float]) -> float:
        stream = Stream(MINUTE, ["count"])
        stream.send(np.arange(len(values)), values)
        recent, out, scratch = stream.recent, np.empty(1), np.empty(len(values))
        slots, times = np.zeros(1, np.int32), np.array([len(values) - 1])
        order.quantile(slots, times, recent.meta, recent.time, recent.value, MINUTE, q, scratch, out)
        return float(out[0])

    @settings(deadline=None)
    @given(st.lists(st.integers(-5, 5), min_size=1, max_size=200), st.floats(0, 1))
    def test_it_is_what_numpy_finds(self, values: list[int], q: float) -> None:
        assert self.quantile(q, values) == pytest.approx(np.quantile(values, q), rel=1e-12, abs=1e-12)

    @pytest.mark.parametrize("shape", [np.sort, lambda values: -np.sort(-values), lambda values: values])
    def test_so_it_is_of_many_readings_in_any_order(self, shape: Callable[[Floats], Floats]) -> None:
        values = shape(np.random.default_rng(7).normal(size=3000))
        for q in (0, 0.01, 0.5, 0.99, 1):
            assert self.quantile(q, values.tolist()) == pytest.approx(np.quantile(values, q), rel=1e-12)

    @pytest.mark.parametrize(("q", "expected"), [(0, 1), (0.25, 1.75), (0.5, 2.5), (0.75, 3.25), (0.9, 3.7), (1, 4)])
    def test_it_lies_between_its_neighbours(self, q: float, expected: float) -> None:
        assert self.quantile(q, [3, 1, 4, 2]) == pytest.approx(expected, rel=1e-15)

    def test_of_one_value_every_quantile_is_that_value(self) -> None:
        assert [self.quantile(q, [7]) for q in (0, 0.3, 1)] == [7, 7, 7]

    def test_equal_values_give_that_value_exactly(self) -> None:
        assert self.quantile(0.9, [0.1] * 100) == 0.1
