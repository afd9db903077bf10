"""Judging readings in the order of the log: who is late, who is from the future, how far everybody has come."""

import numpy as np

from tocsin.instant import LONG_AGO, NEVER
from tocsin.kernels import compiled, inlined

LIVE, ENDED, EXPIRED = (np.int64(standing) for standing in range(3))


@compiled
def admit(  # type: ignore[no-untyped-def]
    origins, starts, said, latest, ends, times, lateness, newest, marks, standings, producers, watermark, late, future,
    flags,
):  # fmt: skip
    """Goes over messages, flags their readings and returns the watermark after them.

    Message m is of `origins[m]`, has the readings from `starts[m]` to before `starts[m + 1]`, and afterwards its
    producer has come to `said[m]` and perhaps ended.  A reading after `latest[m]` is from the future.

    A producer that is heard in one partition is waited for in all: `producers` is whose each origin is, below 0 where
    that is nobody's.  `newest`, `marks` (each origin's own watermark) and `standings` are brought up to date.
    """
    lowest = _lowest(marks, standings)
    watermark = max(watermark, lowest)
    for m in range(len(origins)):
        origin = origins[m]
        if standings[origin] != LIVE:
            standings[origin] = LIVE
            for other in range(len(standings)):
                if producers[other] == producers[origin] >= 0:
                    standings[other] = LIVE
            lowest = _lowest(marks, standings)
        for i in range(starts[m], starts[m + 1]):
            t = times[i]
            if t > latest[m]:
                flags[i] = future
            elif t < watermark:
                flags[i] = late
            elif t > newest[origin]:
                newest[origin] = t
                if t - lateness > marks[origin]:
                    held = marks[origin] == lowest
                    marks[origin] = t - lateness
                    if held:
                        lowest = _lowest(marks, standings)
                        watermark = max(watermark, lowest)
        if said[m] > marks[origin] or ends[m]:
            marks[origin] = max(marks[origin], said[m])
            if ends[m]:
                standings[origin] = ENDED
            lowest = _lowest(marks, standings)
            watermark = max(watermark, lowest)
    return watermark


@inlined
def _lowest(marks, standings):  # type: ignore[no-untyped-def]
    """The lowest mark of those that are live; where all have ended, the highest: nothing more will come."""
    lowest, highest = NEVER, LONG_AGO
    for origin in range(len(marks)):
        if standings[origin] == LIVE:
            lowest = min(lowest, marks[origin])
        elif standings[origin] == ENDED:
            highest = max(highest, marks[origin])
    return lowest if lowest < NEVER else highest
