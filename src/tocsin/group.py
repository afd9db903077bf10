"""Rules that are evaluated at the same instants: same keys, same readings, same silences.

Most rules look at one metric of one device; then every reading is an instant, and keeping it,
summing up its windows and judging go hand in hand (`direct`).  Otherwise the instants are worked out
first: each time at which one of the rules' series has a reading, and each silence that falls due.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.instant import LONG_AGO, NEVER
from tocsin.kernels.events import follow_limits, forget, gaps_ended, last_of_each
from tocsin.key import Keys
from tocsin.life import Life, Moves
from tocsin.node import Call, Node, Selector, selectors, walk
from tocsin.plan import plan
from tocsin.reading import Batch, Codes, Labels, Times, Values
from tocsin.rule import Rule
from tocsin.state import Stateful, grown
from tocsin.window import Recent, View, Wanted

_NO_TIMES = np.empty(0, np.int64)
AT_ONCE = 16384
"""Instants that go through windows, program and lives together, so that their columns stay in the nearer caches."""


def group_rules(rules: Sequence[Rule], forget_after: int) -> Iterator[tuple[list[Rule], int]]:
    """The rules that can be decided together, with how long their silent keys are remembered."""
    groups: dict[object, list[Rule]] = {}
    for rule in rules:
        heard = frozenset(selector for node in _nodes(rule) for selector in selectors(node))
        known_as = (tuple(sorted(rule.by)), heard, frozenset(_silences(rule)), rule.forget_after(forget_after))
        groups.setdefault(known_as, []).append(rule)
    for members in groups.values():
        yield members, members[0].forget_after(forget_after)


def _nodes(rule: Rule) -> list[Node]:
    return [rule.expr] if rule.clear is None else [rule.expr, rule.clear]


def _silences(rule: Rule) -> set[tuple[Selector, int]]:
    """What `missing` listens for in a rule: (selector, length)."""
    return {
        (piece.selector, piece.window)
        for node in _nodes(rule)
        for piece in walk(node)
        if isinstance(piece, Call) and piece.function == "missing"
    }


@dataclass
class Instants:
    """When rules are evaluated: slots and times in time order.

    Where every instant is a reading and nothing forgotten can be seen, `values` has the readings'.
    Elsewhere `heard` is when the key's newest reading was, `born` up to when it had been forgotten, and
    `limits` has a row for each of the plan's limits.  What is not there is empty.
    """

    slots: Codes
    times: Times
    values: Values = field(default_factory=lambda: np.empty(0))
    heard: Times = field(default_factory=lambda: np.empty(0, np.int64))
    born: Times = field(default_factory=lambda: np.empty(0, np.int64))
    limits: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))

    def part(self, which: slice) -> Instants:
        """Some of them."""
        return Instants(
            self.slots[which],
            self.times[which],
            self.values[which],
            self.heard[which],
            self.born[which],
            self.limits[:, which],
        )


class Silence(Stateful):
    """One `missing(m[w])`: when each key was heard last, and when the next silence may fall due."""

    state = ("heard", "next_due")

    def __init__(self, recent: Recent, length: int) -> None:
        self.recent = recent
        self.length = length
        self.heard: Times = _NO_TIMES
        self.expected: list[int] = []
        self.silent_since: Times = _NO_TIMES
        self.next_due = LONG_AGO

    def due(self, slots: Codes, times: Times, decided: int, watermark: int) -> tuple[Codes, Times]:
        """The silences that fall due from `decided` to before the watermark, given the readings of that time."""
        slots, times = gaps_ended(slots, times, self.heard, self.silent_since, self.length, decided)
        if watermark <= self.next_due:
            return slots, times
        heard = self.heard if len(self.silent_since) == 0 else np.maximum(self.heard, self.silent_since)
        due = np.where(heard == LONG_AGO, NEVER, heard + self.length)
        quiet = np.nonzero((due >= decided) & (due < watermark))[0]
        later = due[due >= watermark]
        self.next_due = min(int(later.min()) if len(later) else NEVER, watermark + self.length)
        return np.concatenate([slots, quiet.astype(np.int32)]), np.concatenate([times, due[quiet]])

    def overdue(self, at: int) -> npt.NDArray[np.int64]:
        """The slots whose silence fell due before an instant."""
        heard = self.heard if len(self.silent_since) == 0 else np.maximum(self.heard, self.silent_since)
        return np.flatnonzero((heard != LONG_AGO) & (heard + self.length < at))


class Group(Stateful):
    """Rules of one plan, the selections that they look at, and the lives of their alerts."""

    state = ("expected_since", "_newest", "_forgotten", "_mark", "_limits", "_limits_since")

    def __init__(
        self, rules: Sequence[Rule], keys: Keys, recent_of: Callable[[Selector], Recent], forget_after: int
    ) -> None:
        self.keys = keys
        self.forget_after = forget_after
        self.plan = plan(rules)
        chosen = sorted({selector for rule in rules for node in _nodes(rule) for selector in selectors(node)}, key=repr)
        self.recents = [recent_of(selector) for selector in chosen]
        listened = sorted({silence for rule in rules for silence in _silences(rule)}, key=repr)
        self.silences = [Silence(recent_of(selector), length) for selector, length in listened]
        # What a key was before it was forgotten can be seen only if staleness reaches back further.
        remembers = forget_after >= self.recents[0].staleness
        self.direct = len(chosen) == 1 and not self.recents[0].shared and not self.silences and remembers
        self.direct = self.direct and not self.plan.limits  # they are forgotten with their key
        self.sole = self.recents[0] if self.direct else None
        self.keeps = False
        self.cutoff = LONG_AGO
        self.views = [self._view(recent) for recent in self.recents]
        self.expected_since: Times = _NO_TIMES
        self.lives = [
            Life(rule, keys, forget_after, timed=bool(_silences(rule)), answers=answers)
            for rule, answers in zip(rules, self.plan.answers, strict=True)
        ]
        self._newest = _NO_TIMES
        self._forgotten = _NO_TIMES
        self._mark = _NO_TIMES
        self._limits = [np.empty(0) for _ in self.plan.limits]
        self._limits_since = [_NO_TIMES for _ in self.plan.limits]
        self._given = [(np.empty(0), np.empty(0, np.bool_)) for _ in self.plan.limits]

    def extend(self, first: int, upto: int) -> None:
        """Takes in the keys that are new, and the series from code `first` to before `upto`."""
        count = len(self.keys)
        self._newest = grown(self._newest, count, LONG_AGO)
        self._forgotten = grown(self._forgotten, count, LONG_AGO)
        self._mark = grown(self._mark, count, LONG_AGO)
        self.expected_since = grown(self.expected_since, count, NEVER)
        self._expect_always(first, upto)
        for place, (label, _) in enumerate(self.plan.limits):
            self._given[place] = _read_limits(label, self.keys.series.label_sets, *self._given[place])
            self._limits[place] = grown(self._limits[place], count, np.nan)
            self._limits_since[place] = grown(self._limits_since[place], count, LONG_AGO)
        for silence in self.silences:
            silence.heard = grown(silence.heard, count, LONG_AGO)
            if len(silence.silent_since):
                silence.silent_since = grown(silence.silent_since, len(silence.heard), LONG_AGO)
        self._link_silences()
        for life in self.lives:
            life.extend(count)

    def expect(self, codes: Sequence[int]) -> None:
        """Marks the keys of expected devices: they are never forgotten."""
        for recent in self.recents:
            slots = [slot for slot in (int(recent.slot_of[code]) for code in codes) if slot >= 0]
            self.expected_since[slots] = LONG_AGO
            heard = np.array([code for code in codes if recent.slot_of[code] >= 0], np.intp)
            first = np.full(len(heard), LONG_AGO + 1)
            self._follow_limits(self.keys.slot[heard], first, self.keys.series.labels[heard], first - 1)
            for silence in self.silences:
                if silence.recent is recent:
                    silence.expected = slots

    def begin(self, first_time: int) -> None:
        """The source's first event time is known: expected devices are silent since then."""
        for silence in self.silences:
            if silence.expected:
                silence.silent_since = np.full(len(silence.heard), LONG_AGO, np.int64)
                silence.silent_since[silence.expected] = first_time
        self._link_silences()

    def decide(self, ready: Batch, decided: int, watermark: int, moves: Moves) -> None:
        """Evaluates the rules at every instant from `decided` to before the watermark, and runs timers."""
        instants = self._readings(ready) if self.direct else self._instants(ready, decided, watermark)
        for low in range(0, len(instants.slots), AT_ONCE):
            self._judge(instants.part(slice(low, low + AT_ONCE)), moves, self.lives)
        for life in self.lives:
            life.run_timers(watermark, self.expected_since, moves)

    def _judge(self, instants: Instants, moves: Moves, lives: Sequence[Life]) -> None:
        """Sums up the windows that end at these instants, runs the program over them and moves the alerts."""
        inputs = self._look(instants)
        columns = self.plan.run(inputs)
        for life in lives:
            life.advance(instants.slots, instants.times, instants.heard, columns, self.expected_since, moves)

    def rebuild(self, decided: Batch) -> None:
        """Learns from readings decided long since when each key was heard last."""
        chosen = np.zeros(len(decided), np.bool_)
        for recent in self.recents:
            chosen |= recent.slot_of[decided.code] >= 0
        slots, times = self._expect(decided.take(chosen))
        _, born = self._forget(slots, times, np.ones(len(slots), np.bool_))
        self._follow_limits(slots, times, self.keys.series.labels[decided.code[chosen]], born)
        for silence in self.silences:
            slots = silence.recent.slot_of[decided.code]
            gaps_ended(slots[slots >= 0], decided.time[slots >= 0], silence.heard, _NO_TIMES, silence.length, NEVER)

    def look_back(self, afresh: Collection[str], joined: Codes, at: int, moves: Moves) -> None:
        """Notices silences that fell due when nobody listened: for rules that are new, and for keys that were not expected.

        An instant of theirs is over, so they are evaluated at the end of what is decided; `joined` are slots.
        """
        found = [silence.overdue(at) for silence in self.silences]
        overdue = np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)
        rules = [life for life in self.lives if _silences(life.rule) and life.rule.name in afresh]
        others = [life for life in self.lives if _silences(life.rule) and life.rule.name not in afresh]
        for lives, slots in ((rules, overdue), (others, np.intersect1d(overdue, joined))):
            for low in range(0, len(slots) if lives else 0, AT_ONCE):
                self._judge(self._silent(slots[low : low + AT_ONCE], at), moves, lives)
            for life in lives:
                life.run_timers(at, self.expected_since, moves)

    def _silent(self, slots: npt.NDArray[np.int64], at: int) -> Instants:
        """One instant for each of these keys, without a reading."""
        own, times = slots.astype(np.int32), np.full(len(slots), at)
        heard, born = self._forget(own, times, np.zeros(len(own), np.bool_))
        limits = self._follow_limits(own, times, np.full(len(own), -1, np.int32), born)
        return Instants(own, times, heard=heard, born=born, limits=limits)

    def snapshot(self) -> dict[str, Any]:
        """This group's state and that of its parts."""
        return {
            **super().snapshot(),
            "silences": [silence.snapshot() for silence in self.silences],
            "lives": [life.snapshot() for life in self.lives],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Back to what `snapshot` saw."""
        super().restore(snapshot)
        for silence, saved in zip(self.silences, snapshot["silences"], strict=True):
            silence.restore(saved)
        for life, saved in zip(self.lives, snapshot["lives"], strict=True):
            life.restore(saved)
        for view in self.views:
            view.forget_long_windows()

    def _link_silences(self) -> None:
        for silence in self.silences:
            for view in self.views:
                if view.recent is silence.recent:
                    view.silent_since = silence.silent_since

    def _view(self, recent: Recent) -> View:
        wanted = self.plan.wanted.get(recent.selector, Wanted())
        lengths = list(wanted.windows) + [length for length, _ in wanted.quantiles]
        lengths += [silence.length for silence in self.silences if silence.recent is recent]
        recent.longest = max([recent.longest, *lengths])
        view = View(recent, wanted)
        recent.views.append(view)
        return view

    def _readings(self, ready: Batch) -> Instants:
        """Each selected reading, where every one of them is an instant."""
        slots = self.recents[0].slot_of[ready.code]
        if len(slots) and slots.min() < 0:
            chosen = slots >= 0
            return Instants(slots[chosen], ready.time[chosen], ready.value[chosen])
        return Instants(slots, ready.time, ready.value)

    def _instants(self, ready: Batch, decided: int, watermark: int) -> Instants:
        """Each key and time once: where a selected series has a reading, or a silence falls due."""
        chosen = np.zeros(len(ready), np.bool_)
        for recent in self.recents:
            chosen |= recent.slot_of[ready.code] >= 0
        slots, times = self._expect(ready.take(chosen))
        label_sets = self.keys.series.labels[ready.code[chosen]]
        is_reading = np.ones(len(slots), np.bool_)
        for silence in self.silences:
            own = silence.recent.slot_of[ready.code]
            due_slots, due_times = silence.due(own[own >= 0], ready.time[own >= 0], decided, watermark)
            slots, times = np.concatenate([due_slots, slots]), np.concatenate([due_times, times])
            is_reading = np.concatenate([np.zeros(len(due_slots), np.bool_), is_reading])
            label_sets = np.concatenate([np.full(len(due_slots), -1, np.int32), label_sets])
        if self.silences:
            order = np.argsort(times, kind="stable")
            slots, times, is_reading, label_sets = slots[order], times[order], is_reading[order], label_sets[order]
        heard, born = self._forget(slots, times, is_reading)
        limits = self._follow_limits(slots, times, label_sets, born)
        last = last_of_each(slots, times, self._mark)
        return Instants(slots[last], times[last], heard=heard[last], born=born[last], limits=limits[:, last])

    def _expect_always(self, first: int, upto: int) -> None:
        """Marks the keys of new series of expected devices, where a key knows no other device."""
        if self.keys.series.expected and not any(recent.shared for recent in self.recents):
            new = np.arange(first, upto)
            heard = np.any([recent.slot_of[new] >= 0 for recent in self.recents], axis=0)
            self.expected_since[self.keys.slot[new[heard & (self.keys.series.is_expected[new] == 1)]]] = LONG_AGO

    def _expect(self, readings: Batch) -> tuple[Codes, Times]:
        """The readings' slots and times; notes since when a key of several devices has heard an expected one."""
        slots = self.keys.slot[readings.code]
        if self.keys.series.expected and any(recent.shared for recent in self.recents):
            chosen = self.keys.series.is_expected[readings.code] == 1
            np.minimum.at(self.expected_since, slots[chosen], readings.time[chosen])
        return slots, readings.time

    def _forget(self, slots: Codes, times: Times, is_reading: npt.NDArray[np.bool_]) -> tuple[Times, Times]:
        heard, born = np.empty(len(slots), np.int64), np.empty(len(slots), np.int64)
        forget(
            slots, times, is_reading, self._newest, self._forgotten, self.expected_since, self.forget_after, heard, born
        )
        return heard, born

    def _look(self, instants: Instants) -> npt.NDArray[np.float64]:
        """The plan's inputs at these instants; readings that are not kept yet are added on the way."""
        slots, times = instants.slots, instants.times
        inputs = self.plan.new_inputs(len(slots))
        for recent, view in zip(self.recents, self.views, strict=True):
            if self.keeps:
                recent.read(view, slots, times, instants.values, self.cutoff, inputs)
            else:
                recent.look(view, slots, times, instants.born, inputs)
            view.quantiles(slots, times, inputs)
        for place, column in enumerate(self.plan.limits.values()):
            inputs[column] = instants.limits[place]
        return inputs

    def _follow_limits(self, slots: Codes, times: Times, label_sets: Codes, born: Times) -> npt.NDArray[np.float64]:
        """The limits at each event, and from then on; a text that is no number makes a limit unknown."""
        found = np.empty((len(self.plan.limits), len(slots)))
        for place, ((_, default), (numbers, given)) in enumerate(zip(self.plan.limits, self._given, strict=True)):
            state = self._limits[place], self._limits_since[place]
            unless = np.nan if default is None else default
            follow_limits(slots, times, label_sets, born, numbers, given, unless, *state, found[place])
        return found


def _read_limits(
    label: str, label_sets: Sequence[Labels], numbers: npt.NDArray[np.float64], given: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Of each set of labels: the limit that it gives, and whether it gives one; goes on from what is read already."""
    texts = [dict(labels).get(label) for labels in label_sets[len(numbers) :]]
    more = np.array([_number(text) for text in texts], np.float64)
    return np.concatenate([numbers, more]), np.concatenate(
        [given, np.array([text is not None for text in texts], bool)]
    )


def _number(text: str | None) -> float:
    try:
        number = float(text or "nan")
    except ValueError:
        return np.nan
    return number if np.isfinite(number) else np.nan
