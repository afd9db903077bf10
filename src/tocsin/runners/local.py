"""This machine: one process that reads, decides and saves, until the input ends or it is told to stop.

Ctrl-C and SIGTERM end it after the step in hand.  Whatever was read beyond that has not been
acknowledged to anybody, and the next run reads it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tocsin.checkpoint import resume
from tocsin.errors import EndOfInput, SetupError
from tocsin.instant import LONG_AGO
from tocsin.pipeline import Decider, Pipeline, Saver
from tocsin.runners.ahead import Ahead, Source
from tocsin.runners.events import ConsumerReport, Events
from tocsin.runners.idle import Idleness
from tocsin.runners.layout import ANEW
from tocsin.runners.pace import Pace
from tocsin.runners.steps import StepReport
from tocsin.runners.stop import Stop
from tocsin.stats import Stats
from tocsin.stores.memory import MemoryStore
from tocsin.stores.owner import this_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tocsin.engine import Engine
    from tocsin.reading import Batch
    from tocsin.record import Decoded
    from tocsin.rule import Rule
    from tocsin.stores import Step
    from tocsin.stores.sql import SqlStore
    from tocsin.stores.writer import Writer
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
        return Pipeline(Decider(self.rules, self.engine, self.watermark), self.watermark, saver, in_order)


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
        refuse_second(writer)
        start = resume(writer, parts.rules, parts.engine)
        if start.position is not None and "broker" in start.position:
            raise SetupError(
                f"this store was filled from {start.position['broker']}, not from the source directly: what was read there "
                f"would be counted again. {ANEW}"
            )
        parts.watermark.newest = start.newest
        parts.watermark.advance(start.watermark)
        pipeline.decider.position, pipeline.decider.counted = start.position, start.counted
        stats = pipeline.stats
        events = Events(store.pipeline, "all")
        report = ConsumerReport(events, lambda: parts.watermark.value, stats)
        steps = StepReport(events, parts.rules, stats)
        pipeline.saved = steps.took
        steps.began(start.moves)

        def look(stats: Stats) -> None:
            steps.look()
            report.look(stats)
            if progress is not None:
                progress(stats)

        with Stop() as stop:
            _drive(pipeline, parts.source, stop, look, idle=None if parts.source.bounded else idle_after)
        steps.close()
        report.close(stats)
    finally:
        writer.close()
    return Outcome(pipeline.stats, stop.signal)


def refuse_second(writer: Writer) -> None:
    """SetupError if another process runs this pipeline now: both would read the same source."""
    for owner in writer.owners():
        if owner.alive and owner.process != this_process():
            raise SetupError(
                f"{owner} runs this pipeline already: end that one first, or give this one a name and a store of its own"
            )


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
        store.put(found.moves(), found.rejects)
    return Outcome(pipeline.stats, stop.signal), found


def replay_admitted(
    rules: Sequence[Rule],
    engine_of: Callable[[str], Engine],
    store: SqlStore,
    progress: Progress | None = None,
) -> tuple[Outcome, MemoryStore]:
    """What the store has admitted, decided once more, unit by unit: it gives the ledger of the run that admitted it.

    `engine_of` makes a fresh engine for the unit of a name.
    """
    found, stats = MemoryStore(), Stats()
    with Stop() as stop:
        for unit in store.units():
            engine, reached = engine_of(unit.name), _Reached()
            decider = Decider(rules, engine, reached)
            if unit.checkpoint.first_time is not None:
                engine.begin(unit.checkpoint.first_time)
            for step in _decided(
                decider, reached, store.admitted(engine.series, unit.number), unit.checkpoint.watermark
            ):
                if stop.asked():
                    return Outcome(stats, stop.signal), found
                stats.add(step, found.save(step, unit.name), unit.name)
                if progress is not None:
                    progress(stats)
    return Outcome(stats, stop.signal), found


def _decided(decider: Decider, reached: _Reached, batches: Iterable[Batch], end: int) -> Iterator[Step]:
    """The steps of what one unit admitted, up to where its event time had come."""
    for batch in batches:
        reached.newest = int(batch.time[-1])
        reached.value = min(reached.newest, end)
        yield decider.decide(batch, np.zeros(len(batch), np.uint8))
    reached.value = end
    yield decider.catch_up()


@dataclass(slots=True)
class _Reached:
    """The clock of readings that come in order of time."""

    value: int = LONG_AGO
    newest: int = LONG_AGO


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
