"""What a store keeps of readings: all of them, or only what windows still need."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listed import HOT, LEDGER, NOON, ROWS, Row, ask, batch_of, ledger_of, owner, parts_of, step_of, store_in
from tocsin.errors import SetupError
from tocsin.instant import SECOND
from tocsin.reading import Flag
from tocsin.runners.local import replay_admitted, run
from tocsin.stores import Keep
from tocsin.stores.sql import SqlStore
from tocsin.stores.writer import Writer

BOTH: tuple[Keep, Keep] = ("all", "none")


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqlStore:
    """A store that keeps no readings, and looks for old ones after every third."""
    monkeypatch.setattr("tocsin.stores.kept.ENOUGH", 3)
    return store_in(tmp_path, readings="none")


def save(writer: Writer, rows: Sequence[Row], needed_from: float) -> None:
    batch = batch_of(rows, writer._series.dictionary)
    writer.save(replace(step_of(batch), needed_from=NOON + round(needed_from * SECOND)))


def told(writer: Writer, since: float) -> list[Row]:
    """The readings that a restart would be given, in order."""
    found = writer.readings(NOON + round(since * SECOND))
    rows = zip(found.code.tolist(), found.time.tolist(), found.value.tolist(), strict=True)
    return sorted((found.series.describe(code)[0], (time - NOON) / SECOND, value) for code, time, value in rows)


def test_alerts_are_kept_and_no_reading_is_for_anybody_to_see(packed: SqlStore, tmp_path: Path) -> None:
    run(parts_of(ROWS), packed, idle_after=SECOND)
    assert ledger_of(packed) == LEDGER
    assert ask(tmp_path, "SELECT count(*) FROM named_readings") == [(0,)]


def test_readings_go_when_no_window_wants_them_but_for_the_newest_of_each_series(
    packed: SqlStore, tmp_path: Path
) -> None:
    writer = owner(packed)
    save(writer, [("a", 0, 1), ("b", 1, 2)], 0)
    save(writer, [("a", 10, 3), ("a", 11, 4)], 0)
    save(writer, [("a", 30, 5), ("a", 31, 6), ("a", 32, 7)], 25)
    assert told(writer, 25) == [("a", 11, 4), ("a", 30, 5), ("a", 31, 6), ("a", 32, 7), ("b", 1, 2)]
    assert ask(tmp_path, "SELECT time FROM newest_readings ORDER BY time") == [
        (NOON + 1 * SECOND,),
        (NOON + 11 * SECOND,),
    ]
    assert ask(tmp_path, "SELECT count(*) FROM recent_readings") == [(1,)]
    writer.close()


def test_an_older_reading_that_goes_later_is_not_taken_for_the_newest(packed: SqlStore) -> None:
    """Readings come in disorder: what was packed later may be older."""
    writer = owner(packed)
    save(writer, [("a", 10, 1), ("a", 11, 2), ("a", 12, 3)], 13)
    save(writer, [("a", 5, 4), ("a", 6, 5), ("a", 7, 6)], 13)
    assert told(writer, 13) == [("a", 12, 3)]
    writer.close()


def test_late_readings_are_counted_and_not_kept(packed: SqlStore, tmp_path: Path) -> None:
    writer = owner(packed)
    batch = batch_of([("a", 0, 1), ("a", 0, 1)], writer._series.dictionary)
    assert writer.save(step_of(batch, [Flag.ACCEPTED, Flag.LATE])) == 0
    writer.close()
    assert ask(tmp_path, "SELECT count(*) FROM flagged_readings") == [(0,)]


@pytest.mark.parametrize("then", BOTH)
def test_a_store_may_begin_or_cease_to_keep_readings(tmp_path: Path, then: Keep) -> None:
    """A mean over what was read before and after the change: nothing that it needs is lost on the way."""
    mean = [*HOT, {"alert": "Mean", "expr": "avg(temp[1m]) < 81", "min_coverage": 0}]
    undisturbed = store_in(tmp_path, "undisturbed.db")
    run(parts_of(ROWS, mean), undisturbed, idle_after=SECOND)
    first = store_in(tmp_path, readings="none" if then == "all" else "all")
    run(parts_of(ROWS[:2], mean), first, idle_after=SECOND)
    first.close()
    second = store_in(tmp_path, readings=then)
    run(parts_of(ROWS, mean), second, idle_after=SECOND)
    assert len(ledger_of(undisturbed)) > len(LEDGER)
    assert ledger_of(second) == ledger_of(undisturbed)
    kept = {"all": len(ROWS), "none": 2}[then]
    assert ask(tmp_path, "SELECT count(*) FROM readings") == [(kept,)]
    assert ask(tmp_path, "SELECT count(*) FROM recent_readings") == [(0 if then == "all" else 1,)]


def test_what_a_store_kept_before_stays_until_somebody_deletes_it_as_the_documentation_says(tmp_path: Path) -> None:
    """A day and a minute later the first readings are old; but the newest of `a` stays, however old it is."""
    day = 24 * 3600
    rows: list[Row] = [("a", 0, 1), ("a", 1, 2), ("b", 2, 3), ("b", day + 60, 4), ("b", day + 61, 5)]
    run(parts_of(rows), store := store_in(tmp_path), idle_after=SECOND)
    store.close()
    run(parts_of(rows), store := store_in(tmp_path, readings="none"), idle_after=SECOND)
    assert ask(tmp_path, "SELECT count(*) FROM readings") == [(5,)]
    store.close()
    text = (Path(__file__).parent.parent / "docs" / "pipeline-file.md").read_text()
    statements = text.partition('sqlite3 smart-smoker.db "\n')[2].partition('"')[0]
    with closing(sqlite3.connect(tmp_path / "readings.db")) as connection:
        connection.executescript(statements)
    times = ask(tmp_path, "SELECT time FROM readings ORDER BY time")
    assert [(time - NOON) // SECOND for (time,) in times] == [1, day + 60, day + 61]  # type: ignore[operator]


def test_what_was_decided_without_keeping_readings_cannot_be_decided_once_more(tmp_path: Path) -> None:
    for readings in ("none", *BOTH):  # not even when all are kept from then on
        store = store_in(tmp_path, readings=readings)
        parts = parts_of(ROWS)
        run(parts, store, idle_after=SECOND)
        with pytest.raises(SetupError, match=r"readings\.db.*filled with `readings: none`.*kept all readings"):
            replay_admitted(parts.rules, lambda _: parts_of(ROWS).engine, store)
        store.close()


rows = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60), st.just(1.0)), min_size=1, max_size=6)


@settings(deadline=None, max_examples=40)
@given(steps=st.lists(st.tuples(rows, st.integers(0, 12)), max_size=12))
def test_it_gives_what_a_store_of_all_readings_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[list[Row], int]]
) -> None:
    """Whatever comes in whatever order, for each instant from which on it is needed; and when it is unpacked again."""
    folder, needed_from = tmp_path_factory.mktemp("kept"), 0
    seen: set[tuple[str, float]] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tocsin.stores.kept.ENOUGH", 3)
        patch.setattr("tocsin.stores.kept.MOST", 2)
        writers = [owner(store_in(folder, f"{kept}.db", readings=kept)) for kept in BOTH]
        for found, more in steps:
            fresh = list({row[:2]: row for row in found if row[:2] not in seen}.values())
            seen.update(row[:2] for row in fresh)
            needed_from += more
            for writer in writers:
                save(writer, fresh, needed_from)
        for since in (needed_from, 70):
            assert told(writers[0], since) == told(writers[1], since)
        for writer in writers:
            writer.close()
        again = [owner(store_in(folder, f"{kept}.db")) for kept in BOTH]
        assert told(again[0], needed_from) == told(again[1], needed_from)
        for writer in again:
            writer.close()
