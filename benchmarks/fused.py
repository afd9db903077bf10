"""The yardstick: the four benchmark rules written by hand as one compiled loop.

No rule language, no lateness, no keys, no life but firing and resolved: what a good programmer would
write for these four rules and nothing else.  It keeps a ring of each device's recent readings and
scans it backwards once a reading.  It must find the same alerts as the engine.
"""

import numpy as np
from numba import njit

SECOND = 1_000_000_000
DROP_WINDOW, LONG_WINDOW, STALENESS = 150 * SECOND, 600 * SECOND, 300 * SECOND
DROP, SPREAD, HIGH, LOW, IN_A_ROW, MEAN, COVERAGE = 15.0, 1.0, 100.0, 50.0, 3, 79.003, 0.9
RING = 32
RULES = f"""
- {{alert: Drop, expr: "drop(temp[150s]) > {DROP}"}}
- {{alert: Stall, expr: "spread(temp[600s]) < {SPREAD}"}}
- {{alert: Range, expr: "temp > {HIGH} or temp < {LOW}", for: {IN_A_ROW} readings}}
- {{alert: Mean, expr: "avg(temp[600s]) > {MEAN}"}}
"""


class Fused:
    """State for `devices` devices; `process` returns how many alerts of each rule began and ended."""

    def __init__(self, devices: int) -> None:
        self.times = np.zeros((devices, RING), np.int64)
        self.values = np.zeros((devices, RING), np.float64)
        self.counts = np.zeros(devices, np.int64)
        self.in_a_row = np.zeros(devices, np.int32)
        self.firing = np.zeros((devices, 4), np.bool_)

    def process(self, devices: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
        """(4, 2): of each rule, alerts that began and alerts that ended."""
        return _process(devices, times, values, self.times, self.values, self.counts, self.in_a_row, self.firing)


@njit(cache=True, nogil=True)
def _process(devices, times, values, ring_times, ring_values, counts, in_a_row, firing):  # type: ignore[no-untyped-def]
    moves = np.zeros((4, 2), np.int64)
    for i in range(len(devices)):
        device, t, v = devices[i], times[i], values[i]
        count = counts[device]
        ring_times[device, count % RING] = t
        ring_values[device, count % RING] = v
        count += 1
        counts[device] = count
        recent, most, least, total, n = v, v, v, 0.0, 0
        oldest, before = t, np.int64(-1)
        for back in range(min(count, RING)):
            place = (count - 1 - back) % RING
            when = ring_times[device, place]
            if when < t - LONG_WINDOW:
                before = when
                break
            value = ring_values[device, place]
            if when >= t - DROP_WINDOW:
                recent = max(recent, value)
            most, least = max(most, value), min(least, value)
            total += value
            n += 1
            oldest = when
        start = t - LONG_WINDOW if before >= 0 and oldest - before <= STALENESS else oldest
        known = (t - start) / LONG_WINDOW >= COVERAGE
        in_a_row[device] = in_a_row[device] + 1 if v > HIGH or v < LOW else 0
        _set(firing, device, 0, recent - v > DROP, moves)
        _set(firing, device, 2, in_a_row[device] >= IN_A_ROW, moves)
        if known:
            _set(firing, device, 1, most - least < SPREAD, moves)
            _set(firing, device, 3, total / n > MEAN, moves)
    return moves


@njit(cache=True, nogil=True)
def _set(firing, device, rule, now, moves):  # type: ignore[no-untyped-def]
    if firing[device, rule] != now:
        moves[rule, 0 if now else 1] += 1
        firing[device, rule] = now
