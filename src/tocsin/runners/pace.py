"""The pace of a replay: event time runs at a multiple of the wall clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from tocsin.errors import SetupError
from tocsin.instant import SECOND
from tocsin.record import Decoded

BEAT = 0.05
"""Seconds on the wall between two handfuls of readings."""


def parse_speed(text: str) -> float | None:
    """`1x`, `60x`, or `max` for as fast as it goes, which is None."""
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise SetupError(f"'{text}' is not a speed: expected 1x, 60x or another multiple of real time, or max")
    return speed


class Pace:
    """Hands out readings when their event time is due, the first one at once.

    Readings that are not in order of time come with the newest before them, as they once did.
    """

    def __init__(self, speed: float, stopped: Callable[[], bool]) -> None:
        self._speed = speed
        self._stopped = stopped
        self._zero: tuple[float, int] | None = None

    def slow(self, decoded: Sequence[Decoded]) -> Iterator[list[Decoded]]:
        """The same, in handfuls, each when it is due."""
        for block in decoded:
            if not len(block.batch):
                yield [block]
            else:
                yield from self._slices(block)

    def _slices(self, block: Decoded) -> Iterator[list[Decoded]]:
        times = np.maximum.accumulate(block.batch.time)
        if self._zero is None:
            self._zero = time.monotonic(), int(times[0])
        given, rejects = 0, block.rejects
        while given < len(times) and not self._stopped():
            due = int(np.searchsorted(times, self._now(), side="right"))
            if due > given:
                line_of = partial(_line_after, block, given)
                yield [replace(block, batch=block.batch.take(slice(given, due)), rejects=rejects, line_of=line_of)]
                given, rejects = due, []
            else:
                time.sleep(BEAT)

    def _now(self) -> int:
        assert self._zero is not None
        wall, event = self._zero
        return event + int((time.monotonic() - wall) * self._speed * SECOND)


def _line_after(block: Decoded, given: int, row: int) -> int | None:
    return block.line_of(given + row)
