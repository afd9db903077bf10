"""A case: rules, readings in log order and what belongs to them; and the ways to run one.

The cases of the semantics page lie beside the repository, each with its ledger.  The laws make
theirs up.  Either can go through the oracle, through the engine, or through the command.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np

import oracle
from oracle import Reading
from tocsin.alert import Alert, Transition
from tocsin.engine import Decision, Engine
from tocsin.instant import LONG_AGO, format_duration, parse_duration
from tocsin.reading import Batch, Flag, Series
from tocsin.rule import Rule, parse_rules
from tocsin.watermark import Watermark

SHARED = Path(__file__).parents[2] / "shared"
FOLDER = SHARED / "cases"

SOURCE = """\
source:
  file: readings.jsonl
  format: json_lines
  time: {column: time, format: unix_ns}
  device: device
  metric: {column: metric}
  value: value
"""


@dataclass(frozen=True)
class Case:
    """One input and the rules that judge it."""

    rules: Sequence[Mapping[str, Any]]
    readings: Sequence[Reading]
    devices: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lateness: int = 0
    staleness: int = oracle.STALENESS
    forget_after: int = oracle.FORGET_AFTER

    @cached_property
    def parsed(self) -> list[Rule]:
        """The rules as the language reads them."""
        return parse_rules(self.rules, None)

    def by_oracle(self) -> oracle.Outcome:
        """What the oracle makes of it."""
        settings = {name: getattr(self, name) for name in ("devices", "lateness", "staleness", "forget_after")}
        return oracle.replay(self.parsed, self.readings, **settings)

    def write(self, folder: Path) -> Path:
        """The case as a user would have it: a pipeline file, and beside it its readings as JSON lines."""
        lines = [json.dumps(_message(reading), ensure_ascii=False) + "\n" for reading in self.readings]
        (folder / "readings.jsonl").write_text("".join(lines), encoding="utf-8")
        labels = sorted({name for reading in self.readings for name, _ in reading.labels})
        parts = [
            "pipeline: case\n",
            SOURCE,
            f"  labels: {json.dumps({name: f'labels.{name}' for name in labels})}\n" if labels else "",
            *(
                f"{name}: {format_duration(getattr(self, name))}\n"
                for name in ("lateness", "staleness", "forget_after")
            ),
            f"devices: {json.dumps(self.devices)}\n" if self.devices else "",
            "rules:\n",
            *(_rule_text(rule) for rule in self.rules),
        ]
        path = folder / "pipeline.yaml"
        path.write_text("".join(parts), encoding="utf-8")
        return path


def _message(reading: Reading) -> dict[str, Any]:
    plain = {"device": reading.device, "metric": reading.metric, "time": reading.time, "value": reading.value}
    return {**plain, "labels": dict(reading.labels)} if reading.labels else plain


def _rule_text(rule: Mapping[str, Any]) -> str:
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in rule.items()]
    return "  - " + "\n    ".join(lines) + "\n"


def names(*, valid: bool) -> list[str]:
    """The cases of the semantics page, by name: those with a ledger, or those whose rules are refused."""
    return sorted(path.stem for path in FOLDER.glob("*.json") if path.with_suffix(".ledger").exists() == valid)


def load(name: str) -> Case:
    """One of the cases of the semantics page."""
    content = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    readings = [
        Reading(it["device"], it["metric"], it["time"], float(it["value"]), tuple(sorted(it.get("labels", {}).items())))
        for it in content["readings"]
    ]
    times = ("lateness", "staleness", "forget_after")
    settings = {name: parse_duration(content[name]) for name in times if name in content}
    return Case(content["rules"], readings, content.get("devices", {}), **settings)


def ledger(name: str) -> list[str]:
    """The ledger that belongs to it."""
    return (FOLDER / f"{name}.ledger").read_text(encoding="utf-8").splitlines()


class Feed:
    """A case on its way through the engine; it can be stopped and resumed anywhere.

    It keeps what a store would keep, and no more: the accepted readings, the open alerts as they
    were last reported, the watermark and the first event time.
    """

    def __init__(self, case: Case, first_time: int | None = None) -> None:
        self.case = case
        self.series = Series(case.devices)
        self.watermark = Watermark(case.lateness)
        self.engine = self._new_engine()
        self.transitions: list[Transition] = []
        self.closed: list[Alert] = []
        self.open: dict[tuple[str, Any], Alert] = {}
        self.flags: list[Flag] = []
        self.fed = 0
        if first_time is not None:
            self.engine.resume([], LONG_AGO, first_time, Batch.empty(self.series))

    def take(self, count: int | None = None, *, decide: bool = True) -> None:
        """Feed the next readings as one batch; without `decide` the watermark waits for the next."""
        rest = self.case.readings[self.fed :]
        batch = batch_of(rest if count is None else rest[:count], self.series)
        flags = self.watermark.admit(batch)
        accepted = flags == Flag.ACCEPTED
        decision = self.engine.process(batch.take(accepted), self.watermark.value if decide else self.engine.watermark)
        flags[accepted] = decision.flags
        self.flags += [Flag(flag) for flag in flags]
        self.fed += len(batch)
        self._keep(decision)

    def advance(self, watermark: int) -> None:
        """Move the engine's watermark alone."""
        self._keep(self.engine.process(None, watermark))

    def finish(self, newest: int | None = None) -> Feed:
        """Feed what is left, and the end of the input: just after its newest reading, or that of the whole source."""
        self.take()
        if self.case.readings or newest is not None:
            self.advance(self.watermark.end() if newest is None else newest + 1)
        return self

    def resume_from_snapshot(self) -> None:
        """Go on with a new engine that knows what the old one wrote down."""
        snapshot = pickle.loads(pickle.dumps(self.engine.snapshot()))
        self.engine = self._new_engine()
        self.engine.restore(snapshot)

    def resume_from_store(self) -> None:
        """Go on with a new engine, and series numbered anew, from what a store has."""
        alerts = [deepcopy(alert) for alert in self.open.values()]
        for alert in alerts:
            alert.memory = json.loads(json.dumps(alert.memory))
        watermark, first_time, needed = self.engine.watermark, self.engine.first_time, self._needed()
        self.series = Series(self.case.devices)
        self.engine = self._new_engine()
        self._keep(self.engine.resume(alerts, watermark, first_time, batch_of(needed, self.series)))

    def ledger(self) -> list[str]:
        """The ledger's lines so far."""
        return [transition.ledger() for transition in self.transitions]

    def alerts(self) -> list[oracle.Alert]:
        """Every alert so far as it stood last, as the oracle would tell of it."""
        told = [_told(alert) for alert in [*self.closed, *self.open.values()]]
        return sorted(told, key=lambda it: (it.since, it.rule, it.key))

    def _new_engine(self) -> Engine:
        case = self.case
        return Engine(case.parsed, self.series, staleness=case.staleness, forget_after=case.forget_after)

    def _needed(self) -> list[Reading]:
        """Accepted readings since `needs_from`, and of each series the newest before it; in reversed order."""
        accepted = [it for it, flag in zip(self.case.readings, self.flags, strict=False) if flag == Flag.ACCEPTED]
        start = self.engine.needs_from()
        before = [it for it in sorted(accepted, key=lambda it: it.time) if it.time < start]
        newest = {(it.device, it.metric, it.labels): it for it in before}
        return [it for it in reversed(accepted) if it.time >= start] + list(newest.values())

    def _keep(self, decision: Decision) -> None:
        self.transitions += decision.transitions
        alerts = [deepcopy(alert) for alert in decision.alerts]
        for alert in alerts:
            if alert.until is not None:
                self.open.pop((alert.rule, alert.key), None)
                self.closed.append(alert)
        for alert in alerts:
            if alert.until is None:
                self.open[alert.rule, alert.key] = alert


def _told(alert: Alert) -> oracle.Alert:
    shared = ("rule", "key", "since", "fired", "until", "level", "value", "peak", "last", "reason")
    return oracle.Alert(state=alert.state.name.lower(), **{name: getattr(alert, name) for name in shared})


def batch_of(readings: Sequence[Reading], series: Series) -> Batch:
    """Readings as columns."""
    codes = [series.code(it.device, it.metric, dict(it.labels)) for it in readings]
    times = [it.time for it in readings]
    values = [it.value for it in readings]
    return Batch(series, np.array(codes, np.int32), np.array(times, np.int64), np.array(values, np.float64))


_VALUE = re.compile(r'(?<="value": ).*(?=\})')


def assert_same_ledger(actual: Iterable[str], expected: Iterable[str]) -> None:
    """Byte for byte, but for computed floats, which may differ by 1e-12."""
    actual, expected = list(actual), list(expected)
    assert [_VALUE.sub("", line) for line in actual] == [_VALUE.sub("", line) for line in expected]
    for mine, theirs in zip(actual, expected, strict=True):
        assert mine == theirs or close(json.loads(mine)["value"], json.loads(theirs)["value"]), (mine, theirs)


def assert_same_alerts(actual: Sequence[oracle.Alert], expected: Sequence[oracle.Alert]) -> None:
    """The same alerts, but for computed floats, which may differ by 1e-12."""
    assert [_without_numbers(alert) for alert in actual] == [_without_numbers(alert) for alert in expected]
    for mine, theirs in zip(actual, expected, strict=True):
        for name in ("value", "peak", "last"):
            assert close(getattr(mine, name), getattr(theirs, name)), (name, mine, theirs)


def _without_numbers(alert: oracle.Alert) -> dict[str, Any]:
    return {name: value for name, value in vars(alert).items() if name not in ("value", "peak", "last")}


def close(mine: float | None, theirs: float | None) -> bool:
    """Equal, or so near that only the rounding of a computation can be the reason."""
    if mine is None or theirs is None:
        return mine is theirs
    return isclose(mine, theirs, rel_tol=1e-12, abs_tol=1e-12)


def pieces(count: int, cuts: Iterable[int]) -> Iterator[int]:
    """How many readings each batch holds if the log is cut at these places."""
    places = sorted({0, count, *(cut for cut in cuts if 0 <= cut <= count)})
    return (end - start for start, end in pairwise(places))
