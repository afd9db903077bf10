"""What a store was filled from must be what is read now, or readings would be missed or counted again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tocsin.errors import SetupError
from tocsin.instant import LONG_AGO

if TYPE_CHECKING:
    from tocsin.runners.owned import Consuming
    from tocsin.stores.writer import Desk


ANEW = (
    "Put the old `broker:` back. Or begin anew behind the new one, once everything that waits behind the old one is taken: name "
    "another store, as in `store: sqlite:///another.db`, and move the producer's journal or spool away. This store stays as it "
    "is: a copy of the pipeline file as it was reads it, as in `tocsin alerts list OLD.yaml`"
)
"""What to do where readings are to come another way."""


def refuse_another_layout(desk: Desk, parts: Consuming) -> None:
    """SetupError where the store knows another source, other partitions, or decides them otherwise; nothing is taken over yet."""
    _refuse_another_source(desk, parts)
    _refuse_other_partitions(desk, parts)
    _refuse_other_units(desk, parts)


def _refuse_another_source(desk: Desk, parts: Consuming) -> None:
    broker = parts.broker
    for checkpoint in desk.checkpoints().values():
        position = checkpoint.position
        if position is not None and position.get("broker") != broker.identity:
            where = position.get("broker") or position.get("file", "another source")
            raise SetupError(
                f"this store was filled from {where}, not from {broker.identity}: what was read there would be counted again, "
                f"or be missed. {ANEW}"
            )


def _refuse_other_partitions(desk: Desk, parts: Consuming) -> None:
    partitions = parts.broker.partitions
    known = {origin.partition for origin in desk.origins()}
    if known - set(partitions):
        raise SetupError(
            f"this store was filled from the partitions {', '.join(sorted(known))}, and `broker:` has "
            f"{', '.join(partitions)}: what waits in the others would never be taken. Put them back until it is"
        )


def _refuse_other_units(desk: Desk, parts: Consuming) -> None:
    """What was owned and never given anything is no reason."""
    filled = {name for name, checkpoint in desk.checkpoints().items() if checkpoint.newest != LONG_AGO}
    if filled - {unit.name for unit in parts.units}:
        before, now = ("all together", "each by itself") if "" in filled else ("each by itself", "all together")
        raise SetupError(
            f"this store was filled while partitions were decided {before}, and now they are to be decided {now}: what is known of the past "
            "would be in the wrong place. Either `partitions` of `broker:` or the `by` of a rule was changed: put it back, or take a new store"
        )
