"""How far event time has come: every reading before the watermark is in.

The watermark is the newest accepted time less the lateness, and never goes back.  Whether a reading
is late is judged reading by reading in log order, so that how readings were batched changes nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from tocsin.instant import LONG_AGO
from tocsin.reading import Batch, Flag, Flags


class Watermark:
    """The watermark of one source partition; `lateness` and `max_future` in nanoseconds."""

    def __init__(self, lateness: int, max_future: int | None = None) -> None:
        self.lateness = lateness
        self.max_future = max_future
        self.newest = LONG_AGO
        self.value = LONG_AGO

    def admit(self, batch: Batch, arrival: int | None = None) -> Flags:
        """Flags each reading ACCEPTED, LATE or FUTURE, and moves on.

        `arrival` is when the batch became durable here; without it nothing is from the future.
        """
        flags = np.zeros(len(batch), np.uint8)
        latest = 2**63 - 1 if arrival is None or self.max_future is None else arrival + self.max_future
        self.newest, self.value = _admit(batch.time, self.lateness, latest, self.newest, self.value, flags)
        return flags

    def advance(self, to: int) -> None:
        """Moves on without a reading: the source has been idle."""
        self.value = max(self.value, to)

    def end(self) -> int:
        """Where a bounded input ends: just after its newest time, so that everything is decided."""
        if self.newest != LONG_AGO:
            self.advance(self.newest + 1)
        return self.value


_LATE, _FUTURE = int(Flag.LATE), int(Flag.FUTURE)


@njit(cache=True, nogil=True)
def _admit(times, lateness, latest, newest, watermark, flags):  # type: ignore[no-untyped-def]
    for i in range(len(times)):
        t = times[i]
        if t > latest:
            flags[i] = _FUTURE
        elif t < watermark:
            flags[i] = _LATE
        elif t > newest:
            newest = t
            watermark = max(watermark, newest - lateness)
    return newest, watermark
