"""Which units this process owns: agreed among all that run the pipeline, by what they see in the store.

Everybody who is there has a fair share: as many units as any other, but for one.  Who has most goes first, so that
nothing moves without need.  A unit is taken when nobody alive owns it, and what is too much is given up.  Where there
is one unit, one process has it and the others stand by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tocsin.stores.owner import this_process

if TYPE_CHECKING:
    from tocsin.stores.owner import Owner
    from tocsin.stores.writer import Desk
    from tocsin.unit import Unit


class Share:
    """This process's share of the units."""

    def __init__(self, desk: Desk, units: Sequence[Unit]) -> None:
        self._desk = desk
        self._units = units

    def look(self, owned: Collection[str]) -> tuple[list[Unit], list[str], list[Owner]]:
        """(units to take, names of units to give up, owners in whose way nobody else is).

        `owned` are the names of what this process has.
        """
        members, owners = self._desk.meet() if len(self._units) > 1 else ([this_process()], self._desk.owners())
        others = {owner.unit: owner for owner in owners if owner.process != this_process() and owner.alive}
        ours = fair(members, Counter(owner.process for owner in others.values()), len(owned), len(self._units))
        free = [unit for unit in self._units if unit.name not in others and unit.name not in owned]
        surplus = list(owned)[ours:] if ours < len(owned) else []
        return free[: max(0, ours - len(owned))], surplus, list(others.values())


def fair(members: Sequence[str], have: Counter[str], own: int, count: int) -> int:
    """How many of so many units the first of the members should have; `have` is what the others own."""
    counts = {member: have[member] for member in members}
    counts[members[0]] = own
    order = sorted(counts, key=lambda member: (-counts[member], member))
    whole, rest = divmod(count, len(order))
    return whole + (order.index(members[0]) < rest)
