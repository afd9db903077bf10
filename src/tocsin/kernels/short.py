"""Short windows, of up to `FEW` readings: a plain scan of the readings is fastest.

Most rules look at one metric of one device through windows of a few readings, so `observe` is the
loop that nearly every reading goes through: it touches its key's readings once, and holds little in hand.

Places in arrays are unsigned in the inner loops: a sign would be looked at again at each step.
"""

import numpy as np

from tocsin.instant import SECOND
from tocsin.kernels import compiled, inlined
from tocsin.kernels.arena import AT, LIVE, NEWEST, ROOM, SIZE, make_room
from tocsin.kernels.summaries import (
    COUNT,
    COVARIANCE,
    COVERAGE,
    DEVIATION,
    FIRST,
    LAST,
    MAX,
    MIN,
    MOMENT2,
    NEED_COUNT,
    NEED_COVERAGE,
    NEED_DEVIATION,
    NEED_EXTREMES,
    NEED_FIRST,
    NEED_LAST,
    NEED_MAX,
    NEED_MIN,
    NEED_MORE,
    NEED_RESETS,
    NEED_SPAN,
    NEED_SUM,
    RESETS,
    SPAN,
    SUM,
    TIME_MOMENT2,
)  # fmt: skip

FEW = 64
"""Up to so many readings a window is scanned."""

DONE, ARENA_FULL, LONG_ROWS_FULL, LONG_WINDOW = 0, 1, 2, 3
"""Why a pass over readings stopped: the caller makes room and goes on from where it stopped."""

_ONE, _FEW = np.uintp(1), np.uintp(FEW)


@compiled
def observe(  # type: ignore[no-untyped-def]
    first, slots, times, values, cutoff, meta, heads, top, time, value, previous, lengths, needs, guesses, columns,
    newest_column, staleness, out,
):  # fmt: skip
    """Keeps readings from `first` on, in time order, and sums up the windows that end at each.

    Returns (the reading it stopped at, why); nothing of that one is done yet.  ARENA_FULL: there is no
    room for it.  LONG_WINDOW: one of its windows holds more than a few readings.

    Each key holds one device's readings, and every reading is an event: a summary goes to its column of
    `out` (columns × readings).  `previous` is only handed on, and is empty here.
    """
    for e in range(np.uintp(first), np.uintp(len(slots))):
        slot, t, v = np.uintp(slots[e]), times[e], values[e]
        if meta[slot, SIZE] == meta[slot, ROOM] and not make_room(
            meta, np.int64(slot), cutoff, heads, top, time, value, previous
        ):
            return np.int64(e), ARENA_FULL
        at, size = meta[slot, AT], meta[slot, SIZE]
        oldest, newest = np.uintp(at + meta[slot, LIVE]), np.uintp(at + size)
        time[newest], value[newest] = t, v
        end = newest + _ONE
        low = end
        for j in range(np.uintp(len(lengths))):
            # Neighbouring readings have windows of about the same size, so the last one's is tried first.
            s = t - lengths[j]
            low = min(low, end - min(end - oldest, guesses[j]))
            while low > oldest and time[low - _ONE] >= s:
                low -= _ONE
            while time[low] < s:
                low += _ONE
            if end - low > _FEW:
                return np.int64(e), LONG_WINDOW
            guesses[j] = end - low
            need = needs[j]
            sum_up(need, columns, j, time, value, low, end, out, e)
            if need & NEED_COVERAGE:
                begun = time[low]
                if low > oldest and begun - time[low - _ONE] <= staleness:
                    begun = s
                out[columns[j, COVERAGE], e] = (t - begun) / lengths[j]
        if newest_column >= 0:
            out[np.uintp(newest_column), e] = v
        meta[slot, SIZE] = size + 1
        meta[slot, NEWEST] = t
    return len(slots), DONE


@inlined
def sum_up(need, columns, j, time, value, low, high, out, e):  # type: ignore[no-untyped-def]
    """The summaries of the readings in [low, high), of which there is one at least; all but coverage."""
    if need & NEED_SUM:
        total, least, most = 0.0, value[low], value[low]
        for i in range(low, high):
            v = value[i]
            total += v
            least = v if v < least else least  # noqa: FURB136 (one instruction; min is four)
            most = v if v > most else most  # noqa: FURB136
        out[columns[j, SUM], e] = total
        if need & NEED_MIN:
            out[columns[j, MIN], e] = least
        if need & NEED_MAX:
            out[columns[j, MAX], e] = most
    elif need & NEED_EXTREMES:
        least, most = value[low], value[low]
        for i in range(low, high):
            v = value[i]
            least = v if v < least else least  # noqa: FURB136
            most = v if v > most else most  # noqa: FURB136
        if need & NEED_MIN:
            out[columns[j, MIN], e] = least
        if need & NEED_MAX:
            out[columns[j, MAX], e] = most
    ends(need, columns, j, value, low, high, out, e)
    if need & NEED_MORE:
        _look_closer(need, columns, j, time, value, low, high, out, e)


@inlined
def ends(need, columns, j, value, low, high, out, e):  # type: ignore[no-untyped-def]
    """What is read off a window's ends."""
    if need & NEED_COUNT:
        out[columns[j, COUNT], e] = np.float64(np.int64(high - low))
    if need & NEED_FIRST:
        out[columns[j, FIRST], e] = value[low]
    if need & NEED_LAST:
        out[columns[j, LAST], e] = value[high - _ONE]


@compiled
def _look_closer(need, columns, j, time, value, low, high, out, e):  # type: ignore[no-untyped-def]
    """What few rules ask of a short window: moments, line, resets and span."""
    count = np.float64(np.int64(high - low))
    newest, behind, when = value[high - _ONE], 0.0, 0.0
    for i in range(low, high):
        behind += newest - value[i]
        when += (time[i] - time[low]) / SECOND
    behind /= count
    when /= count
    moment, covariance, time_moment, resets = 0.0, 0.0, 0.0, 0.0
    for i in range(low, high):
        off, away = behind - (newest - value[i]), (time[i] - time[low]) / SECOND - when
        moment += off * off
        covariance += off * away
        time_moment += away * away
        if i > low and value[i] < value[i - _ONE]:
            resets += value[i - _ONE]
    if need >> MOMENT2 & 1:
        out[columns[j, MOMENT2], e] = moment
    if need >> COVARIANCE & 1:
        out[columns[j, COVARIANCE], e] = covariance
    if need >> TIME_MOMENT2 & 1:
        out[columns[j, TIME_MOMENT2], e] = time_moment
    if need & NEED_DEVIATION:
        out[columns[j, DEVIATION], e] = behind
    if need & NEED_RESETS:
        out[columns[j, RESETS], e] = resets
    if need & NEED_SPAN:
        out[columns[j, SPAN], e] = (time[high - _ONE] - time[low]) / SECOND
