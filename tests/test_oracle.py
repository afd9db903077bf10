"""The oracle itself: the cases of the semantics page, and what no case there decides, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

import cases
import oracle
from cases import assert_same_ledger
from oracle import Reading
from oracle_values import calculate, quantile, slope
from tocsin.rule import parse_rules

SECOND = 1_000_000_000


@pytest.mark.skipif(not cases.FOLDER.is_dir(), reason="the cases of the semantics page are not beside the repository")
@pytest.mark.parametrize("name", cases.names(valid=True))
def test_the_oracle_gives_the_ledger_of_every_case(name: str) -> None:
    assert_same_ledger(cases.load(name).by_oracle().ledger(), cases.ledger(name))


def story(rule: dict[str, Any], told: str, **settings: Any) -> str:
    """`0:90 10:92` as readings of `v` gives `10 firing, 20 resolved`; `w=0:90` are readings of `w`."""
    readings = []
    for word in told.split():
        metric, _, pair = word.rpartition("=")
        time, value = pair.split(":")
        readings.append(Reading("d", metric or "v", int(time) * SECOND, float(value)))
    outcome = oracle.replay(parse_rules([{"alert": "A", **rule}], None), readings, **settings)
    return ", ".join(f"{it.time // SECOND} {it.moved[1]}" for it in outcome.transitions)


def only_alert(rule: dict[str, Any], values: list[float]) -> oracle.Alert:
    """The one alert of a rule whose readings come every ten seconds."""
    readings = [Reading("d", "v", place * 10 * SECOND, value) for place, value in enumerate(values)]
    (alert,) = oracle.replay(parse_rules([{"alert": "A", **rule}], None), readings).alerts
    return alert


def test_a_reading_later_than_the_lateness_is_late_and_one_on_the_edge_is_not() -> None:
    times = [0, 100, 40, 39, 40, 40]
    readings = [Reading("d", "v", time, float(value)) for time, value in zip(times, [1, 1, 1, 1, 1, 2], strict=True)]
    flags = [flag for _, flag in oracle.admit(readings, lateness=60)]
    assert flags == ["accepted", "accepted", "accepted", "late", "repeat", "conflict"]


def test_an_unknown_evaluation_does_not_break_a_pending_alert() -> None:
    rule = {"expr": "v > 1 and w > 0", "for": "2m"}
    assert story(rule, "w=0:1 0:2 60:2 w=120:1 120:2", staleness=30 * SECOND) == "0 pending, 120 firing"


def test_a_timer_due_with_a_reading_lets_the_reading_go_first() -> None:
    rule = {"expr": "v > 1", "keep_firing_for": "1m"}
    assert story(rule, "0:2 10:0 70:0") == "0 firing, 10 recovering, 70 resolved"
    assert story(rule, "0:2 10:0 70:2") == "0 firing, 10 recovering, 70 firing"


def test_missing_is_due_at_the_edge_unless_a_reading_comes_then() -> None:
    rule = {"expr": "missing(v[1m])"}
    assert story(rule, "0:1 60:1 w=119:1") == ""
    assert story(rule, "0:1 61:1") == "60 firing, 61 resolved"


def test_a_key_is_forgotten_at_the_edge_unless_a_reading_comes_then() -> None:
    rule = {"expr": "v > 1"}
    assert story(rule, "0:2 60:2 119:2", forget_after=60 * SECOND) == "0 firing"
    assert story(rule, "0:2 61:2", forget_after=60 * SECOND) == "0 firing, 60 resolved, 61 firing"


def test_a_true_expression_beats_a_true_clear() -> None:
    assert story({"expr": "v > 1", "clear": "v < 5"}, "0:2 10:3 20:1") == "0 firing, 20 resolved"


def test_the_readings_before_a_resolving_one_no_longer_count() -> None:
    rule = {"expr": "v > 1", "for": "2 of 3 readings", "clear": "v < 1"}
    assert story(rule, "0:2 10:2 20:0 30:2 40:2") == "0 pending, 10 firing, 20 resolved, 30 pending, 40 firing"


def test_the_peak_of_an_alert_lies_between_since_and_until() -> None:
    alert = only_alert({"expr": "v < 5", "clear": "v > 7"}, [9, 4, 2, 6, 8, 6])
    assert (alert.since, alert.until) == (10 * SECOND, 40 * SECOND)
    assert (alert.value, alert.peak, alert.last) == (4.0, 2.0, 8.0)


def test_a_peak_seen_before_the_alert_began_is_not_its_peak() -> None:
    alert = only_alert({"expr": "v > 5", "for": "2 of 3 readings"}, [6, 1, 1, 7, 8])
    assert (alert.since, alert.fired, alert.peak) == (30 * SECOND, 40 * SECOND, 8.0)


def test_quantiles_interpolate_between_two_readings() -> None:
    assert quantile(0.25, [4.0, 1.0, 3.0, 2.0]) == 1.75
    assert quantile(1, [4.0, 1.0]) == 4.0


def test_the_slope_is_that_of_the_least_squares_line() -> None:
    assert slope([0, 1, 2], [1.0, 3.0, 5.0]) == 2.0
    assert slope([0], [1.0]) is None


@pytest.mark.parametrize(
    ("op", "left", "right"), [("/", 1.0, 0.0), ("%", 1.0, 0.0), ("^", -8.0, 0.5), ("*", 1e200, 1e200)]
)
def test_whatever_is_not_finite_is_unknown(op: str, left: float, right: float) -> None:
    assert calculate(op, left, right) is None


def test_the_remainder_has_the_sign_of_the_left_side() -> None:
    assert calculate("%", -7.0, 3.0) == -1.0
