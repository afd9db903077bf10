"""The units that this process owns, and their partitions in the broker: taken over, begun, given up.

Several processes share a pipeline's units.  Kafka hands partitions out itself, and whoever gets one takes its unit over
(`by_group`); elsewhere the processes agree by what they see in the store (`share.py`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from string import digits
from typing import TYPE_CHECKING

from tocsin.errors import SetupError, TakenOver
from tocsin.instant import LONG_AGO
from tocsin.runners.owned import Consuming, Owned
from tocsin.runners.share import Share

if TYPE_CHECKING:
    from tocsin.connectors import Source
    from tocsin.moves import RuleMoves
    from tocsin.runners.events import Events
    from tocsin.stores.writer import Desk
    from tocsin.unit import Unit

FEW = 8
"""So many partitions are named in one line of the log."""


class Owning:
    """What is owned, by the unit's name; `source` is where partitions are begun while it is open.

    `began` is told how alerts moved as a unit was taken over.
    """

    def __init__(
        self, parts: Consuming, source: Source, desk: Desk, events: Events, began: Callable[[Sequence[RuleMoves]], None]
    ) -> None:
        self.by_group = source.assigns and len(parts.units) > 1
        self._parts = parts
        self._source = source
        self._desk = desk
        self._events = events
        self._began = began
        self._share = Share(desk, parts.units)
        self._owned: dict[str, Owned] = {}
        self._unit_of = {partition: unit for unit in parts.units for partition in unit.partitions}
        self._in_the_way: list[str] = []
        self._what = "the pipeline" if len(parts.units) == 1 else "its partitions"
        self._is_open = False

    def __len__(self) -> int:
        return len(self._owned)

    def __iter__(self) -> Iterator[Owned]:
        return iter(self._owned.values())

    def of(self, partition: str) -> Owned:
        """What a partition belongs to."""
        return self._owned[self._unit_of[partition].name]

    @property
    def watermark(self) -> int:
        """How far all of it has come."""
        return min((owned.origins.value for owned in self), default=LONG_AGO)

    def agree(self) -> None:
        """Take what is ours to take, and give up what is too much."""
        take, give, others = self._share.look(self._owned.keys())
        self._drop(give)
        self._own(take)
        before, self._in_the_way = self._in_the_way, [] if self._owned else sorted({str(owner) for owner in others})
        if new := [owner for owner in self._in_the_way if owner not in before]:
            self._events.info(
                "standing by",
                f"{new[0]} owns {self._what}: standing by to take over. `tocsin publish` publishes beside it",
                owner=new[0],
            )
        elif self._owned and before:
            told = f"{before[0]} owns {self._what} no more" if not others else f"{before[0]} shares {self._what}"
            self._events.info("taken over", f"{told}: taken over", owner=before[0])

    def open(self) -> None:
        """The source is open: read on in what is owned, where it is not handed out anew."""
        self._is_open = True
        if self.by_group:
            self._drop(list(self._owned))
        self._begin(self)

    def closed(self) -> None:
        """The source is not open any more: whatever was not acknowledged comes again."""
        self._is_open = False
        for owned in self:
            owned.forget_held()

    def handed_out(self, lost: Sequence[str], gained: Sequence[str]) -> None:
        """Partitions went and came, by the broker's own will; one that is in both went first."""
        if self.by_group:
            self._drop(lost)
            self._own([self._unit_of[partition] for partition in gained])
            return
        for partition in lost:
            self._source.end(partition)
        for partition in gained:
            self._begin_partition(partition)

    def ask_again(self, stuck: Iterable[Owned]) -> None:
        """Have the broker give once more, in order, what is not acknowledged."""
        for owned in stuck:
            self._end(owned)
            owned.forget_held(connected=True)
            for partition in owned.unit.partitions:
                self._begin_partition(partition)

    def _own(self, units: Sequence[Unit]) -> None:
        """Take units over, and read them from where the store says."""
        got = []
        for unit in units:
            with suppress(TakenOver):  # somebody was faster, and has it
                got.append(
                    Owned(unit, self._parts, self._desk, time.monotonic(), self._source.rereadable, self.by_group)
                )
        self._owned.update((owned.unit.name, owned) for owned in got)
        for owned in got:
            self._began(owned.began)
        self._tell("partitions gained", "ours now", [owned.unit.name for owned in got])
        if self._is_open:
            self._begin(got)

    def _drop(self, names: Iterable[str]) -> None:
        """Let go of units: what was given of them and not acknowledged comes again, here or elsewhere."""
        gone = [self._owned.pop(name) for name in names if name in self._owned]
        for owned in gone:
            self._end(owned)
            self._desk.release(owned.writer)
        self._tell("partitions lost", "no longer ours", [owned.unit.name for owned in gone])

    def _tell(self, event: str, what: str, names: Sequence[str]) -> None:
        """Which partitions came or went; where all are decided together there is nothing to tell."""
        named = sorted((name for name in names if name), key=_in_order)
        if named:
            more = f" and {len(named) - FEW} more" if len(named) > FEW else ""
            told = ", ".join(named[:FEW])
            self._events.info(event, f"partitions {what}: {told}{more}", partitions=named)

    def _begin(self, owned: Iterable[Owned]) -> None:
        for one in owned:
            one.origins.reconnected(time.monotonic())
            if not self._source.assigns or self.by_group:
                for partition in one.unit.partitions:
                    self._begin_partition(partition)

    def _begin_partition(self, partition: str) -> None:
        owned = self.of(partition)
        if not owned.goes_on_in(getattr(self._source, "mark", "")):
            raise SetupError(
                f"{self._parts.broker} was made anew: the store '{self._desk.url}' remembers the messages up to "
                f"{owned.position(partition)} of another file of that name. Put that file back, or take a new store"
            )
        self._source.begin(partition, owned.position(partition))

    def _end(self, owned: Owned) -> None:
        if self._is_open:
            for partition in owned.unit.partitions:
                self._source.end(partition)


def _in_order(name: str) -> list[tuple[int, int, str]]:
    """The order in which people count: 2 before 10, `q-2` before `q-10`."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(part), "") if part[0] in digits else (1, 0, part) for part in parts]
