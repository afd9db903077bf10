"""What a saved step has to tell: a line for each alert while there are few, and a word on readings that no rule sees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from listed import HOT, ROWS, Row, batch_of, parts_of, step_of, store_in
from tocsin.instant import SECOND
from tocsin.reading import Flag, Series
from tocsin.rule import parse_rules
from tocsin.runners import steps as telling
from tocsin.runners.events import Events
from tocsin.runners.local import replay, run
from tocsin.runners.steps import AlertReport, StepReport
from tocsin.stats import Stats
from tocsin.stores import Step

EVENTS = Events("p", "consumer")
Heard = list[dict[str, Any]]


def alerts_of(heard: Heard) -> Heard:
    return [line for line in heard if "alert" in line["event"]]


def carried(tmp_path: Path, rows: list[Row], rules: list[Mapping[str, Any]], **options: Any) -> None:
    store = store_in(tmp_path)
    run(parts_of(rows, rules, **options), store, idle_after=SECOND)
    store.close()


class TestAlerts:
    def test_one_that_fires_or_is_resolved_is_told_with_rule_key_severity_and_event_time(
        self, heard: Heard, tmp_path: Path
    ) -> None:
        carried(tmp_path, ROWS, [{**HOT[0], "labels": {"severity": "page", "team": "pit"}}])
        said = [(line["event"], line["key"], line["at"], line["value"]) for line in alerts_of(heard)]
        assert said == [
            ("alert fired", {"device": "a"}, "2024-01-01T12:00:00Z", 90.0),
            ("alert resolved", {"device": "a"}, "2024-01-01T12:00:30Z", 70.0),
            ("alert fired", {"device": "b"}, "2024-01-01T12:01:00Z", 95.0),
        ]
        assert {line["severity"] for line in alerts_of(heard)} == {"page"}
        first = alerts_of(heard)[0]
        assert (first["rule"], first["labels"]["team"], first["pipeline"], first["part"]) == (
            "Hot",
            "pit",
            "test",
            "all",
        )
        assert "reason" not in first

    def test_a_change_of_level_is_told_and_pending_is_not(self, heard: Heard, tmp_path: Path) -> None:
        """Warm from 75, hot from 90; cool again at 10. The other rule waits for a second reading, which is not hot."""
        rows: list[Row] = [("a", 0, 75), ("a", 1, 90), ("a", 2, 10)]
        graded = {"alert": "Graded", "expr": "temp", "levels": {"warm": {"above": 70, "clear": 60}, "hot": 85}}
        carried(tmp_path, rows, [graded, {"alert": "Twice", "expr": "temp > 80", "for": "2 readings"}])
        assert [(line["event"], line["rule"], line["severity"]) for line in alerts_of(heard)] == [
            ("alert fired", "Graded", "warm"),
            ("alert level", "Graded", "hot"),
            ("alert resolved", "Graded", "hot"),
        ]

    def test_of_many_the_first_are_told_and_the_rest_is_counted(self, heard: Heard, tmp_path: Path) -> None:
        """Fifty devices fire at once and are resolved a second later: a hundred moves."""
        rows: list[Row] = [(f"d{place:02}", second, 90 - 80 * second) for second in (0, 1) for place in range(50)]
        carried(tmp_path, rows, HOT, block=100)
        *each, rest = alerts_of(heard)
        assert [line["key"]["device"] for line in each] == [f"d{place:02}" for place in range(telling.EACH)]
        assert (rest["event"], rest["fired"], rest["levels"], rest["resolved"]) == ("more alerts", 30, 0, 50)

    def test_after_some_seconds_as_many_are_told_again(self, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(telling, "WHILE", 0.0)
        rows: list[Row] = [(f"d{place:02}", 0, 90) for place in range(30)]
        parts = parts_of(rows, block=100)
        decoded = parts.source.poll()
        assert decoded is not None
        parts.watermark.admit(decoded.batch)
        parts.watermark.end()
        moves = parts.engine.process(decoded.batch, parts.watermark.value).moves.by_rule()
        report = AlertReport(EVENTS, parse_rules(HOT, None))
        for _ in range(2):
            report.took(moves)
            report.look()
        events = [line["event"] for line in heard]
        assert events == [*["alert fired"] * 20, "more alerts"] * 2
        assert [line["fired"] for line in heard if line["event"] == "more alerts"] == [10, 10]
        report.tell_rest()
        assert len(heard) == 42

    def test_one_that_ends_because_its_rule_was_edited_is_told_when_the_next_run_begins(
        self, heard: Heard, tmp_path: Path
    ) -> None:
        carried(tmp_path, ROWS, HOT)
        heard.clear()
        carried(tmp_path, ROWS, [{"alert": "Hot", "expr": "temp > 99"}])
        (line,) = alerts_of(heard)
        assert (line["event"], line["key"], line["reason"]) == ("alert resolved", {"device": "b"}, "rule changed")

    def test_a_replay_tells_nobody(self, heard: Heard) -> None:
        replay(parts_of(ROWS))
        assert heard == []


def step(rows: list[Row], flags: list[Flag]) -> Step:
    return step_of(batch_of(rows, Series()), flags)


class TestReadingsThatNoRuleSees:
    def report(self) -> tuple[Stats, StepReport]:
        stats = Stats()
        return stats, StepReport(EVENTS, parse_rules(HOT, None), stats)

    def test_late_ones_are_told_at_once_with_how_many_whose_and_how_late(self, heard: Heard) -> None:
        """The newest before it is of 60 s; so the reading of 5 s is 55 s late, and the one of 20 s only 40."""
        stats, report = self.report()
        rows: list[Row] = [("a", 60, 1), ("b", 20, 1), ("c", 5, 1), ("a", 3600, 1)]
        flags = [Flag.ACCEPTED, Flag.LATE, Flag.LATE, Flag.ACCEPTED]
        first = step(rows, flags)
        stats.add(first, 0)
        report.took(first)
        report.look()
        (line,) = heard
        assert (line["event"], line["level"], line["count"], line["total"]) == ("late readings", "WARNING", 2, 2)
        assert (line["device"], line["metric"], line["late_seconds"]) == ("c", "temp", 55.0)

    def test_and_then_seldom_with_their_number(self, heard: Heard) -> None:
        stats, report = self.report()
        for second in range(1, 101):
            one = step([("a", 1000, 1), ("b", second, 1)], [Flag.ACCEPTED, Flag.LATE])
            stats.add(one, 0)
            report.took(one)
            report.look()
        assert [line["count"] for line in heard] == [1]
        report.close()
        assert [(line["count"], line["total"]) for line in heard] == [(1, 1), (99, 100)]

    def test_the_first_after_a_restart_is_measured_by_the_watermark(self, heard: Heard) -> None:
        """What was accepted before this process began is not in its steps: the watermark stands at noon."""
        stats, report = self.report()
        one = step([("b", -90, 1)], [Flag.LATE])
        stats.add(one, 0)
        report.took(one)
        report.look()
        assert [line["late_seconds"] for line in heard] == [90.0]

    def test_late_ones_that_the_store_had_already_are_no_news(self, heard: Heard) -> None:
        stats, report = self.report()
        one = step([("a", 60, 1), ("b", 20, 1)], [Flag.ACCEPTED, Flag.LATE])
        stats.add(one, 1)
        report.took(one)
        report.close()
        assert heard == []

    def test_those_from_the_future_are_told_with_the_farthest(self, heard: Heard) -> None:
        stats, report = self.report()
        flags = [Flag.ACCEPTED, Flag.FUTURE, Flag.FUTURE]
        one = step([("a", 0, 1), ("b", 7200, 1), ("c", 3600, 1)], flags)
        stats.add(one, 0)
        report.took(one)
        report.look()
        (line,) = heard
        assert (line["event"], line["count"], line["device"]) == ("future readings", 2, "b")
        assert line["at"] == "2024-01-01T14:00:00Z"

    def test_a_direct_run_tells_of_readings_against_one_another(self, heard: Heard, tmp_path: Path) -> None:
        carried(tmp_path, [("a", 0, 90), ("a", 0, 91), ("a", 0, 90), ("b", 60, 10), ("b", 60, 11)], HOT)
        told = [line for line in heard if line["event"] == "conflicts"]
        assert sum(line["count"] for line in told) == told[-1]["total"] == 2
        assert told[0]["metric"] == "temp"

    def test_a_direct_run_tells_of_late_ones(self, heard: Heard, tmp_path: Path) -> None:
        carried(tmp_path, [("a", 0, 90), ("b", 60, 10), ("a", 30, 70)], HOT, lateness=10)
        assert [(line["count"], line["late_seconds"]) for line in heard if line["event"] == "late readings"] == [
            (1, 30.0)
        ]
