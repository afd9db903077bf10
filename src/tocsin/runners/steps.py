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
from tocsin.instant import format_time
from tocsin.runners.aside import AsideReport
from tocsin.runners.events import Events, Now

if TYPE_CHECKING:
    from tocsin.alert import Transition
    from tocsin.moves import MoveRows, RuleMoves, Which
    from tocsin.rule import Rule
    from tocsin.stats import Stats
    from tocsin.stores import Step

EACH, WHILE = 20, 10.0
"""So many alerts are told one by one in so many seconds; a person reads no more, and the store has them all."""


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
