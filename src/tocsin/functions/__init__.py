"""The window functions of the rule language: one file each, named as in the user's rules.

A function says in its docstring's first line what a user would say, and declares as `FUNCTION`
which summaries of its window it needs, by the arithmetic that it does on them.  The arithmetic is
written once, on a `Window` whose attributes are terms; the engine traces it into a program over
whole columns.  A function keeps no state.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module


@dataclass(frozen=True, slots=True)
class Term:
    """A number still to be worked out: `op` over other terms, or a leaf by its name."""

    op: str
    parts: tuple[Term | float | str, ...]

    def __add__(self, other: Term | float) -> Term:
        return Term("+", (self, other))

    def __sub__(self, other: Term | float) -> Term:
        return Term("-", (self, other))

    def __mul__(self, other: Term | float) -> Term:
        return Term("*", (self, other))

    def __truediv__(self, other: Term | float) -> Term:
        return Term("/", (self, other))

    def __ge__(self, other: Term | float) -> Term:
        return Term(">=", (self, other))

    def __and__(self, other: Term) -> Term:
        return Term("and", (self, other))

    def equals(self, other: Term) -> Term:
        """True where both are the same number."""
        return Term("==", (self, other))

    def sqrt(self) -> Term:
        """The square root."""
        return Term("sqrt", (self,))


class Window:
    """What a function may ask of its window: every attribute is a `Term`.

    count, sum, min, max, first, last · resets (sum of the values just before a fall) ·
    deviation (of the newest value from the mean) · moment2 (sum of squared deviations from the mean) · covariance and time_moment2 (centred, time in
    seconds) · span (seconds from oldest to newest) · silence (seconds since the newest) ·
    length (of the window, seconds) · quantile(q)
    """

    count = Term("summary", ("count",))
    sum = Term("summary", ("sum",))
    min = Term("summary", ("min",))
    max = Term("summary", ("max",))
    first = Term("summary", ("first",))
    last = Term("summary", ("last",))
    resets = Term("summary", ("resets",))
    deviation = Term("summary", ("deviation",))
    moment2 = Term("summary", ("moment2",))
    covariance = Term("summary", ("covariance",))
    time_moment2 = Term("summary", ("time_moment2",))
    span = Term("summary", ("span",))
    silence = Term("silence", ())
    length = Term("length", ())

    def __init__(self, parameters: tuple[float, ...] = ()) -> None:
        self.parameters = parameters

    def quantile(self, q: float) -> Term:
        """The value below which the part q of the window lies, interpolated linearly."""
        return Term("quantile", (float(q),))


@dataclass(frozen=True, slots=True)
class Function:
    """What one function declares.

    `value` gives a number, `truth` a condition; `coverage` is the least part of the window that
    must be covered unless the rule says otherwise, None where coverage means nothing; `ordered`
    ones need the readings of a single device; `parameters` counts the numbers before the window;
    the cost of a `whole_window` one may grow with the window.
    """

    value: Callable[[Window], Term] | None = None
    truth: Callable[[Window], Term] | None = None
    coverage: float | None = 0.0
    ordered: bool = False
    parameters: int = 0
    whole_window: bool = False

    @property
    def is_condition(self) -> bool:
        """Whether it stands where a rule expects true or false, not a number."""
        return self.truth is not None


@cache
def names() -> list[str]:
    """Every function there is: the files of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


@cache
def load(name: str) -> Function:
    """The function of that name; KeyError if there is none."""
    if name not in names():
        raise KeyError(name)
    function: Function = import_module(f"{__name__}.{name}").FUNCTION
    return function


def sentence(name: str) -> str:
    """What a user would say the function gives: the first line of its docstring."""
    return (import_module(f"{__name__}.{name}").__doc__ or "").strip().splitlines()[0]
