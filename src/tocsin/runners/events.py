"""What happens while nobody looks: events, each with a name, a sentence for people, and fields for programs.

How they are written, and where to, is decided by the command line (`cli/logs.py`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tocsin.instant import LONG_AGO, SECOND, format_duration, format_time
from tocsin.stats import Stats

EVERY = 60.0
"""Seconds between two lines on how far a part has come."""
SELDOM = 30.0
"""Seconds between two lines on what goes on without anybody's help, after the first, which is told at once."""
OFTEN = 1.0
"""Seconds between two lines on what may happen thousands of times."""

_log = logging.getLogger("tocsin")


class Events:
    """What one part of a pipeline has to tell; `fields` go with all of it."""

    def __init__(self, pipeline: str, part: str, **fields: Any) -> None:
        self.part = part
        self._fields: Mapping[str, Any] = {"pipeline": pipeline, "part": part, **fields}

    def of(self, **fields: Any) -> Events:
        """The same with more fields."""
        more = Events("", self.part)
        more._fields = {**self._fields, **fields}
        return more

    def info(self, event: str, message: str, **fields: Any) -> None:
        """Something that is as it should be."""
        self._tell(logging.INFO, event, message, fields)

    def warning(self, event: str, message: str, **fields: Any) -> None:
        """Something that somebody may want to look at."""
        self._tell(logging.WARNING, event, message, fields)

    def _tell(self, level: int, event: str, message: str, fields: Mapping[str, Any]) -> None:
        _log.log(level, "%s", message, extra={"event": event, "fields": {**self._fields, **fields}})


class Now:
    """Says now and then that it is time again."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._last = time.monotonic()

    def __call__(self) -> float:
        """The seconds since the last time; 0 while it is too early."""
        past = time.monotonic() - self._last
        if past < self._every:
            return 0.0
        self._last = time.monotonic()
        return past


class ConsumerReport:
    """A line a minute on what a consumer has taken and how far behind the clock it is, and one for new dead letters."""

    def __init__(self, events: Events, watermark: Callable[[], int], stats: Stats) -> None:
        self._events = events
        self._watermark = watermark
        self._minute, self._letters = Now(EVERY), Now(OFTEN)
        self._readings, self._rejects = stats.readings, stats.rejects

    def look(self, stats: Stats) -> None:
        """To be called at every turn of the loop."""
        if stats.rejects > self._rejects and self._letters():
            new, self._rejects = stats.rejects - self._rejects, stats.rejects
            self._events.warning(
                "dead letters", f"what could not be read is among the dead letters: {new:,} new", count=new, total=stats.rejects
            )  # fmt: skip
        if past := self._minute():
            self._progress(stats, past)

    def close(self, stats: Stats) -> None:
        """The last dead letters, too."""
        self._letters = Now(0.0)
        self.look(stats)

    def _progress(self, stats: Stats, past: float) -> None:
        rate, self._readings = (stats.readings - self._readings) / past, stats.readings
        reached = self._watermark()
        behind = lag(reached)
        self._events.info(
            "progress",
            f"{stats.readings:,} readings ({rate:,.0f}/s), {stats.late:,} late, {stats.rejects:,} dead letters, "
            f"{stats.fired:,} alerts fired" + ("" if behind is None else f", {spoken(behind)} behind the clock"),
            readings=stats.readings,
            readings_per_second=round(rate, 1),
            late=stats.late,
            future=stats.future,
            conflicts=stats.conflicts,
            repeats=stats.repeats,
            dead_letters=stats.rejects,
            fired=stats.fired,
            resolved=stats.resolved,
            watermark=None if reached == LONG_AGO else format_time(reached),
            lag_seconds=behind,
        )


class ProducerReport:
    """A line a minute on what a producer has published, and on how much of it has not left it yet."""

    def __init__(self, events: Events, waiting: Callable[[], int]) -> None:
        self._events = events
        self._waiting = waiting
        self._minute = Now(EVERY)
        self._readings = 0
        self._refused: Mapping[str, int] = {}
        self._seldom: Now | None = None

    def refused(self, counts: Mapping[str, int], last: str, *, at_once: bool = False) -> None:
        """Requests that were not let in, by why: the first is told at once, and every half a minute how many more there were."""
        new = {why: count - self._refused.get(why, 0) for why, count in counts.items()}
        if not any(new.values()) or not (at_once or self._seldom is None or self._seldom()):
            return
        self._refused, self._seldom = counts, Now(SELDOM)
        told = ", ".join(f"{count:,} with {why}" for why, count in new.items() if count)
        self._events.warning(
            "posts refused", f"posts were not let in: {told}; the last from {last or 'an unknown client'}",
            count=sum(new.values()), total=sum(counts.values()), client=last,
        )  # fmt: skip

    def look(self, readings: int, watermark: int, rejected: int = 0) -> None:
        """To be called at every turn of the loop, with the readings so far, and what was posted and not taken."""
        past = self._minute()
        if not past:
            return
        rate, self._readings = (readings - self._readings) / past, readings
        waiting = self._waiting()
        refused = f", {rejected:,} rejected" if rejected else ""
        self._events.info(
            "progress",
            f"{readings:,} readings taken in ({rate:,.0f}/s){refused}, {waiting:,} messages wait",
            readings=readings,
            **({"rejected": rejected} if rejected else {}),
            readings_per_second=round(rate, 1),
            waiting=waiting,
            watermark=None if watermark == LONG_AGO else format_time(watermark),
            lag_seconds=lag(watermark),
        )


def older_copy(journal: Path, producer: str, missing: int) -> tuple[str, str]:
    """The event and the sentence of a journal that is an older copy of itself."""
    return "older copy", (
        f"{journal} is an older copy of itself and has lost its newest messages ({missing:,}): this is a new "
        f"producer, {producer}, and what the old one has published is told from it by the readings alone"
    )


def lag(instant: int) -> float | None:
    """How many seconds an event time lies behind the clock; None before the first."""
    return None if instant == LONG_AGO else round((time.time_ns() - instant) / SECOND, 3)


def spoken(seconds: float) -> str:
    """Seconds for people."""
    return format_duration(max(0, int(seconds)) * SECOND)


def lost(news: Iterator[tuple[str, str, str, int]], events: Events) -> None:
    """Tell of producers that were not waited for any longer: (what, partition, producer, how many messages)."""
    for what, partition, producer, count in news:
        if what == "gap given up":
            events.warning(
                what,
                f"messages of the producer {producer} in partition {partition} have not come and are given up as lost: {count:,}",
                partition=partition, producer=producer, lost=count,
            )  # fmt: skip
        else:
            whom = f"the producer {producer}" if producer else "anybody"
            events.warning(
                what, f"nothing was heard of {whom} in partition {partition} for too long: it is not waited for any more",
                partition=partition, producer=producer or None,
            )  # fmt: skip


def undecided(holders: Sequence[tuple[str, str, int]], watermark: int, events: Events) -> None:
    """Tell at the end whom readings wait for that are not decided: (partition, producer, how far it has come) of each."""
    for partition, producer, mark in holders:
        whom = f"the producer {producer}, which has not said its end" if producer else "whoever publishes there"
        reached = None if mark == LONG_AGO else format_time(mark)
        events.warning(
            "undecided",
            f"readings from {'the first' if watermark == LONG_AGO else format_time(watermark)} on are stored and not decided yet: "
            f"in partition {partition} they wait for {whom} ({'come to ' + reached if reached else 'nothing was heard of it'}). Let it publish to its end, "
            "or let `tocsin watch` go on: two minutes after the last word of it, it is not waited for any more",
            partition=partition,
            producer=producer or None,
            watermark=reached,
        )
