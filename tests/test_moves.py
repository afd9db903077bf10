"""Moves in columns: whoever keeps them, in however many steps, people see the same alerts in the same order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from listed import Row, ledger_of, owner, parts_of, store_in
from tocsin import checkpoint
from tocsin.alert import Alert, State
from tocsin.engine import Decision
from tocsin.instant import SECOND
from tocsin.moves import RuleMoves
from tocsin.runners.local import Parts, replay, run
from tocsin.stores import memory
from tocsin.stores.book import NO_ROW, book_of
from tocsin.stores.memory import MemoryStore
from tocsin.stores.sql import SqlStore

RULES: list[Mapping[str, Any]] = [
    {"alert": "Hot", "expr": "temp > 80"},
    {"alert": "Often", "expr": "temp > 80", "for": "2 of 3 readings", "keep_firing_for": "2s"},
    {"alert": "Graded", "expr": "temp", "levels": {"warm": {"above": 70, "clear": 60}, "hot": 85}},
    {"alert": 'said "so"\n', "expr": "temp < 20", "for": "3s"},
]
DEVICES = ("a", "b", "ä", 'say "c"\n', "d")


def dense() -> list[Row]:
    """Every device reports every second, and opens and closes several alerts; the last readings leave some open."""
    random = np.random.default_rng(5)
    values = random.integers(0, 100, (60, len(DEVICES)))
    values[-3:] = 90
    return [(name, time, float(value)) for time, row in enumerate(values) for name, value in zip(DEVICES, row)]  # noqa: B905


def decisions(parts: Parts) -> Iterator[Decision]:
    """What the engine says of each block."""
    while parts.source._next < len(parts.source.rows):  # type: ignore[attr-defined]
        decoded = parts.source.poll()
        assert decoded is not None
        parts.watermark.admit(decoded.batch)
        yield parts.engine.process(decoded.batch, parts.watermark.value)
    yield parts.engine.process(None, parts.watermark.end())


def without_memory(alert: Alert) -> dict[str, Any]:
    return {**alert.to_json(), "memory": None}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = store_in(tmp_path)
    yield store
    store.close()


@pytest.fixture(scope="module")
def expected() -> tuple[list[str], list[dict[str, Any]]]:
    """The ledger and the alerts, from the objects that the engine makes of a stream that comes at once."""
    parts = parts_of(dense(), RULES, block=1000)
    found = list(decisions(parts))
    ended = [alert for decision in found for alert in decision.alerts if alert.until is not None]
    alerts = sorted([*ended, *parts.engine.open_alerts()], key=lambda alert: (alert.since, alert.rule, alert.key))
    return [move.ledger() for decision in found for move in decision.transitions], list(map(without_memory, alerts))


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("room", [0, 100_000])
def test_what_is_kept_in_memory_does_not_depend_on_the_steps(
    block: int, room: int, expected: tuple[list[str], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor on when rows of open alerts that are outdated were let go."""
    monkeypatch.setattr(memory, "ROOM", room)
    _, found = replay(parts_of(dense(), RULES, block=block))
    assert (ledger_of(found), list(map(without_memory, found.alerts(pending=True)))) == expected
    assert len(expected[0]) > 300


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_what_a_run_stores_does_not_depend_on_the_steps(
    block: int, store: SqlStore, expected: tuple[list[str], list[dict[str, Any]]]
) -> None:
    outcome = run(parts_of(dense(), RULES, block=block), store, idle_after=SECOND)
    assert (ledger_of(store), list(map(without_memory, store.alerts(pending=True)))) == expected
    assert outcome.stats.fired == sum(alert["fired"] is not None for alert in expected[1])
    assert outcome.stats.resolved == sum(alert["state"] == "resolved" for alert in expected[1])


def test_alerts_are_numbered_in_the_order_of_the_ledger_whatever_the_steps(tmp_path: Path) -> None:
    stores = [store_in(tmp_path, f"{block}.db") for block in (1, 1000)]
    for store, block in zip(stores, (1, 1000), strict=True):
        run(parts_of(dense(), RULES, block=block), store, idle_after=SECOND)
    one, other = (list(map(repr, store.numbered_alerts(pending=True))) for store in stores)
    assert one == other
    for store in stores:
        store.close()


def test_replays_between_the_steps_of_a_run_are_overwritten(
    store: SqlStore, expected: tuple[list[str], list[dict[str, Any]]]
) -> None:
    """Before each step another process puts all that there is to come; the run finds it out by itself nevertheless."""
    parts = parts_of(dense(), RULES, block=30)
    writer = owner(store, parts.engine.series)
    pipeline = parts.pipeline(writer)
    whole = replay(parts_of(dense(), RULES))[1].moves()
    for line in range(0, len(dense()), 30):
        if line % 60 == 0:
            store.put(whole)
        decoded = parts.source.poll()
        assert decoded is not None
        pipeline.take([decoded])
    pipeline.finish()
    writer.close()
    assert (ledger_of(store), list(map(without_memory, store.alerts(pending=True)))) == expected


def test_open_alerts_come_back_with_all_that_their_holds_remember(store: SqlStore) -> None:
    parts = parts_of(dense(), RULES, block=7)
    run(parts, store, idle_after=SECOND)
    writer = store.writer(parts.engine.series)
    _, held, _ = writer.take_over()
    writer.close()
    assert sorted(held, key=lambda alert: (alert.since, alert.rule, alert.key)) == parts.engine.open_alerts()
    assert {alert.rule for alert in held} == {"Hot", "Often", "Graded"}
    assert any(alert.memory["ring"] for alert in held)


def test_a_step_s_moves_are_counted_alert_by_alert() -> None:
    """a fires at 0, resolves at 1, fires at 2 and resolves at 3; b fires at 1 and goes on."""
    rows: list[Row] = [("a", 0, 90), ("b", 1, 90), ("a", 1, 10), ("a", 2, 90), ("a", 3, 10), ("b", 3, 91)]
    first, last = decisions(parts_of(rows, RULES[:1], block=6))
    book = book_of(RuleMoves.join([told for decision in (first, last) for told in decision.moves.by_rule()]))
    states = [State(state).name for state in book.standing.state]
    assert (states, book.counts.tolist()) == (["RESOLVED", "RESOLVED", "FIRING"], [2, 2, 1])
    assert (book.row == NO_ROW).tolist() == [True, True, False]
    assert (book.numbered().tolist(), book.new.tolist()) == ([0, 1, 0, 1, 0], [True] * 3)
    assert book.standing.last[2] == 91.0


def test_an_open_alert_that_did_not_move_is_told_of_without_a_move() -> None:
    parts = parts_of([("a", 0, 90), ("a", 1, 95), ("a", 2, 70)], RULES[:1], block=1)
    steps = [decision.moves.by_rule() for decision in decisions(parts)]
    book = book_of(steps[2][0])
    assert (len(book), len(book.moves), book.new.tolist(), book.standing.peak.tolist()) == (1, 0, [False], [95.0])


def test_alerts_of_a_changed_rule_end_resolved_or_inactive_if_they_never_fired() -> None:
    key = (("device", "a"),)
    pending = Alert("A", key, 1, State.PENDING, level="low", peak=3.0, last=2.0)
    firing = Alert("A", (("device", "b"),), 2, State.FIRING, fired=3, value=1.0, peak=1.0, last=-0.5)
    [told] = checkpoint.ended([pending, firing], 9, "rule changed")
    ended = [Alert("A", key, 1, State.INACTIVE, None, 9, "low", None, 3.0, 2.0, "rule changed")]
    ended.append(Alert("A", firing.key, 2, State.RESOLVED, 3, 9, None, 1.0, 1.0, -0.5, "rule changed"))
    assert told.ended() == ended
    assert [(move.from_.name, move.to.name, move.value, move.reason) for move in told.transitions()] == [
        ("PENDING", "INACTIVE", None, "rule changed"),
        ("FIRING", "RESOLVED", None, "rule changed"),
    ]


def test_what_was_never_saved_is_empty() -> None:
    assert (MemoryStore().alerts(pending=True), list(MemoryStore().transitions())) == ([], [])
