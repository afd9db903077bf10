"""What the text of a number tells of it: between which limits it stays, and which of two is never the larger.

The newest value is the last of every window that ends now and is not empty; so it is ordered like one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tocsin.node import Arithmetic, Call, Negate, Newest, Node, Number

_NEVER_NEGATIVE = {"drop": 0, "rise": 0, "spread": 0, "stddev": 0, "count": 1}
"""The least that a function can give; a window without readings gives nothing."""
_RANK = {"min": 0.0, "median": 0.5, "max": 1.0}
"""Functions that give the value below which a part of the window's readings lies, and which part."""
_AMONG = {*_RANK, "quantile", "avg", "first", "last"}
"""Functions whose result lies between the smallest and the largest value."""


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


def difference(left: Node, right: Node) -> Range:
    """Between what limits `left - right` stays."""
    least, most = values(left), values(right)
    apart = Range(least.low - most.high, least.high - most.low)
    if never_above(left, right):
        apart = apart.meet(Range(high=0))
    return apart.meet(Range(low=0)) if never_above(right, left) else apart


def never_above(low: Node, high: Node) -> bool:
    """Whether the one is known to be at most the other, whenever both are known."""
    if low == high:
        return True
    one, other = _window(low), _window(high)
    if one is None or other is None or one.selector != other.selector:
        return False
    rank, higher = _rank(one), _rank(other)
    if one.window == other.window and rank is not None and higher is not None:
        return rank <= higher
    inner, outer, edge = (one, other, "max") if other.function == "max" else (other, one, "min")
    return outer.function == edge and inner.window <= outer.window


def _window(node: Node) -> Call | None:
    """The node as a function whose result lies among the values of its window."""
    match node:
        case Newest(selector):
            return Call("last", selector, 0)
        case Call(function) if function in _AMONG:
            return node
    return None


def _rank(call: Call) -> float | None:
    return call.parameters[0] if call.function == "quantile" else _RANK.get(call.function)


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
