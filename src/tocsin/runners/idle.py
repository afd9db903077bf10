"""Idleness: where the wall clock moves a watermark to while nothing comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tocsin.instant import LONG_AGO, SECOND

if TYPE_CHECKING:
    from tocsin.pipeline import Clock


class Idleness:
    """Where the wall clock moves the watermark to while nothing comes.

    After `idle_after` first to just past the newest reading, so that what is in hand is decided, and
    from there as fast as the clock, so that silence is noticed.  Once a second is often enough for that.
    """

    def __init__(self, watermark: Clock, idle_after: int) -> None:
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
