r"""The rule language: text to a checked tree of nodes, or a mistake with its place and its remedy.

The grammar is PromQL's as far as it goes: the same precedence, the same matchers, strings in any of its
quotes.  A parser that Lark makes from it (LALR: the text is read once, at a steady cost) hands each
piece to `_Reader`, leaves first.  It is checked at once, so whatever a node stands on is already known
to be a number or a condition.

    text ──▶ tokens ──▶ grammar ──▶ _Reader ──▶ Node
                           └───────────┴──────▶ _Mistake(at) ──▶ ConfigError(place)
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from textwrap import shorten
from typing import Any, cast

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args

from tocsin import functions
from tocsin.errors import ConfigError, Place
from tocsin.instant import UNITS, format_duration, parse_duration
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
    balanced,
    is_condition,
    parts,
    pattern,
    selectors,
    walk,
)
from tocsin.remedies import unexpected, unknown_function

__all__ = [
    "LONGEST",
    "And",
    "Arithmetic",
    "Call",
    "Compare",
    "Limit",
    "Matcher",
    "Negate",
    "Newest",
    "Node",
    "Not",
    "Number",
    "Or",
    "Selector",
    "Unless",
    "is_condition",
    "mistake",
    "parse",
    "parts",
    "selectors",
    "walk",
]

LONGEST = 3650 * UNITS["d"]
"""No window and no timer is longer: a sum of several still fits into 64 bits of nanoseconds."""
_DEEPEST = 200
"""Trees are walked by functions that call themselves; Python lets them do so about a thousand times."""

_GRAMMAR = r"""
?start: either
?either: both | either OR both
?both: opposite | both AND opposite | both UNLESS opposite -> unless
?opposite: compare | NOT opposite
?compare: sum | compare COMPARISON sum
?sum: product | sum (PLUS | MINUS) product -> arithmetic
?product: sign | product (STAR | SLASH | PERCENT) sign -> arithmetic
?sign: power | MINUS sign -> negate | PLUS sign -> plus
?power: atom | atom CARET sign -> arithmetic
?atom: NUMBER -> number
     | selector -> newest
     | selector WINDOW -> readings
     | NAME "(" [argument ("," argument)*] ")" -> call
     | "(" either ")"
?argument: either | STRING -> string
selector: NAME ["{" [matcher ("," matcher)* [","]] "}"]
matcher: NAME MATCH STRING

AND.2: /and(?![\w.:])/i
OR.2: /or(?![\w.:])/i
NOT.2: /not(?![\w.:])/i
UNLESS.2: /unless(?![\w.:])/i
NAME: /[a-zA-Z_][a-zA-Z0-9_:.]*/
NUMBER: /([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?/i
STRING: /"([^"\\\n]|\\.)*"|'([^'\\\n]|\\.)*'|`[^`]*`/
WINDOW: /\[[^\[\](){}"'`,]*\]/
COMPARISON: /==|!=|>=|<=|>|<(?!>)/
MATCH: /=~|!~|!=|=/
PLUS: "+"
MINUS: "-"
STAR: "*"
SLASH: "/"
PERCENT: "%"
CARET: "^"
%ignore /\s+/
%ignore /#[^\n]*/
"""


def parse(text: str, place: Place | None = None) -> Node:
    """The checked tree of one expression; ConfigError where it cannot be one.

    `place` is where the text begins in the user's file.  The result is a condition or, for levels, a
    number (`is_condition` tells which), and depends on a metric at least.
    """
    try:
        return _whole(_read(text))
    except _Mistake as error:
        raise mistake(error.message, text, error.at, place) from None


def mistake(message: str, text: str, at: int, place: Place | None) -> ConfigError:
    """An error at the character `at` of a text that begins at `place`.

    Where the file is not known the message itself says where in the text.
    """
    line = text.count("\n", 0, at)
    column = at - (text.rfind("\n", 0, at) + 1)
    if place is not None and place.line is not None and place.column is not None:
        return ConfigError(message, Place(place.file, place.line + line, place.column + column))
    where = f"line {line + 1}, column {column + 1}" if "\n" in text else f"column {column + 1}"
    return ConfigError(f"{message} ({where} of '{shorten(text, 80, placeholder='…')}')", place)


class _Mistake(Exception):
    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


@dataclass(frozen=True, slots=True)
class _Readings(Node):
    """`v[10m]`: a selector with its window, good for nothing but the inside of a function."""

    selector: Selector
    window: int


@dataclass(frozen=True, slots=True)
class _Text(Node):
    """A text in quotes, good for nothing but `limit`."""

    text: str


def _read(text: str) -> Node:
    try:
        return cast(Node, _parser().parse(text))
    except UnexpectedInput as error:
        ended = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        at = len(text) if ended else cast(int, error.pos_in_stream)
        raise _Mistake(*unexpected(text, at, cast(Any, error).interactive_parser.accepts())) from None


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", maybe_placeholders=False, transformer=_Reader())


def _whole(node: Node) -> Node:
    """The finished tree, if it is one: not a mere window, not a constant, not too deep."""
    if not is_condition(node):
        _number(node, "a rule")
    if not selectors(node):
        raise _Mistake(node.at, "no metric stands in this expression, so no reading can decide it: name one")
    if _too_deep(node):
        node = balanced(node, _DEEPEST)
    if at := _too_deep(node):
        limit = f"{_DEEPEST} operations deep (only a chain of 'and', 'or' or 'unless' may be longer)"
        raise _Mistake(at.at, f"the expression is more than {limit}: make several rules of it")
    return node


def _too_deep(node: Node) -> Node | None:
    """A node that has too many above it."""
    waiting = [(node, 1)]
    while waiting:
        piece, depth = waiting.pop()
        if depth > _DEEPEST:
            return piece
        waiting.extend((part, depth + 1) for part in parts(piece))
    return None


@v_args(inline=True)
class _Reader(Transformer[Token, Node]):
    """Makes and checks the nodes; one method for each name that the grammar gives to a piece."""

    def number(self, token: Token) -> Node:
        value = float(token)
        if not math.isfinite(value):
            raise _Mistake(_at(token), f"{token} is too large for a number")
        return Number(value, at=_at(token))

    def string(self, token: Token) -> Node:
        return _Text(_unquote(token), at=_at(token))

    def matcher(self, label: Token, op: Token, value: Token) -> Matcher:
        text = _unquote(value)
        if "~" in op:
            try:
                pattern(text)
            except (re.error, OverflowError, RecursionError) as error:
                raise _Mistake(_at(value), f"'{text}' is not a regular expression: {error}") from None
        return Matcher(str(label), str(op), text)

    def selector(self, name: Token, *matchers: Matcher) -> Selector:
        return Selector(str(name), tuple(sorted(set(matchers))), at=_at(name))

    def newest(self, selector: Selector) -> Node:
        return Newest(selector, at=selector.at)

    def readings(self, selector: Selector, window: Token) -> Node:
        return _Readings(selector, _duration(window), at=selector.at)

    def call(self, name: Token, *arguments: Node) -> Node:
        if name == "limit":
            return _limit(_at(name), arguments)
        try:
            function = functions.load(str(name))
        except KeyError:
            raise _Mistake(_at(name), unknown_function(str(name))) from None
        return _call(_at(name), str(name), function.parameters, arguments)

    def negate(self, minus: Token, operand: Node) -> Node:
        return Negate(_number(operand, "'-'"), at=_at(minus))

    def plus(self, _plus: Token, operand: Node) -> Node:
        return _number(operand, "'+'")

    def arithmetic(self, left: Node, op: Token, right: Node) -> Node:
        return Arithmetic(str(op), _number(left, f"'{op}'"), _number(right, f"'{op}'"), at=left.at)

    def compare(self, left: Node, op: Token, right: Node) -> Node:
        if isinstance(left, Compare):
            raise _Mistake(_at(op), "comparisons do not chain: for a value between two limits write '1 < v and v < 3'")
        node = Compare(str(op), _number(left, f"'{op}'"), _number(right, f"'{op}'"), at=left.at)
        if all(isinstance(piece, Compare | Arithmetic | Negate | Number) for piece in walk(node)):
            raise _Mistake(left.at, "this compares constants and so never changes: put a metric on one side")
        return node

    def opposite(self, word: Token, operand: Node) -> Node:
        return Not(_condition(operand, word), at=_at(word))

    def both(self, left: Node, word: Token, right: Node) -> Node:
        return And(_condition(left, word), _condition(right, word), at=left.at)

    def either(self, left: Node, word: Token, right: Node) -> Node:
        return Or(_condition(left, word), _condition(right, word), at=left.at)

    def unless(self, left: Node, word: Token, right: Node) -> Node:
        return Unless(_condition(left, word), _condition(right, word), at=left.at)


def _number(node: Node, where: str) -> Node:
    """The node, if it is a number."""
    if isinstance(node, _Readings):
        written = _show(node.selector, node.window)
        raise _Mistake(node.at, f"{written} is many readings, not a number: say what of them, as in avg({written})")
    if is_condition(node):
        raise _Mistake(node.at, f"{where} needs a number, but {_describe(node)} is true or false")
    return node


def _condition(node: Node, word: str) -> Node:
    """The node, if it is true or false."""
    if is_condition(node):
        return node
    _number(node, f"'{word}'")
    raise _Mistake(
        node.at, f"'{word}' needs a condition, but {_describe(node)} is a number: compare it, as in 'temp > 80'"
    )


def _describe(node: Node) -> str:
    match node:
        case Number(value):
            return f"{value:g}"
        case Newest(selector):
            return _show(selector)
        case Call(function):
            return f"{function}(…)"
        case Compare(op):
            return f"the comparison with '{op}'"
    return "this"


def _limit(at: int, arguments: tuple[Node, ...]) -> Node:
    match arguments:
        case (_Text(label),) if label:
            return Limit(label, at=at)
        case (_Text(label), default) if label and (value := _constant(default)) is not None:
            return Limit(label, value, at=at)
    raise _Mistake(at, 'limit takes a label in quotes and a number for devices without it, as in limit("max_temp", 75)')


def _call(at: int, name: str, count: int, arguments: tuple[Node, ...]) -> Node:
    usage = f"{name}({'0.9, ' * count}temp[10m])"
    readings = arguments[-1] if arguments else None
    if isinstance(readings, Newest):
        usage = f"{name}({'0.9, ' * count}{_show(readings.selector)}[10m])"
        raise _Mistake(readings.at, f"{name} needs a window: write {usage}")
    if not isinstance(readings, _Readings):
        raise _Mistake(readings.at if readings else at, f"{name} takes a metric with a window: write {usage}")
    if len(arguments) != count + 1:
        numbers = {0: "no number", 1: "one number"}.get(count, f"{count} numbers")
        raise _Mistake(at, f"{name} takes {numbers} before its window: write {usage}")
    return Call(name, readings.selector, readings.window, tuple(map(_fraction, arguments[:-1])), at=at)


def _fraction(node: Node) -> float:
    """A number before a window; in every function so far it is a part of the whole."""
    value = _constant(node)
    if value is None or not 0 <= value <= 1:
        raise _Mistake(node.at, "expected a number from 0 to 1, as in quantile(0.9, temp[10m])")
    return value


def _constant(node: Node) -> float | None:
    match node:
        case Number(value):
            return value
        case Negate(Number(value)):
            return -value
    return None


def _duration(window: Token) -> int:
    text = window[1:-1].strip()
    try:
        nanoseconds = parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise _Mistake(_at(window) + 1, str(error)) from None
    if not 0 < nanoseconds <= LONGEST:
        raise _Mistake(_at(window) + 1, f"a window of {text} is not possible: expected more than 0s, at most 3650d")
    return nanoseconds


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


def _unquote(token: Token) -> str:
    if token[0] == "`":
        return str(token[1:-1])

    def meant(escape: re.Match[str]) -> str:
        if escape[1] not in _ESCAPES:
            better = f"for a backslash write two, '\\{escape[0]}', or put the text into `…`"
            raise _Mistake(_at(token) + 1 + escape.start(), f"'{escape[0]}' stands for nothing in a text: {better}")
        return _ESCAPES[escape[1]]

    return re.sub(r"\\(.)", meant, token[1:-1])


def _show(selector: Selector, window: int | None = None) -> str:
    braces = "{…}" if selector.matchers else ""
    return f"{selector.metric}{braces}" + (f"[{format_duration(window)}]" if window else "")


def _at(token: Token) -> int:
    return token.start_pos or 0
