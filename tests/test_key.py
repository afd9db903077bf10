"""Whose alert it is: slots of keys, what a selector selects, and the order of names."""

from __future__ import annotations

import pytest

from tocsin.key import DeviceOrder, Keys, Selection
from tocsin.node import Matcher, Selector
from tocsin.reading import Series


def some_series() -> Series:
    """Codes 0 to 3: two devices on the roof, one of them with two metrics, and one without a site."""
    series = Series()
    series.code("b", "temp", {"site": "roof"})
    series.code("a", "temp", {"site": "roof"})
    series.code("a", "humidity", {"site": "roof"})
    series.code("c", "temp")
    return series


def keys(*by: str) -> Keys:
    made = Keys(by, some_series())
    made.extend(4)
    return made


def chosen(selector: Selector) -> list[bool]:
    return [bool(is_chosen) for is_chosen in Selection(selector, some_series()).of(0, 4)]


class TestKeys:
    def test_by_device_every_series_of_a_device_shares_its_slot(self) -> None:
        made = keys("device")
        assert made.slot.tolist() == [0, 1, 1, 2]
        assert [made.labels(slot) for slot in range(len(made))] == [(("device", name),) for name in "bac"]

    def test_by_a_label_devices_share_a_slot_and_empty_labels_are_left_out(self) -> None:
        made = keys("site")
        assert made.slot.tolist() == [0, 0, 0, 1]
        assert [made.labels(slot) for slot in range(len(made))] == [(("site", "roof"),), ()]

    def test_by_several_labels_all_of_them_make_the_key(self) -> None:
        made = keys("device", "site")
        assert made.slot.tolist() == [0, 1, 1, 2]
        assert made.labels(0) == (("device", "b"), ("site", "roof"))
        assert made.labels(2) == (("device", "c"),)

    def test_by_nothing_there_is_one_key(self) -> None:
        made = keys()
        assert made.slot.tolist() == [0, 0, 0, 0]
        assert made.labels(0) == ()

    def test_the_label_device_of_a_message_is_not_the_device(self) -> None:
        series = Series()
        series.code("a", "temp", {"device": "z", "site": "roof"})
        made = Keys(("device", "site"), series)
        made.extend(1)
        assert made.labels(0) == (("device", "a"), ("site", "roof"))

    @pytest.mark.parametrize("by", [("device",), ("site",), ("device", "site"), ()])
    def test_slots_stay_as_the_dictionary_grows(self, by: tuple[str, ...]) -> None:
        series = some_series()
        made = Keys(by, series)
        made.extend(2)
        before = made.slot.tolist()
        made.extend(4)
        assert made.slot.tolist()[:2] == before
        assert made.slot.tolist() == keys(*by).slot.tolist()

    @pytest.mark.parametrize("by", [("device",), ("site",), ("device", "site")])
    def test_a_key_is_found_by_its_labels(self, by: tuple[str, ...]) -> None:
        made = keys(*by)
        assert [made.find(made.labels(slot)) for slot in range(len(made))] == list(range(len(made)))

    def test_a_device_may_have_an_empty_name(self) -> None:
        series = Series()
        series.code("", "temp")
        made = Keys(("device",), series)
        made.extend(1)
        assert (made.labels(0), made.find(())) == ((), 0)


class TestSelection:
    def test_a_metric_selects_its_series(self) -> None:
        assert chosen(Selector("temp")) == [True, True, False, True]

    def test_a_metric_that_nobody_sends_selects_nothing(self) -> None:
        assert chosen(Selector("pressure")) == [False] * 4

    def test_matchers_look_at_the_device_and_at_labels(self) -> None:
        assert chosen(Selector("temp", (Matcher("device", "=", "a"),))) == [False, True, False, False]
        assert chosen(Selector("temp", (Matcher("site", "=", "roof"),))) == [True, True, False, False]
        both = (Matcher("device", "!=", "a"), Matcher("site", "=", "roof"))
        assert chosen(Selector("temp", both)) == [True, False, False, False]

    def test_an_absent_label_is_the_empty_string(self) -> None:
        assert chosen(Selector("temp", (Matcher("site", "=", ""),))) == [False, False, False, True]
        assert chosen(Selector("temp", (Matcher("site", "!=", "roof"),))) == [False, False, False, True]

    def test_an_expression_matches_the_whole_label(self) -> None:
        assert chosen(Selector("temp", (Matcher("site", "=~", "ro+f"),))) == [True, True, False, False]
        assert chosen(Selector("temp", (Matcher("site", "=~", "ro"),))) == [False] * 4
        assert chosen(Selector("temp", (Matcher("device", "!~", "a|b"),))) == [False, False, False, True]

    def test_it_goes_on_where_it_stopped(self) -> None:
        series = some_series()
        selection = Selection(Selector("temp", (Matcher("site", "=", "roof"),)), series)
        assert selection.of(0, 1).tolist() == [True]
        assert selection.of(1, 4).tolist() == [True, False, False]
        series.code("d", "temp", {"site": "roof"})
        assert selection.of(4, 5).tolist() == [True]

    def test_a_metric_may_turn_up_later(self) -> None:
        series = some_series()
        selection = Selection(Selector("pressure", (Matcher("device", "=", "a"),)), series)
        assert not selection.of(0, 4).any()
        series.code("a", "pressure")
        assert selection.of(4, 5).tolist() == [True]


def test_series_are_ordered_by_device_and_then_by_metric() -> None:
    series = some_series()
    order = DeviceOrder(series)
    assert order.ranks().tolist() == [2, 1, 0, 3]
    series.code("A", "temp")
    assert order.ranks().tolist() == [3, 2, 1, 4, 0]
