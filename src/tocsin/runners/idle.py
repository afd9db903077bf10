"""Idleness: where the wall clock moves a watermark to while nothing comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tocsin.instant import LONG_AGO, SECOND

if TYPE_CHECKING:
    from tocsin.pipeline import Clock


AWAY = 3.0
"""Seconds between two looks from which on nobody was looking: the process was frozen, or its machine asleep."""
COUNTED = 1.0
"""Seconds that count of a pause that long: some, so that patience ends though every turn is slow."""


class Idleness:
    """Where the wall clock moves the watermark to while nothing comes.

    After `idle_after` first to just past the newest reading, so that what is in hand is decided, and
    from there as fast as the clock, so that silence is noticed.  Once a second is often enough for that.

    It counts only while somebody looks.  What came while this process was frozen waits in the source, and the
    first look after it may find nothing yet.
    """

    def __init__(self, watermark: Clock, idle_after: int) -> None:
        self._watermark = watermark
        self._after = idle_after
        self._past = 0
        self._base: int | None = None
        self._looked = self._away = 0.0

    def due(self, quiet: float) -> Iterator[int]:
        """The event time to move to, if there is one by now; `quiet` is for how many seconds nothing has come."""
        if quiet < self._looked:
            self._away = 0.0
        if quiet > self._looked + AWAY:
            self._away = quiet
        self._looked = quiet
        past, before = int((quiet - self._away) * SECOND) - self._after, self._past
        self._past = past
        if past < max(before, 0) or self._base is None:
            self._base = None
            if past < 0 or self._watermark.newest == LONG_AGO:
                return
            self._base = max(self._watermark.newest + 1, self._watermark.value) - past
            yield self._base + past
        elif self._base + past >= self._watermark.value + SECOND:
            yield self._base + past
