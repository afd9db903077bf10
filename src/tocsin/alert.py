"""An alert's identity and its life, as one table.

One alert is open at most for a rule and a key.  Its states, and what may follow each:

    inactive ──▶ pending ──▶ firing ◀──▶ recovering
       ▲            │           │             │
       └────────────┘           └─▶ resolved ◀┘

`kernels/life.py` moves alerts along this table, a column of evaluations at a time; the ledger is
one line for each move.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from tocsin.instant import format_time
from tocsin.reading import Labels


class State(IntEnum):
    """Where an alert stands."""

    INACTIVE = 0
    PENDING = 1
    FIRING = 2
    RECOVERING = 3
    RESOLVED = 4


LIFE: dict[State, frozenset[State]] = {
    State.INACTIVE: frozenset({State.PENDING, State.FIRING}),
    State.PENDING: frozenset({State.FIRING, State.INACTIVE}),
    State.FIRING: frozenset({State.FIRING, State.RECOVERING, State.RESOLVED}),
    State.RECOVERING: frozenset({State.FIRING, State.RESOLVED}),
    State.RESOLVED: frozenset(),
}
"""Which state may follow which; firing follows firing when the level changes."""


class Transition(NamedTuple):
    """One move of one alert; times are nanoseconds, `value` is the rule's at that evaluation.

    `reason` is '' for a move that an evaluation or a timer made, else 'forgotten' or 'rule changed'.
    """

    time: int
    rule: str
    key: Labels
    since: int
    from_: State
    to: State
    level: str | None
    value: float | None
    reason: str = ""

    def ledger(self) -> str:
        """The line that two runs which agree have in common, byte for byte."""
        return json.dumps(
            {
                "time": format_time(self.time),
                "rule": self.rule,
                "key": dict(self.key),
                "since": format_time(self.since),
                "from": self.from_.name.lower(),
                "to": self.to.name.lower(),
                "level": self.level,
                "value": self.value,
            },
            ensure_ascii=False,
        )


@dataclass(slots=True)
class Alert:
    """One alert: where it stands now, or how it ended.

    `memory` is what an open alert's hold needs to go on after a restart (JSON, owned by the engine).
    An alert that never fired ends INACTIVE, one that fired ends RESOLVED; `until` is when.
    """

    rule: str
    key: Labels
    since: int
    state: State
    fired: int | None = None
    until: int | None = None
    level: str | None = None
    value: float | None = None
    peak: float | None = None
    last: float | None = None
    reason: str = ""
    memory: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints: times ISO 8601 with Z, absent ones null."""
        return {
            "rule": self.rule,
            "key": dict(self.key),
            "since": format_time(self.since),
            "fired": _time(self.fired),
            "until": _time(self.until),
            "state": self.state.name.lower(),
            "level": self.level,
            "value": self.value,
            "peak": self.peak,
            "last": self.last,
            "reason": self.reason or None,
        }


def key_of(pairs: Iterable[tuple[str, str]]) -> str:
    """A key for people: `smoker`, or `site=roof state=NY` where it is more than a device."""
    named = tuple(pairs)
    if [name for name, _ in named] == ["device"]:
        return named[0][1]
    return " ".join(f"{name}={value}" for name, value in named)


def _time(nanoseconds: int | None) -> str | None:
    return None if nanoseconds is None else format_time(nanoseconds)
