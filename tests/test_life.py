"""The life of an alert, as stories: what is true at which reading, and how the alert moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cases import Case, Feed
from stories import feed, readings, seconds, tell
from tocsin.alert import LIFE, State, Transition
from tocsin.engine import Decision, Engine
from tocsin.instant import SECOND
from tocsin.life import Moves
from tocsin.reading import Batch, Series
from tocsin.rule import parse_rules

HOT = "v > 80"


def moves(expr: str, text: str, **keys: Any) -> list[Transition]:
    return feed(expr, text, **keys).transitions


class TestWithoutHold:
    def test_it_fires_at_once_and_ends_at_the_first_reading_that_is_false(self) -> None:
        assert tell(HOT, "0:90 10:92 30:70") == "0 firing, 30 resolved"

    def test_each_time_anew_it_is_another_alert(self) -> None:
        assert [seconds(move.since) for move in moves(HOT, "0:90 10:70 20:91 30:70")] == ["0", "0", "20", "20"]

    def test_zero_seconds_and_one_reading_are_no_hold(self) -> None:
        assert (
            tell(HOT, "0:90 10:70", for_="0s") == tell(HOT, "0:90 10:70", for_="1 reading") == "0 firing, 10 resolved"
        )


class TestForATime:
    def test_it_fires_at_the_first_reading_at_or_after_the_time(self) -> None:
        assert tell(HOT, "0:90 20:90 30:90 40:70", for_="30s") == "0 pending, 30 firing, 40 resolved"
        assert tell(HOT, "0:90 20:90 35:90 40:70", for_="30s") == "0 pending, 35 firing, 40 resolved"

    def test_one_false_reading_cancels_it(self) -> None:
        assert tell(HOT, "0:90 20:70 30:90 59:90", for_="30s") == "0 pending, 20 inactive, 30 pending"

    def test_a_gap_does_not_break_it(self) -> None:
        assert tell(HOT, "0:90 3600:90", for_="30s") == "0 pending, 3600 firing"

    def test_since_is_the_first_true_reading(self) -> None:
        assert [seconds(move.since) for move in moves(HOT, "0:70 5:90 40:90", for_="30s")] == ["5", "5"]

    def test_an_unknown_evaluation_neither_counts_nor_breaks(self) -> None:
        """v / v is unknown at 20, where v is 0."""
        assert tell("v / v > 0", "0:1 20:0 30:1", for_="30s") == "0 pending, 30 firing"

    def test_in_a_rule_with_missing_the_end_of_the_time_is_a_timer(self) -> None:
        """Silent since 0: missing at 60, for 30 s at 90, though nothing was read then."""
        assert tell("missing(v[60s])", "0:1 200:1", for_="30s") == "60 pending, 90 firing, 200 resolved"

    def test_a_reading_at_the_time_of_the_timer_is_evaluated_first(self) -> None:
        assert tell("missing(v[60s])", "0:1 90:1", for_="30s") == "60 pending, 90 inactive"


class TestForReadings:
    def test_the_third_true_reading_in_a_row_fires(self) -> None:
        text = "0:90 10:90 20:70 30:90 40:90 50:90 60:70"
        expected = "0 pending, 20 inactive, 30 pending, 50 firing, 60 resolved"
        assert tell(HOT, text, for_="3 readings") == expected

    def test_three_of_three_wait_while_one_of_the_last_three_is_true(self) -> None:
        """The false one of 20 cancels nothing: at 20 two of the last three are true."""
        text = "0:90 10:90 20:70 30:90 40:90 50:90 60:70"
        assert tell(HOT, text, for_="3 of 3 readings") == "0 pending, 50 firing, 60 resolved"

    def test_two_of_three_look_back_over_the_last_three(self) -> None:
        """True, false, true: two of three at 20. It ends when fewer than two of three are left, at 50."""
        assert tell(HOT, "0:90 10:70 20:90 30:90 40:70 50:70", for_="2 of 3 readings") == (
            "0 pending, 20 firing, 50 resolved"
        )

    def test_since_is_the_oldest_true_reading_among_the_last(self) -> None:
        """At 40 the last three are false, true, true: the 90 of 0 has left."""
        found = moves(HOT, "0:90 10:70 20:70 30:90 40:90", for_="2 of 3 readings")
        assert [(seconds(move.time), seconds(move.since), move.to.name) for move in found] == [
            ("0", "0", "PENDING"),
            ("40", "30", "FIRING"),
        ]

    def test_it_is_cancelled_when_none_of_the_last_is_true(self) -> None:
        assert tell(HOT, "0:90 10:70 20:70 30:70", for_="2 of 3 readings") == "0 pending, 30 inactive"

    def test_with_a_clear_it_ends_when_that_is_true(self) -> None:
        text = "0:90 10:90 20:75 30:75 40:75 50:60"
        assert tell(HOT, text, for_="2 of 3 readings", clear="v < 70") == "0 pending, 10 firing, 50 resolved"

    def test_what_led_to_an_alert_that_ended_counts_no_more(self) -> None:
        """The 90 of 10 belongs to an alert that has ended: at 30 there is one true reading, not two."""
        text = "0:90 10:90 20:60 30:90 40:90"
        assert tell(HOT, text, for_="2 of 3 readings", clear="v < 70") == (
            "0 pending, 10 firing, 20 resolved, 30 pending, 40 firing"
        )

    def test_several_readings_of_one_time_are_one_evaluation(self) -> None:
        rule = {"alert": "A", "expr": "a > 0 or b > 0", "for": "2 readings"}
        both = readings("0:1 10:1", metric="a") + readings("0:1 10:1", metric="b")
        told = Feed(Case([rule], sorted(both, key=lambda it: it.time))).finish().transitions
        assert [(seconds(move.time), move.to.name) for move in told] == [("0", "PENDING"), ("10", "FIRING")]


class TestClear:
    def test_it_holds_an_alert_between_its_limits(self) -> None:
        assert tell(HOT, "0:75 10:81 20:75 30:69", clear="v < 70") == "10 firing, 30 resolved"

    def test_a_true_expression_beats_it(self) -> None:
        assert tell(HOT, "0:90 10:85", clear="v < 100") == "0 firing"

    def test_it_does_not_act_on_a_pending_alert(self) -> None:
        assert tell(HOT, "0:90 10:75 20:90", clear="v < 70", for_="1m") == "0 pending, 10 inactive, 20 pending"

    def test_an_unknown_clear_is_an_unknown_evaluation(self) -> None:
        """70 / (v - 75) is unknown at 10, where v is 75."""
        told = feed(HOT, "0:90 10:75 20:70", clear="70 / (v - 75) < 0")
        assert [(seconds(move.time), move.to.name) for move in told.transitions] == [
            ("0", "FIRING"),
            ("20", "RESOLVED"),
        ]
        assert told.engine.counts() == {"A": (3, 1)}


class TestKeepFiringFor:
    def test_it_ends_at_the_very_time_with_or_without_a_reading(self) -> None:
        told = moves(HOT, "0:90 10:70 100:70", keep_firing_for="30s")
        assert [(seconds(move.time), move.to.name, move.value) for move in told] == [
            ("0", "FIRING", 90),
            ("10", "RECOVERING", 70),
            ("40", "RESOLVED", None),
        ]

    def test_a_relapse_is_the_same_alert_and_the_time_starts_anew(self) -> None:
        told = moves(HOT, "0:90 10:70 30:90 40:70 69:70 100:70", keep_firing_for="30s")
        assert ", ".join(f"{seconds(move.time)} {move.to.name.lower()}" for move in told) == (
            "0 firing, 10 recovering, 30 firing, 40 recovering, 70 resolved"
        )
        assert {move.since for move in told} == {0}

    def test_a_timer_yields_to_a_reading_of_its_time(self) -> None:
        assert tell(HOT, "0:90 10:70 40:90", keep_firing_for="30s") == "0 firing, 10 recovering, 40 firing"

    def test_what_is_neither_true_nor_clear_returns_to_firing(self) -> None:
        assert tell(HOT, "0:90 10:60 20:75 30:60 100:60", clear="v < 70", keep_firing_for="30s") == (
            "0 firing, 10 recovering, 20 firing, 30 recovering, 60 resolved"
        )


class TestUnknown:
    """v / v > 0 is unknown where v is 0."""

    TEXT = "0:1 10:0 20:1 30:0"

    def test_hold_skips_it(self) -> None:
        assert tell("v / v > 0", self.TEXT) == "0 firing"

    def test_clear_takes_it_for_clear(self) -> None:
        assert tell("v / v > 0", self.TEXT, on_unknown="clear") == "0 firing, 10 resolved, 20 firing, 30 resolved"

    def test_fire_takes_it_for_true(self) -> None:
        assert tell("v / v > 2", "0:1 10:0 20:1", on_unknown="fire") == "10 firing, 20 resolved"

    def test_timers_run_on(self) -> None:
        assert tell("v / v > 0", "0:1 10:-1 40:0", clear="v < 0", keep_firing_for="20s") == "0 firing"
        assert tell("v > 0", "0:1 10:-1 40:0", keep_firing_for="20s") == "0 firing, 10 recovering, 30 resolved"

    def test_every_rule_counts_what_it_did_not_know(self) -> None:
        assert feed("v / v > 0", self.TEXT).engine.counts() == {"A": (4, 2)}


class TestLevels:
    LEVELS = {  # noqa: RUF012 (a table, never changed)
        "info": {"above": 60, "clear": 50},
        "warning": {"above": 70, "clear": 60},
        "critical": {"above": 80, "clear": 70},
    }

    def test_only_the_current_level_latches(self) -> None:
        """61 73 64 85 62 56 47 give info, warning, warning, critical, info, info, ok."""
        found = moves("v", "0:61 10:73 20:64 30:85 40:62 50:56 60:47", levels=self.LEVELS)
        assert [(seconds(move.time), move.from_.name, move.to.name, move.level) for move in found] == [
            ("0", "INACTIVE", "FIRING", "info"),
            ("10", "FIRING", "FIRING", "warning"),
            ("30", "FIRING", "FIRING", "critical"),
            ("40", "FIRING", "FIRING", "info"),
            ("60", "FIRING", "RESOLVED", "info"),
        ]

    def test_a_clear_is_strict(self) -> None:
        assert tell("v", "0:61 10:50 20:49.9", levels=self.LEVELS) == "0 firing, 20 resolved"

    def test_without_a_clear_its_own_test_must_be_false(self) -> None:
        assert tell("v", "0:15 10:15.1 20:15", levels={"high": 15}) == "10 firing, 20 resolved"

    def test_levels_may_lie_below(self) -> None:
        levels = {"low": {"below": 10, "clear": 12}, "lowest": {"below": 5, "clear": 6}}
        found = moves("v", "0:10 10:9 20:4 30:6 40:7 50:12 60:13", levels=levels)
        assert [(seconds(move.time), move.to.name, move.level) for move in found] == [
            ("10", "FIRING", "low"),
            ("20", "FIRING", "lowest"),
            ("40", "FIRING", "low"),
            ("60", "RESOLVED", "low"),
        ]

    def test_with_a_hold_the_lowest_must_be_true_throughout_and_the_highest_fires(self) -> None:
        found = moves("v", "0:61 10:65 20:85 30:47", levels=self.LEVELS, for_="20s")
        assert [(move.to.name, move.level) for move in found] == [
            ("PENDING", "info"),
            ("FIRING", "critical"),
            ("RESOLVED", "critical"),
        ]

    def test_only_the_final_end_waits(self) -> None:
        assert tell("v", "0:85 10:65 20:40 100:40", levels=self.LEVELS, keep_firing_for="30s") == (
            "0 firing, 10 firing, 20 recovering, 50 resolved"
        )


class TestForgetting:
    def test_a_silent_key_is_gone_at_exactly_that_time(self) -> None:
        [fired, forgotten] = moves(HOT, "0:90 500:90", forget_after="400")[:2]
        assert (seconds(forgotten.time), forgotten.to, forgotten.reason) == ("400", State.RESOLVED, "forgotten")
        assert fired.reason == ""

    def test_a_reading_at_that_very_time_keeps_it(self) -> None:
        assert tell(HOT, "0:90 400:90", forget_after="400") == "0 firing"

    def test_what_comes_back_is_another_alert(self) -> None:
        assert tell(HOT, "0:90 500:90", forget_after="400") == "0 firing, 400 resolved, 500 firing"

    def test_a_pending_alert_is_forgotten_without_having_fired(self) -> None:
        assert tell(HOT, "0:90 500:70", for_="2m", forget_after="400") == "0 pending, 400 inactive"


class TestNumbers:
    def one(self, expr: str, text: str, **keys: Any) -> tuple[float | None, float | None, float | None]:
        [alert] = feed(expr, text, **keys).alerts()
        return alert.value, alert.peak, alert.last

    def test_value_is_that_of_the_firing_peak_the_largest_and_last_the_newest(self) -> None:
        assert self.one(HOT, "0:85 10:99 20:90 30:70") == (85, 99, 70)

    def test_below_a_limit_the_peak_is_the_smallest(self) -> None:
        assert self.one("v < 5", "0:4 10:-3 20:1") == (4, -3, 1)

    def test_with_a_hold_the_peak_counts_from_since(self) -> None:
        assert self.one(HOT, "0:99 10:90 20:85", for_="20s") == (85, 99, 85)

    def test_of_neither_side_the_peak_is_the_largest_magnitude(self) -> None:
        assert self.one("v != 0", "0:2 10:-7 20:5") == (2, -7, 5)


class TestTables:
    """More alerts and moves than the first rows and buffers hold."""

    def test_thousands_of_keys_fire_and_resolve_in_one_call(self) -> None:
        count = 6000
        series = Series()
        engine = Engine(parse_rules([{"alert": "Hot", "expr": "v > 80", "for": "10s"}]), series)
        codes = np.tile(series.codes([f"d{number}" for number in range(count)], "v"), 3)
        times = np.repeat(np.array([0, 10, 20]) * SECOND, count)
        values = np.repeat([90.0, 91.0, 70.0], count)
        found = engine.process(Batch(series, codes, times, values), 30 * SECOND).transitions
        assert [len([move for move in found if move.to == to]) for to in (State.PENDING, State.FIRING)] == [count] * 2
        assert len(found) == 3 * count
        assert all(move.to in LIFE[move.from_] for move in found)
        assert engine.open_alerts() == []

    def test_thousands_of_timers_run_out_in_one_call(self) -> None:
        count = 6000
        series = Series()
        engine = Engine(parse_rules([{"alert": "Gone", "expr": "missing(v[60s])"}]), series)
        codes = series.codes([f"d{number}" for number in range(count)], "v")
        batch = Batch(series, codes, np.arange(count), np.zeros(count))
        engine.process(batch, SECOND)
        found = engine.process(None, 100 * SECOND).transitions
        assert [move.time for move in found] == [number + 60 * SECOND for number in range(count)]

    def test_a_row_is_used_again(self) -> None:
        series = Series()
        engine = Engine(parse_rules([{"alert": "Hot", "expr": "v > 80"}]), series)
        code = series.codes(["a"], "v")
        for at in range(1000):
            batch = Batch(series, code, np.array([at]), np.array([90.0 if at % 2 else 70.0]))
            engine.process(batch, at + 1)
        [life] = engine._groups[0].lives
        assert len(life.rows) == 64

    def test_a_call_in_which_nothing_moves_has_no_moves(self) -> None:
        assert len(Moves()) == 0
        assert Decision(np.empty(0, np.uint8), Moves()).alerts == []


@pytest.mark.parametrize("hold", ["30s", "3 readings", "2 of 3 readings"])
def test_an_open_alert_says_whether_it_has_fired(hold: str) -> None:
    pending = feed(HOT, "0:90", for_=hold)
    [alert] = pending.engine.open_alerts()
    assert (alert.state, alert.fired, alert.value, alert.last) == (State.PENDING, None, None, 90)
