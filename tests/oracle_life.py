"""The oracle's life of an alert: everything that happens to one rule and key, in order.

Time jumps from one instant at which something can happen (a reading, a `missing` that falls due, a
timer) to the next, and everything is worked out anew from all of the key's readings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from oracle_values import SECOND, Values, nodes
from tocsin.node import And, Call, Compare, Newest, Node, Not, Or, Unless
from tocsin.rule import ForDuration, ForReadings, Rule

Labels = tuple[tuple[str, str], ...]
Devices = Mapping[str, Mapping[str, str]]


@dataclass
class Alert:
    """How one alert went; the fields mean what they mean to a user."""

    rule: str
    key: Labels
    since: int
    state: str = "inactive"
    fired: int | None = None
    until: int | None = None
    level: str | None = None
    value: float | None = None
    peak: float | None = None
    last: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Transition:
    """One line of the ledger, and what it is sorted by."""

    time: int
    rule: str
    key: Labels
    since: int
    moved: tuple[str, str]
    level: str | None
    value: float | None

    def line(self) -> str:
        """The ledger's line."""
        fields = {
            "time": iso(self.time),
            "rule": self.rule,
            "key": dict(self.key),
            "since": iso(self.since),
            "from": self.moved[0],
            "to": self.moved[1],
            "level": self.level,
            "value": self.value,
        }
        return json.dumps(fields, ensure_ascii=False)


@dataclass(frozen=True)
class Verdict:
    """What an evaluation says: the highest level that is true, and of each level whether its clear holds.

    A rule without levels has one level, without a name.  `clears` is None for the default of `M of N readings`.
    """

    highest: int | None
    clears: tuple[bool, ...] | None


class Life:
    """Everything that happens to one rule and key, in order."""

    def __init__(self, rule: Rule, key: Labels, values: Values, forget_after: int, devices: Devices) -> None:
        self.rule, self.key, self.values, self.devices = rule, key, values, devices
        self.forget_after = max(forget_after, longest_window(rule) + for_duration(rule) + rule.keep_firing_for)
        self.reported, self.peak_of = reported(rule)
        self.missing = [call for call in calls(rule) if call.function == "missing"]
        self.state, self.level, self.since, self.clear_since = "inactive", 0, 0, 0
        self.history: list[tuple[int, bool]] = []
        self.evaluated: list[tuple[int, float | None]] = []
        self.alert: Alert | None = None
        self.alerts: list[Alert] = []
        self.transitions: list[Transition] = []
        self.evaluations = self.unknown = 0

    def run(self, newest: int) -> None:
        """Go from instant to instant to the end of the input, which is just after its newest reading."""
        while (time := self.next_instant()) is not None and time <= newest:
            due = self.falls_due()
            self.values.now = time
            if time in self.values.log.times or time in due:
                self.evaluate(time)
            for when, act in self.timers():
                if when == time:
                    act(time)

    def next_instant(self) -> int | None:
        """When something can next happen to this key."""
        reading = self.values.log.after(self.values.now)
        possible = [reading, *self.falls_due(), *(when for when, _ in self.timers())]
        return min((time for time in possible if time is not None and time > self.values.now), default=None)

    def falls_due(self) -> list[int]:
        """When each `missing` becomes true, or became, if nothing more is heard."""
        heard = ((self.values.last_heard(call.selector), call.window) for call in self.missing)
        return [time + window for time, window in heard if time is not None]

    def timers(self) -> list[tuple[int, Callable[[int], None]]]:
        """What is due when without a reading, in the order in which things of one instant happen."""
        due: list[tuple[int, Callable[[int], None]]] = []
        if self.state == "pending" and isinstance(self.rule.hold, ForDuration) and self.missing:
            due.append((self.since + for_duration(self.rule), self.fire_by_timer))
        if self.state == "recovering":
            due.append((self.clear_since + self.rule.keep_firing_for, self.resolve_by_timer))
        heard = self.values.heard()
        if heard and not self.values.expected and not any(it.device in self.devices for it in heard):
            due.append((heard[-1].time + self.forget_after, self.forget))
        return due

    # an evaluation

    def evaluate(self, time: int) -> None:
        """Once for an instant, after all of its readings."""
        self.evaluations += 1
        verdict = self.known_verdict()
        if verdict is None:
            self.unknown += 1
            verdict = self.verdict_on_unknown()
        if verdict is None:
            return
        value = None if self.reported is None else self.values.number(self.reported)
        self.history.append((time, verdict.highest is not None))
        self.evaluated.append((time, value))
        open_before = self.alert
        if self.state in ("inactive", "pending"):
            self.hold(time, verdict, value)
        else:
            self.watch(time, verdict, value)
        self.note(self.alert or open_before, value)

    def known_verdict(self) -> Verdict | None:
        """What `expr` and `clear` say, None where that is unknown."""
        if self.rule.levels:
            return self.levels_verdict()
        true = self.values.truth(self.rule.expr)
        if true is None or true:
            return Verdict(0, (False,)) if true else None
        if self.rule.clear is None:
            return Verdict(None, None if isinstance(self.rule.hold, ForReadings) else (True,))
        clear = self.values.truth(self.rule.clear)
        return None if clear is None else Verdict(None, (clear,))

    def levels_verdict(self) -> Verdict | None:
        value = self.values.number(self.rule.expr)
        if value is None:
            return None
        sign = -1 if self.rule.below else 1
        true = [sign * value > sign * level.limit for level in self.rule.levels]
        clears = [
            not test if level.clear is None else sign * value < sign * level.clear
            for level, test in zip(self.rule.levels, true, strict=True)
        ]
        return Verdict(max((place for place, test in enumerate(true) if test), default=None), tuple(clears))

    def verdict_on_unknown(self) -> Verdict | None:
        """What `on_unknown` makes of it: skip, as if clear, or as if true."""
        levels = max(1, len(self.rule.levels))
        if self.rule.on_unknown == "clear":
            return Verdict(None, (True,) * levels)
        return Verdict(0, (False,) * levels) if self.rule.on_unknown == "fire" else None

    def note(self, alert: Alert | None, value: float | None) -> None:
        """Keep an alert's peak and last up to date with an evaluation."""
        if alert is None:
            return
        alert.last = value
        values = [value for time, value in self.evaluated if time >= alert.since and value is not None]
        alert.peak = peak(self.peak_of, values) if values else None

    # the life of an alert

    def hold(self, time: int, verdict: Verdict, value: float | None) -> None:
        """Inactive or pending: has it been true for long enough?"""
        true = verdict.highest is not None
        since, enough, give_up = self.held(time, true)
        if self.state == "pending" and give_up:
            self.move(time, "inactive", value)
        elif true or self.state == "pending":
            self.since, self.level = since, (verdict.highest or 0) if enough else 0
            if self.alert is not None:
                self.alert.since = since
            if enough or self.state == "inactive":
                self.move(time, "firing" if enough else "pending", value)

    def held(self, time: int, true: bool) -> tuple[int, bool, bool]:
        """Since when it holds, whether that is enough to fire, and whether there is nothing left of it."""
        hold = self.rule.hold
        if isinstance(hold, ForReadings):
            counted = self.history[-hold.of :]
            if hold.in_a_row:
                falses = [place for place, (_, test) in enumerate(counted) if not test]
                counted = counted[falses[-1] + 1 :] if falses else counted
            trues = [when for when, test in counted if test]
            return trues[0] if trues else time, true and len(trues) >= hold.needed, not trues
        since = self.since if self.state == "pending" else time
        return since, true and time >= since + for_duration(self.rule), not true

    def watch(self, time: int, verdict: Verdict, value: float | None) -> None:
        """Firing or recovering: does it go on, change its level, or end?"""
        highest = verdict.highest
        if highest is not None and (highest >= self.level or self.cleared(verdict)):
            self.go_on(time, highest, value)
        elif not self.cleared(verdict):
            self.go_on(time, self.level, value)
        elif not self.rule.keep_firing_for:
            self.move(time, "resolved", value)
        elif self.state == "firing":
            self.clear_since = time
            self.move(time, "recovering", value)

    def cleared(self, verdict: Verdict) -> bool:
        """Whether the clear of the current level holds."""
        if verdict.clears is not None:
            return verdict.clears[self.level]
        assert isinstance(self.rule.hold, ForReadings)
        return sum(test for _, test in self.history[-self.rule.hold.of :]) < self.rule.hold.needed

    def go_on(self, time: int, level: int, value: float | None) -> None:
        """Firing, at this level from now on."""
        changed, self.level = level != self.level, level
        if changed or self.state == "recovering":
            self.move(time, "firing", value)

    def fire_by_timer(self, time: int) -> None:
        """The end of `for` in a rule with `missing`."""
        self.move(time, "firing", None)

    def resolve_by_timer(self, time: int) -> None:
        """The end of `keep_firing_for`."""
        self.move(time, "resolved", None)

    def forget(self, time: int) -> None:
        """The key's state is gone, and with it what was heard of it."""
        if self.alert is not None:
            self.alert.reason = "forgotten"
            self.move(time, "inactive" if self.state == "pending" else "resolved", None)
        self.values.forgotten = time
        self.history.clear()

    def move(self, time: int, state: str, value: float | None) -> None:
        """One line of the ledger, and what it does to the alert."""
        level = self.rule.levels[self.level].name if self.rule.levels else None
        moved = (self.state, state)
        self.transitions.append(Transition(time, self.rule.name, self.key, self.since, moved, level, value))
        if self.alert is None:
            self.alert = Alert(self.rule.name, self.key, self.since)
            self.alerts.append(self.alert)
        self.alert.state, self.alert.level = state, level
        if state == "firing" and self.alert.fired is None:
            self.alert.fired, self.alert.value = time, value
        self.state = state
        if state in ("inactive", "resolved"):
            self.alert.until, self.alert, self.state = time, None, "inactive"
        if state == "resolved":
            self.history.clear()


def peak(which: str, values: list[float]) -> float:
    """The largest, the smallest, or the first of those farthest from zero."""
    if which == "magnitude":
        return max(values, key=abs)
    return max(values) if which == "max" else min(values)


# what stands in a rule


def calls(rule: Rule) -> list[Call]:
    """The window functions of `expr` and `clear`."""
    return [node for node in everything(rule) if isinstance(node, Call)]


def everything(rule: Rule) -> list[Node]:
    """All nodes of `expr` and `clear`."""
    return [*nodes(rule.expr), *(nodes(rule.clear) if rule.clear is not None else ())]


def longest_window(rule: Rule) -> int:
    """The longest window of a rule."""
    return max((call.window for call in calls(rule)), default=0)


def for_duration(rule: Rule) -> int:
    """How long `for` is, where it is a duration."""
    return rule.hold.nanoseconds if isinstance(rule.hold, ForDuration) else 0


def reported(rule: Rule) -> tuple[Node | None, str]:
    """What a rule reports, and which of its values is the peak."""
    if rule.levels:
        return rule.expr, "min" if rule.below else "max"
    for condition in conditions(rule.expr):
        if isinstance(condition, Call) and condition.function == "missing":
            return condition, "max"
        if isinstance(condition, Compare) and not (is_constant(condition.left) and is_constant(condition.right)):
            left_is_limit = is_constant(condition.left)
            largest = (">", ">=") if not left_is_limit else ("<", "<=")
            smallest = ("<", "<=") if not left_is_limit else (">", ">=")
            peak = "max" if condition.op in largest else "min" if condition.op in smallest else "magnitude"
            return (condition.right if left_is_limit else condition.left), peak
    return None, "magnitude"


def conditions(node: Node) -> Iterator[Node]:
    """The comparisons and the functions that are conditions, in the order in which they are written."""
    if isinstance(node, And | Or | Unless):
        yield from conditions(node.left)
        yield from conditions(node.right)
    elif isinstance(node, Not):
        yield from conditions(node.operand)
    else:
        yield node


def is_constant(node: Node) -> bool:
    """Whether no reading can change it."""
    return not any(isinstance(it, Call | Newest) for it in nodes(node))


def iso(time: int) -> str:
    """ISO 8601 with Z and without trailing zeros."""
    seconds, fraction = divmod(time, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{fraction:09d}".rstrip("0") if fraction else "") + "Z"
