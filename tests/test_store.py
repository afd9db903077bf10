"""The store: saved together or not at all, each thing once, and clear words when it cannot be."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from listed import HOT, LEDGER, NOON, ROWS, Row, ask, batch_of, ledger_of, owner, parts_of, step_of, store_in
from tocsin.errors import StoreError
from tocsin.instant import LONG_AGO, SECOND
from tocsin.reading import Batch, Flag, Series
from tocsin.record import Reject
from tocsin.runners.local import replay, run
from tocsin.stores.sql import SqlStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = store_in(tmp_path)
    yield store
    store.close()


class TestWhatIsKept:
    def test_a_run_keeps_readings_alerts_and_their_transitions(self, store: SqlStore, tmp_path: Path) -> None:
        run(parts_of(ROWS), store, idle_after=SECOND)
        assert ledger_of(store) == LEDGER
        assert [(alert.rule, dict(alert.key)["device"], alert.state.name) for alert in store.alerts()] == [
            ("Hot", "a", "RESOLVED"),
            ("Hot", "b", "FIRING"),
        ]
        assert ask(tmp_path, "SELECT count(*) FROM readings") == [(4,)]

    def test_views_give_names_and_iso_times_to_the_nanosecond(self, store: SqlStore, tmp_path: Path) -> None:
        writer = owner(store)
        series = writer._series.dictionary
        code = series.code("a", "temp", {"site": "north"})
        times = [0, -1, 1_500_000_000, NOON + 7]
        writer.save(step_of(Batch(series, np.full(4, code, np.int32), np.array(times), np.array([1.0, 2.0, 3.0, 4.0]))))
        writer.close()
        assert ask(tmp_path, "SELECT * FROM named_readings ORDER BY value") == [
            ("a", "temp", '{"site": "north"}', "1970-01-01T00:00:00Z", 1.0),
            ("a", "temp", '{"site": "north"}', "1969-12-31T23:59:59.999999999Z", 2.0),
            ("a", "temp", '{"site": "north"}', "1970-01-01T00:00:01.5Z", 3.0),
            ("a", "temp", '{"site": "north"}', "2024-01-01T12:00:00.000000007Z", 4.0),
        ]

    def test_the_view_of_alerts_has_iso_times_too(self, store: SqlStore, tmp_path: Path) -> None:
        run(parts_of(ROWS), store, idle_after=SECOND)
        found = ask(tmp_path, "SELECT rule, key, since, fired, until, state, peak FROM named_alerts ORDER BY id")
        assert found == [
            ("Hot", '{"device": "a"}', *["2024-01-01T12:00:00Z"] * 2, "2024-01-01T12:00:30Z", "resolved", 90.0),
            ("Hot", '{"device": "b"}', *["2024-01-01T12:01:00Z"] * 2, None, "firing", 95.0),
        ]

    def test_every_number_comes_back_as_it_was(self, store: SqlStore) -> None:
        series = Series()
        values = [0.1, 1e300, 5e-324, -273.15, 1 / 3]
        batch = batch_of([("a", second, value) for second, value in enumerate(values)], series)
        writer = owner(store, series)
        writer.save(step_of(batch))
        found = writer.readings()
        writer.close()
        assert found.value.tolist() == values
        assert found.time.tolist() == batch.time.tolist()

    def test_a_line_that_cannot_be_read_is_kept_once_with_its_bytes_place_and_reason(self, store: SqlStore) -> None:
        writer = owner(store)
        bad = Reject(b"\xff,1", {"file": "x.csv", "line": 7}, "no time")
        same_line_of_another_file = Reject(b"\xfe,1", {"file": "x.csv", "line": 7}, "no time")
        empty = Batch.empty(Series())
        writer.save(step_of(empty, rejects=(bad,)))
        writer.save(step_of(empty, rejects=(bad, same_line_of_another_file)))
        writer.close()
        letters = store.dead_letters()
        assert [(letter.data, letter.place, letter.reason) for letter in letters] == [
            (b"\xff,1", {"file": "x.csv", "line": 7}, "no time"),
            (b"\xfe,1", {"file": "x.csv", "line": 7}, "no time"),
        ]

    def test_late_conflicting_and_future_readings_are_kept_apart_and_repeats_are_not(
        self, store: SqlStore, tmp_path: Path
    ) -> None:
        series = Series()
        rows: list[Row] = [("a", 0, 1), ("a", 1, 2), ("a", 2, 3), ("a", 3, 4), ("a", 4, 5)]
        writer = owner(store, series)
        flags = [Flag.ACCEPTED, Flag.LATE, Flag.CONFLICT, Flag.FUTURE, Flag.REPEAT]
        assert writer.save(step_of(batch_of(rows, series), flags)) == 0
        writer.close()
        assert ask(tmp_path, "SELECT value FROM readings") == [(1.0,)]
        assert ask(tmp_path, "SELECT flag, value FROM flagged_readings ORDER BY value") == [
            ("late", 2.0),
            ("conflict", 3.0),
            ("future", 4.0),
        ]

    def test_a_late_reading_that_equals_an_accepted_one_is_a_repeat(self, store: SqlStore, tmp_path: Path) -> None:
        """Whatever its labels: device, metric, time and value decide."""
        series = Series()
        writer = owner(store, series)
        writer.save(step_of(batch_of([("a", 0, 1)], series)))
        code = series.code("a", "temp", {"site": "north"})
        again = Batch(series, np.full(2, code, np.int32), np.array([NOON, NOON]), np.array([1.0, 1.5]))
        assert writer.save(step_of(again, [Flag.LATE, Flag.LATE])) == 1
        writer.close()
        assert ask(tmp_path, "SELECT value FROM flagged_readings") == [(1.5,)]

    def test_a_conflict_that_comes_again_is_no_late_reading(self, store: SqlStore) -> None:
        """A repeat of a late one is taken off their count; a conflict was never in it."""
        series = Series()
        writer = owner(store, series)
        rows: list[Row] = [("a", 0, 1), ("a", 0, 2)]
        assert writer.save(step_of(batch_of(rows, series), [Flag.ACCEPTED, Flag.CONFLICT])) == 0
        assert writer.save(step_of(batch_of(rows[1:], series), [Flag.CONFLICT])) == 0
        writer.close()

    def test_a_late_reading_that_equals_one_of_its_own_step_is_a_repeat(self, store: SqlStore) -> None:
        series = Series()
        writer = owner(store, series)
        assert writer.save(step_of(batch_of([("a", 0, 1), ("a", 0, 1)], series), [Flag.ACCEPTED, Flag.LATE])) == 1
        writer.close()

    def test_where_the_wall_clock_moved_the_watermark_is_logged(self, store: SqlStore, tmp_path: Path) -> None:
        writer = owner(store)
        writer.save(step_of(Batch.empty(Series()), idle=True))
        writer.save(step_of(Batch.empty(Series()), idle=True))
        writer.close()
        assert ask(tmp_path, "SELECT newest, watermark FROM idle_advances") == [(NOON, NOON)]


class TestOnce:
    def test_run_again_on_the_same_input_adds_nothing(self, store: SqlStore) -> None:
        run(parts_of(ROWS), store, idle_after=SECOND)
        before = store.counts()
        again = run(parts_of(ROWS), store, idle_after=SECOND)
        assert store.counts() == before
        assert again.stats.readings == 0
        assert ledger_of(store) == LEDGER

    def test_a_longer_file_is_gone_on_with(self, store: SqlStore) -> None:
        run(parts_of(ROWS[:2]), store, idle_after=SECOND)
        assert run(parts_of(ROWS), store, idle_after=SECOND).stats.readings == 2
        assert ledger_of(store) == LEDGER

    def test_a_replay_puts_its_result_once(self, store: SqlStore) -> None:
        replay(parts_of(ROWS), store=store)
        before, alerts = store.counts(), store.numbered_alerts()
        replay(parts_of(ROWS), store=store)
        assert store.counts() == before
        assert store.numbered_alerts() == alerts
        assert ledger_of(store) == LEDGER

    def test_a_replay_after_a_run_changes_nothing(self, store: SqlStore) -> None:
        run(parts_of(ROWS), store, idle_after=SECOND)
        before, alerts = store.counts(), store.numbered_alerts()
        replay(parts_of(ROWS), store=store)
        assert store.counts() == before
        assert store.numbered_alerts() == alerts

    def test_a_run_after_a_replay_ends_with_the_same(self, store: SqlStore) -> None:
        replay(parts_of(ROWS), store=store)
        run(parts_of(ROWS), store, idle_after=SECOND)
        assert ledger_of(store) == LEDGER
        assert [number for number, _ in store.numbered_alerts()] == [1, 2]

    def test_a_replay_in_the_middle_of_a_run_does_not_disturb_it(self, store: SqlStore, tmp_path: Path) -> None:
        """The run stands where `a` fires; the replay knows how that ends, and the run still finds out by itself."""
        run(parts_of(ROWS[:2]), store, idle_after=SECOND)
        checkpoint, held = ask(tmp_path, "SELECT * FROM checkpoints"), ask(tmp_path, "SELECT * FROM held_alerts")
        replay(parts_of(ROWS), store=store)
        assert ask(tmp_path, "SELECT * FROM checkpoints") == checkpoint
        assert ask(tmp_path, "SELECT * FROM held_alerts") == held
        assert ledger_of(store) == LEDGER
        outcome = run(parts_of(ROWS), store, idle_after=SECOND)
        assert outcome.stats.resolved == 1
        assert ledger_of(store) == LEDGER

    def test_an_alert_whose_since_moves_while_it_is_pending_stays_one(self, store: SqlStore) -> None:
        """2 of 3: true at 0, false at 10 and 20, true at 30 and 40; since moves from 0 to 30.

        Pending from 0; with 0, 10, 20 one is true; at 30 the last three are 10, 20, 30, so since is 30;
        at 40 two of 20, 30, 40 are true, and it fires.
        """
        rules = [{"alert": "Often", "expr": "temp > 80", "for": "2 of 3 readings"}]
        rows: list[Row] = [("a", 0, 90), ("a", 10, 70), ("a", 20, 70), ("a", 30, 90), ("a", 40, 90)]
        replay(parts_of(rows, rules, block=1), store=store)
        run(parts_of(rows, rules, block=1), store, idle_after=SECOND)
        alerts = [(number, (alert.since - NOON) // SECOND) for number, alert in store.numbered_alerts(pending=True)]
        assert len(alerts) == 1
        life = store.alert(alerts[0][0])
        assert life is not None
        moves = [((move.since - NOON) // SECOND, move.from_.name, move.to.name) for move in life.transitions]
        assert moves == [(0, "INACTIVE", "PENDING"), (30, "PENDING", "FIRING")]

    def test_a_replay_puts_what_could_not_be_read_once_too(self, store: SqlStore) -> None:
        rows = [*ROWS, ("b", 70, float("nan"))]
        replay(parts_of(rows), store=store)
        run(parts_of(rows), store, idle_after=SECOND)
        assert [letter.place["line"] for letter in store.dead_letters()] == [5]


class TestTogether:
    def test_a_step_that_fails_leaves_nothing_of_itself(self, store: SqlStore, tmp_path: Path) -> None:
        """The last table to be written refuses, after readings and dead letters were written."""
        run(parts_of(ROWS[:2]), store, idle_after=SECOND)
        before = store.counts(), ask(tmp_path, "SELECT * FROM checkpoints")[0][2:]
        connection = sqlite3.connect(tmp_path / "readings.db")
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON transitions BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
        connection.close()
        with pytest.raises(Exception, match=r"not this one"):
            run(parts_of([*ROWS, ("a", 90, float("nan"))], block=9), store, idle_after=SECOND)
        assert (store.counts(), ask(tmp_path, "SELECT * FROM checkpoints")[0][2:]) == before

    def test_whoever_was_taken_over_can_save_no_more(self, store: SqlStore) -> None:
        series = Series()
        first = owner(store, series)
        first.save(step_of(batch_of([("a", 0, 1)], series)))
        second = owner(store)
        with pytest.raises(StoreError, match=r"another process has taken over the pipeline 'test'"):
            first.save(step_of(batch_of([("a", 1, 1)], series)))
        assert len(second.readings()) == 1
        first.close()
        second.close()


class TestRebuilding:
    def test_each_series_gives_what_is_needed_and_the_newest_before(self, store: SqlStore) -> None:
        series = Series()
        rows: list[Row] = [
            ("a", 0, 1),
            ("a", 10, 2),
            ("a", 20, 3),
            ("b", 5, 4),
            ("b", 8, 5),
            ("c", 20, 6),
            ("c", 30, 7),
        ]
        writer = owner(store, series)
        writer.save(step_of(batch_of(rows, series)))
        writer.close()
        writer = owner(store)
        found = writer.readings(NOON + 15 * SECOND)
        told = {
            (found.series.describe(code)[0], value)
            for code, value in zip(found.code.tolist(), found.value, strict=True)
        }
        assert told == {("a", 2), ("a", 3), ("b", 5), ("c", 6), ("c", 7)}
        assert len(found) == 5
        assert len(writer.readings(LONG_AGO)) == 7
        writer.close()

    @pytest.mark.usefixtures("store")
    def test_it_needs_one_seek_a_series_and_no_look_at_every_reading(self, tmp_path: Path) -> None:
        from tocsin.stores.sqlite import REBUILD

        plan = " / ".join(str(row[3]) for row in ask(tmp_path, "EXPLAIN QUERY PLAN " + re.sub(r"\?\d", "5", REBUILD)))
        assert "SEARCH r USING PRIMARY KEY (series=? AND time>?)" in plan
        assert "SEARCH p USING PRIMARY KEY (series=? AND time<?)" in plan
        assert "SCAN r" not in plan

    def test_a_device_that_was_given_other_labels_keeps_its_readings(self, store: SqlStore) -> None:
        """The pipeline file said site north, and says site south now: it is the same device's past."""
        before = Series({"a": {"site": "north"}})
        writer = owner(store, before)
        writer.save(step_of(batch_of([("a", 0, 1)], before)))
        writer.close()
        now = Series({"a": {"site": "south"}})
        writer = owner(store, now)
        writer.save(step_of(batch_of([("a", 1, 2)], now)))
        found = writer.readings()
        writer.close()
        assert {now.describe(code) for code in found.code.tolist()} == {("a", "temp", (("site", "south"),))}
        assert sorted(found.value.tolist()) == [1.0, 2.0]


def test_an_alert_is_found_by_its_number(store: SqlStore) -> None:
    run(parts_of(ROWS), store, idle_after=SECOND)
    life = store.alert(1)
    assert life is not None
    assert [move.ledger() for move in life.transitions] == LEDGER[:2]
    assert store.alert(99) is None


def test_alerts_that_never_fired_are_shown_only_if_asked_for(store: SqlStore) -> None:
    rules = [{**HOT[0], "for": "3 readings"}]
    run(parts_of([("a", 0, 90), ("a", 1, 90), ("a", 2, 70), ("b", 3, 90)], rules), store, idle_after=SECOND)
    assert store.alerts() == []
    told = [(dict(alert.key)["device"], alert.state.name) for alert in store.alerts(pending=True)]
    assert told == [("a", "INACTIVE"), ("b", "PENDING")]


def test_the_ledger_is_sorted_by_time_rule_and_key_whatever_the_order_of_saving(store: SqlStore) -> None:
    """Two rules and two devices at one instant; keys of more labels than one sort as labels, not as text."""
    rules = [{"alert": "B", "expr": "temp > 80"}, {"alert": "A", "expr": "temp > 80"}]
    run(parts_of([("z", 0, 90), ("b c", 0, 90), ("b", 0, 90), ("ä", 0, 90)], rules, block=1), store, idle_after=SECOND)
    told = [(move.rule, dict(move.key)["device"]) for move in store.transitions()]
    assert told == [(rule, device) for rule in "AB" for device in ("b", "b c", "z", "ä")]
