"""When rules are evaluated: once a key and event time, and when a silence has lasted long enough."""

import numpy as np

from tocsin.instant import LONG_AGO
from tocsin.kernels import allocating, compiled


@compiled
def in_order(codes, times, identity):  # type: ignore[no-untyped-def]
    """Whether times never step back, and identities climb within one time: then nothing repeats.

    `identity` is that of each series; `codes` are the readings' series.
    """
    if len(times) == 0:
        return True
    before, of = times[0], identity[np.uintp(codes[0])]
    for i in range(np.uintp(1), np.uintp(len(times))):
        t, one = times[i], identity[np.uintp(codes[i])]
        if t < before or (t == before and one <= of):
            return False
        before, of = t, one
    return True


@compiled
def find_repeats(identities, times, values, seen_time, seen_value, repeat, conflict, flags):  # type: ignore[no-untyped-def]
    """Flags what stands a second time among readings in time order; the first in the log stays.

    `seen_time` and `seen_value` hold, for each identity, the newest time met and its value.
    """
    for i in range(len(times)):
        identity = identities[i]
        if seen_time[identity] == times[i]:
            flags[i] = repeat if seen_value[identity] == values[i] else conflict
        else:
            seen_time[identity] = times[i]
            seen_value[identity] = values[i]


@allocating
def last_of_each(slots, times, mark):  # type: ignore[no-untyped-def]
    """Of events in time order: which is the last of its key and time."""
    last = np.zeros(len(slots), np.bool_)
    for e in range(len(slots) - 1, -1, -1):
        if mark[slots[e]] != times[e]:
            mark[slots[e]] = times[e]
            last[e] = True
    return last


@allocating
def gaps_ended(slots, times, heard, silent_since, length, decided):  # type: ignore[no-untyped-def]
    """Silences that fell due before the reading that ended them: their (slots, times).

    `heard` is when each key was heard last, and is brought up to date; what fell due before
    `decided` was decided by an earlier call.
    """
    found_slots = np.empty(len(slots), np.int32)
    found_times = np.empty(len(slots), np.int64)
    found = 0
    for e in range(len(slots)):
        slot = slots[e]
        before = heard[slot]
        if before == LONG_AGO and len(silent_since):
            before = silent_since[slot]
        if before != LONG_AGO and decided <= before + length < times[e]:
            found_slots[found] = slot
            found_times[found] = before + length
            found += 1
        heard[slot] = times[e]
    return found_slots[:found], found_times[:found]


@compiled
def forget(slots, times, is_reading, newest, forgotten, expected_since, forget_after, heard, born):  # type: ignore[no-untyped-def]
    """At each event: when its key was heard last, and up to when it had been forgotten before.

    Readings up to then no longer exist for the key.
    """
    for e in range(len(slots)):
        slot = slots[e]
        if newest[slot] != LONG_AGO and expected_since[slot] > newest[slot] and newest[slot] + forget_after < times[e]:
            forgotten[slot] = newest[slot] + forget_after
        if is_reading[e]:
            newest[slot] = times[e]
        heard[e] = newest[slot]
        born[e] = forgotten[slot]


@compiled
def follow_limits(slots, times, label_sets, born, numbers, given, default, limits, since, out):  # type: ignore[no-untyped-def]
    """At each event the limit of its key: that of the newest reading whose labels give one, else the default.

    `label_sets` is the place of each event's labels in `numbers` and `given`, below 0 without a reading;
    `since` is when each key was given its limit, which is forgotten with the key.
    """
    for e in range(len(slots)):
        if label_sets[e] >= 0 and given[label_sets[e]]:
            limits[slots[e]], since[slots[e]] = numbers[label_sets[e]], times[e]
        out[e] = limits[slots[e]] if since[slots[e]] > born[e] else default
