"""Killed at any instant and run again: the alerts and the ledger are those of an undisturbed run, byte for byte.

TOCSIN_KILLS says how many processes to kill; five when it does not.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from listed import HOT, NOON, Row, ask, ledger_of, parts_of, store_in
from tocsin.errors import StoreError
from tocsin.instant import SECOND
from tocsin.runners.local import Parts, run
from tocsin.stores import Keep, open_store
from tocsin.stores.sql import SqlStore
from tocsin.stores.writer import Writer

KILLS = int(os.environ.get("TOCSIN_KILLS", "5"))
DEVICES = 12
TIMES = 2500

PIPELINE = """\
pipeline: plant
source:
  file: plant.csv
  time: {column: ts, format: unix_s}
  device: device
  readings: {temp: temp, load: load}
lateness: 20s
devices:
  d1: {site: north}
  d2: {site: south}
  never: {site: south}
rules:
  - {alert: Hot, expr: temp > 80, clear: temp < 75, keep_firing_for: 40s}
  - {alert: Drop, expr: "drop(temp[2m30s]) > 15", for: 30s}
  - {alert: Stall, expr: "spread(temp[10m]) < 9"}
  - {alert: Often, expr: load > 6, for: 3 of 5 readings}
  - {alert: Thrice, expr: temp + load > 84, for: 3 readings}
  - {alert: Mean, expr: "avg(temp[1h]) > 70.5", by: [site], min_coverage: 0.1}
  - {alert: Silent, expr: "missing(temp[90s])", for: 20s}
  - {alert: Level, expr: "max(temp[1m])", levels: {info: {above: 70, clear: 65}, critical: 85}}
"""

CHILD = """\
import sys
from functools import partial
from tocsin.config import load
from tocsin.runners import ahead, local
from tocsin.stores import open_store

ahead.GROUP = 1000
config = load(sys.argv[1])
parts = config.parts()
parts.source._source.poll = partial(parts.source._source.poll, 3000)
store = open_store(config.store, config.name, readings=config.readings)
print("ready", flush=True)
outcome = local.run(parts, store, idle_after=config.idle_after)
print("done", flush=True)
"""
"""The run of the command, but that it reads the file in blocks of 3,000 bytes and groups of 1,000 readings, so that there are many commits."""


def plant() -> str:
    """Some hours of a plant: waves, noise, steps back in time within the lateness, silences, repeats, nonsense."""
    chance = random.Random(7)
    lines = ["ts,device,temp,load"]
    for moment in range(TIMES):
        for device in range(DEVICES):
            if (moment // 60 + device) % 9 == 0 or chance.random() < 0.05:
                continue
            ts = 1_704_110_400 + moment * 10 - (15 if chance.random() < 0.02 else 0)
            temp = 70 + 12 * math.sin(moment / 40 + device) + chance.gauss(0, 2)
            load = "" if chance.random() < 0.3 else f"{chance.uniform(0, 9):.2f}"
            lines.append(f"{ts},d{device},{temp:.2f},{load}")
            if chance.random() < 0.01:
                lines.append(lines[-1])
            if chance.random() < 0.002:
                lines.append(f"{ts},d{device},warm,")
    return "\n".join(lines) + "\n"


def start(folder: Path) -> subprocess.Popen[str]:
    """A run that is just about to begin."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, "plant.yaml"], stdout=subprocess.PIPE, text=True, cwd=folder)
    assert child.stdout is not None
    if child.stdout.readline() != "ready\n":
        child.communicate()
        raise AssertionError("the run did not begin")
    return child


def finish(child: subprocess.Popen[str]) -> None:
    out, _ = child.communicate(timeout=120)
    assert (child.returncode, out) == (0, "done\n")


def contents(folder: Path) -> dict[str, list[Any]]:
    """All that two runs must agree on."""
    store = open_store(f"sqlite:///{folder}/plant.db", "plant", create=False)
    found: dict[str, list[Any]] = {
        "ledger": ledger_of(store),
        "alerts": [(number, json.dumps(alert.to_json())) for number, alert in store.numbered_alerts(pending=True)],
        "dead letters": [(letter.data, letter.place, letter.reason) for letter in store.dead_letters()],
    }
    store.close()
    connection = sqlite3.connect(folder / "plant.db")
    for name, query in {
        "readings": "SELECT * FROM named_readings ORDER BY device, metric, time",
        "flagged": "SELECT d.name, s.metric, f.time, f.flag, f.value FROM flagged_readings f "
        "JOIN series s ON s.id = f.series JOIN devices d ON d.id = s.device ORDER BY 1, 2, 3, 4, 5",
        "held": "SELECT * FROM held_alerts ORDER BY alert",
        "checkpoint": "SELECT position, watermark, newest, first_time, rules FROM checkpoints",
        "integrity": "PRAGMA integrity_check",
    }.items():
        found[name] = connection.execute(query).fetchall()
    connection.close()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Any]], float]:
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "plant.csv").write_text(plant())
    (folder / "plant.yaml").write_text(PIPELINE)
    finish(start(folder))  # compiles
    for database in folder.glob("plant.db*"):
        database.unlink()
    began = time.monotonic()
    finish(start(folder))
    return folder, contents(folder), time.monotonic() - began


def test_the_undisturbed_run_has_something_to_lose(undisturbed: tuple[Path, dict[str, list[Any]], float]) -> None:
    """Every rule moves, some alerts stay open, some readings come late, some lines cannot be read."""
    _, expected, _ = undisturbed
    rules = {json.loads(line)["rule"] for line in expected["ledger"]}
    assert rules == {"Hot", "Drop", "Stall", "Often", "Thrice", "Mean", "Silent", "Level"}
    assert len(expected["ledger"]) > 1000
    assert min(len(expected[name]) for name in ("held", "dead letters")) > 0


def test_kill_9_at_any_instant_changes_nothing(
    undisturbed: tuple[Path, dict[str, list[Any]], float], tmp_path: Path
) -> None:
    """Processes are killed one after the other, each going on where the one before died; then the next file."""
    source, expected, seconds = undisturbed
    chance = random.Random(os.environ.get("TOCSIN_SEED"))
    kills = round_ = 0
    while kills < KILLS or round_ < 2:
        round_ += 1
        folder = tmp_path / str(round_)
        folder.mkdir()
        shutil.copy(source / "plant.csv", folder / "plant.csv")
        keeps_none = round_ % 2 == 0
        (folder / "plant.yaml").write_text(PIPELINE + ("store: {readings: none}\n" if keeps_none else ""))
        instants = []
        for _ in range(min(chance.randint(1, 4), max(KILLS - kills, 1))):
            child = start(folder)
            instants.append(chance.uniform(0, seconds * 0.6))
            time.sleep(instants[-1])
            child.send_signal(signal.SIGKILL)
            child.communicate()
            kills += child.returncode == -signal.SIGKILL
        finish(start(folder))
        found = contents(folder)
        left_out = {"readings", "flagged"} if keeps_none else set()
        assert not any(found[name] for name in left_out)
        same = expected.keys() - left_out
        assert {name: found[name] for name in same} == {name: expected[name] for name in same}, (
            f"killed after {instants} seconds"
        )
        shutil.rmtree(folder)


class Flaky:
    """A writer whose every save may be the last: it saves and dies, or dies before."""

    def __init__(self, writer: Writer, saves: int, *, after: bool) -> None:
        self._writer, self._left, self._after = writer, saves, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def save(self, step: Any) -> int:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise StoreError("died before the commit")
        repeats = self._writer.save(step)
        if self._left == 0:
            raise StoreError("died after the commit")
        return repeats


@pytest.mark.parametrize("readings", ["all", "none"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("block", [1, 2, 5])
def test_dying_at_every_single_commit_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, after: bool, readings: Keep
) -> None:
    monkeypatch.setattr("tocsin.stores.kept.ENOUGH", 5)
    monkeypatch.setattr("tocsin.stores.kept.MOST", 2)
    rules: list[Mapping[str, Any]] = [
        {"alert": "Hot", "expr": "temp > 80", "for": "2 of 3 readings", "keep_firing_for": "5s"},
        {"alert": "Silent", "expr": "missing(temp[15s])"},
        {"alert": "Mean", "expr": "avg(temp[30s]) > 78", "min_coverage": 0.4},
    ]
    chance = random.Random(5)
    rows: list[Row] = [("ab"[chance.random() < 0.4], second * 4, chance.choice([70, 85, 90])) for second in range(40)]
    undisturbed = store_in(tmp_path, "undisturbed.db")
    run(parts_of(rows, rules, block=block), undisturbed, idle_after=SECOND)
    dying = store_in(tmp_path, readings=readings)
    writer_of = SqlStore.writer
    monkeypatch.setattr("tocsin.runners.ahead.GROUP", 1)
    monkeypatch.setattr(SqlStore, "writer", lambda store, series: Flaky(writer_of(store, series), 3, after=after))
    deaths = 0
    while True:
        try:
            run(parts_of(rows, rules, block=block), dying, idle_after=SECOND)
            break
        except StoreError:
            deaths += 1
            assert deaths < 200
    assert deaths >= 2
    assert ledger_of(dying) == ledger_of(undisturbed)
    assert dying.numbered_alerts(pending=True) == undisturbed.numbered_alerts(pending=True)
    dying.close()
    undisturbed.close()


class TestEditedRules:
    """The run stops after `a` became hot at 0 and `b` is pending from 5; what follows is under other rules."""

    rows: Sequence[Row] = [("a", 0, 90), ("b", 5, 90), ("c", 10, 20)]
    more: Sequence[Row] = [*rows, ("a", 20, 91), ("b", 20, 92)]
    rules: Sequence[Mapping[str, Any]] = [*HOT, {"alert": "Long", "expr": "temp > 85", "for": "3 readings"}]

    def told(self, store: SqlStore, since: int) -> list[tuple[Any, ...]]:
        """The transitions after some of them: time, rule, device, from, to, value, reason."""
        return [
            (
                (move.time - NOON) / SECOND,
                move.rule,
                dict(move.key)["device"],
                move.from_.name,
                move.to.name,
                move.value,
                move.reason,
            )
            for move in list(store.transitions())[since:]
        ]

    def test_an_edited_rule_ends_its_alerts_at_the_watermark_and_starts_anew(self, tmp_path: Path) -> None:
        """The end of the first input is just after 10 s; both alerts of Hot end there, and open anew at 20 s."""
        store = store_in(tmp_path)
        run(parts_of(self.rows, self.rules), store, idle_after=SECOND)
        before = len(ledger_of(store))
        edited = [{"alert": "Hot", "expr": "temp > 79"}, self.rules[1]]
        run(parts_of(self.more, edited), store, idle_after=SECOND)
        end = 10 + 1e-9
        assert self.told(store, before) == [
            (pytest.approx(end), "Hot", "a", "FIRING", "RESOLVED", None, "rule changed"),
            (pytest.approx(end), "Hot", "b", "FIRING", "RESOLVED", None, "rule changed"),
            (20, "Hot", "a", "INACTIVE", "FIRING", 91.0, ""),
            (20, "Hot", "b", "INACTIVE", "FIRING", 92.0, ""),
        ]
        assert '"from": "firing", "to": "resolved", "level": null, "value": null}' in ledger_of(store)[before]
        store.close()

    def test_a_pending_alert_of_a_removed_rule_is_cancelled_and_the_others_go_on(self, tmp_path: Path) -> None:
        store = store_in(tmp_path)
        run(parts_of(self.rows, self.rules), store, idle_after=SECOND)
        before = len(ledger_of(store))
        run(parts_of(self.more, HOT), store, idle_after=SECOND)
        end = 10 + 1e-9
        assert self.told(store, before) == [
            (pytest.approx(end), "Long", "a", "PENDING", "INACTIVE", None, "rule changed"),
            (pytest.approx(end), "Long", "b", "PENDING", "INACTIVE", None, "rule changed"),
        ]
        assert [alert.last for alert in store.alerts()] == [91.0, 92.0]
        store.close()

    def test_a_rule_that_is_only_written_otherwise_goes_on(self, tmp_path: Path) -> None:
        store = store_in(tmp_path)
        run(parts_of(self.rows), store, idle_after=SECOND)
        before = len(ledger_of(store))
        run(parts_of(self.more, [{"alert": "Hot", "expr": "( temp>80.0 )"}]), store, idle_after=SECOND)
        assert len(ledger_of(store)) == before
        store.close()

    def test_a_new_rule_sees_the_readings_that_are_stored(self, tmp_path: Path) -> None:
        """At 20 s the mean of a's last 30 s is (90 + 91) / 2, over the reading from before the rule was there."""
        store = store_in(tmp_path)
        run(parts_of(self.rows), store, idle_after=SECOND)
        mean = {"alert": "Mean", "expr": "avg(temp[30s]) < 90.6", "min_coverage": 0}
        run(parts_of(self.more, [*HOT, mean]), store, idle_after=SECOND)
        assert [(alert.rule, dict(alert.key)["device"], alert.value) for alert in store.alerts()][2:] == [
            ("Mean", "a", 90.5),
        ]
        store.close()

    def test_counts_of_an_edited_rule_begin_anew(self, tmp_path: Path) -> None:
        store = store_in(tmp_path)
        run(parts_of(self.rows, self.rules), store, idle_after=SECOND)
        edited = [{"alert": "Hot", "expr": "temp > 79"}, self.rules[1]]
        rules = run(parts_of(self.more, edited), store, idle_after=SECOND).stats.rules
        assert (rules["Hot"].evaluations, rules["Long"].evaluations) == (2, 5)
        store.close()


class TestSilencesThatNobodyListenedTo:
    """`a` reports to the end at 100 s, `b` until 10 s; what follows is under another file."""

    rows: Sequence[Row] = [*(("a", float(t), 1.0) for t in range(0, 101, 10)), ("b", 0, 1), ("b", 10, 1)]
    rule: Mapping[str, Any] = {"alert": "Silent", "expr": "missing(temp[30s])"}
    end = 100 + 1e-9

    def run(self, folder: Path, more: Sequence[Row], expected: str, rule: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The moves of the run's second half: seconds, device, to, value, reason."""
        store = store_in(folder)
        run(self.parts(self.rows, "ab", self.rule), store, idle_after=SECOND)
        before = len(ledger_of(store))
        rows = [*sorted(self.rows, key=lambda row: row[1]), *more]
        run(self.parts(rows, expected, rule), store, idle_after=SECOND)
        told = [
            ((move.time - NOON) / SECOND, dict(move.key)["device"], move.to.name, move.value, move.reason)
            for move in list(store.transitions())[before:]
        ]
        run(self.parts(rows, expected, rule), store, idle_after=SECOND)
        assert len(ledger_of(store)) == before + len(told)
        store.close()
        return told

    def parts(self, rows: Sequence[Row], expected: str, rule: Mapping[str, Any]) -> Parts:
        return parts_of(
            sorted(rows, key=lambda row: row[1]), [rule], devices={device: {} for device in expected}, lateness=0
        )

    def test_an_edited_rule_notices_who_is_silent_already(self, tmp_path: Path) -> None:
        """Silent since 10 s: at the end that is 90 s, more than the 40 s of the rule as it is now."""
        told = self.run(tmp_path, [("a", 110, 1)], "ab", {**self.rule, "expr": "missing(temp[40s])"})
        assert told == [
            (pytest.approx(self.end), "b", "RESOLVED", None, "rule changed"),
            (pytest.approx(self.end), "b", "FIRING", pytest.approx(90), ""),
        ]

    def test_an_expected_device_that_joins_later_counts_from_when_the_source_began(self, tmp_path: Path) -> None:
        told = self.run(tmp_path, [("a", 110, 1), ("c", 120, 1), ("a", 121, 1)], "abc", self.rule)
        assert told == [
            (pytest.approx(self.end), "c", "FIRING", pytest.approx(100), ""),
            (120, "c", "RESOLVED", 0, ""),
        ]

    def test_an_expected_device_that_leaves_and_never_reported_is_forgotten(self, tmp_path: Path) -> None:
        store = store_in(tmp_path)
        run(self.parts(self.rows, "abg", self.rule), store, idle_after=SECOND)
        run(self.parts([*self.rows, ("a", 110, 1)], "ab", self.rule), store, idle_after=SECOND)
        told = {dict(alert.key)["device"]: (alert.state.name, alert.reason) for alert in store.alerts()}
        assert told == {"g": ("RESOLVED", "forgotten"), "b": ("FIRING", "")}
        store.close()

    def test_who_stays_expected_and_silent_is_noticed_once(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, [("a", 110, 1)], "ab", self.rule) == []


def test_an_alert_of_the_same_identity_after_its_rule_was_edited_keeps_its_history(tmp_path: Path) -> None:
    """Since is where the silence began, which the edited rule finds too, if it looks back at all."""
    store = store_in(tmp_path)
    rows: list[Row] = [("a", 0, 1), ("b", 100, 1)]
    rule = {"alert": "Silent", "expr": "missing(temp[30s])"}
    run(parts_of(rows, [rule]), store, idle_after=SECOND)
    before = ledger_of(store)
    run(parts_of([*rows, ("b", 110, 1)], [{**rule, "keep_firing_for": "5s"}]), store, idle_after=SECOND)
    after = ledger_of(store)
    assert after[: len(before)] == before
    assert after[len(before)].endswith('"from": "firing", "to": "resolved", "level": null, "value": null}')
    assert len(ask(tmp_path, "SELECT DISTINCT rule, key, since FROM alerts")) == len(store.alerts(pending=True))
    store.close()
