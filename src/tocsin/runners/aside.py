"""What to say of readings that no rule sees: too late, in the future, or against another one; how many, and the worst of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tocsin.instant import LONG_AGO, SECOND, format_time
from tocsin.reading import Flag
from tocsin.runners.events import SELDOM, Events, Now, spoken

if TYPE_CHECKING:
    from tocsin.stats import Stats
    from tocsin.stores import Step


@dataclass(slots=True)
class _Worst:
    """The reading that was farthest off, as it is told."""

    device: str
    metric: str
    time: int
    off: int


class AsideReport:
    """Readings that came too late, or lie in the future: how many, and the worst of them."""

    def __init__(self, events: Events, stats: Stats) -> None:
        self._events = events
        self._stats = stats
        self._late = _Aside(stats.late)
        self._future = _Aside(stats.future)
        self._conflicts = _Aside(stats.conflicts)
        self._reached: dict[str, int] = {}

    def took(self, step: Step, unit: str) -> None:
        """A step is saved: note what of it no rule sees."""
        checkpoint = step.checkpoint
        if self._stats.late > self._late.seen:
            self._late.note(step, Flag.LATE, _reached(step, self._reached.get(unit, LONG_AGO)), self._stats.late)
        if self._stats.future > self._future.seen:
            self._future.note(step, Flag.FUTURE, None, self._stats.future)
        if self._stats.conflicts > self._conflicts.seen:
            self._conflicts.note(step, Flag.CONFLICT, None, self._stats.conflicts)
        self._reached[unit] = max(checkpoint.newest, checkpoint.watermark)

    def look(self, *, at_once: bool = False) -> None:
        """Tell of them, if there are new ones and the last word is long ago."""
        self._tell(
            self._late, at_once, "late readings",
            "came too late for the rules, such as {which}, {off} behind what had come already. A larger `lateness` waits longer; "
            "after a pause of the source, a larger `idle_after`",
        )  # fmt: skip
        self._tell(
            self._future, at_once, "future readings",
            "from the future, which no rule sees, such as {which}: more than `max_future` ahead of when it came. Is the device's clock right?",
        )  # fmt: skip
        self._tell(
            self._conflicts, at_once, "conflicts",
            "with the time of another of the same series and another value, such as {which}: the first counts, and no rule sees the others",
        )  # fmt: skip

    def _tell(self, aside: _Aside, at_once: bool, event: str, sentence: str) -> None:
        """One kind of them; `sentence` names `which` reading was farthest off, and how far."""
        worst = aside.due(at_once)
        if worst is None:
            return
        new, total = aside.tell()
        at, off = format_time(worst.time), worst.off / SECOND
        told = sentence.format(which=f"{worst.metric} of {worst.device} at {at}", off=spoken(off))
        late = {"late_seconds": round(off, 3)} if aside is self._late else {}
        self._events.warning(
            event, f"{_readings(new)} {told}",
            count=new, total=total, device=worst.device, metric=worst.metric, at=at, **late,
        )  # fmt: skip


class _Aside:
    """One kind of such readings: how many were seen, how many of them told."""

    def __init__(self, already: int) -> None:
        self.seen = self._told = already
        self._worst: _Worst | None = None
        self._again: Now | None = None

    def note(self, step: Step, flag: Flag, reached: np.ndarray | None, seen: int) -> None:
        """There are more; `reached` is how far event time had come at each reading."""
        self.seen = seen
        assert step.batch is not None
        times = step.batch.time
        off = times if reached is None else reached - times
        row = int(np.argmax(np.where(step.flags == flag, off, LONG_AGO)))
        if self._worst is None or off[row] > self._worst.off:
            device, metric, _ = step.batch.series.describe(int(step.batch.code[row]))
            self._worst = _Worst(device, metric, int(times[row]), int(off[row]))

    def due(self, at_once: bool) -> _Worst | None:
        """What is to be told now, if anything is."""
        is_time = at_once or self._again is None or self._again()
        return self._worst if self._worst is not None and is_time else None

    def tell(self) -> tuple[int, int]:
        """How many are new, and how many there are; the next word is some seconds away."""
        new, self._told, self._worst = self.seen - self._told, self.seen, None
        self._again = Now(SELDOM)
        return new, self.seen


def _reached(step: Step, before: int) -> np.ndarray:
    """How far event time had come at each reading of a step: the newest accepted so far, or where the clock had moved it."""
    assert step.batch is not None
    times = np.where(step.flags == Flag.ACCEPTED, step.batch.time, LONG_AGO)
    reached = np.maximum.accumulate(np.maximum(times, before))
    # What was reached before this process began stands in the step alone.
    return np.where(reached == LONG_AGO, step.checkpoint.watermark, reached)


def _readings(count: int) -> str:
    return f"{count:,} {'reading' if count == 1 else 'readings'}"
