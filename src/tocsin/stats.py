"""Our own counters: what a run has read, kept and decided, and which rules could hardly decide."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tocsin.alert import State
from tocsin.instant import LONG_AGO
from tocsin.reading import Flag
from tocsin.stores import RuleRecord, Step

ENOUGH = 0.1
"""Seconds from which on a rate says something."""
MOSTLY = 0.5
"""From which part of its evaluations on a rule is said to have been mostly unknown."""


@dataclass(slots=True)
class Stats:
    """Counts since this process began; `newest` is the newest event time, LONG_AGO before the first."""

    readings: int = 0
    accepted: int = 0
    late: int = 0
    conflicts: int = 0
    future: int = 0
    repeats: int = 0
    rejects: int = 0
    fired: int = 0
    resolved: int = 0
    newest: int = LONG_AGO
    began: float = field(default_factory=time.monotonic)
    going: float | None = None
    """When the first step had been saved: until then kernels are compiled or loaded, and much else happens once."""
    first: int = 0
    """The readings of that step."""
    units: dict[str, Mapping[str, RuleRecord]] = field(default_factory=dict)
    """Of each unit by its name, what is counted of the rules there."""

    @property
    def rules(self) -> dict[str, RuleRecord]:
        """What is counted of each rule, in all units."""
        found: dict[str, RuleRecord] = {}
        for rules in self.units.values():
            for name, rule in rules.items():
                known = found.get(name, RuleRecord(rule.fingerprint))
                counts = known.evaluations + rule.evaluations, known.unknown + rule.unknown
                found[name] = RuleRecord(rule.fingerprint, *counts)
        return found

    @property
    def seconds(self) -> float:
        """How long this has been going on, on the wall."""
        return time.monotonic() - self.began

    @property
    def rate(self) -> float:
        """Readings a second since the first step; 0 as long as that is too short to tell."""
        since = 0.0 if self.going is None else time.monotonic() - self.going
        return (self.readings - self.first) / since if since >= ENOUGH else 0.0

    def add(self, step: Step, late_repeats: int, unit: str = "") -> None:
        """Count a step of a unit that has been saved; `late_repeats` are late readings that the store had already."""
        if step.flags is not None:
            of = np.bincount(step.flags, minlength=len(Flag)).tolist()
            self.readings += len(step.flags)
            self.accepted += of[Flag.ACCEPTED]
            self.late += of[Flag.LATE] - late_repeats
            self.conflicts += of[Flag.CONFLICT]
            self.future += of[Flag.FUTURE]
            self.repeats += of[Flag.REPEAT] + late_repeats
        if self.going is None:
            self.going, self.first = time.monotonic(), self.readings
        self.rejects += len(step.rejects)
        for moves in (told.moves for told in step.moves):
            self.fired += int(np.count_nonzero((moves.to == State.FIRING) & (moves.from_ < State.FIRING)))
            self.resolved += int(np.count_nonzero(moves.to == State.RESOLVED))
        self.newest = max(self.newest, step.checkpoint.newest)
        self.units[unit] = step.checkpoint.rules

    def warnings(self) -> Iterator[str]:
        """What the user should know of rules that could not, or hardly, decide."""
        for name, rule in self.rules.items():
            if not rule.evaluations and not self.accepted:
                continue
            if not rule.evaluations:
                yield f"rule '{name}' was never evaluated: no reading matched what it selects"
            elif rule.unknown > MOSTLY * rule.evaluations:
                evaluations = "evaluation" if rule.evaluations == 1 else "evaluations"
                yield (
                    f"rule '{name}' was unknown in {rule.unknown:,} of its {rule.evaluations:,} {evaluations}: its windows "
                    "were too seldom filled, or a metric was missing. A longer window, min_coverage or staleness mends that"
                )
