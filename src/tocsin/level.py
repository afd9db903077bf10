"""Levels of severity: how far a value must go for each, and how far back for it to be over."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from tocsin.errors import ConfigError, did_you_mean

_KEYS = ("above", "below", "clear")
_USAGE = "as in 'warning: {above: 15, clear: 10}', or 'warning: 15' for above"


@dataclass(frozen=True, slots=True)
class Level:
    """One level: reached beyond `limit`; left beyond `clear`, or without one when no longer beyond `limit`."""

    name: str
    limit: float
    clear: float | None = None


class LevelMistake(ConfigError):
    """What is wrong with the levels; `steps` lead from there to the value, or with `in_key` to a key that is wrong itself."""

    def __init__(self, message: str, *steps: str, in_key: bool = False) -> None:
        super().__init__(message)
        self.steps = steps
        self.in_key = in_key


def parse_levels(given: object) -> tuple[tuple[Level, ...], bool]:
    """The levels from the lowest to the most severe, and whether they lie below. LevelMistake with a remedy."""
    if not isinstance(given, Mapping) or not given:
        raise LevelMistake(f"expected a mapping from a level's name to its limit, {_USAGE}")
    read = [_level(str(name), settings) for name, settings in given.items()]
    below = read[0][1]
    for level, is_below in read:
        if is_below != below:
            raise LevelMistake("the levels of a rule lie all above or all below: make two rules of them", level.name)
    levels = sorted((level for level, _ in read), key=lambda level: level.limit, reverse=below)
    for lower, higher in pairwise(levels):
        if lower.limit == higher.limit:
            raise LevelMistake(f"'{lower.name}' and '{higher.name}' have the same limit: leave one out", higher.name)
    return tuple(levels), below


def _level(name: str, settings: object) -> tuple[Level, bool]:
    if not isinstance(settings, Mapping):
        return Level(name, _number(settings, name)), False
    for key in settings:
        if key not in _KEYS:
            near = did_you_mean(str(key), _KEYS) or " Expected above or below, and clear."
            raise LevelMistake(f"a level has no key '{key}'.{near}", name, str(key), in_key=True)
    sides = [side for side in ("above", "below") if settings.get(side) is not None]
    if len(sides) != 1:
        raise LevelMistake(f"expected either above or below, {_USAGE}", name)
    clear = settings.get("clear")
    limit = _number(settings[sides[0]], name, sides[0])
    return Level(name, limit, None if clear is None else _number(clear, name, "clear")), sides[0] == "below"


def _number(value: object, *steps: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise LevelMistake(f"expected a number, not {value!r}, {_USAGE}", *steps)
    return float(value)
