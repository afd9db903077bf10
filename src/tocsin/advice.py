"""What is allowed in a rule but can hardly be meant: `check` tells it, and the rule runs all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tocsin import functions
from tocsin.expression import Call, Compare, Node, Number, mistake, walk
from tocsin.instant import SECOND, UNITS, format_duration
from tocsin.level import Level
from tocsin.possible import obstacle
from tocsin.rule import Rule

_MANY = 10_000
"""Readings in a window from which on the cost of a `whole_window` function is felt."""
_LONG_WAIT = UNITS["d"]
"""A value that is unknown for its first day surprises whoever tries a rule on a recording."""


def advise(rules: Sequence[Rule], *, staleness: int) -> list[str]:
    """One sentence for each thing that its author will want to know, with its place, in the order of the rules."""
    return [advice for rule in rules for advice in _advise(rule, staleness)]


def _advise(rule: Rule, staleness: int) -> Iterator[str]:
    if rule.on_unknown != "fire" and not rule.levels:
        yield from _never(rule, staleness)
    for level in rule.levels:
        yield from _level(rule, level, staleness)
    if rule.min_coverage is not None and all(_coverage(rule, node) is None for node in _nodes(rule)):
        yield _at(rule, rule.expr.at, "min_coverage changes nothing: no function here asks for coverage")
    for expr, text, place in rule.written():
        for node in walk(expr):
            if isinstance(node, Call):
                for message in _window(rule, node):
                    yield str(mistake(f"rule '{rule.name}': {message}", text, node.at, place))


def _never(rule: Rule, staleness: int) -> Iterator[str]:
    never = obstacle(rule.expr, rule.by, staleness)
    if never:
        yield _at(rule, never.at, f"can never be true: {never.reason}")
    elif obstacle(rule.expr, false=True):
        yield _at(rule, rule.expr.at, "is true whenever it is known, so its alert never ends")
    if rule.clear is not None and (never := obstacle(rule.clear, rule.by, staleness)):
        message = f"rule '{rule.name}': clear can never be true, so the alert never ends: {never.reason}"
        yield str(mistake(message, rule.clear_text, never.at, rule.clear_place))


def _level(rule: Rule, level: Level, staleness: int) -> Iterator[str]:
    at = rule.expr.at
    reached = Compare("<" if rule.below else ">", rule.expr, Number(level.limit), at=at)
    if never := obstacle(reached, rule.by, staleness):
        yield _at(rule, never.at, f"the level '{level.name}' can never be reached: {never.reason}")
    if level.clear is not None and ((level.clear < level.limit) if rule.below else (level.clear > level.limit)):
        yield _at(rule, at, f"the clear of level '{level.name}' lies beyond its limit and so changes nothing")


def _window(rule: Rule, call: Call) -> Iterator[str]:
    most = call.window // SECOND + 1
    if functions.load(call.function).whole_window and most > _MANY:
        yield (
            f"{call.function} may have to hold {most:,} readings (at one a second), and its cost grows with them: "
            "take a shorter window, or avg"
        )
    coverage = _coverage(rule, call) or 0
    wait = round(coverage * call.window)
    if wait >= _LONG_WAIT:
        yield (
            f"{call.function} stays unknown until a device has reported for {format_duration(wait)} "
            f"(coverage {coverage:g}): min_coverage sets another part"
        )


def _coverage(rule: Rule, node: Node) -> float | None:
    """The part of its window that the node wants covered; None where that means nothing."""
    usual = functions.load(node.function).coverage if isinstance(node, Call) else None
    return usual if usual is None or rule.min_coverage is None else rule.min_coverage


def _nodes(rule: Rule) -> Iterator[Node]:
    for expr, _, _ in rule.written():
        yield from walk(expr)


def _at(rule: Rule, at: int, message: str) -> str:
    return str(mistake(f"rule '{rule.name}': {message}", rule.text, at, rule.place))
