"""Recovery: how a run goes on as if it had never stopped.

A step is saved whole, with the position of the source after it; so what is saved ends at one point
of the input, and everything up to that point has been admitted, once.  From there:

1. The watermark is where it was, where the wall clock had moved it to included.
2. The open alerts go back to the engine with what their holds remember.  Those whose rule was edited
   or removed end here instead, with the reason `rule changed`: what they waited for is no more.  So do those, as
   `forgotten`, of a device that is not expected any more and has never reported.  Silences that fell due before anybody
   listened, because a rule or an expected device is new, are noticed here.
3. The windows are rebuilt from stored readings.  A value depends on the readings in its window
   alone, so it does not matter that other readings once surrounded them; accepted readings at or
   after the watermark wait in the engine as they did before.
4. The source is opened at the position.

No clock is read, and no transition is made twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tocsin.alert import Alert, State
from tocsin.instant import LONG_AGO
from tocsin.kernels import life as kernel
from tocsin.moves import REASONS, MoveRows, RuleMoves, no_open
from tocsin.stores import Checkpoint, RuleRecord, Step

if TYPE_CHECKING:
    from tocsin.engine import Engine
    from tocsin.record import Position
    from tocsin.rule import Rule
    from tocsin.stores.writer import Writer


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run begins: the source's position, what earlier runs counted of the same rules, and how far they had come.

    `moves` is what became of alerts as it began: of rules that were edited, and of silences that are noticed only now.
    """

    position: Position | None = None
    counted: Mapping[str, RuleRecord] = field(default_factory=dict)
    watermark: int = LONG_AGO
    newest: int = LONG_AGO
    moves: Sequence[RuleMoves] = ()


def resume(writer: Writer, rules: Sequence[Rule], engine: Engine) -> Start:
    """Take a fresh engine to where the store says the last run stood; the caller's clock follows what is returned."""
    checkpoint, held, expected_then = writer.take_over()
    expected = list(engine.series.expected)
    if checkpoint is None:
        if set(expected) != expected_then:
            writer.save(Step(Checkpoint(), expected=expected))
        return Start()
    same = {rule.name: rule for rule in rules if _is_same(rule, checkpoint)}
    counted = {name: checkpoint.rules[name] for name in same}
    now = replace(checkpoint, rules=records(rules, {}, counted))
    engine.watermark = checkpoint.watermark  # needs_from speaks of it; resume sets it once more
    readings = writer.readings(engine.needs_from())
    kept = [alert for alert in held if alert.rule in same and engine.knows(alert)]
    unknown = [alert for alert in held if alert.rule in same and not engine.knows(alert)]
    afresh = {rule.name for rule in rules} - same.keys()
    joined = set(expected) - expected_then
    noticed = engine.resume(
        kept, checkpoint.watermark, checkpoint.first_time, readings, afresh=afresh, joined=joined
    ).moves.by_rule()
    over = ended([alert for alert in held if alert.rule not in same], now.watermark, "rule changed")
    over += ended(unknown, now.watermark, "forgotten")
    if over or noticed or now.rules != checkpoint.rules or set(expected) != expected_then:
        writer.save_together([Step(now, moves=over), Step(now, moves=noticed, expected=expected)])
    return Start(checkpoint.position, counted, checkpoint.watermark, checkpoint.newest, [*over, *noticed])


def ended(alerts: Sequence[Alert], at: int, reason: str) -> list[RuleMoves]:
    """The end of open alerts for which there is no rule or no key any more."""
    by_rule: dict[str, list[Alert]] = {}
    for alert in alerts:
        by_rule.setdefault(alert.rule, []).append(alert)
    return [_ended_of(rule, own, at, REASONS.index(reason)) for rule, own in by_rule.items()]


def records(
    rules: Sequence[Rule], counts: Mapping[str, tuple[int, int]], counted: Mapping[str, RuleRecord]
) -> dict[str, RuleRecord]:
    """What a checkpoint says of the rules: this engine's counts on top of earlier ones."""
    made = {}
    for rule in rules:
        evaluations, unknown = counts.get(rule.name, (0, 0))
        before = counted.get(rule.name, RuleRecord(rule.fingerprint))
        made[rule.name] = RuleRecord(rule.fingerprint, before.evaluations + evaluations, before.unknown + unknown)
    return made


def _is_same(rule: Rule, checkpoint: Checkpoint) -> bool:
    before = checkpoint.rules.get(rule.name)
    return before is not None and before.fingerprint == rule.fingerprint


def _ended_of(rule: str, alerts: Sequence[Alert], at: int, reason: int) -> RuleMoves:
    levels = tuple(dict.fromkeys([None, *(alert.level for alert in alerts)]))
    rows = np.zeros((len(alerts), kernel.MOVE_INTEGERS), np.int64)
    floats = np.full((len(alerts), kernel.MOVE_FLOATS), np.nan)
    for slot, alert in enumerate(alerts):
        to = State.INACTIVE if alert.state == State.PENDING else State.RESOLVED
        fired = LONG_AGO if alert.fired is None else alert.fired
        level = levels.index(alert.level)
        rows[slot] = slot, at, alert.since, alert.state, to, level, reason, fired, -1
        floats[slot, 1:] = [np.nan if it is None else it for it in (alert.value, alert.peak, alert.last)]
    return RuleMoves(rule, levels, [alert.key for alert in alerts].__getitem__, MoveRows(rows, floats), no_open())
