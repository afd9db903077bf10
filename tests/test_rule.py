"""A rule from the user's keys: what it holds, and how every mistake in it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tocsin.errors import ConfigErrors, Place
from tocsin.expression import Arithmetic, Call, Newest, Selector, parse
from tocsin.instant import UNITS
from tocsin.rule import ForDuration, ForReadings, Level, Rule, parse_rules, partition_labels

CASES = Path(__file__).parent.parent.parent / "shared" / "cases"
MINUTE = UNITS["m"]


def rule(expr: str = "v > 1", **keys: Any) -> Rule:
    """The rule with these keys; `for_` is `for`."""
    [found] = parse_rules([{"alert": "A", "expr": expr, **{key.rstrip("_"): value for key, value in keys.items()}}])
    return found


def complaint(*rules: Any) -> str:
    with pytest.raises(ConfigErrors) as caught:
        parse_rules(list(rules))
    return str(caught.value)


def complaint_of(**keys: Any) -> str:
    return complaint({"alert": "A", "expr": "v > 1", **{key.rstrip("_"): value for key, value in keys.items()}})


class TestKeys:
    def test_a_rule_needs_no_more_than_a_name_and_an_expression(self) -> None:
        found = rule("v > 1")
        assert found == Rule("A", parse("v > 1"))
        assert (found.by, found.on_unknown, found.keep_firing_for) == (("device",), "hold", 0)

    def test_every_key_is_kept(self) -> None:
        found = rule(
            'drop(t{device="s"}[2m30s]) > 15',
            for_="3m",
            clear='drop(t{device="s"}[2m30s]) < 10',
            keep_firing_for="1m",
            by=["site", "device"],
            min_coverage=0.5,
            on_unknown="clear",
            labels={"severity": "critical", "page": True, "team": 7},
            annotations={"summary": "{{ device }} fell"},
        )
        assert found.expr == parse('drop(t{device="s"}[2m30s]) > 15')
        assert found.clear == parse('drop(t{device="s"}[2m30s]) < 10')
        assert found.hold == ForDuration(3 * MINUTE)
        assert found.keep_firing_for == MINUTE
        assert found.by == ("site", "device")
        assert found.min_coverage == 0.5
        assert found.on_unknown == "clear"
        assert found.labels == {"severity": "critical", "page": "true", "team": "7"}
        assert found.annotations == {"summary": "{{ device }} fell"}
        assert found.text == 'drop(t{device="s"}[2m30s]) > 15'

    def test_a_key_without_a_value_is_a_key_left_out(self) -> None:
        assert rule(for_=None, clear=None, labels=None) == rule()

    @pytest.mark.parametrize(
        ("text", "hold"),
        [
            ("90s", ForDuration(90 * UNITS["s"])),
            ("3 readings", ForReadings(3, 3, in_a_row=True)),
            ("3 of 5 readings", ForReadings(3, 5)),
            ("3 of 3 readings", ForReadings(3, 3)),
            ("1 of 2 readings", ForReadings(1, 2)),
            ("1 reading", None),
            ("0s", None),
        ],
    )
    def test_for_is_a_time_or_a_number_of_readings(self, text: str, hold: object) -> None:
        assert rule(for_=text).hold == hold


class TestLevels:
    def test_levels_are_put_in_order_by_their_limits(self) -> None:
        found = rule("v", levels={"critical": {"above": 80, "clear": 70}, "info": 60, "warning": {"above": 70}})
        assert found.levels == (Level("info", 60.0), Level("warning", 70.0), Level("critical", 80.0, 70.0))
        assert not found.below

    def test_the_most_severe_of_levels_below_is_the_lowest(self) -> None:
        found = rule("v", levels={"critical": {"below": 0, "clear": 2}, "warning": {"below": 5}})
        assert found.levels == (Level("warning", 5.0), Level("critical", 0.0, 2.0))
        assert found.below

    @pytest.mark.parametrize(
        ("levels", "said"),
        [
            ({}, "expected a mapping from a level's name to its limit"),
            ([15], "expected a mapping from a level's name to its limit"),
            ({"a": {"above": 1}, "b": {"below": 0}}, "all above or all below"),
            ({"a": 1, "b": {"above": 1}}, "'a' and 'b' have the same limit"),
            ({"a": {"abvoe": 1}}, "a level has no key 'abvoe'. Did you mean 'above'?"),
            ({"a": {"clear": 1}}, "expected either above or below"),
            ({"a": {"above": 1, "below": 0}}, "expected either above or below"),
            ({"a": "high"}, "expected a number, not 'high'"),
            ({"a": True}, "expected a number, not True"),
            ({"a": {"above": float("nan")}}, "expected a number, not nan"),
        ],
    )
    def test_levels_that_make_no_sense_are_refused(self, levels: object, said: str) -> None:
        message = complaint({"alert": "A", "expr": "v", "levels": levels})
        assert message.startswith("rule 'A': levels: ")
        assert said in message

    def test_with_levels_the_expression_is_a_number_and_each_level_clears_itself(self) -> None:
        message = complaint_of(levels={"a": 1}, clear="v < 0")
        assert "expr: with levels this must be a number: take the comparison away" in message
        assert "clear: with levels each level has its own clear" in message


class TestReportedValue:
    V, W = Newest(Selector("v")), Newest(Selector("w"))

    @pytest.mark.parametrize(
        ("expr", "value", "peak"),
        [
            ("v > 1", V, "max"),
            ("v >= 1", V, "max"),
            ("v < 1", V, "min"),
            ("v == 1", V, "magnitude"),
            ("v != 1", V, "magnitude"),
            ("3 < v", V, "max"),
            ("limit('x', 3) >= v", V, "min"),
            ("v > limit('x', 3)", V, "max"),
            ("v > w", V, "max"),
            ("v - w > 3", Arithmetic("-", V, W), "max"),
            ("w < 3 and v > 1", W, "min"),
            ("limit('on', 0) > 0 and v > 1", V, "max"),
            ("not v < 3", V, "min"),
            ("not not v < 3", V, "min"),
            ("stuck(v[1m]) or w > 3", W, "max"),
            ("stuck(v[1m]) unless w > 3", W, "max"),
            ("missing(v[1m]) and w > 3", Call("missing", Selector("v"), MINUTE), "max"),
            ("stuck(v[1m])", None, "magnitude"),
        ],
    )
    def test_it_is_the_side_of_the_leftmost_comparison_that_readings_change(
        self, expr: str, value: object, peak: str
    ) -> None:
        found = rule(expr)
        assert (found.value, found.peak) == (value, peak)

    def test_with_levels_it_is_the_expression_and_the_peak_lies_where_the_levels_do(self) -> None:
        above, below = rule("v", levels={"a": 1}), rule("v", levels={"a": {"below": 1}})
        assert (above.value, above.peak) == (self.V, "max")
        assert (below.value, below.peak) == (self.V, "min")


class TestFingerprint:
    def test_the_way_it_is_written_changes_nothing(self) -> None:
        plain = rule("v{a='1',b='2'} > 1 and w > 2", by=["x", "device"])
        other = rule('(v{b="2",  a="1"} > 1.0) AND # both\n w > 2', by=["device", "x"], labels={"team": "a"})
        assert plain.fingerprint == other.fingerprint

    @pytest.mark.parametrize(
        "change",
        [
            {"expr": "v > 2"},
            {"clear": "v < 1"},
            {"for_": "1m"},
            {"for_": "3 readings"},
            {"keep_firing_for": "1m"},
            {"by": ["device", "site"]},
            {"min_coverage": 0.5},
            {"on_unknown": "fire"},
            {"expr": "v", "levels": {"a": 1}},
        ],
    )
    def test_whatever_decides_changes_it(self, change: dict[str, Any]) -> None:
        assert rule(**change).fingerprint != rule().fingerprint

    def test_it_is_the_same_tomorrow(self) -> None:
        """It is stored, so it must not depend on the process: a hash of texts, not Python's own."""
        assert rule().fingerprint == replace(rule(), text="", name="B").fingerprint
        assert len(rule().fingerprint) == 16


class TestTimes:
    def test_the_longest_window_counts_that_of_clear_too(self) -> None:
        assert rule("max(v[1m]) > 1 or min(w[5m]) < 1", clear="avg(v[10m]) < 1").longest_window == 10 * MINUTE
        assert rule("v > 1").longest_window == 0

    def test_a_key_is_remembered_as_long_as_the_rule_needs(self) -> None:
        found = rule("max(v[10m]) > 1", for_="5m", keep_firing_for="1m")
        assert found.forget_after(30 * MINUTE) == 30 * MINUTE
        assert found.forget_after(MINUTE) == 16 * MINUTE
        assert rule("max(v[10m]) > 1", for_="3 readings").forget_after(MINUTE) == 10 * MINUTE


class TestPartition:
    def test_readings_may_be_split_by_what_every_rule_has_in_its_key(self) -> None:
        both = rule("sum(v[1m]) > 1", by=["state", "site"])
        assert partition_labels([both, rule("sum(v[1m]) > 1", by=["site"])]) == ("site",)
        assert partition_labels([both, rule()]) == ()
        assert partition_labels([rule()]) == ("device",)
        assert partition_labels([]) == ()


class TestOneDevice:
    @pytest.mark.parametrize(
        "expr",
        [
            "v > 1",
            'v{device=~"a"} > 1',
            'v{device=""} > 1',
            'v{device!="a"} > 1',
            *(f"{name}(v[1m]) > 1" for name in ["first", "last", "drop", "rise", "change", "rate", "slope", "zscore"]),
            "stuck(v[1m])",
            "v > limit('max', 3)",
        ],
    )
    def test_without_device_in_by_what_speaks_of_one_must_be_pinned(self, expr: str) -> None:
        assert "device" in complaint({"alert": "A", "expr": expr, "by": ["state"]})

    @pytest.mark.parametrize(
        "expr",
        [
            'v{device="a"} > w{device="b"}',
            'drop(v{device="a"}[1m]) > 1',
            "missing(v[1m])",
            *(f"{name}(v[1m]) > 1" for name in ["avg", "min", "max", "sum", "count", "median", "stddev", "spread"]),
            "quantile(0.5, v[1m]) > 1",
            'v{device="a"} > limit("max", 3)',
            'sum(v[1m]) > limit("state", 3)',
        ],
    )
    def test_pinned_or_of_no_order_it_may_stand_for_several(self, expr: str) -> None:
        assert rule(expr, by=["state"]).by == ("state",)

    def test_clear_is_held_to_the_same(self) -> None:
        assert "a bare metric speaks of one device" in complaint_of(expr="sum(v[1m]) > 1", clear="v < 1", by=[])


class TestMistakes:
    @pytest.mark.parametrize(
        ("keys", "said"),
        [
            ({"fro": "3m"}, "a rule has no key 'fro'. Did you mean 'for'?"),
            ({"colour": "red"}, "a rule has no key 'colour'. There are: alert, expr, for,"),
            ({"alert": ""}, "rule number 1: alert: expected a name"),
            ({"alert": 7}, "rule number 1: alert: expected a name"),
            ({"expr": None}, "expr: this key is missing"),
            ({"expr": 5}, "expr: expected an expression, as in 'temp > 80', not 5"),
            ({"expr": "v"}, "expr: this is a number and never true: compare it"),
            ({"expr": "v >"}, "the expression is cut off"),
            ({"clear": "v"}, "clear: this is a number and never true"),
            ({"for": "5 of 3 readings"}, "for: '5 of 3 readings' can never come true: expected 'M of N readings'"),
            ({"for": "0 readings"}, "for: '0 readings' can never come true"),
            ({"for": "soon"}, "or a number of readings, as in '3 readings' or '3 of 5 readings'"),
            ({"for": 3}, "for: expected a duration, as in 90s, 3m or 1h, not 3"),
            ({"for": "99999w"}, "99999w is too long: expected at most 3650d"),
            ({"keep_firing_for": "5 readings"}, "keep_firing_for: '5 readings' is not a duration"),
            ({"keep_firing_for": 60}, "keep_firing_for: expected a duration"),
            ({"by": "state"}, "by: expected a list of labels, as in [device] or [state], not 'state'"),
            ({"by": ["device", "device"]}, "by: the label 'device' stands here twice"),
            ({"by": [1]}, "by: expected labels"),
            ({"min_coverage": 90}, "min_coverage: expected the part of a window, a number from 0 to 1, not 90"),
            ({"min_coverage": True}, "min_coverage: expected the part of a window"),
            ({"min_coverage": float("nan")}, "min_coverage: expected the part of a window"),
            ({"on_unknown": "keep"}, "on_unknown: expected hold, clear or fire, not 'keep'"),
            ({"on_unknown": "fires"}, "Did you mean 'fire'?"),
            ({"labels": ["critical"]}, "labels: expected a mapping from name to text"),
            ({"annotations": {"summary": ["a"]}}, "annotations: 'summary' should be a text"),
        ],
    )
    def test_each_is_told_with_its_key_and_remedy(self, keys: dict[str, Any], said: str) -> None:
        assert said in complaint({"alert": "A", "expr": "v > 1", **keys})

    def test_a_name_belongs_to_one_rule(self) -> None:
        message = complaint({"alert": "A", "expr": "v > 1"}, {"alert": "A", "expr": "v > 2"})
        assert message.startswith("rule 'A': alert: another rule has this name already")

    @pytest.mark.parametrize("given", ["v > 1", None, 5, ["v > 1"]])
    def test_a_rule_that_is_no_mapping_is_refused(self, given: object) -> None:
        assert complaint(given) == "rule number 1: expected a mapping with at least the keys alert and expr"

    def test_an_empty_rule_is_not_passed_over(self) -> None:
        assert "alert: expected a name" in complaint({})

    @pytest.mark.parametrize("rules", ["v > 1", {"alert": "A"}, None])
    def test_rules_that_are_no_list_are_refused(self, rules: Any) -> None:
        with pytest.raises(ConfigErrors, match="expected a list of rules"):
            parse_rules(rules)

    def test_all_are_told_at_once_each_at_its_place(self) -> None:
        rules: list[dict[str, Any]] = [
            {"alert": "A", "expr": "v > 1 and dorp(v[1m]) > 1", "for": "soon"},
            {"alert": "B", "expr": "v", "levels": {"low": {"abvoe": 1}}},
            {"alert": "C", "expr": "v > 1"},
        ]
        lines = {(0, "expr"): 3, (0, "for"): 4, (1, "levels", "low", "abvoe"): 8}
        with pytest.raises(ConfigErrors) as caught:
            parse_rules(rules, lambda steps: Place("f.yaml", lines[steps], 11) if steps in lines else None)
        told = str(caught.value).splitlines()
        assert len(told) == 3
        assert told[0].startswith("f.yaml:3:21: rule 'A': there is no function 'dorp'")
        assert told[1].startswith("f.yaml:4:11: rule 'A': for: 'soon' is not a duration")
        assert told[2].startswith("f.yaml:8:11: rule 'B': levels: a level has no key 'abvoe'")


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases of the semantics are not here")
class TestCases:
    @pytest.mark.parametrize("path", sorted(CASES.glob("*.json")), ids=lambda path: path.stem)
    def test_the_rules_of_a_case_are_read_or_refused_as_it_says(self, path: Path) -> None:
        rules = json.loads(path.read_text(encoding="utf-8"))["rules"]
        if path.stem.startswith("invalid_"):
            assert len(complaint(*rules)) > 20
        else:
            assert [found.name for found in parse_rules(rules)] == [given["alert"] for given in rules]
