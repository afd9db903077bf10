"""Units: what one engine decides, and one process owns.

A unit is a partition of the broker, if all that a rule looks at together is in one: if every rule's `by` determines the
partition of a reading.  Otherwise all partitions are one unit.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """Some partitions of a broker; `name` is the partition's, or '' where it is all of them."""

    name: str
    partitions: tuple[str, ...]


def units_of(partitions: Sequence[str], by: Sequence[str], queue: str | None = None) -> tuple[Unit, ...]:
    """The units of a broker's partitions; `by` are the labels common to every rule, `queue` the template of their names."""
    apart = _words(queue) <= set(by) if queue else bool(by) and len(partitions) > 1
    return tuple(Unit(name, (name,)) for name in partitions) if apart else (Unit("", tuple(partitions)),)


def _words(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
