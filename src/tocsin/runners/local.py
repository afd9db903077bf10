"""This machine: one process that reads, decides and saves, until the input ends or it is told to stop.

Ctrl-C and SIGTERM end it after the step in hand.  Whatever was read beyond that has not been
acknowledged to anybody, and the next run reads it again.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Self

from tocsin.checkpoint import resume
from tocsin.errors import EndOfInput
from tocsin.instant import LONG_AGO, SECOND
from tocsin.pipeline import Decider, Pipeline, Saver
from tocsin.runners.ahead import Ahead, Source
from tocsin.runners.pace import Pace
from tocsin.stats import Stats
from tocsin.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tocsin.engine import Engine
    from tocsin.record import Decoded
    from tocsin.rule import Rule
    from tocsin.stores.sql import SqlStore
    from tocsin.watermark import Watermark

Progress = Callable[[Stats], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a pipeline file describes, made but not begun; all of it is used once."""

    source: Source
    rules: Sequence[Rule]
    engine: Engine
    watermark: Watermark

    def pipeline(self, saver: Saver) -> Pipeline:
        """These parts, put together around a place to save in."""
        in_order = self.source.bounded and self.watermark.lateness == 0
        return Pipeline(Decider(self.rules, self.engine, self.watermark, saver), self.watermark, in_order)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: what it counted, and the signal that stopped it, if one did."""

    stats: Stats
    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """0, or 130 after Ctrl-C and 143 after SIGTERM."""
        return 0 if self.signal is None else 128 + self.signal


def run(parts: Parts, store: SqlStore, *, idle_after: int, progress: Progress | None = None) -> Outcome:
    """Go on from the store's checkpoint to the end of the input; one that is followed has no end."""
    writer = store.writer(parts.engine.series)
    try:
        pipeline = parts.pipeline(writer)
        start = resume(writer, parts.rules, parts.engine, parts.watermark)
        pipeline.decider.position, pipeline.decider.counted = start.position, start.counted
        with Stop() as stop:
            _drive(pipeline, parts.source, stop, progress, idle=None if parts.source.bounded else idle_after)
    finally:
        writer.close()
    return Outcome(pipeline.decider.stats, stop.signal)


def replay(
    parts: Parts, *, speed: float | None = None, store: SqlStore | None = None, progress: Progress | None = None
) -> tuple[Outcome, MemoryStore]:
    """The whole source from its start with nothing remembered; what it found, and puts into a store if there is one.

    `speed` is a multiple of real time, None as fast as it goes.  A replay that was stopped puts nothing.
    """
    if store is not None:
        store.refuse_other_rules({rule.name: rule.fingerprint for rule in parts.rules})
    found = MemoryStore()
    pipeline = parts.pipeline(found)
    with Stop() as stop:
        pace = Pace(speed, stop.asked) if speed else None
        _drive(pipeline, parts.source, stop, progress, pace=pace)
    if store is not None and stop.signal is None:
        store.put(found.lives, found.rejects)
    return Outcome(pipeline.decider.stats, stop.signal), found


class Stop:
    """Takes Ctrl-C and SIGTERM as a wish to stop; a second one stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, object] = {}

    def asked(self) -> bool:
        """Whether to stop after the step in hand."""
        return self.signal is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number


def _drive(
    pipeline: Pipeline,
    source: Source,
    stop: Stop,
    progress: Progress | None,
    *,
    idle: int | None = None,
    pace: Pace | None = None,
) -> None:
    try:
        source.open(pipeline.decider.position)
        with Ahead(source) as ahead:
            pipeline.carry(_polled(pipeline, ahead, stop, idle, pace), progress)
        if not stop.asked():
            pipeline.finish()
    finally:
        source.close()


def _polled(
    pipeline: Pipeline, ahead: Ahead, stop: Stop, idle: int | None, pace: Pace | None
) -> Iterator[Sequence[Decoded] | int]:
    """What the loop is to take next, until the input ends or it is asked to stop."""
    idleness = Idleness(pipeline.watermark, idle) if idle is not None else None
    while not stop.asked():
        try:
            found = ahead.take()
        except EndOfInput:
            return
        if not found:
            yield from idleness.due(ahead.quiet()) if idleness else ()
        elif pace is not None:
            yield from pace.slow(found)
        else:
            yield found


class Idleness:
    """Where the wall clock moves the watermark to while nothing comes.

    After `idle_after` first to just past the newest reading, so that what is in hand is decided, and
    from there as fast as the clock, so that silence is noticed.  Once a second is often enough for that.
    """

    def __init__(self, watermark: Watermark, idle_after: int) -> None:
        self._watermark = watermark
        self._after = idle_after
        self._past = 0
        self._base: int | None = None

    def due(self, quiet: float) -> Iterator[int]:
        """The event time to move to, if there is one by now; `quiet` is for how many seconds nothing has come."""
        past, before = int(quiet * SECOND) - self._after, self._past
        self._past = past
        if past < max(before, 0) or self._base is None:
            self._base = None
            if past < 0 or self._watermark.newest == LONG_AGO:
                return
            self._base = max(self._watermark.newest + 1, self._watermark.value) - past
            yield self._base + past
        elif self._base + past >= self._watermark.value + SECOND:
            yield self._base + past
