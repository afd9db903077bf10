"""What `check` says of rules that are allowed but can hardly be meant."""

from __future__ import annotations

from typing import Any

import pytest

from tocsin.advice import advise
from tocsin.errors import Place
from tocsin.instant import UNITS
from tocsin.rule import parse_rules


def advice(expr: str, **keys: Any) -> str:
    rules = parse_rules([{"alert": "A", "expr": expr, **keys}], lambda _: Place("f.yaml", 3, 1))
    return "\n".join(advise(rules, staleness=5 * UNITS["m"]))


@pytest.mark.parametrize(
    ("expr", "column"),
    [
        ("v > 5 and v < 3", 11),
        ("v > 5 and 3 > v", 11),
        ("v > 3 and v <= 3", 11),
        ("v == 3 and v > 3", 12),
        ("not (v > 5 or v <= 5)", 15),
        ("(v > 1 or v > 2) and (v < 0 or v < -1)", 23),
        ("stuck(v[1m]) and not stuck(v[1m])", 22),
        ("count(v[1m]) < 1", 1),
        ("spread(v[1m]) < 0", 1),
        ("0 > stddev(v[1m])", 1),
        ("-drop(v[1m]) > 0", 1),
        ("rise(v[1m]) + 2 < 2", 1),
        ("count(v[1m]) * 2 < 2", 1),
        ("v / 0 > 1", 1),
        ("v % (2 - 2) > 1", 1),
        ("v{device='a'} - v{device='b'} > 3", 17),
        ("missing(v[10m]) and v > 3", 21),
        ("v > v", 1),
        ("v < v", 1),
        ("v != v", 1),
        ("not v == v", 5),
        ("not v >= v", 5),
        ("2 * v + w < 2 * v + w", 1),
        ("v > 1 and v{a='1'} != v{a='1'}", 11),
        ("limit('x') + v > limit('x') + v", 1),
        ("max(v[1m]) < min(v[1m])", 1),
        ("min(v[1m]) > max(v[1m])", 1),
        ("not max(v[1m]) >= min(v[1m])", 5),
        ("avg(v[1m]) > max(v[1m])", 1),
        ("last(v[1m]) < min(v[1m])", 1),
        ("median(v[1m]) > quantile(0.9, v[1m])", 1),
        ("quantile(0.9, v[1m]) < quantile(0.1, v[1m])", 1),
        ("max(v[1m]) > max(v[5m])", 1),
        ("first(v[1m]) < min(v[5m])", 1),
        ("v > max(v[1m])", 1),
        ("v{a='1',a='2'} > 1", 1),
        ("w > 1 and sum(v{a='1',a!='1'}[1m]) > 1", 15),
        ("v{a=~'1.*',a='2'} > 1", 1),
        ("missing(v[5m]) and max(v[1m]) > 3", 20),
    ],
)
def test_a_rule_that_can_never_be_true_is_pointed_out(expr: str, column: int) -> None:
    assert f"f.yaml:3:{column}: rule 'A': can never be true: " in advice(expr)


@pytest.mark.parametrize(
    "expr",
    [
        "v > 3 and v < 5",
        "v >= 3 and v <= 3",
        "v > 5 or v < 3",
        "v > 5 and w < 3",
        "v{site='a'} > 5 and v{site='b'} < 3",
        "v{device='a'} > 1 or v{device='b'} > 3",
        "count(v[1m]) == 1",
        "spread(v[1m]) <= 0",
        "change(v[1m]) < 0",
        "rate(v[1m]) < 0",
        "v - w < 0",
        "v != 3 and v == 4",
        "v > limit('x', 3) and v < 2",
        "missing(v[5m]) and v > 3",
        "missing(v[10m]) and missing(v[1m])",
        "not missing(v[10m]) and v > 3",
        "missing(v[10m]) and w > 3",
        "v > 5 unless v > 3 and w > 1",
        "2 ^ 3 == v and v / 2 > 1",
        "v > w",
        "v != w",
        "v{a='1'} > v{a='2'}",
        "max(v[1m]) <= min(v[1m])",
        "max(v[1m]) == min(v[1m])",
        "max(v[1m]) > min(v[1m])",
        "max(v[1m]) < max(v[5m])",
        "max(v[5m]) > avg(v[1m])",
        "max(v[1m]) > last(v[1m])",
        "max(v[1m]) < first(v[5m])",
        "max(v[1m]) < min(w[1m])",
        "avg(v[1m]) > median(v[1m])",
        "sum(v[1m]) > max(v[1m])",
        "v >= max(v[1m])",
        "quantile(0.1, v[1m]) < quantile(0.9, v[1m])",
        "v{a!='1',a!='2'} > 1",
        "v{a=~'1.*',a='12'} > 1",
        "v{a='1',b='2'} > 1",
        " and ".join(f"(a{number} > 1 or b{number} > 1)" for number in range(40)),
    ],
)
def test_nothing_is_said_of_a_rule_that_may_well_be_true(expr: str) -> None:
    assert advice(expr) == ""


def test_devices_meet_in_one_key_when_by_does_not_part_them() -> None:
    assert advice("v{device='a'} - v{device='b'} > 3", by=[]) == ""


@pytest.mark.parametrize(
    "expr", ["count(v[1m]) >= 1", "v > 3 or v <= 3", "drop(v[1m]) > -1", "v >= v", "v == v", "max(v[1m]) >= avg(v[1m])"]
)
def test_a_rule_that_is_always_true_is_pointed_out(expr: str) -> None:
    assert advice(expr) == "f.yaml:3:1: rule 'A': is true whenever it is known, so its alert never ends"


def test_where_doubt_fires_a_rule_may_fire_even_so() -> None:
    assert advice("v / 0 > 1", on_unknown="fire") == ""


def test_a_clear_that_can_never_be_true_is_pointed_out() -> None:
    assert "clear can never be true, so the alert never ends" in advice("v > 3", clear="v < 1 and v > 2")


def test_a_level_that_no_value_reaches_is_pointed_out() -> None:
    assert "the level 'low' can never be reached" in advice("drop(v[1m])", levels={"low": {"below": 0}})
    assert "the level" not in advice("drop(v[1m])", levels={"high": 0})


def test_a_clear_beyond_its_level_changes_nothing() -> None:
    assert "the clear of level 'high' lies beyond" in advice("v", levels={"high": {"above": 5, "clear": 7}})
    assert "the clear of level 'low' lies beyond" in advice("v", levels={"low": {"below": 5, "clear": 3}})
    assert advice("v", levels={"high": {"above": 5, "clear": 5}}) == ""


def test_a_quantile_over_more_than_ten_thousand_readings_is_pointed_out() -> None:
    """At one reading a second, both ends included, 2h46m39s hold 10,000 of them."""
    assert "median may have to hold 10,801 readings" in advice("median(v[3h]) > 1")
    assert "quantile may have to hold" in advice("quantile(0.9, v[1d]) > 1", min_coverage=0)
    assert advice("median(v[2h46m39s]) > 1") == ""
    assert advice("median(v[2h46m40s]) > 1") != ""
    assert advice("max(v[1d]) > 1") == ""


def test_a_value_that_stays_unknown_for_days_is_pointed_out() -> None:
    """0.9 of 7 days are 6 days, 7 hours and 12 minutes."""
    assert "unknown until a device has reported for 6d7h12m (coverage 0.9)" in advice("avg(v[7d]) > 1")
    assert advice("avg(v[7d]) > 1", min_coverage=0.1) == ""
    assert "for 3d12h (coverage 0.5)" in advice("max(v[7d]) > 1", min_coverage=0.5)


def test_a_coverage_that_nothing_asks_for_is_pointed_out() -> None:
    assert "min_coverage changes nothing" in advice("v > 1 or missing(v[1m])", min_coverage=0.5)
    assert advice("max(v[1m]) > 1", min_coverage=0.5) == ""
