"""What to tell someone whose expression cannot be read: what was found, what was expected, how to mend it.

The tables hold what people write who come from other languages, and what they mean by it here.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from tocsin import functions
from tocsin.errors import did_you_mean

_SYMBOLS = {
    "=": "==",
    "===": "==",
    "&&": "and",
    "&": "and",
    "||": "or",
    "|": "or",
    "!": "not",
    "<>": "!=",
    "=>": ">=",
    "=<": "<=",
    "≥": ">=",
    "≤": "<=",
    "≠": "!=",
    "−": "-",
    "–": "-",
    "×": "*",
    "·": "*",
    "÷": "/",
}
_GROUPING = "a rule groups readings by its own key, as in 'by: [state]'"
_JOINING = "metrics of one key are joined without further words"
_WORDS = {
    "by": _GROUPING,
    "without": _GROUPING,
    "on": _JOINING,
    "ignoring": _JOINING,
    "group_left": _JOINING,
    "group_right": _JOINING,
    "offset": "a window always ends at the newest reading",
    "bool": "a comparison is true or false, never 0 or 1",
    "xor": "write '(a or b) unless (a and b)'",
    "in": 'a label is matched in braces, as in v{site=~"a|b"}',
    "between": "write 'v > 1 and v < 3'",
    "is": "compare with '=='",
}
_FUNCTIONS = {
    "average": "avg",
    "mean": "avg",
    "total": "sum",
    "range": "spread",
    "delta": "change",
    "diff": "change",
    "deriv": "slope",
    "derivative": "slope",
    "trend": "slope",
    "irate": "rate",
    "increase": "rate",
    "fall": "drop",
    "percentile": "quantile",
    "std": "stddev",
    "absent": "missing",
    "silent": "missing",
    "flat": "stuck",
}
_DETECTORS = ("kmeans", "forecast", "anomaly")
_KEYWORDS = ("and", "or", "not", "unless")
_OPERATORS = {"OR", "AND", "UNLESS", "COMPARISON", "PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "CARET"}
_CLOSERS = {"RPAR": "')'", "RBRACE": "'}'", "COMMA": "','", "$END": "the end"}
_FOUND = re.compile(r"""===|&&|\|\||<>|=>|=<|=~|!~|==|[\w.:]+|"[^"]*"|'[^']*'|.""", re.DOTALL)
_COMMENT = re.compile(r"#[^\n]*")
_QUOTED_OR_BRACKET = re.compile(r"""#[^\n]*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|[(){}]""")


def unexpected(text: str, at: int, accepts: Collection[str]) -> tuple[int, str]:
    """The place and the sentence for a text that cannot go on at `at`; `accepts` names what could have stood there."""
    if not text[at:].strip():
        return _cut_off(text, accepts)
    found = _FOUND.match(text, at)
    word = found[0] if found else text[at]
    run_on = re.search(r"\w[\w.]*$", text[:at])
    if word[0] == "[":
        return at, _bracket(accepts)
    if word in ('"', "'", "`"):
        return at, f"the text that begins here has no closing {word}"
    if run_on and run_on[0][0].isdigit() and (word[0].isalnum() or word[0] == "_"):
        whole = run_on[0] + word
        return run_on.start(), f"'{whole}' is not a number; a duration stands only in a window, as in v[10m]"
    return at, f"found {_quote(word)} where {_wanted(accepts)} was expected" + _hint(word, accepts)


def unknown_function(name: str) -> str:
    """There is no function of that name; the one that was probably meant, or all there are."""
    if name in _DETECTORS:
        return f"'{name}' is a detector, and this version has none: see what a function can say, as in zscore(v[10m])"
    known = [*functions.names(), "limit"]
    lower = name.lower().removesuffix("_over_time")
    near = f" Did you mean '{lower}'?" if lower in known else did_you_mean(lower, known)
    if lower in _FUNCTIONS:
        near = f" Did you mean '{_FUNCTIONS[lower]}'?"
    return f"there is no function '{name}'." + (near or f" There are: {', '.join(known)}.")


def _cut_off(text: str, accepts: Collection[str]) -> tuple[int, str]:
    opened = _unclosed(text)
    if opened is not None and "NUMBER" not in accepts:
        closer = {"(": ")", "{": "}"}[text[opened]]
        return opened, f"this '{text[opened]}' is never closed: expected '{closer}' before the end"
    if not _COMMENT.sub("", text).strip():
        return 0, "the expression is empty: expected a condition, as in 'temp > 80'"
    return len(text.rstrip()), f"the expression is cut off: expected {_wanted(accepts)} here"


def _unclosed(text: str) -> int | None:
    opened: list[int] = []
    for match in _QUOTED_OR_BRACKET.finditer(text):
        if match[0] in "({":
            opened.append(match.start())
        elif match[0] in ")}" and opened:
            opened.pop()
    return opened[-1] if opened else None


def _bracket(accepts: Collection[str]) -> str:
    if "WINDOW" in accepts:
        return "this '[' is never closed: expected a duration and ']', as in v[10m]"
    return "a window stands right after a metric and its labels, as in max(v[10m])"


def _wanted(accepts: Collection[str]) -> str:
    first = []
    if "NUMBER" in accepts:
        first = ["a metric", "a number", "a function", "'('"]
    elif _OPERATORS.intersection(accepts):
        first = ["an operator"]
    elif "STRING" in accepts:
        first = ["a text in quotes"]
    elif "MATCH" in accepts:
        first = ["one of = != =~ !~"]
    elif "NAME" in accepts:
        first = ["a label"]
    choices = first + [said for terminal, said in _CLOSERS.items() if terminal in accepts]
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def _quote(word: str) -> str:
    return word if word[0] in "\"'" else f"'{word}'"


def _hint(word: str, accepts: Collection[str]) -> str:
    if not _OPERATORS.intersection(accepts):
        return f': write "{word}"' if "STRING" in accepts and word[0].isalnum() else ""
    if word in _SYMBOLS:
        return f". Did you mean '{_SYMBOLS[word]}'?"
    if word in ("=~", "!~"):
        return ': a label is matched in braces, as in v{site=~"a|b"}'
    if word.lower() in _WORDS:
        return f": {_WORDS[word.lower()]}"
    if not word.isascii() and word[0].isalpha():
        return ": names are made of a-z, A-Z, 0-9, '_', ':' and '.'"
    near = did_you_mean(word.lower(), _KEYWORDS)
    return f".{near}" if near else ""
