"""The loop: poll, decode, admit, process, save; a step at a time, and a step is saved whole or not at all.

Who owns the loop, a process on this machine or a cluster, is in `runners/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tocsin.checkpoint import records
from tocsin.errors import RunError
from tocsin.instant import UNITS, format_duration, format_time
from tocsin.reading import Batch, Flag, Flags
from tocsin.stats import Stats
from tocsin.stores import Checkpoint, RuleRecord, Step

if TYPE_CHECKING:
    from tocsin.engine import Engine
    from tocsin.message import Origin
    from tocsin.record import Decoded, Position, Reject
    from tocsin.rule import Rule
    from tocsin.watermark import Watermark


class Clock(Protocol):
    """How far event time has come: a watermark, and the newest time that was accepted."""

    @property
    def value(self) -> int: ...

    @property
    def newest(self) -> int: ...


@dataclass(slots=True)
class Decider:
    """The half that does not care where readings come from: what was admitted is decided, and made ready to be saved.

    `clock` is moved by whoever admits.  `position` is where the source is to be read from after the next step,
    and `counted` is what earlier runs counted.
    """

    rules: Sequence[Rule]
    engine: Engine
    clock: Clock
    position: Position | None = None
    counted: Mapping[str, RuleRecord] = field(default_factory=dict)

    def decide(
        self, batch: Batch, flags: Flags, rejects: Sequence[Reject] = (), origins: Sequence[Origin] = ()
    ) -> Step:
        """Process what was accepted, up to the watermark."""
        accepted = flags == Flag.ACCEPTED
        decision = self.engine.process(batch.take(accepted), self.clock.value)
        flags[accepted] = decision.flags
        moves, needed = decision.moves.by_rule(), self.engine.needs_from()
        return Step(self._reached(), batch, flags, rejects, moves, origins=origins, needed_from=needed)

    def catch_up(self, origins: Sequence[Origin] = (), *, idle: bool = False) -> Step:
        """Decide up to the watermark, which has moved without a reading; `idle`: because the wall clock did."""
        decision = self.engine.process(None, self.clock.value)
        moves, needed = decision.moves.by_rule(), self.engine.needs_from()
        return Step(self._reached(), moves=moves, idle=idle, origins=origins, needed_from=needed)

    def _reached(self) -> Checkpoint:
        rules = records(self.rules, self.engine.counts(), self.counted)
        return Checkpoint(self.position, self.clock.value, self.clock.newest, self.engine.first_time, rules)


class Saver(Protocol):
    """Where steps are saved."""

    def save(self, step: Step) -> int:
        """Save a step whole or not at all; returns how many of its late readings it had already, as accepted."""
        ...


@dataclass(slots=True)
class Pipeline:
    """A source that is read directly, such as a file: its readings are admitted here, and its position is the checkpoint.

    `in_order` says that a reading which comes late ends the run: so for a bounded file without
    lateness, which could have been put in order.  `saved` is told of each step once it is saved and counted.
    """

    decider: Decider
    watermark: Watermark
    saver: Saver
    in_order: bool = False
    stats: Stats = field(default_factory=Stats)
    saved: Callable[[Step], None] | None = None

    def carry(self, polled: Iterable[Sequence[Decoded] | int], after: Callable[[Stats], None] | None = None) -> None:
        """The loop: a step for everything that was polled and decoded, or for the time to which idleness has come."""
        for found in polled:
            if isinstance(found, int):
                self.idle(found)
            elif found:
                self.take(found)
            if after is not None:
                after(self.stats)

    def take(self, decoded: Sequence[Decoded]) -> None:
        """Admit, process and save."""
        batch = Batch.join([part.batch for part in decoded])
        newest, flags = self.watermark.newest, self.watermark.admit(batch)
        if self.in_order and Flag.LATE in flags:
            raise RunError(backwards(newest, batch, flags, decoded))
        self.decider.position = decoded[-1].position
        self.save(self.decider.decide(batch, flags, [reject for part in decoded for reject in part.rejects]))

    def idle(self, to: int) -> None:
        """Nothing has come, and the wall clock moves the watermark; the store logs where to."""
        self.watermark.advance(to)
        self.save(self.decider.catch_up(idle=True))

    def finish(self) -> None:
        """A bounded input has ended: everything is decided."""
        self.watermark.end()
        self.save(self.decider.catch_up())

    def save(self, step: Step) -> None:
        """A step, saved and counted."""
        self.stats.add(step, self.saver.save(step))
        if self.saved is not None:
            self.saved(step)


def backwards(newest: int, batch: Batch, flags: Flags, decoded: Sequence[Decoded]) -> str:
    """What to tell about a file that goes backwards in time: where, by how much, and how to mend it."""
    late = flags == Flag.LATE
    ahead = np.maximum.accumulate(np.where(late, newest, batch.time))
    first = int(np.argmax(late))
    ends = np.cumsum([len(part.batch) for part in decoded])
    place = int(np.searchsorted(ends, first, side="right"))
    part = decoded[place]
    where = part.position.get("file", "the source"), part.line_of(first - int(ends[place]) + len(part.batch))
    device, metric, _ = batch.series.describe(int(batch.code[first]))
    second = UNITS["s"]
    lateness = -(-int((ahead - batch.time)[late].max()) // second) * second
    named = ":".join(str(known) for known in where if known)
    if ahead[first] == batch.time[first]:
        return (
            f"{named}: the reading of {device}, {metric} at {format_time(int(batch.time[first]))} comes too late: an earlier run "
            "has read the file to its end, which was at this time, and has decided everything up to there. Nothing of this part "
            "of the file was saved. Put `follow: true` under `source` for a file that grows, or take a new store"
        )
    replaced = (
        ". That one was read before: if the file was edited or replaced since the last run, neither of these helps: put the old file "
        "back, or take a new store"
        if ahead[first] == newest
        else ""
    )
    return (
        f"{named}: time goes backwards: the reading of {device}, {metric} "
        f"at {format_time(int(batch.time[first]))} comes after one at {format_time(int(ahead[first]))}. "
        "Nothing of this part of the file was saved. Put `sort: true` under `source`, to put the file in order first, or "
        f"`lateness: {format_duration(max(lateness, second))}` or more at the top, to wait so long for readings that come late{replaced}"
    )
