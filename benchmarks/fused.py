"""The yardstick: the four benchmark rules written by hand as one compiled loop.

No rule language, no lateness, no repeats, no other life but firing and resolved: what a good
programmer would write for these four rules and nothing else.  It keeps a ring of each device's recent
readings, scans it backwards once a reading, and writes down every alert that ended: rule, device, since,
fired, until, value, peak and last.  These must be the engine's.
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
NAMES = ("Drop", "Stall", "Range", "Mean")

Alerts = tuple[np.ndarray, np.ndarray]
"""(rule, device, since, fired, until) and (value, peak, last) of alerts that ended, a row each."""


class Fused:
    """What is known of `devices` devices."""

    def __init__(self, devices: int) -> None:
        self.times = np.zeros((devices, RING), np.int64)
        self.values = np.zeros((devices, RING), np.float64)
        self.counts = np.zeros(devices, np.int64)
        self.in_a_row = np.zeros(devices, np.int32)
        self.firing = np.zeros((devices, 4), np.bool_)
        self.since = np.zeros((devices, 4, 2), np.int64)
        self.numbers = np.zeros((devices, 4, 3), np.float64)

    def process(self, devices: np.ndarray, times: np.ndarray, values: np.ndarray) -> Alerts:
        """The alerts that ended."""
        ended, numbers = np.empty((4 * len(times), 5), np.int64), np.empty((4 * len(times), 3), np.float64)
        count = _process(
            devices, times, values, self.times, self.values, self.counts, self.in_a_row, self.firing, self.since,
            self.numbers, ended, numbers,
        )  # fmt: skip
        return ended[:count].copy(), numbers[:count].copy()


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def _process(  # type: ignore[no-untyped-def]
    devices, times, values, ring_times, ring_values, counts, in_a_row, firing, since, numbers, ended, ended_numbers
):
    done = 0
    for i in range(len(devices)):
        device, t, v = devices[i], times[i], values[i]
        count = counts[device]
        ring_times[device, count & (RING - 1)] = t
        ring_values[device, count & (RING - 1)] = v
        count += 1
        counts[device] = count
        recent, most, least, total, n = v, v, v, 0.0, 0
        oldest, before = t, np.int64(-1)
        for back in range(min(count, RING)):
            place = (count - 1 - back) & (RING - 1)
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
        outside = v > HIGH or v < LOW
        in_a_row[device] = in_a_row[device] + 1 if outside else 0
        if in_a_row[device] == 1:
            since[device, 2, 0], numbers[device, 2, 1] = t, v
        elif outside and not firing[device, 2]:
            numbers[device, 2, 1] = max(numbers[device, 2, 1], v)
        known = (t - start) / LONG_WINDOW >= COVERAGE
        drop, spread, mean = recent - v, most - least, total / n
        done = _set(device, 0, drop > DROP, t, drop, firing, since, numbers, ended, ended_numbers, done)
        done = _set(device, 2, in_a_row[device] >= IN_A_ROW, t, v, firing, since, numbers, ended, ended_numbers, done)
        if known:
            done = _set(device, 1, spread < SPREAD, t, spread, firing, since, numbers, ended, ended_numbers, done)
            done = _set(device, 3, mean > MEAN, t, mean, firing, since, numbers, ended, ended_numbers, done)
    return done


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False, forceinline=True)
def _set(device, rule, now, t, value, firing, since, numbers, ended, ended_numbers, done):  # type: ignore[no-untyped-def]
    if now:
        if not firing[device, rule]:
            firing[device, rule] = True
            if rule != 2:
                since[device, rule, 0], numbers[device, rule, 1] = t, value
            since[device, rule, 1], numbers[device, rule, 0] = t, value
        if (value < numbers[device, rule, 1]) if rule == 1 else (value > numbers[device, rule, 1]):
            numbers[device, rule, 1] = value
    elif firing[device, rule]:
        firing[device, rule] = False
        if (value < numbers[device, rule, 1]) if rule == 1 else (value > numbers[device, rule, 1]):
            numbers[device, rule, 1] = value
        ended[done, 0], ended[done, 1], ended[done, 4] = rule, device, t
        ended[done, 2], ended[done, 3] = since[device, rule, 0], since[device, rule, 1]
        ended_numbers[done, 0], ended_numbers[done, 1], ended_numbers[done, 2] = (
            numbers[device, rule, 0], numbers[device, rule, 1], value,
        )  # fmt: skip
        done += 1
    return done
