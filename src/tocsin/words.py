"""Words in the rules that the pipeline never gives: metrics, labels, limits, and what annotations speak of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from tocsin.document import Document
from tocsin.errors import ConfigError, did_you_mean
from tocsin.expression import Call, Limit, Newest, Node, mistake, walk
from tocsin.rule import Rule

OF_ALERT = ("rule", "since", "fired", "until", "state", "level", "value", "peak", "last", "reason")
"""What an annotation may speak of besides labels: what `--json` shows of an alert."""
_WORD = re.compile(r"\{\{[-+]?\s*([^\W\d][\w:.]*|[$.][\w:.]+)")


def unknown_words(
    rules: Mapping[int, Rule], metrics: frozenset[str] | None, labels: frozenset[str] | None, document: Document
) -> Iterator[ConfigError]:
    """Metrics and labels that the rules name and the source never gives; None where it may give any."""
    for number, rule in rules.items():
        who = f"rule '{rule.name}': " if rule.name else f"rule number {number + 1}: "
        for place, label in enumerate(rule.by):
            if labels is not None and label not in labels:
                steps = ("rules", number, "by", place)
                yield ConfigError(who + _unknown("label", label, labels), document.place(steps))
        for tree, text, begin in rule.written():
            for at, message in _unknown_in(tree, metrics, labels):
                yield mistake(who + message, text, at, begin)
        for name, text in rule.annotations.items():
            begin = document.place(("rules", number, "annotations", name))
            known = None if labels is None else {*OF_ALERT, *rule.labels, *labels}
            for at, message in _unknown_in_text(text, known) if known is not None else ():
                yield mistake(f"{who}annotations: {message}", text, at, begin)


def _unknown_in(tree: Node, metrics: frozenset[str] | None, labels: frozenset[str] | None) -> Iterator[tuple[int, str]]:
    for piece in walk(tree):
        if labels is not None and isinstance(piece, Limit) and piece.label not in labels and piece.default is None:
            yield piece.at, _unknown("label", piece.label, labels)
        if isinstance(piece, Newest | Call):
            selector = piece.selector
            if metrics is not None and selector.metric not in metrics:
                yield selector.at, _unknown("metric", selector.metric, metrics)
            for matcher in selector.matchers:
                if labels is not None and matcher.label not in labels:
                    yield selector.at, _unknown("label", matcher.label, labels)


def _unknown_in_text(text: str, known: set[str]) -> Iterator[tuple[int, str]]:
    for match in _WORD.finditer(text):
        word = match[1]
        plain = re.split(r"[$.]", word)[-1].lower() if word[0] in "$." else word
        if word not in known:
            near = f" Did you mean '{plain}'?" if plain in known else did_you_mean(plain, sorted(known))
            there = near or f" There are: {', '.join(sorted(known))}."
            yield match.start(1), f"an alert has no '{word}' to put here.{there}"


def bad_limits(
    rules: Iterable[Rule], devices: Mapping[str, Mapping[str, str]], document: Document
) -> Iterator[ConfigError]:
    """A limit that is no number would leave its device unwatched."""
    trees = [tree for rule in rules for tree, _, _ in rule.written()]
    limits = {piece.label for tree in trees for piece in walk(tree) if isinstance(piece, Limit)}
    for device, own in devices.items():
        for label in sorted(limits & own.keys()):
            try:
                known = math.isfinite(float(own[label]))
            except ValueError:
                known = False
            if not known:
                message = (
                    f"the label '{label}' of device '{device}' is a limit of a rule, and '{own[label]}' is no number"
                )
                yield ConfigError(message, document.place(("devices", device, label)) or document.place(("devices",)))


def useless_limits(rules: Iterable[Rule], labels: frozenset[str] | None) -> Iterator[str]:
    """Limits that no device has, so that each gets the default."""
    for rule in rules:
        for tree, text, begin in rule.written():
            for piece in walk(tree):
                if labels is not None and isinstance(piece, Limit) and piece.label not in labels:
                    message = (
                        f"rule '{rule.name}': no device has the label '{piece.label}': each gets {piece.default:g}"
                    )
                    yield str(mistake(message, text, piece.at, begin))


def _unknown(kind: str, word: str, known: frozenset[str]) -> str:
    remedy = did_you_mean(word, sorted(known)) or f" It gives {', '.join(sorted(known))}."
    return f"the source gives no {kind} '{word}'.{remedy}"
