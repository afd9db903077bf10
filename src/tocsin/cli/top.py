"""`tocsin top`: how far a pipeline has come, and who holds it up, as the store and the journal tell it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.cli.arguments import AsJson, PipelineFile
from tocsin.cli.look import opened
from tocsin.cli.terminal import give
from tocsin.instant import LONG_AGO, SECOND, format_duration, format_time

if TYPE_CHECKING:
    from tocsin.config import Config
    from tocsin.stores.sql import Reached, SqlStore

EVERY = 1.0
"""Seconds between two looks."""


def top(file: PipelineFile, as_json: AsJson = False) -> None:
    """Watch how far a pipeline has come: its owner, its producers, what waits; Ctrl-C ends it."""
    from tocsin.config import load

    config = load(file)
    with opened(file) as store:
        if as_json or not sys.stdout.isatty():
            found = look(config, store)
            give([json.dumps(found.to_json())] if as_json else found.lines())
            return
        before = None
        while True:
            found = look(config, store, before)
            sys.stdout.write("\033[H\033[2J")  # the cursor home, and everything gone
            give(found.lines())
            before = found
            time.sleep(EVERY)


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at one moment."""

    pipeline: str
    owners: list[tuple[str, str]]
    watermark: int
    newest: int
    waiting: int | None
    rate: float | None
    alerts: int
    dead_letters: int
    taken: int
    at: float
    origins: list[tuple[str, str, int, int, str]]

    def to_json(self) -> dict[str, Any]:
        """The same for programs; times ISO 8601."""
        return {
            "pipeline": self.pipeline,
            "owners": [{"unit": unit, "process": process} for unit, process in self.owners],
            "watermark": _time(self.watermark),
            "newest": _time(self.newest),
            "waiting": self.waiting,
            "alerts": self.alerts,
            "dead_letters": self.dead_letters,
            "producers": [
                {"partition": partition, "producer": producer, "taken": taken, "watermark": _time(mark), "standing": standing}
                for partition, producer, taken, mark, standing in self.origins
            ],
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.pipeline}: {'; '.join(self._run_by()) or 'nobody runs it now'}"
        lag = "" if self.watermark == LONG_AGO else f", {_lag(self.watermark)} behind the clock"
        yield f"watermark {_time(self.watermark) or 'none yet'}{lag}; newest reading {_time(self.newest) or 'none yet'}"
        waiting = "" if self.waiting is None else f"{self.waiting:,} messages wait in the journal; "
        rate = "" if self.rate is None else f"{self.rate:,.0f} messages/s; "
        yield f"{rate}{waiting}{self.alerts:,} open alerts; {self.dead_letters:,} dead letters"
        if self.origins:
            yield ""
            yield f"{'partition':<12} {'producer':<40} {'taken':>10}  {'standing':<9} watermark"
        for partition, producer, taken, mark, standing in self.origins:
            yield f"{partition:<12} {producer or '(foreign)':<40} {taken:>10,}  {standing:<9} {_time(mark) or 'none yet'}"

    def _run_by(self) -> Iterator[str]:
        """Each process, with the partitions that it has."""
        for process in dict.fromkeys(process for _, process in self.owners):
            own = ", ".join(unit for unit, owner in self.owners if owner == process and unit)
            yield f"run by {process}{f' (partitions {own})' if own else ''}"


def look(config: Config, store: SqlStore, before: Look | None = None) -> Look:
    """One look; the rate is since the one before."""
    found = store.progress()
    taken, now = sum(max(0, origin.next) for origin in found.origins), time.monotonic()
    return Look(
        pipeline=config.name,
        owners=[(owner.unit, str(owner)) for owner in found.owners if owner.alive],
        watermark=min((unit.checkpoint.watermark for unit in found.units), default=LONG_AGO),
        newest=max((unit.checkpoint.newest for unit in found.units), default=LONG_AGO),
        waiting=None if config.direct else _waiting(config.transport.journal, found.units),
        rate=None if before is None else (taken - before.taken) / (now - before.at),
        alerts=found.alerts,
        dead_letters=found.dead_letters,
        taken=taken,
        at=now,
        origins=[
            (origin.partition, origin.producer, max(0, origin.next), origin.mark, origin.standing.name.lower())
            for origin in found.origins
        ],
    )


def _waiting(journal: Path, units: Sequence[Reached]) -> int | None:
    """How many messages of a journal have not been consumed, or of a spool not been confirmed."""
    from tocsin.connectors.journal import Journal

    if not journal.exists():
        return None
    opened_journal = Journal(journal, create=False)
    try:
        before, newest = opened_journal.span()
    finally:
        opened_journal.close()
    told: dict[str, Any] = (units[0].checkpoint.position if units else None) or {}
    reached = told["partitions"].get("0") if str(told.get("broker", "")).startswith("journal") else None
    return newest - (before if reached is None else max(before, int(reached)))


def _lag(instant: int) -> str:
    return format_duration(max(0, time.time_ns() - instant) // SECOND * SECOND)


def _time(instant: int) -> str | None:
    return None if instant == LONG_AGO else format_time(instant)
