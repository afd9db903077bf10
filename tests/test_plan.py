"""Rules to a program: what it asks of windows, what it works out once, and three-valued logic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tocsin.instant import SECOND
from tocsin.kernels.evaluate import BLOCK
from tocsin.node import Selector
from tocsin.plan import Plan, plan
from tocsin.rule import parse_rules

UNKNOWN = math.nan


def planned(*exprs: str, **keys: Any) -> Plan:
    """`min_coverage` is 0, so that a window asks for no column of coverage."""
    shared = {"min_coverage": 0, **keys}
    return plan(parse_rules([{"alert": f"r{number}", "expr": expr, **shared} for number, expr in enumerate(exprs)]))


def truth(expr: str, **metrics: float) -> float | None:
    """What a condition on bare metrics is: 1, 0 or unknown."""
    [found] = truths(planned(expr), {name: np.array([value]) for name, value in metrics.items()})
    return None if math.isnan(found) else found


def truths(made: Plan, metrics: dict[str, Any]) -> list[float]:
    count = len(next(iter(metrics.values())))
    inputs = made.new_inputs(count)
    for selector, wanted in made.wanted.items():
        inputs[wanted.newest] = metrics[selector.metric]
    return [float(found) for found in made.run(inputs)[made.answers[0].truth]]


class TestSharing:
    def test_two_rules_share_the_summaries_of_one_window(self) -> None:
        made = planned("avg(v[1m]) > 1", "sum(v[1m]) > 2", "count(v[1m]) > 3", "sum(v[2m]) > 1")
        wanted = made.wanted[Selector("v")].windows
        assert {length // SECOND: sorted(columns) for length, columns in wanted.items()} == {
            60: ["count", "sum"],
            120: ["sum"],
        }
        assert made.inputs == 3

    def test_what_two_rules_have_in_common_is_worked_out_once(self) -> None:
        """One division and two comparisons."""
        assert len(planned("avg(v[1m]) > 1", "avg(v[1m]) > 2").program) == 3

    def test_the_same_rule_twice_costs_nothing_more(self) -> None:
        made = planned("v > 80", "v > 80")
        assert (len(made.program), made.results) == (1, 1)
        assert made.answers[0] == made.answers[1]

    def test_other_matchers_select_other_series(self) -> None:
        made = planned('v{device="a"} > 1', 'v{device="b"} > 1', "v > 1")
        assert (len(made.wanted), made.inputs) == (3, 3)

    def test_a_quantile_is_asked_for_by_window_and_part(self) -> None:
        made = planned("quantile(0.9, v[1m]) > 1", "quantile(0.9, v[1m]) > 2", "median(v[1m]) > 1")
        assert sorted(q for _, q in made.wanted[Selector("v")].quantiles) == [0.5, 0.9]

    def test_coverage_is_asked_for_only_where_it_matters(self) -> None:
        [rule] = parse_rules([{"alert": "A", "expr": "avg(v[1m]) > 1 and max(v[2m]) > 1"}])
        wanted = plan([rule]).wanted[Selector("v")].windows
        assert sorted(wanted[60 * SECOND]) == ["count", "coverage", "sum"]
        assert sorted(wanted[120 * SECOND]) == ["max"]

    def test_a_rule_with_levels_has_a_value_and_no_truth(self) -> None:
        [answers] = planned("v", levels={"high": 15}).answers
        assert (answers.truth, answers.clear) == (-1, -1)
        assert answers.value >= 0

    def test_a_rule_that_compares_nothing_has_no_value(self) -> None:
        [answers] = planned("stuck(v[1m])").answers
        assert answers.value == -1


class TestArithmetic:
    @pytest.mark.parametrize(
        ("expr", "expected"),
        [
            ("a + b == 9", 1),
            ("a - b == 5", 1),
            ("a * b == 14", 1),
            ("a / b == 3.5", 1),
            ("a % b == 1", 1),
            ("-a % b == -1", 1),  # the sign of the dividend, as in PromQL
            ("a ^ b == 49", 1),
            ("-a == 0 - 7", 1),
            ("a >= 7 and a <= 7", 1),
            ("a != 7", 0),
            ("a < 7 or a > 7", 0),
            ("1 + 2 * 3 == a", 1),
            ("b ^ b ^ a > 1e38", 1),
        ],
    )
    def test_seven_and_two(self, expr: str, expected: float) -> None:
        assert truth(expr, a=7, b=2) == expected

    @pytest.mark.parametrize("expr", ["a / b > 0", "a % b > 0", "a / b < 0", "a / b != 1", "(a - a) / b == 0"])
    def test_division_by_nothing_is_unknown(self, expr: str) -> None:
        assert truth(expr, a=7, b=0) is None

    def test_what_is_too_large_is_unknown(self) -> None:
        assert truth("a * a > 0", a=1e200) is None
        assert truth("a ^ 0.5 > 0", a=-4) is None

    def test_an_unknown_side_makes_a_comparison_unknown(self) -> None:
        for op in ("==", "!=", ">", "<", ">=", "<="):
            assert truth(f"a {op} 1", a=UNKNOWN) is None

    def test_an_unknown_number_stays_unknown_whatever_is_done_with_it(self) -> None:
        assert truth("a * 0 == 0", a=UNKNOWN) is None
        assert truth("a ^ 0 == 1", a=UNKNOWN) is None
        assert truth("1 ^ a == 1", a=UNKNOWN) is None


class TestLogic:
    """Kleene's tables: T true, F false, ? unknown; rows and columns in that order."""

    @pytest.mark.parametrize(
        ("word", "table"), [("and", "TF? FFF ?F?"), ("or", "TTT TF? T??"), ("unless", "FTT FFF F??")]
    )
    def test_two_conditions(self, word: str, table: str) -> None:
        numbers = {"T": 1.0, "F": -1.0, "?": UNKNOWN}
        sign = {1.0: "T", 0.0: "F", None: "?"}
        rows = ["".join(sign[truth(f"a > 0 {word} b > 0", a=numbers[a], b=numbers[b])] for b in "TF?") for a in "TF?"]
        assert " ".join(rows) == table

    def test_not(self) -> None:
        assert [truth("not a > 0", a=a) for a in (1, -1, UNKNOWN)] == [0, 1, None]

    def test_not_binds_looser_than_a_comparison_and_tighter_than_and(self) -> None:
        assert truth("not a > 0 and a > 5", a=-1) == 0
        assert truth("not (a > 0 and a > 5)", a=-1) == 1


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_blocks_of_evaluations_meet_without_a_seam(count: int) -> None:
    a, b = np.arange(float(count)), np.arange(float(count))[::-1]
    made = planned("a * 2 + 1 > b and not a == 5")
    assert truths(made, {"a": a, "b": b}) == [float(2 * x + 1 > y and x != 5) for x, y in zip(a, b, strict=True)]


def test_columns_are_used_again_at_the_next_call() -> None:
    made = planned("a > 1")
    assert truths(made, {"a": np.array([0.0, 2.0, 3.0])}) == [0, 1, 1]
    assert truths(made, {"a": np.array([2.0])}) == [1]
    assert truths(made, {"a": np.array([UNKNOWN, 2.0])})[1] == 1
