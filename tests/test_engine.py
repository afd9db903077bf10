"""Readings and a watermark in, transitions out: what is decided when, and what is flagged."""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from listed import HOT, NOON, batch_of
from stories import seconds
from tocsin.alert import State
from tocsin.engine import Decision, Engine
from tocsin.instant import LONG_AGO, SECOND
from tocsin.kernels import arena
from tocsin.reading import Batch, Flag, Series
from tocsin.rule import parse_rules

DAY = 86_400 * SECOND
OK, LATE, CONFLICT, REPEAT = Flag.ACCEPTED, Flag.LATE, Flag.CONFLICT, Flag.REPEAT
Row = tuple[str, float, float]


def engine_of(
    rules: Sequence[Mapping[str, Any]] = HOT, devices: Mapping[str, Mapping[str, str]] | None = None
) -> Engine:
    return Engine(parse_rules(rules), Series(devices))


def send(engine: Engine, *rows: Row, upto: float) -> Decision:
    """Device, seconds after noon, temperature; and the watermark, in seconds after noon."""
    return engine.process(batch_of(rows, engine.series), NOON + round(upto * SECOND))


def told(decision: Decision) -> list[str]:
    """Who, when and what, as in "a 30 firing"."""
    return [
        " ".join([*dict(move.key).values(), seconds(move.time - NOON), move.to.name.lower()])
        for move in decision.transitions
    ]


def flags(decision: Decision) -> list[Flag]:
    return [Flag(flag) for flag in decision.flags]


class TestWatermark:
    def test_what_lies_before_it_is_decided_and_the_rest_waits(self) -> None:
        engine = engine_of()
        assert told(send(engine, ("a", 0, 90), ("a", 10, 70), upto=10)) == ["a 0 firing"]
        assert told(send(engine, upto=10)) == []
        assert told(send(engine, upto=11)) == ["a 10 resolved"]

    def test_readings_that_wait_are_decided_in_the_order_of_their_times(self) -> None:
        engine = engine_of()
        send(engine, ("a", 20, 70), upto=0)
        send(engine, ("a", 10, 90), ("b", 5, 90), upto=0)
        assert told(send(engine, upto=30)) == ["b 5 firing", "a 10 firing", "a 20 resolved"]

    def test_one_that_goes_back_moves_nothing(self) -> None:
        engine = engine_of()
        send(engine, ("a", 0, 90), upto=100)
        decision = send(engine, ("a", 50, 70), ("a", 100, 70), upto=20)
        assert flags(decision) == [LATE, OK]
        assert (told(decision), engine.watermark) == ([], NOON + 100 * SECOND)
        assert told(send(engine, upto=101)) == ["a 100 resolved"]

    def test_a_reading_before_it_is_late_and_reaches_no_rule(self) -> None:
        engine = engine_of()
        send(engine, upto=10)
        decision = send(engine, ("a", 9, 90), ("a", 10, 70), upto=20)
        assert (flags(decision), told(decision)) == ([LATE, OK], [])


class TestEmptyBatches:
    def test_nothing_at_all_decides_nothing(self) -> None:
        engine = engine_of()
        for watermark in (LONG_AGO, 0, NOON):
            decision = engine.process(None, watermark)
            assert (decision.transitions, decision.alerts, len(decision.flags)) == ([], [], 0)

    def test_an_empty_batch_moves_the_watermark_like_none(self) -> None:
        engine = engine_of()
        send(engine, ("a", 0, 90), upto=0)
        assert told(engine.process(Batch.empty(engine.series), NOON + 1)) == ["a 0 firing"]

    def test_an_engine_without_rules_flags_readings(self) -> None:
        engine = engine_of([])
        assert flags(send(engine, ("a", 0, 1), ("a", 0, 1), ("a", 0, 2), upto=10)) == [OK, REPEAT, CONFLICT]
        assert flags(send(engine, ("a", 5, 1), upto=10)) == [LATE]


class TestRepeats:
    def test_the_first_in_the_log_stays(self) -> None:
        decision = send(engine_of(), ("a", 0, 90), ("a", 0, 90), ("a", 0, 70), upto=10)
        assert (flags(decision), told(decision)) == ([OK, REPEAT, CONFLICT], ["a 0 firing"])

    def test_across_batches_as_within_one(self) -> None:
        engine = engine_of()
        assert flags(send(engine, ("a", 0, 90), upto=0)) == [OK]
        assert flags(send(engine, ("a", 0, 90), ("b", 0, 90), upto=0)) == [REPEAT, OK]
        assert flags(send(engine, ("b", 0, 70), ("a", 0, 70), upto=0)) == [CONFLICT, CONFLICT]
        assert told(send(engine, upto=10)) == ["a 0 firing", "b 0 firing"]

    def test_in_a_batch_out_of_order_each_flag_stands_at_its_reading(self) -> None:
        engine = engine_of()
        send(engine, upto=0)
        rows: list[Row] = [("a", 20, 1), ("a", -5, 1), ("b", 10, 2), ("a", 20, 3), ("a", 10, 2), ("b", 10, 2)]
        assert flags(send(engine, *rows, upto=0)) == [OK, LATE, OK, CONFLICT, OK, REPEAT]

    def test_once_decided_a_second_one_is_late(self) -> None:
        engine = engine_of()
        send(engine, ("a", 0, 90), upto=1)
        assert flags(send(engine, ("a", 0, 90), upto=1)) == [LATE]

    def test_zero_and_minus_zero_are_one_value(self) -> None:
        assert flags(send(engine_of(), ("a", 0, 0.0), ("a", 0, -0.0), upto=1)) == [OK, REPEAT]

    def test_another_label_makes_no_other_reading(self) -> None:
        engine = engine_of()
        codes = [engine.series.code("a", "temp", {"site": site}) for site in ("roof", "cellar")]
        batch = Batch(engine.series, np.array(codes, np.int32), np.full(2, NOON), np.array([1.0, 2.0]))
        assert flags(engine.process(batch, NOON)) == [OK, CONFLICT]


class TestClocks:
    @pytest.mark.parametrize("ahead", [DAY, 10_000 * DAY])
    def test_a_device_far_ahead_waits_and_does_not_disturb_the_others(self, ahead: int) -> None:
        engine = engine_of()
        far = ahead / SECOND
        assert told(send(engine, ("x", far, 90), ("a", 0, 90), upto=1)) == ["a 0 firing"]
        assert told(send(engine, ("a", 10, 70), upto=11)) == ["a 10 resolved"]
        assert len(engine.waiting) == 1

    def test_a_device_that_begins_in_1970_does_not_disturb_the_others(self) -> None:
        """Its reading comes first of all; half a century later windows are as ever."""
        rules = [{"alert": "Mean", "expr": "avg(temp[10s]) > 80"}]
        engine = engine_of(rules)
        assert told(send(engine, ("x", -NOON / SECOND, 90), ("a", 0, 90), ("a", 9, 90), upto=10)) == ["a 9 firing"]

    def test_a_device_from_1970_is_late_once_the_others_have_come(self) -> None:
        engine = engine_of()
        send(engine, ("a", 0, 90), upto=1)
        assert flags(send(engine, ("x", -NOON / SECOND, 90), upto=1)) == [LATE]

    def test_times_before_1970_are_decided_alike(self) -> None:
        engine = engine_of([{"alert": "Gone", "expr": "missing(temp[60s])"}])
        code = engine.series.codes(["a"], "temp")
        batch = Batch(engine.series, code, np.array([-1000 * SECOND]), np.array([1.0]))
        [move] = engine.process(batch, 0).transitions
        assert seconds(move.time) == "-940"


class TestManyReadings:
    RULES: Sequence[Mapping[str, Any]] = [
        {"alert": "Mean", "expr": "avg(temp[2m]) > 0", "clear": "avg(temp[2m]) < -0.02"},
        {"alert": "Deviation", "expr": "stddev(temp[5m]) > 1.03", "for": "20s"},
        {"alert": "High", "expr": "temp > 2.5", "keep_firing_for": "30s"},
        {"alert": "Often", "expr": "temp > 1", "for": "5 of 9 readings"},
    ]

    def test_a_hundred_thousand_in_one_batch_are_those_in_many(self) -> None:
        """In pieces of one reading at the start and at the end, and of any size between."""
        random = np.random.default_rng(1)
        count = 100_000
        times, values = NOON + np.arange(count) * SECOND, random.normal(0, 1, count)
        cuts = [*range(500), *np.sort(random.integers(500, count - 500, 200)).tolist(), *range(count - 500, count + 1)]
        ledgers = []
        for ends in ([0, count], cuts):
            engine = engine_of(self.RULES)
            code = engine.series.code("a", "temp")
            lines: list[str] = []
            for first, end in pairwise(ends):
                part = slice(first, end)
                batch = Batch(engine.series, np.full(end - first, code, np.int32), times[part], values[part])
                moves = engine.process(batch, int(times[end - 1]) + 1 if end else 0).transitions
                lines += [move.ledger() for move in moves]
            ledgers.append(lines)
            assert engine.counts()["High"] == (count, 0)
        assert len(ledgers[0]) > 1000
        assert ledgers[0] == ledgers[1]

    def test_memory_follows_the_windows(self) -> None:
        """An hour fills the arenas; ten more hours need no more."""
        engine = engine_of(self.RULES)
        codes = np.tile(engine.series.codes(["a", "b", "c"], "temp"), 600)

        def used() -> list[int]:
            return [int(recent.top[0]) for recent in engine._recent.values()]

        sizes = []
        for part in range(66):
            times = NOON + np.repeat(np.arange(600 * part, 600 * (part + 1)), 3) * SECOND
            engine.process(Batch(engine.series, codes, times, np.zeros(1800)), int(times[-1]))
            sizes.append(used())
        assert sizes[5:] == [sizes[5]] * 61

    def test_a_silent_device_gives_its_memory_back(self) -> None:
        engine = engine_of()
        send(engine, ("a", 0, 10), ("b", 0, 10), upto=1)
        for minute in range(1, 30):
            send(engine, ("b", 60 * minute, 10), upto=60 * minute + 1)
        [recent] = engine._recent.values()
        assert (recent.meta[:2, arena.ROOM] > 0).tolist() == [False, True]


class TestGroups:
    """Rules over one selector that are evaluated at other instants, or remembered for other times."""

    RULES: Sequence[Mapping[str, Any]] = [
        {"alert": "Hot", "expr": "temp > 80"},
        {"alert": "Mean", "expr": "avg(temp[20s]) > 80", "min_coverage": 0},
        {"alert": "Gone", "expr": "missing(temp[15s])"},
        {"alert": "Both", "expr": "temp > 80 and humidity > 0"},
        {"alert": "Site", "expr": "max(temp[20s]) > 80", "by": ["site"]},
        {"alert": "Week", "expr": "max(temp[7d]) > 80"},
    ]
    ROWS: Sequence[Row] = [("a", 0, 90), ("a", 10, 60), ("a", 40, 90)]

    def ledger(self, rules: Sequence[Mapping[str, Any]]) -> list[str]:
        engine = engine_of(rules)
        lines = [move.ledger() for row in self.ROWS for move in send(engine, row, upto=row[1]).transitions]
        return lines + [move.ledger() for move in send(engine, upto=41).transitions]

    def test_each_rule_decides_what_it_decides_alone(self) -> None:
        alone = {line for rule in self.RULES for line in self.ledger([rule])}
        assert set(self.ledger(self.RULES)) == set(self.ledger(self.RULES[::-1])) == alone

    def test_by_hand(self) -> None:
        """Means 90, 75 and 90; silent from 10 to 25; the sites' maxima; nothing of humidity."""
        engine = engine_of(self.RULES)
        found = send(engine, *self.ROWS, upto=41).transitions
        assert [(move.rule, seconds(move.time - NOON), move.to.name.lower()) for move in found] == [
            ("Hot", "0", "firing"),
            ("Mean", "0", "firing"),
            ("Site", "0", "firing"),
            ("Week", "0", "firing"),
            ("Hot", "10", "resolved"),
            ("Mean", "10", "resolved"),
            ("Gone", "25", "firing"),
            ("Gone", "40", "resolved"),
            ("Hot", "40", "firing"),
            ("Mean", "40", "firing"),
        ]

    def test_a_rule_added_over_the_same_selector_shares_its_readings(self) -> None:
        engine = engine_of(self.RULES)
        assert sorted(selector.metric for _, selector in engine._recent) == ["humidity", "temp", "temp"]

    def test_evaluations_are_counted_by_rule(self) -> None:
        engine = engine_of(self.RULES)
        send(engine, *self.ROWS, upto=41)
        assert engine.counts() == {
            "Hot": (3, 0),
            "Mean": (3, 0),
            "Gone": (4, 0),
            "Both": (3, 2),  # false at 10, whatever the humidity
            "Site": (3, 0),
            "Week": (3, 0),
        }


class TestExpectedDevices:
    GONE: Sequence[Mapping[str, Any]] = [{"alert": "Gone", "expr": "missing(temp[60s])"}]

    def test_one_that_never_reports_is_missed_from_the_first_event_time_on(self) -> None:
        engine = engine_of(self.GONE, {"a": {}, "b": {"site": "roof"}})
        assert told(send(engine, ("a", 0, 1), upto=60)) == []
        assert told(send(engine, ("a", 60, 1), upto=61)) == ["b 60 firing"]
        assert told(send(engine, ("b", 70, 1), upto=71)) == ["b 70 resolved"]

    def test_one_that_nobody_expects_is_not_missed(self) -> None:
        engine = engine_of(self.GONE, {"a": {}})
        assert told(send(engine, ("b", 0, 1), upto=100)) == ["a 60 firing", "b 60 firing"]
        assert told(send(engine, ("c", 100, 1), upto=101)) == []

    def test_they_are_never_forgotten(self) -> None:
        engine = Engine(parse_rules(HOT), Series({"a": {}}), forget_after=100 * SECOND)
        send(engine, ("a", 0, 90), ("b", 0, 90), upto=1)
        assert told(send(engine, upto=1000)) == ["b 100 resolved"]
        assert [(alert.key, alert.state) for alert in engine.open_alerts()] == [((("device", "a"),), State.FIRING)]


class TestSnapshot:
    def test_a_fresh_engine_goes_on_where_it_was_taken(self) -> None:
        engine, fresh = engine_of(), engine_of()
        send(engine, ("a", 0, 90), ("b", 20, 90), upto=10)
        fresh.restore(pickle.loads(pickle.dumps(engine.snapshot())))
        for one in (engine, fresh):
            assert told(send(one, ("a", 15, 70), upto=30)) == ["a 15 resolved", "b 20 firing"]

    def test_later_work_does_not_touch_it(self) -> None:
        engine = engine_of()
        send(engine, ("a", 0, 90), upto=1)
        snapshot = engine.snapshot()
        before = pickle.dumps(snapshot)
        send(engine, ("a", 10, 70), ("b", 10, 90), ("c", 20, 90), upto=11)
        assert pickle.dumps(snapshot) == before

    def test_other_rules_are_refused(self) -> None:
        with pytest.raises(ValueError, match="the snapshot was taken with other rules"):
            engine_of([{"alert": "Hot", "expr": "temp > 81"}]).restore(engine_of().snapshot())

    def test_a_rule_that_is_written_otherwise_is_no_other_rule(self) -> None:
        engine_of([{"alert": "Hot", "expr": "(temp)>80.0"}]).restore(engine_of().snapshot())


def test_a_decoder_may_work_ahead_in_another_thread() -> None:
    """It adds series, of its batches and of no rule, while the engine decides what it made before."""
    rules = [*TestGroups.RULES, {"alert": "Roof", "expr": 'temp{site="roof"} > 80'}]

    def decode(series: Series) -> Iterator[Batch]:
        for at in range(150):
            rows: list[Row] = [(f"d{at % 17}", at, 90 - at % 20), (f"new{at}", at, 90)]
            yield batch_of(rows, series)
            for number in range(20):
                series.code(f"other{at}-{number}", "temp", {"site": ("roof", "cellar")[number % 2]})

    def decide(engine: Engine, batches: Iterable[Batch]) -> list[str]:
        decisions = [engine.process(batch, int(batch.time[0])) for batch in batches]
        return [move.ledger() for decision in decisions for move in decision.transitions]

    alone, beside = engine_of(rules), engine_of(rules)
    ahead: queue.Queue[Batch | None] = queue.Queue(maxsize=20)

    def decode_ahead() -> None:
        for batch in decode(beside.series):
            ahead.put(batch)
        ahead.put(None)

    decoder = threading.Thread(target=decode_ahead)
    decoder.start()
    ledger = decide(beside, iter(ahead.get, None))
    decoder.join()
    assert len(ledger) > 300
    assert ledger == decide(alone, decode(alone.series))
