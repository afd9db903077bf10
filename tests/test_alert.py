"""The ledger's lines, the table of an alert's states, and what `--json` tells of an alert."""

from __future__ import annotations

import json
from typing import Any

import pytest

from listed import NOON
from tocsin.alert import LIFE, Alert, State, Transition
from tocsin.instant import SECOND
from tocsin.kernels import life as kernel


def line(**changes: Any) -> str:
    move = Transition(NOON + 60 * SECOND, "Hot", (("device", "a"),), NOON, State.PENDING, State.FIRING, None, 90.5)
    return move._replace(**changes).ledger()


class TestLedger:
    def test_a_line_holds_what_happened_in_the_order_of_the_manual(self) -> None:
        assert line() == (
            '{"time": "2024-01-01T12:01:00Z", "rule": "Hot", "key": {"device": "a"}, "since": "2024-01-01T12:00:00Z", '
            '"from": "pending", "to": "firing", "level": null, "value": 90.5}'
        )

    def test_times_have_no_trailing_zeros(self) -> None:
        assert line(time=NOON + 250_000_000).startswith('{"time": "2024-01-01T12:00:00.25Z", ')

    @pytest.mark.parametrize(
        ("value", "text"),
        [(15.0, "15.0"), (0.1 + 0.2, "0.30000000000000004"), (1e22, "1e+22"), (-0.5, "-0.5"), (None, "null")],
    )
    def test_a_value_has_its_shortest_exact_form(self, value: float | None, text: str) -> None:
        assert line(value=value).endswith(f'"value": {text}}}')

    def test_letters_of_any_script_stand_as_they_are(self) -> None:
        assert '"key": {"device": "Küche 温度"}' in line(key=(("device", "Küche 温度"),))

    def test_a_key_may_have_several_labels_or_none(self) -> None:
        assert '"key": {"device": "a", "site": "roof"}' in line(key=(("device", "a"), ("site", "roof")))
        assert '"key": {}, ' in line(key=())

    def test_a_level_stands_where_the_rule_has_levels(self) -> None:
        assert '"to": "firing", "level": "warning", ' in line(level="warning")

    def test_the_reason_is_no_part_of_a_line(self) -> None:
        assert line(reason="forgotten") == line()

    def test_a_line_is_json_without_a_line_break(self) -> None:
        text = line(rule='a "quoted"\nname')
        assert "\n" not in text
        assert json.loads(text)["rule"] == 'a "quoted"\nname'


class TestStates:
    def test_the_table_names_every_state_and_what_may_follow(self) -> None:
        assert set(LIFE) == set(State)
        assert not LIFE[State.RESOLVED]
        assert all(followers <= set(State) for followers in LIFE.values())

    def test_only_a_firing_alert_recovers_or_changes_its_level(self) -> None:
        assert [state for state, after in LIFE.items() if State.RECOVERING in after] == [State.FIRING]
        assert [state for state, after in LIFE.items() if state in after] == [State.FIRING]

    def test_the_kernel_counts_the_states_alike(self) -> None:
        for state in State:
            assert getattr(kernel, state.name) == state


def test_an_alert_in_json_has_readable_times_and_null_for_what_is_not_there() -> None:
    alert = Alert("Hot", (("device", "a"),), NOON, State.FIRING, fired=NOON + SECOND, value=90.5, memory={"count": 3})
    assert alert.to_json() == {
        "rule": "Hot",
        "key": {"device": "a"},
        "since": "2024-01-01T12:00:00Z",
        "fired": "2024-01-01T12:00:01Z",
        "until": None,
        "state": "firing",
        "level": None,
        "value": 90.5,
        "peak": None,
        "last": None,
        "reason": None,
    }
