"""What a step that was saved has to tell: alerts that moved, and readings that no rule sees.

Both may come by the thousand a second, so little is told one by one, and of the rest how many there were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tocsin.alert import State, key_of
from tocsin.instant import LONG_AGO, SECOND, format_time
from tocsin.reading import Flag
from tocsin.runners.events import Events, Now, spoken

if TYPE_CHECKING:
    from tocsin.alert import Transition
    from tocsin.moves import MoveRows, RuleMoves, Which
    from tocsin.rule import Rule
    from tocsin.stats import Stats
    from tocsin.stores import Step

EACH, WHILE = 20, 10.0
"""So many alerts are told one by one in so many seconds; a person reads no more, and the store has them all."""
SELDOM = 30.0
"""Seconds between two lines on readings that no rule sees, after the first, which is told at once."""


class StepReport:
    """Tells what saved steps have brought; `stats` have counted each before it comes here."""

    def __init__(self, events: Events, rules: Sequence[Rule], stats: Stats) -> None:
        self._alerts = AlertReport(events, rules)
        self._aside = AsideReport(events, stats)

    def began(self, moves: Sequence[RuleMoves]) -> None:
        """Alerts moved as a run began: their rule was edited, or a silence is noticed only now."""
        self._alerts.took(moves)

    def took(self, step: Step, unit: str = "") -> None:
        """A step of a unit is saved."""
        self._alerts.took(step.moves)
        self._aside.took(step, unit)

    def look(self) -> None:
        """To be called at every turn of the loop."""
        self._alerts.look()
        self._aside.look()

    def close(self) -> None:
        """What was not told yet."""
        self._alerts.tell_rest()
        self._aside.look(at_once=True)


class AlertReport:
    """Alerts that fire, change their level or are resolved, each by itself while there are few."""

    def __init__(self, events: Events, rules: Sequence[Rule]) -> None:
        self._events = events
        self._labels = {rule.name: dict(rule.labels) for rule in rules if rule.labels}
        self._again = Now(WHILE)
        self._left = EACH
        self._untold = dict.fromkeys(_MOVED, 0)

    def took(self, moves: Sequence[RuleMoves]) -> None:
        """Alerts have moved."""
        found: list[Transition] = []
        for part in moves:
            for name, which in _told(part.moves).items():
                self._untold[name] += len(which)
                if self._left and len(which):
                    first = which[np.argsort(part.moves.time[which], kind="stable")[: self._left]]
                    found += _of(part, first)
        for move in sorted(found, key=attrgetter("time", "rule", "key"))[: self._left]:
            self._tell(move)

    def look(self) -> None:
        """Some seconds are over, and as many may be told again."""
        if self._again():
            self.tell_rest()
            self._left = EACH

    def tell_rest(self) -> None:
        """How many moved besides those that were told one by one."""
        count = sum(self._untold.values())
        if count:
            counts = ", ".join(f"{some:,} {_MOVED[name].counted}" for name, some in self._untold.items() if some)
            fields = {_MOVED[name].field: some for name, some in self._untold.items()}
            alerts = "alert" if count == 1 else "alerts"
            self._events.info("more alerts", f"and {count:,} more {alerts} moved: {counts}", **fields)
            self._untold = dict.fromkeys(_MOVED, 0)

    def _tell(self, move: Transition) -> None:
        name = _name_of(move)
        self._left -= 1
        self._untold[name] -= 1
        labels = self._labels.get(move.rule, {})
        severity = move.level or labels.get("severity")
        parts = [key_of(move.key), "" if move.value is None else f"value {move.value:.6g}", format_time(move.time)]
        told = f"{move.rule}{f' ({severity})' if severity else ''} {_MOVED[name].said}"
        fields: dict[str, Any] = {
            "rule": move.rule, "key": dict(move.key), "labels": labels, "severity": severity,
            "value": move.value, "at": format_time(move.time), "since": format_time(move.since), "reason": move.reason,
        }  # fmt: skip
        kept = {field: value for field, value in fields.items() if value not in (None, "", {}) or field == "key"}
        why = f" ({move.reason})" if move.reason else ""
        self._events.info(name, f"{told}: {', '.join(part for part in parts if part)}{why}", **kept)


@dataclass(frozen=True, slots=True)
class _Words:
    """How a kind of move is said: of one alert, of many, and to programs."""

    said: str
    counted: str
    field: str


_MOVED = {
    "alert fired": _Words("fires", "fired", "fired"),
    "alert level": _Words("has another level", "with another level", "levels"),
    "alert resolved": _Words("is resolved", "resolved", "resolved"),
}


def _told(moves: MoveRows) -> dict[str, Which]:
    """The rows of the moves that are told; pending and recovering are no news."""
    to, from_ = moves.to, moves.from_
    fires = to == State.FIRING
    return {
        "alert fired": np.flatnonzero(fires & (from_ < State.FIRING)),
        "alert level": np.flatnonzero(fires & (from_ == State.FIRING)),
        "alert resolved": np.flatnonzero(to == State.RESOLVED),
    }


def _name_of(move: Transition) -> str:
    if move.to == State.RESOLVED:
        return "alert resolved"
    return "alert level" if move.from_ == State.FIRING else "alert fired"


def _of(part: RuleMoves, which: Which) -> list[Transition]:
    """Some of a rule's moves, for people."""
    return type(part)(part.rule, part.levels, part.labels, part.moves.take(which), part.open).transitions()


@dataclass(slots=True)
class _Worst:
    """The reading that was farthest off, as it is told."""

    device: str
    metric: str
    time: int
    off: int


class AsideReport:
    """Readings that came too late, or lie in the future: how many, and the worst of them."""

    def __init__(self, events: Events, stats: Stats) -> None:
        self._events = events
        self._stats = stats
        self._late = _Aside(stats.late)
        self._future = _Aside(stats.future)
        self._reached: dict[str, int] = {}

    def took(self, step: Step, unit: str) -> None:
        """A step is saved: note what of it no rule sees."""
        checkpoint = step.checkpoint
        if self._stats.late > self._late.seen:
            self._late.note(step, Flag.LATE, _reached(step, self._reached.get(unit, LONG_AGO)), self._stats.late)
        if self._stats.future > self._future.seen:
            self._future.note(step, Flag.FUTURE, None, self._stats.future)
        self._reached[unit] = max(checkpoint.newest, checkpoint.watermark)

    def look(self, *, at_once: bool = False) -> None:
        """Tell of them, if there are new ones and the last word is long ago."""
        if worst := self._late.due(at_once):
            new, total = self._late.tell()
            self._events.warning(
                "late readings",
                f"{_readings(new)} came too late for the rules, such as {worst.metric} of {worst.device} at {format_time(worst.time)}, "
                f"{spoken(worst.off / SECOND)} behind what had come already. A larger `lateness` waits longer",
                count=new, total=total, device=worst.device, metric=worst.metric, at=format_time(worst.time),
                late_seconds=round(worst.off / SECOND, 3),
            )  # fmt: skip
        if worst := self._future.due(at_once):
            new, total = self._future.tell()
            self._events.warning(
                "future readings",
                f"{_readings(new)} from the future, which no rule sees, such as {worst.metric} of {worst.device} at {format_time(worst.time)}: "
                "more than `max_future` ahead of when it came. Is the device's clock right?",
                count=new, total=total, device=worst.device, metric=worst.metric, at=format_time(worst.time),
            )  # fmt: skip


class _Aside:
    """One kind of such readings: how many were seen, how many of them told."""

    def __init__(self, already: int) -> None:
        self.seen = self._told = already
        self._worst: _Worst | None = None
        self._again: Now | None = None

    def note(self, step: Step, flag: Flag, reached: np.ndarray | None, seen: int) -> None:
        """There are more; `reached` is how far event time had come at each reading."""
        self.seen = seen
        assert step.batch is not None
        times = step.batch.time
        off = times if reached is None else reached - times
        row = int(np.argmax(np.where(step.flags == flag, off, LONG_AGO)))
        if self._worst is None or off[row] > self._worst.off:
            device, metric, _ = step.batch.series.describe(int(step.batch.code[row]))
            self._worst = _Worst(device, metric, int(times[row]), int(off[row]))

    def due(self, at_once: bool) -> _Worst | None:
        """What is to be told now, if anything is."""
        is_time = at_once or self._again is None or self._again()
        return self._worst if self._worst is not None and is_time else None

    def tell(self) -> tuple[int, int]:
        """How many are new, and how many there are; the next word is some seconds away."""
        new, self._told, self._worst = self.seen - self._told, self.seen, None
        self._again = Now(SELDOM)
        return new, self.seen


def _reached(step: Step, before: int) -> np.ndarray:
    """How far event time had come at each reading of a step: the newest accepted so far, or where the clock had moved it."""
    assert step.batch is not None
    times = np.where(step.flags == Flag.ACCEPTED, step.batch.time, LONG_AGO)
    reached = np.maximum.accumulate(np.maximum(times, before))
    # What was reached before this process began stands in the step alone.
    return np.where(reached == LONG_AGO, step.checkpoint.watermark, reached)


def _readings(count: int) -> str:
    return f"{count:,} {'reading' if count == 1 else 'readings'}"
