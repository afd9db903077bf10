"""Readings in columns, and the dictionary of series."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tocsin.reading import Batch, Series, labels_of


class TestSeries:
    def test_a_series_keeps_the_code_it_was_given(self) -> None:
        series = Series()
        codes = [series.code("a", "temp"), series.code("b", "temp"), series.code("a", "humidity")]
        assert codes == [0, 1, 2]
        assert [series.code("a", "temp"), series.code("b", "temp"), series.code("a", "humidity")] == codes
        assert len(series) == 3

    def test_other_labels_make_another_series_of_the_same_identity(self) -> None:
        """So a repeat is known by device and metric, whatever its other labels are."""
        series = Series()
        first, second = series.code("a", "temp", {"site": "roof"}), series.code("a", "temp", {"site": "cellar"})
        other = series.code("a", "humidity", {"site": "roof"})
        assert first != second
        assert series.identity[first] == series.identity[second] != series.identity[other]
        assert series.identities == 2

    def test_a_series_can_be_described(self) -> None:
        series = Series()
        code = series.code("a", "temp", {"site": "roof", "area": "1", "empty": ""})
        assert series.describe(code) == ("a", "temp", (("area", "1"), ("site", "roof")))

    def test_an_empty_label_is_an_absent_one(self) -> None:
        series = Series()
        assert series.code("a", "temp", {"site": ""}) == series.code("a", "temp")
        assert labels_of({"b": "2", "a": "1", "c": ""}) == (("a", "1"), ("b", "2"))

    def test_labels_of_the_pipeline_file_are_added_and_win(self) -> None:
        series = Series({"a": {"site": "roof", "limit": "15"}})
        code = series.code("a", "temp", {"site": "cellar", "area": "1"})
        assert series.describe(code)[2] == (("area", "1"), ("limit", "15"), ("site", "roof"))
        assert series.describe(series.code("b", "temp", {"site": "cellar"}))[2] == (("site", "cellar"),)

    def test_a_label_that_the_file_makes_empty_is_gone(self) -> None:
        series = Series({"a": {"site": ""}})
        assert series.describe(series.code("a", "temp", {"site": "cellar"}))[2] == ()

    def test_many_at_once_get_the_codes_that_they_get_one_by_one(self) -> None:
        together, apart = Series(), Series()
        devices = ["b", "a", "b", "c", "a"]
        assert together.codes(devices, "temp").tolist() == [apart.code(device, "temp") for device in devices]

    def test_labels_are_given_for_each_device(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            Series().codes(["a", "b"], "temp", [()])

    def test_columns_grow_beyond_their_first_room(self) -> None:
        series = Series()
        codes = series.codes([f"d{number}" for number in range(5000)], "temp")
        assert codes.tolist() == list(range(5000))
        assert series.describe(4999) == ("d4999", "temp", ())
        assert series.device.tolist() == list(range(5000))

    def test_one_thread_may_read_while_another_adds(self) -> None:
        """Whatever is counted is whole: its device, metric, labels and identity are there."""
        series, seen = Series(), 0

        def add() -> None:
            for number in range(20_000):
                series.code(f"d{number}", f"m{number % 7}", {"n": str(number % 11)})

        adder = threading.Thread(target=add)
        adder.start()
        while adder.is_alive() or seen < 20_000:
            seen = len(series)
            if seen:
                last = seen - 1
                expected = (f"d{last}", f"m{last % 7}", (("n", str(last % 11)),))
                assert series.describe(last) == expected
                assert len(series.device) >= seen
                assert len(series.identity) >= seen
        adder.join()


class TestBatch:
    def test_a_mask_a_slice_and_places_take_readings(self) -> None:
        series = Series()
        batch = Batch(series, series.codes(["a", "b", "c"], "v"), np.array([1, 2, 3]), np.array([10.0, 20.0, 30.0]))
        assert batch.take(np.array([True, False, True])).time.tolist() == [1, 3]
        assert batch.take(slice(1, None)).value.tolist() == [20.0, 30.0]
        assert batch.take(np.array([2, 0])).code.tolist() == [2, 0]

    def test_batches_are_joined_one_after_the_other(self) -> None:
        series = Series()
        one = Batch(series, series.codes(["a"], "v"), np.array([5]), np.array([1.0]))
        joined = Batch.join([one, Batch.empty(series), one])
        assert (len(joined), joined.time.tolist(), joined.value.tolist()) == (2, [5, 5], [1.0, 1.0])

    def test_an_empty_batch_has_columns_of_the_right_kind(self) -> None:
        empty = Batch.empty(Series())
        assert [column.dtype for column in (empty.code, empty.time, empty.value)] == [np.int32, np.int64, np.float64]
