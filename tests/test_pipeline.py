"""The loop on this machine: admitted, decided, saved; stopped, idle, paced; and files that go backwards."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from listed import HOT, LEDGER, NOON, ROWS, ListedSource, Row, ask, ledger_of, parts_of, store_in
from tocsin.errors import RunError, SetupError
from tocsin.instant import SECOND
from tocsin.record import Decoded
from tocsin.runners.ahead import BLOCKS, Ahead
from tocsin.runners.idle import Idleness
from tocsin.runners.local import replay, run
from tocsin.runners.pace import Pace, parse_speed
from tocsin.stats import Stats
from tocsin.stores import RuleRecord
from tocsin.stores.sql import SqlStore
from tocsin.watermark import Watermark

BACKWARDS: list[Row] = [("a", 0, 90), ("b", 60, 10), ("a", 30, 70), ("a", 61, 90)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = store_in(tmp_path)
    yield store
    store.close()


class TestCounting:
    def test_a_replay_without_a_store_gives_its_alerts_and_counts(self) -> None:
        outcome, found = replay(parts_of([*ROWS, ("a", 70, float("nan"))]))
        stats = outcome.stats
        assert ledger_of(found) == LEDGER
        assert (stats.readings, stats.accepted, stats.rejects, stats.fired, stats.resolved) == (4, 4, 1, 2, 1)
        assert stats.newest == NOON + 60 * SECOND
        assert outcome.exit_code == 0

    def test_blocks_of_any_size_give_the_same(self) -> None:
        assert all(ledger_of(replay(parts_of(ROWS, block=size))[1]) == LEDGER for size in (1, 2, 3, 4))

    def test_progress_is_told_after_each_step(self) -> None:
        told: list[int] = []
        replay(parts_of(ROWS), progress=lambda stats: told.append(stats.readings))
        assert told[-1] == 4

    def test_late_readings_are_kept_with_a_flag_and_counted_where_lateness_is_set(
        self, store: SqlStore, tmp_path: Path
    ) -> None:
        """With 10 s the watermark stands at 50 when the reading of 30 comes."""
        outcome = run(parts_of(BACKWARDS, lateness=10), store, idle_after=SECOND)
        assert (outcome.stats.late, outcome.stats.accepted) == (1, 3)
        assert ask(tmp_path, "SELECT flag, value FROM flagged_readings") == [("late", 70.0)]

    def test_a_late_reading_that_was_read_before_counts_as_a_repeat(self, store: SqlStore, tmp_path: Path) -> None:
        rows: list[Row] = [("a", 0, 90), ("b", 60, 10), ("a", 0, 90)]
        stats = run(parts_of(rows, lateness=10), store, idle_after=SECOND).stats
        assert (stats.late, stats.repeats) == (0, 1)
        assert ask(tmp_path, "SELECT * FROM flagged_readings") == []

    def test_a_conflict_and_a_repeat_are_told_apart(self, store: SqlStore, tmp_path: Path) -> None:
        rows: list[Row] = [("a", 0, 90), ("a", 0, 90), ("a", 0, 91)]
        stats = run(parts_of(rows, block=1), store, idle_after=SECOND).stats
        assert (stats.accepted, stats.repeats, stats.conflicts) == (1, 1, 1)
        assert ask(tmp_path, "SELECT flag, value FROM flagged_readings") == [("conflict", 91.0)]

    def test_evaluations_are_counted_over_all_runs_of_a_rule(self, store: SqlStore) -> None:
        run(parts_of(ROWS[:2]), store, idle_after=SECOND)
        outcome = run(parts_of(ROWS), store, idle_after=SECOND)
        assert outcome.stats.rules["Hot"].evaluations == 4


class TestWarnings:
    def test_a_rule_that_nothing_matched(self) -> None:
        stats = Stats(accepted=1, units={"": {"Cold": RuleRecord("x", 0, 0)}})
        assert list(stats.warnings()) == [
            "rule 'Cold' was never evaluated: no reading matched what it selects",
        ]

    def test_without_a_reading_there_is_nothing_to_warn_of(self) -> None:
        assert list(Stats(units={"": {"Cold": RuleRecord("x", 0, 0)}}).warnings()) == []

    def test_a_rule_that_was_mostly_unknown(self) -> None:
        one = {"Stall": RuleRecord("x", 600, 500), "Drop": RuleRecord("y", 1000, 500)}
        stats = Stats(units={"0": one, "1": {"Stall": RuleRecord("x", 400, 1)}})
        (warning,) = stats.warnings()
        assert warning.startswith("rule 'Stall' was unknown in 501 of its 1,000 evaluations")


class TestFilesThatGoBackwards:
    def test_they_are_refused_with_place_and_remedy(self, store: SqlStore) -> None:
        """The third reading is 30 s behind the second; a lateness of 30 s would have waited for it."""
        with pytest.raises(RunError) as error:
            run(parts_of(BACKWARDS), store, idle_after=SECOND)
        told = str(error.value)
        assert told.startswith("rows:3: time goes backwards: the reading of a, temp at 2024-01-01T12:00:30Z")
        assert "comes after one at 2024-01-01T12:01:00Z" in told
        assert "`sort: true` under `source`" in told
        assert "`lateness: 30s` or more" in told
        assert "replaced" not in told
        assert store.counts()["readings"] == 0

    def test_of_a_file_that_was_replaced_between_two_runs_the_remedy_is_another_one(self, store: SqlStore) -> None:
        """The second run's first reading is of noon, and the first run has come to a minute after it."""
        run(parts_of([("a", 0, 90), ("b", 60, 10)]), store, idle_after=SECOND)
        parts = parts_of([("c", 0, 1), ("c", 1, 1), ("c", 2, 1)])
        with pytest.raises(
            RunError, match=r"time goes backwards: the reading of c.* if the file was .*replaced since .* new store$"
        ):
            run(parts, store, idle_after=SECOND)

    def test_the_remedy_works(self) -> None:
        """At 30 s lateness all four are accepted: `a` is hot at 0, is not at 30, and is again at 61."""
        _, found = replay(parts_of(BACKWARDS, lateness=30))
        assert [(move.time - NOON) // SECOND for move in found.transitions()] == [0, 30, 61]

    def test_what_was_saved_before_is_compared_with_too(self, store: SqlStore) -> None:
        with pytest.raises(RunError, match=r"^rows:3: .* 2024-01-01T12:00:30Z comes after one at 2024-01-01T12:01:00Z"):
            run(parts_of(BACKWARDS, block=1), store, idle_after=SECOND)

    def test_the_line_is_told_of_a_paced_replay_too(self) -> None:
        with pytest.raises(RunError, match=r"^rows:3: time goes backwards"):
            replay(parts_of(BACKWARDS, block=9), speed=6000)

    def test_a_file_that_is_followed_goes_on(self, store: SqlStore) -> None:
        """Where it has no end it cannot be sorted: late readings are kept with a flag."""
        outcome = stopped_when(store, BACKWARDS, lambda stats: stats.readings == 4)
        assert outcome.late == 1


class TestStopping:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_ends_after_the_step_in_hand(self, store: SqlStore, number: int, code: int) -> None:
        def stop(_stats: Stats) -> None:
            os.kill(os.getpid(), number)

        outcome = run(parts_of(ROWS, block=1, bounded=False), store, idle_after=SECOND, progress=stop)
        assert outcome.exit_code == code
        assert store.counts()["readings"] == outcome.stats.readings > 0
        run(parts_of(ROWS), store, idle_after=SECOND)
        assert ledger_of(store) == LEDGER

    def test_what_took_signals_before_takes_them_again(self, store: SqlStore) -> None:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        run(parts_of(ROWS), store, idle_after=SECOND)
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

    def test_a_replay_that_is_stopped_puts_nothing(self, store: SqlStore) -> None:
        def stop(_stats: Stats) -> None:
            os.kill(os.getpid(), signal.SIGINT)

        outcome, _ = replay(parts_of(ROWS, block=1, bounded=False), store=store, progress=stop)
        assert outcome.exit_code == 130
        assert store.counts()["alerts"] == 0

    def test_it_runs_in_another_thread_than_the_first_too(self, store: SqlStore) -> None:
        """A notebook or a service may do so; signals are then somebody else's business."""
        thread = threading.Thread(target=run, args=(parts_of(ROWS), store), kwargs={"idle_after": SECOND})
        thread.start()
        thread.join()
        assert ledger_of(store) == LEDGER


class TestIdleness:
    def test_it_decides_what_is_in_hand_and_then_goes_with_the_clock(self) -> None:
        """Idle after 5 s: at 5.2 s just past the newest reading, then one second a second, told each second."""
        watermark = Watermark(10 * SECOND)
        idleness = Idleness(watermark, 5 * SECOND)
        assert list(idleness.due(2.0)) == []
        watermark.newest, watermark.value = NOON, NOON - 10 * SECOND
        told: list[tuple[float, float]] = []
        for quiet in (1.0, 3.0, 4.9, 5.2, 5.7, 6.3, 7.0, 8.0):
            for to in idleness.due(quiet):
                watermark.advance(to)
                told.append((quiet, to - NOON))
        assert told == [(5.2, 1), (6.3, pytest.approx(1.1 * SECOND)), (8.0, pytest.approx(2.8 * SECOND))]

    def test_a_reading_in_between_begins_it_anew(self) -> None:
        watermark = Watermark(0)
        watermark.newest = watermark.value = NOON
        idleness = Idleness(watermark, 5 * SECOND)
        assert [to - NOON for quiet in (2.0, 4.0, 5.0, 7.0) for to in idleness.due(quiet)] == [1, 2 * SECOND + 1]
        watermark.newest = watermark.value = NOON + 100 * SECOND
        assert [to for quiet in (1.0, 3.0, 4.9) for to in idleness.due(quiet)] == []
        assert list(idleness.due(5.0)) == [NOON + 100 * SECOND + 1]

    def test_time_in_which_nobody_looked_does_not_count(self) -> None:
        """Frozen from 7 s to 30 s: what came meanwhile may not have been seen yet, so the 5 s begin anew at 30 s."""
        watermark = Watermark(0)
        watermark.newest = watermark.value = NOON
        idleness = Idleness(watermark, 5 * SECOND)
        told = []
        for quiet in (2.0, 4.0, 5.0, 7.0, 30.0, 32.0, 34.0, 35.0, 36.0):
            for to in idleness.due(quiet):
                watermark.advance(to)
                told.append((quiet, to - NOON))
        assert told == [(5.0, 1), (7.0, 2 * SECOND + 1), (35.0, 2 * SECOND + 1), (36.0, 3 * SECOND + 1)]

    def test_a_followed_file_that_falls_silent_is_decided_and_the_store_logs_how_far(
        self, store: SqlStore, tmp_path: Path
    ) -> None:
        """The alert of `a` at 0 waits for the watermark, which without lateness stands at 0 too."""
        stopped_when(store, ROWS[:2], lambda stats: stats.fired == 1)
        ((newest, watermark),) = ask(tmp_path, "SELECT newest, watermark FROM idle_advances")
        assert (newest, watermark) == (NOON, NOON + 1)
        assert ask(tmp_path, "SELECT watermark FROM checkpoints") == [(NOON + 1,)]
        assert ledger_of(store) == LEDGER[:1]

    def test_the_next_run_goes_on_from_where_the_clock_had_moved_it(self, store: SqlStore) -> None:
        """A reading at 0 of another device comes too late: that time was decided."""
        stopped_when(store, ROWS[:2], lambda stats: stats.fired == 1)
        stats = run(parts_of([*ROWS[:2], ("c", 0, 99), *ROWS[2:]], lateness=60), store, idle_after=SECOND).stats
        assert stats.late == 1
        assert ledger_of(store) == LEDGER

    def test_silence_is_noticed_by_the_clock(self, store: SqlStore) -> None:
        """Missing after half a second; nothing more comes, and the clock finds it."""
        rules = [{"alert": "Silent", "expr": "missing(temp[500ms])"}]
        stopped_when(store, [("a", 0, 1)], lambda stats: stats.fired == 1, rules)
        (move,) = store.transitions()
        assert (move.since - NOON, move.time - NOON) == (SECOND // 2, SECOND // 2)


def stopped_when(
    store: SqlStore, rows: list[Row], enough: Callable[[Stats], bool], rules: Sequence[Mapping[str, Any]] = HOT
) -> Stats:
    """Follow rows that have no end, with idleness after 0.2 s, until it is enough; 20 s at most."""
    began = time.monotonic()

    def look(stats: Stats) -> None:
        assert time.monotonic() - began < 20
        if enough(stats):
            os.kill(os.getpid(), signal.SIGINT)

    parts = parts_of(rows, rules, bounded=False)
    return run(parts, store, idle_after=SECOND // 5, progress=look).stats


class TestPace:
    def test_speeds(self) -> None:
        assert (parse_speed("1x"), parse_speed("60x"), parse_speed("0.5x"), parse_speed("max")) == (1, 60, 0.5, None)

    @pytest.mark.parametrize("text", ["fast", "0x", "-1x", "", "infx", "nanx"])
    def test_what_is_no_speed(self, text: str) -> None:
        with pytest.raises(
            SetupError, match=r"is not a speed: expected 1x, 60x or another multiple of real time, or max"
        ):
            parse_speed(text)

    def test_readings_come_when_they_are_due(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """At 60x a minute of event time takes a second; the wall clock here is one that sleeping moves."""
        wall = 1000.0

        def sleep(seconds: float) -> None:
            nonlocal wall
            wall += seconds

        monkeypatch.setattr("tocsin.runners.pace.time.monotonic", lambda: wall)
        monkeypatch.setattr("tocsin.runners.pace.time.sleep", sleep)
        rows: list[Row] = [("a", 0, 1), ("b", 0, 2), ("a", 30, 3), ("a", 60, 4), ("b", 45, 5), ("a", 120, 6)]
        source = parts_of(rows, block=9).source
        source.open()
        block = source.poll()
        assert isinstance(block, Decoded)
        told = [(round(wall - 1000, 1), part[0].batch.value.tolist()) for part in Pace(60, lambda: False).slow([block])]
        assert told == [(0.0, [1.0, 2.0]), (0.5, [3.0]), (1.0, [4.0, 5.0]), (2.0, [6.0])]

    def test_a_paced_replay_finds_the_same(self) -> None:
        _, found = replay(parts_of([*ROWS, ("a", 61, float("nan"))]), speed=600)
        assert ledger_of(found) == LEDGER
        assert len(found.dead_letters()) == 1


class TestDecodingAhead:
    def test_it_stays_a_bounded_number_of_blocks_ahead(self) -> None:
        """Nobody takes: of 1,000 blocks it has polled those that fit the queue, and the one in its hand."""
        source = parts_of([("a", second, 1) for second in range(1000)], block=1).source
        assert isinstance(source, ListedSource)
        source.open()
        with Ahead(source):
            time.sleep(0.3)
            assert source._next <= BLOCKS + 1

    def test_what_breaks_there_is_raised_here_after_all_that_came_before(self, store: SqlStore) -> None:
        parts = parts_of(ROWS, block=2)
        source = parts.source
        assert isinstance(source, ListedSource)
        poll = source.poll

        def breaks(timeout: float = 0.0) -> Decoded | None:
            if source._next == 2:
                raise RunError("the disk was pulled out")
            return poll(timeout)

        source.poll = breaks  # type: ignore[method-assign]
        with pytest.raises(RunError, match=r"the disk was pulled out"):
            run(parts, store, idle_after=SECOND)
        assert store.counts()["readings"] == 2
        run(parts_of(ROWS), store, idle_after=SECOND)
        assert ledger_of(store) == LEDGER
