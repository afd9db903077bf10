"""Stories: readings as in "0:90 10:92 30:70", and what became of them as in "10 firing, 30 resolved"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cases import Case, Feed
from oracle import FORGET_AFTER, Reading
from tocsin.instant import SECOND


def readings(text: str, device: str = "a", metric: str = "v", **labels: str) -> list[Reading]:
    """Readings of one series: seconds and value of each."""
    pairs = [pair.split(":") for pair in text.split()]
    own = tuple(sorted(labels.items()))
    return [Reading(device, metric, round(float(at) * SECOND), float(value), own) for at, value in pairs]


def seconds(nanoseconds: int) -> str:
    """As short as it can be said."""
    return f"{nanoseconds / SECOND:g}"


def tell(expr: str, text: str, **keys: Any) -> str:
    """What a rule with these keys makes of one device's readings: the time and the new state of each move."""
    return ", ".join(f"{seconds(move.time)} {move.to.name.lower()}" for move in feed(expr, text, **keys).transitions)


def feed(expr: str, text: str, *, forget_after: str = "", **keys: Any) -> Feed:
    """The whole story, told to the engine; `for_` is `for`."""
    rule: Mapping[str, Any] = {"alert": "A", "expr": expr, **{key.rstrip("_"): value for key, value in keys.items()}}
    remembered = round(float(forget_after) * SECOND) if forget_after else FORGET_AFTER
    return Feed(Case([rule], readings(text), forget_after=remembered)).finish()
