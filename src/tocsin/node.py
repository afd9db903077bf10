"""What an expression is once it has been read: a tree of frozen nodes, each a number or a condition.

Nodes compare by what they mean; `at`, where each begins in the user's text, takes no part in it.  So
two ways to write one thing are equal, and the engine works out what several rules share only once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from operator import itemgetter

from tocsin import functions


@dataclass(frozen=True, slots=True)
class Node:
    """One piece of an expression; `at` counts characters from the start of the text, from 0."""

    at: int = field(default=0, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True, order=True)
class Matcher:
    """One test of a label, as in `site!="roof"`; `op` is one of = != =~ !~."""

    label: str
    op: str
    value: str

    def __str__(self) -> str:
        return f'{self.label}{self.op}"{self.value}"'

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels pass; an absent label is the empty string."""
        actual = labels.get(self.label, "")
        equal = actual == self.value if self.op in ("=", "!=") else bool(pattern(self.value).fullmatch(actual))
        return equal == (self.op in ("=", "=~"))


@dataclass(frozen=True, slots=True)
class Selector(Node):
    """The series of one metric whose labels pass every matcher; matchers are sorted."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    def matches(self, metric: str, labels: Mapping[str, str]) -> bool:
        """Whether a series is selected; `labels` include its `device`."""
        return metric == self.metric and all(matcher.matches(labels) for matcher in self.matchers)

    def pinned(self, label: str) -> str | None:
        """The one value that the label must have, None where it may have several."""
        wanted = [matcher.value for matcher in self.matchers if matcher.label == label and matcher.op == "="]
        return wanted[0] if wanted else None


@dataclass(frozen=True, slots=True)
class Number(Node):
    """A number as it stands in the text."""

    value: float


@dataclass(frozen=True, slots=True)
class Limit(Node):
    """A number that the device's label gives: `limit("max_temp", 75)`; unknown without label and default."""

    label: str
    default: float | None = None


@dataclass(frozen=True, slots=True)
class Newest(Node):
    """A bare metric: its newest value."""

    selector: Selector


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A window function over a selector: `quantile(0.9, kwh{site="a"}[1h])`; `window` in nanoseconds."""

    function: str
    selector: Selector
    window: int
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Negate(Node):
    """A number with its sign turned."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Arithmetic(Node):
    """Two numbers make one; `op` is one of + - * / % ^, where % keeps the sign of its left side as in C."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """Two numbers make a condition; `op` is one of == != > < >= <=."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Not(Node):
    """The opposite of a condition."""

    operand: Node


@dataclass(frozen=True, slots=True)
class And(Node):
    """Both conditions."""

    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Or(Node):
    """Either condition."""

    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Unless(Node):
    """The left condition, where the right one is not true."""

    left: Node
    right: Node


_Link = And | Or | Unless


def is_condition(node: Node) -> bool:
    """Whether the node is true or false; otherwise it is a number."""
    if isinstance(node, Call):
        return functions.load(node.function).is_condition
    return isinstance(node, Compare | Not | And | Or | Unless)


def parts(node: Node) -> tuple[Node, ...]:
    """The nodes right below, from left to right."""
    match node:
        case Negate(operand) | Not(operand):
            return (operand,)
        case Arithmetic(_, left, right) | Compare(_, left, right):
            return (left, right)
        case And(left, right) | Or(left, right) | Unless(left, right):
            return (left, right)
    return ()


def balanced(node: Node, deepest: int) -> Node:
    """The same condition, its long chains of `and`, `or` and `unless` made into trees of little depth.

    Conditions keep their order, so what an alert reports stays the same.  Below `deepest` nothing is done.
    """
    if isinstance(node, Not) and deepest:
        return Not(balanced(node.operand, deepest - 1), at=node.at)
    links: list[tuple[type[_Link], Node]] = []
    while isinstance(node, And | Or | Unless) and deepest:
        links.append((type(node), balanced(node.right, deepest - 1)))
        node = node.left
    if links:
        node = balanced(node, deepest - 1)
    for kind, group in groupby(reversed(links), key=itemgetter(0)):
        # (a unless b) unless c is a unless (b or c): neither may be true.
        right = _halved([condition for _, condition in group], Or if kind is Unless else kind)
        node = kind(node, right, at=node.at)
    return node


def _halved(conditions: list[Node], kind: type[_Link]) -> Node:
    if len(conditions) == 1:
        return conditions[0]
    left, right = conditions[: len(conditions) // 2], conditions[len(conditions) // 2 :]
    return kind(_halved(left, kind), _halved(right, kind), at=left[0].at)


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it, from left to right."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(parts(node)))


def selectors(node: Node) -> set[Selector]:
    """What the node needs to hear."""
    return {piece.selector for piece in walk(node) if isinstance(piece, Newest | Call)}


@cache
def pattern(text: str) -> re.Pattern[str]:
    """A regular expression, to be matched against a whole label; raises re.error."""
    return re.compile(text)
