"""An independent reading of the semantics, in plain Python: slow, naive and meant to be obviously right.

It was written from the page that says what a rule means, not from the engine, and shares nothing
with it but the parser's nodes and the rule's fields.  Here are admission, keys and the ledger's order;
`oracle_life.py` has the life of an alert, `oracle_values.py` the numbers and conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oracle_life import Alert, Devices, Labels, Life, Transition, everything, iso
from oracle_values import SECOND, Known, Log, Values, matches
from tocsin.node import Call, Newest, Selector
from tocsin.rule import Rule

__all__ = ["Alert", "Devices", "Outcome", "Reading", "admit", "iso", "labels_of", "replay"]

STALENESS = 300 * SECOND
FORGET_AFTER = 86_400 * SECOND


@dataclass(frozen=True)
class Reading:
    """One reading as it came, with its own labels only."""

    device: str
    metric: str
    time: int
    value: float
    labels: Labels = ()


@dataclass
class Outcome:
    """What a whole input gives; `counts` are each rule's evaluations and how many of them were unknown."""

    transitions: list[Transition] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def ledger(self) -> list[str]:
        """The ledger's lines."""
        return [transition.line() for transition in self.transitions]


def replay(
    rules: Sequence[Rule],
    readings: Iterable[Reading],
    *,
    devices: Devices | None = None,
    lateness: int = 0,
    staleness: int = STALENESS,
    forget_after: int = FORGET_AFTER,
    source: tuple[int, int] | None = None,
) -> Outcome:
    """Decide a bounded input from its start to its end.

    `source` is the first and the newest time of the whole source where `readings` are one partition of it.
    """
    known = [
        Known(it.device, it.metric, it.time, it.value + 0.0, labels_of(it.device, dict(it.labels), devices or {}))
        for it, flag in admit(readings, lateness)
        if flag == "accepted"
    ]
    outcome = Outcome(counts={rule.name: (0, 0) for rule in rules})
    if not known and source is None:
        return outcome
    first, newest = source or (min(it.time for it in known), max(it.time for it in known))
    for rule in rules:
        for life in lives(rule, known, devices or {}, first, staleness, forget_after):
            life.run(newest)
            evaluations, unknown = outcome.counts[rule.name]
            outcome.counts[rule.name] = (evaluations + life.evaluations, unknown + life.unknown)
            outcome.transitions += life.transitions
            outcome.alerts += life.alerts
    outcome.transitions.sort(key=lambda it: (it.time, it.rule, it.key))
    outcome.alerts.sort(key=lambda it: (it.since, it.rule, it.key))
    return outcome


def admit(readings: Iterable[Reading], lateness: int) -> Iterator[tuple[Reading, str]]:
    """Each reading in log order with what becomes of it: accepted, late, repeat or conflict."""
    newest: int | None = None
    stays: dict[tuple[str, str, int], float] = {}
    for reading in readings:
        identity = (reading.device, reading.metric, reading.time)
        if newest is not None and reading.time < newest - lateness:
            yield reading, "late"
        elif identity in stays:
            yield reading, "repeat" if stays[identity] == reading.value else "conflict"
        else:
            stays[identity] = reading.value
            newest = reading.time if newest is None else max(newest, reading.time)
            yield reading, "accepted"


def labels_of(device: str, own: Mapping[str, str], devices: Devices) -> dict[str, str]:
    """A device's labels, `device` among them: those of the pipeline file win, an empty one is as good as absent."""
    everything = {**own, **devices.get(device, {}), "device": device}
    return {name: value for name, value in everything.items() if value != ""}


def lives(
    rule: Rule, known: Sequence[Known], devices: Devices, first: int, staleness: int, forget_after: int
) -> Iterator[Life]:
    """One life for each key of a rule: of every key that has readings, and of those of expected devices."""
    needs = selectors(rule)
    expected: dict[Labels, dict[Selector, Mapping[str, str]]] = {}
    for device in devices:
        labels = labels_of(device, {}, devices)
        for selector in needs:
            if matches(selector, labels):
                expected.setdefault(key_of(rule, labels), {})[selector] = labels
    heard: dict[Labels, list[Known]] = {}
    for it in known:
        if any(it.metric == selector.metric and matches(selector, it.labels) for selector in needs):
            heard.setdefault(key_of(rule, it.labels), []).append(it)
    for key in sorted(set(heard) | set(expected)):
        values = Values(
            Log(heard.get(key, [])),
            staleness=staleness,
            min_coverage=rule.min_coverage,
            expected=expected.get(key, {}),
            first=first,
        )
        yield Life(rule, key, values, forget_after, devices)


def key_of(rule: Rule, labels: Mapping[str, str]) -> Labels:
    """The key's labels, sorted, empty ones left out."""
    return tuple((name, labels[name]) for name in sorted(rule.by) if name in labels)


def selectors(rule: Rule) -> list[Selector]:
    """What a rule listens to."""
    return list(dict.fromkeys(node.selector for node in everything(rule) if isinstance(node, Call | Newest)))
