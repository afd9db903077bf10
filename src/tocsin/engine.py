"""The pure middle: readings and a watermark in, transitions of alerts out.

    batch ──▶ admit ──▶ waiting ──▶ ready ──▶ recent readings ──▶ summaries of windows
                                                                       │
    transitions ◀── life of each rule's alerts ◀── truth, clear, value ◀┘

`process(batch, watermark)` decides every event time before the watermark, each once and in order.
It reads no clock, and touches nothing outside.  What it decides depends on the readings alone: not
on how they were batched, in which order they came, where the process stopped, or how keys were split.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.alert import Alert, Transition
from tocsin.group import Group, group_rules
from tocsin.instant import LONG_AGO, SECOND
from tocsin.kernels.events import find_repeats, in_order
from tocsin.key import DeviceOrder, Keys
from tocsin.life import Moves
from tocsin.node import Selector
from tocsin.reading import Batch, Flag, Flags, Series
from tocsin.rule import Rule
from tocsin.state import Stateful, grown
from tocsin.window import Recent

STALENESS = 300 * SECOND
FORGET_AFTER = 86_400 * SECOND


@dataclass(frozen=True)
class Decision:
    """What one call decided: a flag for each reading of its batch, and how alerts moved."""

    flags: Flags
    moves: Moves

    @property
    def transitions(self) -> list[Transition]:
        """The ledger of this call: by time, rule and key, then in the order they happened."""
        return self.moves.transitions()

    @property
    def alerts(self) -> list[Alert]:
        """Every alert that this call opened, changed or closed, as it stands now."""
        return self.moves.alerts()


class Engine(Stateful):
    """Decides one partition's readings; devices that `series` expects are never forgotten."""

    state = ("watermark", "first_time", "_seen_time", "_seen_value")

    def __init__(
        self,
        rules: Sequence[Rule],
        series: Series,
        *,
        staleness: int = STALENESS,
        forget_after: int = FORGET_AFTER,
    ) -> None:
        self.rules = list(rules)
        self.series = series
        self.watermark = LONG_AGO
        self.first_time: int | None = None
        self.waiting = Batch.empty(series)
        self._known = 0
        self._order = DeviceOrder(series)
        self._seen_time = np.empty(0, np.int64)
        self._seen_value = np.empty(0, np.float64)
        self._keys: dict[tuple[str, ...], Keys] = {}
        self._recent: dict[tuple[tuple[str, ...], Selector], Recent] = {}
        self._groups = [self._group(members, forget, staleness) for members, forget in group_rules(rules, forget_after)]
        self._groups.sort(key=lambda group: not group.direct)
        self._horizon = max((recent.longest for recent in self._recent.values()), default=0)
        self._expect()

    def process(self, batch: Batch | None, watermark: int) -> Decision:
        """Decides every event time before the watermark; the batch's readings from it on wait.

        Readings of decided times are flagged LATE; a second one of the same device, metric and time
        is flagged REPEAT if its value is the same, else CONFLICT.  None of these reaches a rule.
        """
        decided, self.watermark = self.watermark, max(self.watermark, watermark)
        batch = Batch.empty(self.series) if batch is None else batch
        self._extend()
        ready, flags = self._admit(batch, decided)
        moves = Moves()
        if len(ready):
            self.begin(int(ready.time[0]))
        self._keep(ready, decided)
        for group in self._groups:
            group.decide(ready, decided, self.watermark, moves)
        for recent in self._recent.values():
            recent.release(self.watermark)
        return Decision(flags, moves)

    def begin(self, first_time: int) -> None:
        """Expected devices are waited for from here on; only the first call counts.

        By itself an engine begins with its first reading.  One that decides a part of a source is told when the source
        began, before it decides anything, so that the ledger does not show how readings were parted.
        """
        if self.first_time is None:
            self._begin(first_time)

    def open_alerts(self) -> list[Alert]:
        """Every alert that is pending, firing or recovering, in order of since, rule and key."""
        alerts = [alert for group in self._groups for life in group.lives for alert in life.open_alerts()]
        return sorted(alerts, key=lambda alert: (alert.since, alert.rule, alert.key))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Of each rule: how often it was evaluated, and how often that was unknown."""
        tallies = {life.rule.name: life.tally for group in self._groups for life in group.lives}
        return {rule.name: (int(tallies[rule.name][0]), int(tallies[rule.name][1])) for rule in self.rules}

    def needs_from(self) -> int:
        """From when on readings are needed to rebuild the windows, besides the newest of each series before it."""
        return max(self.watermark, LONG_AGO + self._horizon) - self._horizon

    def resume(
        self,
        alerts: Sequence[Alert],
        watermark: int,
        first_time: int | None,
        readings: Batch,
        *,
        afresh: Collection[str] = (),
        joined: Collection[str] = (),
    ) -> Decision:
        """Takes a fresh engine to where another one stood: its open alerts, its watermark, its readings.

        `readings` are accepted ones in any order: those before the watermark rebuild the windows
        and decide nothing; the others wait.  Nobody has listened to the silences of the rules in `afresh` and of the expected
        devices that have `joined` since: those that are past are noticed at the watermark.
        """
        self.watermark = watermark
        self._extend()
        decided = readings.take(readings.time < watermark)
        decided = decided.take(np.argsort(decided.time, kind="stable"))
        if first_time is not None:
            self._begin(first_time)
        decided = self._sorted_ties(decided)
        for recent in self._recent.values():
            self._keep_in(recent, decided, LONG_AGO)
        lives = {life.rule.name: life for group in self._groups for life in group.lives}
        for group in self._groups:
            group.rebuild(decided)
        for alert in alerts:
            lives[alert.rule].reopen(alert)
        waiting = readings.take(readings.time >= watermark)
        self.watermark = LONG_AGO
        ready, flags = self._admit(waiting, LONG_AGO)
        self.watermark = watermark
        self.waiting = Batch.join([ready, self.waiting])
        moves = Moves()
        if first_time is not None and (afresh or joined):
            for group in self._groups:
                slots = np.unique(group.keys.slot[: self._known][self._of(joined)])
                group.look_back(afresh, slots, watermark, moves)
        return Decision(flags, moves)

    def knows(self, alert: Alert) -> bool:
        """Whether there is a key for an alert: not if its device is expected no more, and never reported."""
        self._extend()
        (life,) = [life for group in self._groups for life in group.lives if life.rule.name == alert.rule]
        try:
            life.keys.find(alert.key)
        except KeyError:
            return False
        return True

    def _of(self, devices: Collection[str]) -> npt.NDArray[np.bool_]:
        """Which series are those of these devices."""
        chosen = np.array([device in devices for device in self.series.devices], np.bool_)
        return chosen[self.series.device[: self._known]]

    def snapshot(self) -> dict[str, Any]:
        """Everything that `restore` needs, in values that pickle."""
        return {
            "rules": [rule.fingerprint for rule in self.rules],
            "series": [self.series.describe(code) for code in range(len(self.series))],
            "waiting": (self.waiting.code.copy(), self.waiting.time.copy(), self.waiting.value.copy()),
            "recent": [recent.snapshot() for recent in self._recent.values()],
            "groups": [group.snapshot() for group in self._groups],
            **super().snapshot(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Takes a fresh engine with the same rules to where `snapshot` was taken; ValueError for other rules."""
        if snapshot["rules"] != [rule.fingerprint for rule in self.rules]:
            raise ValueError("the snapshot was taken with other rules: start afresh, or use the rules of then")
        for device, metric, labels in snapshot["series"]:
            self.series.code(device, metric, dict(labels))
        self._extend()
        super().restore(snapshot)
        self.waiting = Batch(self.series, *(column.copy() for column in snapshot["waiting"]))
        for recent, saved in zip(self._recent.values(), snapshot["recent"], strict=True):
            recent.restore(saved)
        for group, saved in zip(self._groups, snapshot["groups"], strict=True):
            group.restore(saved)
        if self.first_time is not None:
            self._begin(self.first_time)

    def _group(self, rules: Sequence[Rule], forget_after: int, staleness: int) -> Group:
        by = rules[0].by
        keys = self._keys.setdefault(tuple(sorted(by)), Keys(tuple(sorted(by)), self.series))

        def recent_of(selector: Selector) -> Recent:
            return self._recent.setdefault((keys.by, selector), Recent(selector, keys, self.series, staleness))

        return Group(rules, keys, recent_of, forget_after)

    def _expect(self) -> None:
        """Makes the series of expected devices, so that their keys are there before they report."""
        metrics = sorted({selector.metric for _, selector in self._recent})
        expected = [int(code) for metric in metrics for code in self.series.codes(sorted(self.series.expected), metric)]
        self._extend()
        for group in self._groups:
            group.expect(expected)

    def _extend(self) -> None:
        """Takes in what is new in the dictionary of series."""
        count = len(self.series)
        if self._known == count:
            return
        for keys in self._keys.values():
            keys.extend(count)
        for recent in self._recent.values():
            recent.extend(count)
        for group in self._groups:
            group.extend(self._known, count)
        self._known = count

    def _begin(self, first_time: int) -> None:
        self.first_time = first_time
        for group in self._groups:
            group.begin(first_time)

    def _admit(self, batch: Batch, decided: int) -> tuple[Batch, Flags]:
        """Flags the batch's readings; returns the accepted ones that are ready, in time order."""
        flags = np.zeros(len(batch), np.uint8)
        late = batch.time < decided
        fresh = batch
        if late.any():
            flags[late] = Flag.LATE
            fresh = batch.take(~late)
        joined = Batch.join([self.waiting, fresh]) if len(self.waiting) else fresh
        if not in_order(joined.code, joined.time, self.series.identity):
            order = np.argsort(joined.time, kind="stable")
            joined = joined.take(order)
            seen = self._find_repeats(joined)
            if seen.any():
                back = np.empty(len(joined), np.uint8)
                back[order] = seen
                flags[~late] = back[len(self.waiting) :]
                joined = joined.take(seen == Flag.ACCEPTED)
        cut = int(np.searchsorted(joined.time, self.watermark))
        self.waiting = joined.take(slice(cut, None))
        return self._sorted_ties(joined.take(slice(0, cut))), flags

    def _find_repeats(self, joined: Batch) -> Flags:
        identities = self.series.identity[joined.code]
        self._seen_time = grown(self._seen_time, self.series.identities)
        self._seen_value = grown(self._seen_value, self.series.identities)
        self._seen_time[identities] = LONG_AGO
        seen = np.zeros(len(joined), np.uint8)
        find_repeats(
            identities,
            joined.time,
            joined.value,
            self._seen_time,
            self._seen_value,
            np.uint8(Flag.REPEAT),
            np.uint8(Flag.CONFLICT),
            seen,
        )
        return seen

    def _sorted_ties(self, ready: Batch) -> Batch:
        """Readings of one time by device and metric name, where a sum over several devices may need it."""
        if not any(recent.shared for recent in self._recent.values()):
            return ready
        if len(ready) < 2 or not bool((ready.time[1:] == ready.time[:-1]).any()):
            return ready
        return ready.take(np.lexsort((self._order.ranks()[ready.code], ready.time)))

    def _keep(self, ready: Batch, decided: int) -> None:
        """Adds the ready readings to every selection that no direct group will add to itself."""
        cutoff = max(decided, LONG_AGO + self._horizon) - self._horizon
        direct = {id(group.sole): group for group in reversed(self._groups) if group.direct}
        for recent in self._recent.values():
            if id(recent) not in direct:
                self._keep_in(recent, ready, cutoff)
        for group in self._groups:
            group.cutoff = cutoff
            group.keeps = direct.get(id(group.sole)) is group

    def _keep_in(self, recent: Recent, ready: Batch, cutoff: int) -> None:
        slots = recent.slot_of[ready.code]
        chosen = slots >= 0
        if chosen.any():
            recent.keep(slots[chosen], ready.time[chosen], ready.value[chosen], ready.code[chosen], cutoff)
