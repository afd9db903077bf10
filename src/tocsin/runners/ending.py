"""When a consumer beside a producer ends by itself: all of that one's messages are taken, and nothing else waits for it.

A poll that brings nothing does not say so much.  Kafka gives out partitions, and their first messages, seconds after one has
connected; and what another producer has published, to its end, is to be decided too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tocsin.connectors import Broker, waiting
from tocsin.errors import SetupError
from tocsin.message import Standing

if TYPE_CHECKING:
    from tocsin.runners.owning import Owning
    from tocsin.stores.writer import Desk

ASK = 1.0
"""Seconds between two questions to the broker."""
PATIENCE = 15.0
"""Seconds without a message after which what waits is another's, who has it and has not acknowledged it."""


@dataclass(frozen=True, slots=True)
class Until:
    """A producer with these numbers has ended."""

    producer: str
    numbers: dict[str, int]


class Ending:
    """Whether the end is there; times are the caller's, in seconds on the wall."""

    def __init__(self, broker: Broker, desk: Desk, owned: Owning) -> None:
        self._broker, self._desk, self._owned = broker, desk, owned
        self._came = self._asked = float("-inf")

    def came(self, now: float) -> None:
        """Messages came, or it is connected anew: more may."""
        self._came = now

    def is_here(self, until: Until | None, now: float) -> bool:
        """After a poll that has brought nothing."""
        if until is None or not self._has_all_of(until):
            return False
        if now - self._came > PATIENCE:
            return True
        if now - self._asked < ASK:
            return False
        self._asked = now
        own = {partition: unit.position(partition) for unit in self._owned for partition in unit.unit.partitions}
        positions = {partition: position for partition, position in own.items() if position is not None}
        try:
            found = waiting(self._broker, positions) or {}
        except SetupError:  # who may read a broker may not be let to ask it
            return True
        return not any(found.get(partition) for partition in own)

    def _has_all_of(self, until: Until) -> bool:
        """Whether everything of a producer was taken, here or by others; the store knows."""
        taken = {
            origin.partition: origin.next
            for origin in self._desk.origins()
            if origin.producer == until.producer and origin.standing == Standing.ENDED
        }
        return all(taken.get(partition, -1) >= number for partition, number in until.numbers.items())
