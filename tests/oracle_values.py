"""The oracle's numbers and conditions: what an expression says of one key at one instant.

None is unknown, everywhere.  A window is looked up anew among all readings of the key each time.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from tocsin.node import (
    And,
    Arithmetic,
    Call,
    Compare,
    Limit,
    Matcher,
    Negate,
    Newest,
    Node,
    Not,
    Number,
    Or,
    Selector,
    Unless,
)

SECOND = 1_000_000_000
BEFORE_ALL = -(2**63)

DEFAULT_COVERAGE = {
    **dict.fromkeys(("max", "min", "sum", "count", "first", "last", "drop", "rise", "change", "rate"), 0.0),
    **dict.fromkeys(("avg", "median", "quantile", "stddev", "spread", "slope", "zscore", "stuck"), 0.9),
}


@dataclass(frozen=True)
class Known:
    """An accepted reading with all its labels, `device` among them and no empty one."""

    device: str
    metric: str
    time: int
    value: float
    labels: Mapping[str, str]

    @property
    def series(self) -> tuple[str, str]:
        """A device that changes its labels goes on reporting."""
        return self.device, self.metric


class Log:
    """Readings in the order (time, device, metric)."""

    def __init__(self, readings: Sequence[Known]) -> None:
        self.readings = sorted(readings, key=lambda it: (it.time, it.device, it.metric))
        self.times = [it.time for it in self.readings]

    def between(self, start: int, end: int) -> list[Known]:
        """The readings in [start, end]."""
        return self.readings[bisect_left(self.times, start) : bisect_right(self.times, end)]

    def after(self, time: int) -> int | None:
        """The time of the first reading after `time`."""
        place = bisect_right(self.times, time)
        return self.times[place] if place < len(self.times) else None


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether all matchers agree with the labels; an absent label is the empty string."""
    return all(_agrees(matcher, labels.get(matcher.label, "")) for matcher in selector.matchers)


@cache
def _agrees(matcher: Matcher, value: str) -> bool:
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    return (re.fullmatch(matcher.value, value) is not None) == (matcher.op == "=~")


def nodes(node: Node) -> Iterator[Node]:
    """A node and everything below it, from left to right."""
    yield node
    for name in ("operand", "left", "right"):
        if hasattr(node, name):
            yield from nodes(getattr(node, name))


class Values:
    """What is known of one key at the instant `now`.

    `expected` are the selectors that an expected device of this key answers to, with its labels;
    such a device counts as heard at `first`, the source's first event time.  What was heard up to
    `forgotten` is gone.
    """

    def __init__(
        self,
        log: Log,
        *,
        staleness: int,
        min_coverage: float | None,
        expected: Mapping[Selector, Mapping[str, str]],
        first: int,
    ) -> None:
        self.log, self.staleness, self.min_coverage = log, staleness, min_coverage
        self.expected, self.first = expected, first
        self.now = self.forgotten = BEFORE_ALL
        self._logs: dict[Selector, Log] = {}

    def truth(self, node: Node) -> bool | None:
        """A condition, in Kleene's logic."""
        match node:
            case Not():
                operand = self.truth(node.operand)
                return None if operand is None else not operand
            case And():
                return both(self.truth(node.left), self.truth(node.right))
            case Or():
                left, right = self.truth(node.left), self.truth(node.right)
                return True if left or right else None if left is None or right is None else False
            case Unless():
                return both(self.truth(node.left), self.truth(node.right) is not True)
            case Compare():
                return compare(node.op, self.number(node.left), self.number(node.right))
            case Call(function="missing"):
                heard = self.last_heard(node.selector)
                return None if heard is None else self.now >= heard + node.window
            case Call(function="stuck"):
                window = self.covered(node)
                return None if window is None else len(window) >= 2 and len({it.value for it in window}) == 1
        raise TypeError(f"not a condition: {node}")

    def number(self, node: Node) -> float | None:
        """A number; that of `missing` is the seconds of silence."""
        match node:
            case Number():
                return node.value
            case Limit():
                return self.limit(node)
            case Negate():
                operand = self.number(node.operand)
                return None if operand is None else 0.0 - operand
            case Arithmetic():
                return calculate(node.op, self.number(node.left), self.number(node.right))
            case Newest():
                heard = self.heard(node.selector, self.now - self.staleness)
                return heard[-1].value if heard else None
            case Call(function="missing"):
                heard_at = self.last_heard(node.selector)
                return None if heard_at is None else (self.now - heard_at) / SECOND
            case Call():
                window = self.covered(node)
                return None if window is None else summarise(node.function, node.parameters, window)
        raise TypeError(f"not a number: {node}")

    def heard(self, selector: Selector | None = None, start: int = BEFORE_ALL) -> list[Known]:
        """The key's readings from `start` until now, of one selector or of all."""
        log = self.log if selector is None else self._log(selector)
        return log.between(max(start, self.forgotten + 1), self.now)

    def _log(self, selector: Selector) -> Log:
        if selector not in self._logs:
            chosen = [it for it in self.log.readings if it.metric == selector.metric and matches(selector, it.labels)]
            self._logs[selector] = Log(chosen)
        return self._logs[selector]

    def last_heard(self, selector: Selector) -> int | None:
        """When the newest reading came; an expected device that never reported counts from the first event time."""
        heard = self.heard(selector)
        if heard:
            return heard[-1].time
        return self.first if selector in self.expected else None

    def limit(self, node: Limit) -> float | None:
        """The label of the key's device: of the newest heard that has it, or of an expected one."""
        labels = [it.labels for it in reversed(self.heard())] + list(self.expected.values())
        found = next((it[node.label] for it in labels if node.label in it), None)
        return node.default if found is None else finite(float(found))

    def covered(self, call: Call) -> list[Known] | None:
        """The readings in [now - w, now], or None where there is none or too little of the window is covered."""
        window = self.heard(call.selector, self.now - call.window)
        needed = DEFAULT_COVERAGE[call.function] if self.min_coverage is None else self.min_coverage
        enough = needed == 0 or (bool(window) and self.coverage(call, window) >= needed)
        return window if window and enough else None

    def coverage(self, call: Call, window: Sequence[Known]) -> float:
        """The part of the window in which a device was reporting: the best of the key's series."""
        start = self.now - call.window
        before = [it for it in self.heard(call.selector) if it.time < start]
        parts = []
        for series in {it.series for it in window}:
            oldest = next(it.time for it in window if it.series == series)
            last_before = next((it.time for it in reversed(before) if it.series == series), None)
            reported_through = last_before is not None and oldest - last_before <= self.staleness
            parts.append((self.now - (start if reported_through else oldest)) / call.window)
        return max(parts)


def both(left: bool | None, right: bool | None) -> bool | None:
    """Kleene's and."""
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def compare(op: str, left: float | None, right: float | None) -> bool | None:
    """A comparison, unknown where either side is."""
    if left is None or right is None:
        return None
    return {
        "==": left == right,
        "!=": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }[op]


def finite(value: float) -> float | None:
    """Whatever is not finite is unknown; there is one zero."""
    return value + 0.0 if math.isfinite(value) else None


def calculate(op: str, left: float | None, right: float | None) -> float | None:
    """Arithmetic, unknown where either side is or where the result is not finite."""
    if left is None or right is None:
        return None
    try:
        match op:
            case "+":
                return finite(left + right)
            case "-":
                return finite(left - right)
            case "*":
                return finite(left * right)
            case "/":
                return finite(left / right)
            case "%":
                return finite(math.fmod(left, right))
            case "^":
                return finite(math.pow(left, right))
    except (ZeroDivisionError, ValueError, OverflowError):
        return None
    raise KeyError(op)


def summarise(function: str, parameters: Sequence[float], window: Sequence[Known]) -> float | None:
    """What a window function gives for the readings in its window, oldest first."""
    values = [it.value for it in window]
    seconds = [(it.time - window[0].time) / SECOND for it in window]
    match function:
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "sum":
            return finite(math.fsum(values))
        case "count":
            return float(len(values))
        case "first":
            return values[0]
        case "last":
            return values[-1]
        case "drop":
            return max(values) - values[-1]
        case "rise":
            return values[-1] - min(values)
        case "change":
            return values[-1] - values[0]
        case "spread":
            return max(values) - min(values)
        case "rate":
            return divide(increase(values), seconds[-1])
        case "avg":
            return mean(values)
        case "median":
            return quantile(0.5, values)
        case "quantile":
            return quantile(parameters[0], values)
        case "stddev":
            return deviation(values)
        case "zscore":
            return divide(mean([values[-1] - value for value in values]), deviation(values))
        case "slope":
            return slope(seconds, values)
    raise KeyError(function)


def divide(left: float, right: float) -> float | None:
    """A quotient; by nothing it is unknown."""
    return None if right == 0 else finite(left / right)


def increase(values: Sequence[float]) -> float:
    """How far a counter went, where each fall is a reset to zero."""
    return math.fsum(after - before if after >= before else after for before, after in pairwise(values))


def mean(values: Sequence[float]) -> float:
    """The sum over the count."""
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float:
    """The population's standard deviation."""
    middle = mean(values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / len(values))


def slope(seconds: Sequence[float], values: Sequence[float]) -> float | None:
    """The least squares line's rise per second."""
    middle, level = mean(seconds), mean(values)
    together = math.fsum((x - middle) * (y - level) for x, y in zip(seconds, values, strict=True))
    return divide(together, math.fsum((x - middle) ** 2 for x in seconds))


def quantile(q: float, values: Sequence[float]) -> float:
    """Linear interpolation between the two readings around the rank q (n - 1)."""
    ordered = sorted(values)
    rank = q * (len(ordered) - 1)
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (rank - below) * (ordered[above] - ordered[below])
