"""Whether a condition can ever be true, as far as its text alone can tell.

A condition is taken apart into the ways in which it can come true: each a list of comparisons that must
all hold at once.  If every way is impossible, because it asks one value to be above 5 and below 3, or
one device to be two, the condition can never be true.  Doubt counts as possible.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise, permutations, product
from typing import NamedTuple

from tocsin.bounds import Range, difference, values
from tocsin.instant import format_duration
from tocsin.node import (
    And,
    Arithmetic,
    Call,
    Compare,
    Newest,
    Node,
    Not,
    Or,
    Selector,
    Unless,
    selectors,
    walk,
)

_TOO_MANY = 500
"""Ways multiply; beyond so many the condition is called possible and left alone."""
_TURNED = {">": "<=", "<=": ">", "<": ">=", ">=": "<", "==": "!=", "!=": "=="}
_MIRRORED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}


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
    return (
        _unknowable(way)
        or _unselectable(way)
        or _two_devices(way, by)
        or _contradiction(way)
        or _silent(way, staleness)
    )


def _unknowable(way: tuple[Must, ...]) -> Obstacle | None:
    for node in (piece for must in way for piece in walk(must.node)):
        if isinstance(node, Arithmetic) and node.op in "/%" and values(node.right)[:2] == (0, 0):
            return Obstacle(node.at, "a division by zero is never known")
    return None


def _unselectable(way: tuple[Must, ...]) -> Obstacle | None:
    """A label has one value, so what asks for two selects nothing, and what selects nothing is never known."""
    for selector in (selector for must in way for selector in selectors(must.node)):
        for one, other in permutations(selector.matchers, 2):
            if one.op == "=" and one.label == other.label and not other.matches({one.label: one.value}):
                return Obstacle(selector.at, f"no series has both {one} and {other}")
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
        if values(subject).meet(allowed).is_empty() or _out_of_order(node, false):
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
    return subject, _beside(op, other)


def _out_of_order(node: Node, false: bool) -> bool:
    """Whether a comparison asks of two numbers what their difference can never be, as in `max(v[1m]) < min(v[1m])`."""
    if not isinstance(node, Compare):
        return False
    op, apart = _TURNED[node.op] if false else node.op, difference(node.left, node.right)
    return apart.meet(_beside(op, Range(0, 0))).is_empty() or (op == "!=" and apart == Range(0, 0))


def _beside(op: str, other: Range) -> Range:
    """Where a number lies that compares so with one of a range; anywhere for `!=`."""
    return {
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
