"""One rule: what is true when it fires, for how long, and when it is over.

A `Rule` is a value; two that decide alike have the same fingerprint, however they are written.
`parse_rules` makes them from the user's mappings and finds every mistake in them at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar, cast, get_args

from tocsin import functions
from tocsin.errors import ConfigError, ConfigErrors, Place, did_you_mean
from tocsin.expression import (
    Call,
    Compare,
    Limit,
    Newest,
    Node,
    is_condition,
    mistake,
    parse,
    parts,
    selectors,
    walk,
)
from tocsin.hold import ForDuration, ForReadings, Hold, parse_hold, parse_timer
from tocsin.level import Level, LevelMistake, parse_levels

__all__ = ["ForDuration", "ForReadings", "Hold", "Level", "Rule", "parse_rules", "partition_labels"]

OnUnknown = Literal["hold", "clear", "fire"]
Peak = Literal["max", "min", "magnitude"]
PlaceOf = Callable[[tuple[str | int, ...]], Place | None]
T = TypeVar("T")

KEYS = (
    "alert",
    "expr",
    "for",
    "clear",
    "keep_firing_for",
    "by",
    "min_coverage",
    "on_unknown",
    "levels",
    "labels",
    "annotations",
)
_PEAK: dict[str, Peak] = {">": "max", ">=": "max", "<": "min", "<=": "min"}
_OPPOSITE: dict[Peak, Peak] = {"max": "min", "min": "max", "magnitude": "magnitude"}


@dataclass(frozen=True)
class Rule:
    """One rule, checked.

    `expr` is a condition; with `levels`, which go from the lowest to the most severe, it is a number.
    `text` and `place` are what the user wrote, and where; they decide nothing.
    """

    name: str
    expr: Node
    clear: Node | None = None
    hold: Hold | None = None
    keep_firing_for: int = 0
    by: tuple[str, ...] = ("device",)
    min_coverage: float | None = None
    on_unknown: OnUnknown = "hold"
    levels: tuple[Level, ...] = ()
    below: bool = False
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    text: str = field(default="", compare=False)
    place: Place | None = field(default=None, compare=False)
    clear_text: str = field(default="", compare=False)
    clear_place: Place | None = field(default=None, compare=False)

    def written(self) -> Iterator[tuple[Node, str, Place | None]]:
        """Each expression of the rule, with its text and where that begins."""
        yield self.expr, self.text, self.place
        if self.clear is not None:
            yield self.clear, self.clear_text, self.clear_place

    @property
    def value(self) -> Node | None:
        """The number that an alert reports; None if the rule compares nothing."""
        return self._reported[0]

    @property
    def peak(self) -> Peak:
        """Which of an alert's values is its peak."""
        return self._reported[1]

    @cached_property
    def longest_window(self) -> int:
        """Nanoseconds of the longest window that the rule looks at; 0 without any."""
        nodes = (node for expr, _, _ in self.written() for node in walk(expr))
        return max((node.window for node in nodes if isinstance(node, Call)), default=0)

    def forget_after(self, pipeline: int) -> int:
        """How long a silent key is remembered: the pipeline's time, raised to what the rule needs."""
        held = self.hold.nanoseconds if isinstance(self.hold, ForDuration) else 0
        return max(pipeline, self.longest_window + held + self.keep_firing_for)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the rule may decide otherwise, and only then."""
        condition = (self.expr, self.clear, self.levels, self.below, self.min_coverage, self.on_unknown)
        deciding = (*condition, self.hold, self.keep_firing_for, sorted(self.by))
        return hashlib.sha256(repr(deciding).encode()).hexdigest()[:16]

    @cached_property
    def _reported(self) -> tuple[Node | None, Peak]:
        if self.levels:
            return self.expr, "min" if self.below else "max"
        return _reported(self.expr) or (None, "magnitude")


def partition_labels(rules: Sequence[Rule]) -> tuple[str, ...]:
    """The labels by which readings may be split among engines: those common to every rule's `by`."""
    first = rules[0].by if rules else ()
    return tuple(label for label in first if all(label in rule.by for rule in rules))


def parse_rules(
    rules: Sequence[Mapping[str, Any]], place_of: PlaceOf | None = None, place_of_key: PlaceOf | None = None
) -> list[Rule]:
    """The rules of one file, checked; raises ConfigErrors with every mistake in them.

    `place_of` gives the place of a value by the steps that lead to it, as in (3, "levels", "warning", "above"),
    and `place_of_key` that of the key before it.
    """
    found, errors = read_rules(rules, place_of, place_of_key)
    if errors:
        raise ConfigErrors(errors)
    return list(found.values())


def read_rules(
    rules: Sequence[Mapping[str, Any]], place_of: PlaceOf | None = None, place_of_key: PlaceOf | None = None
) -> tuple[dict[int, Rule], list[ConfigError]]:
    """By their numbers the rules whose expression can be read, and every mistake in all of them."""
    if isinstance(rules, str | Mapping) or not isinstance(rules, Sequence):
        return {}, [ConfigError("expected a list of rules, each beginning with '- alert: NAME'")]
    errors: list[ConfigError] = []
    found: dict[int, Rule] = {}
    names: set[str] = set()
    for number, given in enumerate(rules):
        entry = _Entry(number, given, place_of or _nowhere, place_of_key or place_of or _nowhere)
        rule = entry.rule()
        if entry.name in names:
            entry.fail("another rule has this name already: each alert belongs to one rule, so choose another", "alert")
        names |= {entry.name} if entry.name else set()
        errors += entry.errors
        found |= {number: rule} if rule else {}
    return found, errors


def _nowhere(_steps: tuple[str | int, ...]) -> None:
    """Rules that come from a program stand in no file."""


class _Entry:
    """One rule as the user gave it, and the mistakes found in it so far."""

    def __init__(self, number: int, given: object, place_of: PlaceOf, place_of_key: PlaceOf) -> None:
        self.errors: list[ConfigError] = []
        self._number = number
        self._place_of = place_of
        self._place_of_key = place_of_key
        self._given: dict[str, Any] = {}
        self.name = ""
        if not isinstance(given, Mapping):
            self.fail("expected a mapping with at least the keys alert and expr")
            return
        self._given = {str(key): value for key, value in given.items() if value is not None}
        name = self._given.get("alert", "")
        self.name = name if isinstance(name, str) else ""

    def rule(self) -> Rule | None:
        """The rule, as far as it is right; None if its expression is not."""
        if not self.errors:
            self._check_keys()
        expr, clear = self._expression("expr"), self._expression("clear")
        levels, below = self._take("levels", parse_levels, ((), False))
        settings: dict[str, Any] = {
            "hold": self._take("for", parse_hold, None),
            "keep_firing_for": self._take("keep_firing_for", parse_timer, 0),
            "by": self._take("by", _by, ("device",)),
            "min_coverage": self._take("min_coverage", _part, None),
            "on_unknown": self._take("on_unknown", _on_unknown, "hold"),
            "labels": self._take("labels", _texts, {}),
            "annotations": self._take("annotations", _texts, {}),
        }
        if expr is None:
            return None
        rule = Rule(self.name, expr, clear, levels=levels, below=below, **settings, **self._written())
        if levels or "levels" not in self._given:
            self._check_kinds(rule)
        self._check_devices(rule)
        return rule

    def fail(self, message: str, *steps: str, in_key: bool = False) -> None:
        """Note a mistake at the value to which the steps lead, or in the key before it."""
        about = f"{steps[0]}: " if steps and steps[0] in KEYS else ""
        place = self._place_of_key if in_key else self._place_of
        self._note(ConfigError(about + message, place((self._number, *steps))))

    def _note(self, error: ConfigError) -> None:
        name = f"rule '{self.name}'" if self.name else f"rule number {self._number + 1}"
        self.errors.append(ConfigError(f"{name}: {error.message}", error.place))

    def _place(self, *steps: str) -> Place | None:
        return self._place_of((self._number, *steps))

    def _written(self) -> dict[str, Any]:
        """The texts as they were written, and where they begin."""
        text, clear = str(self._given.get("expr", "")), str(self._given.get("clear", ""))
        return {
            "text": text,
            "place": self._place("expr"),
            "clear_text": clear,
            "clear_place": self._place("clear") if clear else None,
        }

    def _check_keys(self) -> None:
        for key in self._given:
            if key not in KEYS:
                near = did_you_mean(key, KEYS) or f" There are: {', '.join(KEYS)}."
                self.fail(f"a rule has no key '{key}'.{near}", key, in_key=True)
        if not self.name:
            self.fail("expected a name for the alert, as in 'alert: TooHot'", "alert")
        if "expr" not in self._given:
            self.fail("this key is missing: it says what is true when the alert fires, as in 'expr: temp > 80'", "expr")

    def _take(self, key: str, read: Callable[[Any], T], default: Any) -> T:
        """The value of one key as `read` makes it, which raises ConfigError with a remedy."""
        if key not in self._given:
            return cast(T, default)
        try:
            return read(self._given[key])
        except ConfigError as error:
            steps, in_key = (error.steps, error.in_key) if isinstance(error, LevelMistake) else ((), False)
            self.fail(error.message, key, *steps, in_key=in_key)
        return cast(T, default)

    def _expression(self, key: str) -> Node | None:
        text = self._given.get(key)
        if text is None:
            return None
        if not isinstance(text, str):
            self.fail(f"expected an expression, as in 'temp > 80', not {text!r}", key)
            return None
        try:
            return parse(text, self._place(key))
        except ConfigError as error:
            self._note(error)
        return None

    def _check_kinds(self, rule: Rule) -> None:
        if rule.levels and is_condition(rule.expr):
            self.fail("with levels this must be a number: take the comparison away, the levels have the limits", "expr")
        if rule.levels and rule.clear:
            self.fail("with levels each level has its own clear, as in 'warning: {above: 15, clear: 10}'", "clear")
        if not rule.levels and not is_condition(rule.expr):
            self.fail("this is a number and never true: compare it, as in 'temp > 80', or give levels", "expr")
        if rule.clear and not is_condition(rule.clear):
            self.fail("this is a number and never true: compare it, as in 'temp < 70'", "clear")

    def _check_devices(self, rule: Rule) -> None:
        """What speaks of one device needs one: by the rule's key, or by a matcher."""
        if "device" in rule.by:
            return
        for expr, text, place in rule.written():
            one = len({selector.pinned("device") or "" for selector in selectors(expr)} - {""}) == 1
            for node in walk(expr):
                if isinstance(node, Limit) and node.label not in rule.by and not one:
                    needs = f"the label '{node.label}' of a device stands here: add it, or device, to 'by'"
                    self._note(mistake(needs, text, node.at, place))
                if _speaks_of_one_device(node):
                    self._note(mistake(_pin(node), text, node.at, place))


def _speaks_of_one_device(node: Node) -> bool:
    """Whether the node means nothing for several devices at once, and is not pinned to one."""
    match node:
        case Newest(selector):
            return not selector.pinned("device")
        case Call(function, selector):
            return functions.load(function).ordered and not selector.pinned("device")
    return False


def _pin(node: Node) -> str:
    what = f"{node.function}(…)" if isinstance(node, Call) else "a bare metric"
    metric = cast(Newest | Call, node).selector.metric
    remedy = f"add device to 'by', or name the device, as in {metric}{{device=\"…\"}}"
    return f"{what} speaks of one device, and 'by' puts several together: {remedy}"


def _by(given: object) -> tuple[str, ...]:
    if not isinstance(given, list | tuple):
        raise ConfigError(f"expected a list of labels, as in [device] or [state], not {given!r}")
    for place, label in enumerate(given):
        if not isinstance(label, str) or not label:
            raise ConfigError(f"expected labels, as in [device] or [state], not {label!r}")
        if label in given[:place]:
            raise ConfigError(f"the label '{label}' stands here twice: leave one out")
    return tuple(given)


def _part(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
        raise ConfigError(f"expected the part of a window, a number from 0 to 1, not {given!r}")
    return float(given)


def _on_unknown(given: object) -> OnUnknown:
    if given not in get_args(OnUnknown):
        near = did_you_mean(str(given), get_args(OnUnknown))
        raise ConfigError(f"expected hold, clear or fire, not {given!r}.{near}")
    return cast(OnUnknown, given)


def _texts(given: object) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"expected a mapping from name to text, as in {{severity: critical}}, not {given!r}")
    for name, value in given.items():
        if not isinstance(value, str | int | float):
            raise ConfigError(f"'{name}' should be a text, not {value!r}: put it in quotes")
    return {str(name): str(value).lower() if isinstance(value, bool) else str(value) for name, value in given.items()}


def _reported(node: Node) -> tuple[Node, Peak] | None:
    """The side of the leftmost comparison that readings change, and which of its values is the peak."""
    match node:
        case Compare(op, left, right):
            peak = _PEAK.get(op, "magnitude")
            if selectors(left):
                return left, peak
            return (right, _OPPOSITE[peak]) if selectors(right) else None
        case Call(function):
            return (node, "max") if functions.load(function).value is not None else None
    return next((found for part in parts(node) if (found := _reported(part))), None)
