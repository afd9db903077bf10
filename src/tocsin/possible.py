"""Whether a condition can ever be true, as far as its text alone can tell.

A condition is taken apart into the ways in which it can come true: each a list of comparisons that must
all hold at once.  If every way is impossible, because it asks one value to be above 5 and below 3, or
one device to be two, the condition can never be true.  Doubt counts as possible.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise, product
from typing import NamedTuple

from tocsin.instant import format_duration
from tocsin.node import (
    And,
    Arithmetic,
    Call,
    Compare,
    Negate,
    Newest,
    Node,
    Not,
    Number,
    Or,
    Selector,
    Unless,
    selectors,
    walk,
)

_NEVER_NEGATIVE = {"drop": 0, "rise": 0, "spread": 0, "stddev": 0, "count": 1}
"""The least that a function can give; a window without readings gives nothing."""
_TOO_MANY = 500
"""Ways multiply; beyond so many the condition is called possible and left alone."""
_TURNED = {">": "<=", "<=": ">", "<": ">=", ">=": "<", "==": "!=", "!=": "=="}
_MIRRORED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}


class Range(NamedTuple):
    """The values from `low` to `high`; an end that is `open` does not itself belong to them."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def meet(self, other: Range) -> Range:
        """The values that lie in both."""
        low, low_open = max((self.low, self.low_open), (other.low, other.low_open))
        high, high_closed = min((self.high, not self.high_open), (other.high, not other.high_open))
        return Range(low, high, low_open, not high_closed)

    def is_empty(self) -> bool:
        """Whether no value lies in it."""
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))


class Must(NamedTuple):
    """A comparison or a function that has to be true, or if `false` has to be false."""

    node: Node
    false: bool


class Obstacle(NamedTuple):
    """Why something cannot be, and the character in the text to point at."""

    at: int
    reason: str


def obstacle(
    condition: Node, by: Iterable[str] = (), staleness: float = math.inf, false: bool = False
) -> Obstacle | None:
    """What keeps a condition from ever being true (or ever being false); None if it may well be."""
    ways = _ways(condition, false)
    obstacles = [_obstacle(way, tuple(by), staleness) for way in ways or [()]]
    return next((found for found in obstacles if found), None) if all(obstacles) else None


def values(node: Node) -> Range:
    """Between what limits the number stays, whatever the readings are."""
    match node:
        case Number(value):
            return Range(value, value)
        case Call(function) if function in _NEVER_NEGATIVE:
            return Range(_NEVER_NEGATIVE[function])
        case Negate(operand):
            low, high, low_open, high_open = values(operand)
            return Range(-high, -low, high_open, low_open)
        case Arithmetic(op, left, right):
            return _calculate(op, values(left), values(right))
    return Range()


def _ways(node: Node, false: bool) -> list[tuple[Must, ...]] | None:
    """The ways in which the condition comes true; None for too many."""
    match node:
        case Not(operand):
            return _ways(operand, not false)
        case Unless(left, _) if not false:
            return _ways(left, false)  # the right side may well be unknown
        case Unless(left, right):
            return _either(_ways(left, True), _ways(right, False))
        case And(left, right) | Or(left, right):
            join = _either if isinstance(node, Or) != false else _both
            return join(_ways(left, false), _ways(right, false))
    return [(Must(node, false),)]


def _either(left: list[tuple[Must, ...]] | None, right: list[tuple[Must, ...]] | None) -> list[tuple[Must, ...]] | None:
    return None if left is None or right is None or len(left) + len(right) > _TOO_MANY else left + right


def _both(left: list[tuple[Must, ...]] | None, right: list[tuple[Must, ...]] | None) -> list[tuple[Must, ...]] | None:
    if left is None or right is None or len(left) * len(right) > _TOO_MANY:
        return None
    return [one + other for one, other in product(left, right)]


def _obstacle(way: tuple[Must, ...], by: tuple[str, ...], staleness: float) -> Obstacle | None:
    return _unknowable(way) or _two_devices(way, by) or _contradiction(way) or _silent(way, staleness)


def _unknowable(way: tuple[Must, ...]) -> Obstacle | None:
    for node in (piece for must in way for piece in walk(must.node)):
        if isinstance(node, Arithmetic) and node.op in "/%" and values(node.right)[:2] == (0, 0):
            return Obstacle(node.at, "a division by zero is never known")
    return None


def _two_devices(way: tuple[Must, ...], by: tuple[str, ...]) -> Obstacle | None:
    for label in by:
        pinned = {selector.pinned(label): selector.at for must in way for selector in selectors(must.node)}
        wanted = sorted(value for value in pinned if value is not None)
        for one, other in pairwise(wanted):
            reason = f"{label} '{one}' and {label} '{other}' never meet in one key: take {label} out of 'by'"
            return Obstacle(max(pinned[one], pinned[other]), reason)
    return None


def _contradiction(way: tuple[Must, ...]) -> Obstacle | None:
    left: dict[Node, Range] = {}
    for node, false in way:
        subject, allowed = _demand(node, false)
        if values(subject).meet(allowed).is_empty():
            return Obstacle(node.at, "no value is like that")
        left[subject] = left.get(subject, Range()).meet(allowed)
        if left[subject].is_empty():
            return Obstacle(node.at, "this contradicts what is asked of the same value before")
    return None


def _demand(node: Node, false: bool) -> tuple[Node, Range]:
    """The number that the comparison is about, and where it must lie; a function that is true counts as 1."""
    if not isinstance(node, Compare):
        return node, Range(1 - false, 1 - false)
    op = _TURNED[node.op] if false else node.op
    subject, other = node.left, values(node.right)
    if other.low != other.high and values(subject).low == values(subject).high:
        subject, other, op = node.right, values(subject), _MIRRORED[op]
    if op == "!=" and other.low == other.high:
        return subject, Range()
    return subject, {
        ">": Range(low=other.low, low_open=True),
        ">=": Range(low=other.low, low_open=other.low_open),
        "<": Range(high=other.high, high_open=True),
        "<=": Range(high=other.high, high_open=other.high_open),
        "==": other,
    }.get(op, Range())


def _silent(way: tuple[Must, ...], staleness: float) -> Obstacle | None:
    """A value is unknown once its own metric has been missing for longer than the value looks back."""
    silent: dict[Selector, int] = {}
    for node, false in way:
        if isinstance(node, Call) and node.function == "missing" and not false:
            silent[node.selector] = node.window
    for node in (piece for must in way for piece in walk(must.node)):
        if isinstance(node, Newest | Call) and _looks_back(node, staleness) < silent.get(node.selector, 0):
            silence = format_duration(silent[node.selector])
            return Obstacle(node.at, f"{node.selector.metric} is unknown once it has been missing for {silence}")
    return None


def _looks_back(node: Newest | Call, staleness: float) -> float:
    """From how far back the node still takes a reading; `missing` itself takes any."""
    if isinstance(node, Call):
        return math.inf if node.function == "missing" else node.window
    return staleness


def _calculate(op: str, left: Range, right: Range) -> Range:
    """The ends of a sum, a difference or a product; of the rest only that of two constants."""
    if op == "+":
        return Range(left.low + right.low, left.high + right.high)
    if op == "-":
        return Range(left.low - right.high, left.high - right.low)
    if left.low == left.high and right.low == right.high:
        value = _constant(op, left.low, right.low)
        return Range() if value is None else Range(value, value)
    if op == "*" and left.low >= 0 and right.low >= 0:
        return Range(low=left.low * right.low)
    return Range()


def _constant(op: str, left: float, right: float) -> float | None:
    try:
        value = {"*": lambda: left * right, "/": lambda: left / right, "%": lambda: math.fmod(left, right)}.get(
            op, lambda: math.pow(left, right)
        )()
    except (ArithmeticError, ValueError):
        return None
    return value if math.isfinite(value) else None
