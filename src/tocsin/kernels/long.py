"""Long windows, put together from two parts, so that the cost of a reading does not grow with the window.

The parts meet at an edge in event time, a whole multiple of the window's length: what lies before
the edge was summed up backwards from it once, when it was crossed; what lies after is summed up as
it comes (van Herk 1992, Gil and Werman 1993, for minimum and maximum; the same works for whatever
can be combined).  Nothing is ever subtracted, and a value depends on the window's readings alone: not
on when the process started, nor on how readings were batched.

             edge - w        start = t - w        edge               t
    ────────────┼──────────────────┼────────────────┼────────────────┼──▶
                                   └──── suffix ────┘└─── prefix ────┘

Centred moments of the two parts are combined as in Chan, Golub and LeVeque (1983).  Each part's values are
taken from an anchor of its own, its reading nearest the edge, so that no digits go to a large mean.
"""

import numpy as np

from tocsin.instant import SECOND
from tocsin.kernels import compiled
from tocsin.kernels.arena import AT, LIVE, MOVES, SHIFT, lower_bound
from tocsin.kernels.short import ends
from tocsin.kernels.summaries import (
    COVARIANCE,
    COVERAGE,
    DEVIATION,
    MAX,
    MIN,
    MOMENT2,
    NEED_CENTRED,
    NEED_COVERAGE,
    NEED_DEVIATION,
    NEED_EXTREMES,
    NEED_LINE,
    NEED_MAX,
    NEED_MIN,
    NEED_RESETS,
    NEED_SPAN,
    NEED_SUM,
    RESETS,
    SPAN,
    SUM,
    TIME_MOMENT2,
)  # fmt: skip

# A long window's running part: whole numbers, then floats.
EDGE, HINT, NEXT, PREFIX_PREVIOUS, MOVED = 0, 1, 2, 3, 4
LONG_INTEGERS = 5
P_SUM, P_LOST, P_MIN, P_MAX, P_RESETS, P_COUNT, P_ANCHOR, P_MEAN, P_M2, P_TIME, P_COV, P_TM2 = range(12)
LONG_FLOATS = 12
# The same of its finished part, one column each beside the arena.
S_SUM, S_MIN, S_MAX, S_RESETS, S_MEAN, S_M2, S_TIME, S_COV, S_TM2 = range(9)
SUFFIXES = 9


@compiled
def look_far(  # type: ignore[no-untyped-def]
    t, length, need, columns, j, meta, slot, end, time, value, previous, shared, staleness,
    born_at, suffixes, suffix_previous, suffix_place, integers, floats, out, e,
):  # fmt: skip
    """Sums up a long window from its two parts; returns the index at which it starts."""
    at, live, shift = meta[slot, AT], meta[slot, LIVE], meta[slot, SHIFT]
    s = t - length
    edge = t // length * length
    known = integers[EDGE] == edge
    start = integers[HINT] - shift
    if known and start >= live and start <= end and (start == live or time[at + start - 1] < s):
        while time[at + start] < s:
            start += 1
    else:
        start = lower_bound(time, at + live, at + end, s) - at
        known = False
    integers[HINT] = start + shift
    if not known or integers[MOVED] != meta[slot, MOVES]:
        joint = lower_bound(time, at + start, at + end, edge) - at
        _sum_backwards(
            need, time, value, previous, shared, at + start, at + joint, edge, suffixes, suffix_previous, suffix_place
        )  # fmt: skip
        integers[MOVED] = meta[slot, MOVES]
        if not known:
            integers[EDGE], integers[NEXT] = edge, joint + shift
            _begin_prefix(integers, floats)
    if integers[NEXT] < end + shift:
        _sum_onwards(need, time, value, previous, shared, at + integers[NEXT] - shift, at + end, edge, integers, floats)
        integers[NEXT] = end + shift
    _combine(
        t, length, need, columns, j, live, at, start, end, time, value, shared, staleness, born_at,
        suffixes, suffix_previous, suffix_place, integers, floats, out, e,
    )  # fmt: skip
    return start


@compiled
def _begin_prefix(integers, floats):  # type: ignore[no-untyped-def]
    floats[:] = 0.0
    floats[P_MIN], floats[P_MAX] = np.inf, -np.inf
    integers[PREFIX_PREVIOUS] = 2**63 - 1


@compiled
def _sum_backwards(need, time, value, previous, shared, low, high, edge, suffixes, suffix_previous, place):  # type: ignore[no-untyped-def]
    """Of each reading before the edge: everything from it to the edge."""
    total, lost, least, most, resets = 0.0, 0.0, np.inf, -np.inf, 0.0
    count, mean, m2, when, cov, tm2 = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    earliest = 2**63 - 1
    anchor = value[high - 1] if high > low else 0.0
    for i in range(high - 1, low - 1, -1):
        v = value[i]
        if need & NEED_SUM:
            grown = total + v
            lost += (total - grown) + v if abs(total) >= abs(v) else (v - grown) + total
            total = grown
            suffixes[place[S_SUM], i] = total + lost
        if need & NEED_EXTREMES:
            least, most = min(least, v), max(most, v)
            suffixes[place[S_MIN], i] = least
            suffixes[place[S_MAX], i] = most
        if need & NEED_RESETS:
            if i + 1 < high and value[i + 1] < v:
                resets += v
            suffixes[place[S_RESETS], i] = resets
        if need & NEED_CENTRED:
            count += 1
            off = v - anchor - mean
            mean += off / count
            m2 += off * (v - anchor - mean)
            suffixes[place[S_MEAN], i] = mean
            suffixes[place[S_M2], i] = m2
            if need & NEED_LINE:
                clock = (time[i] - edge) / SECOND
                away = clock - when
                when += away / count
                cov += away * (v - anchor - mean)
                tm2 += away * (clock - when)
                suffixes[place[S_TIME], i] = when
                suffixes[place[S_COV], i] = cov
                suffixes[place[S_TM2], i] = tm2
        if shared and need & NEED_COVERAGE:
            earliest = min(earliest, previous[i])
            suffix_previous[place[SUFFIXES], i] = earliest


@compiled
def _sum_onwards(need, time, value, previous, shared, low, high, edge, integers, floats):  # type: ignore[no-untyped-def]
    """Adds the readings from the edge on to the running part."""
    for i in range(low, high):
        v = value[i]
        if need & NEED_SUM:
            total = floats[P_SUM]
            grown = total + v
            floats[P_LOST] += (total - grown) + v if abs(total) >= abs(v) else (v - grown) + total
            floats[P_SUM] = grown
        if need & NEED_EXTREMES:
            floats[P_MIN] = min(floats[P_MIN], v)
            floats[P_MAX] = max(floats[P_MAX], v)
        if need & NEED_RESETS and floats[P_COUNT] > 0 and v < value[i - 1]:
            floats[P_RESETS] += value[i - 1]
        if floats[P_COUNT] == 0.0:
            floats[P_ANCHOR] = v
        floats[P_COUNT] += 1.0
        if need & NEED_CENTRED:
            v -= floats[P_ANCHOR]
            off = v - floats[P_MEAN]
            floats[P_MEAN] += off / floats[P_COUNT]
            floats[P_M2] += off * (v - floats[P_MEAN])
            if need & NEED_LINE:
                clock = (time[i] - edge) / SECOND
                away = clock - floats[P_TIME]
                floats[P_TIME] += away / floats[P_COUNT]
                floats[P_COV] += away * (v - floats[P_MEAN])
                floats[P_TM2] += away * (clock - floats[P_TIME])
        if shared and need & NEED_COVERAGE:
            integers[PREFIX_PREVIOUS] = min(integers[PREFIX_PREVIOUS], previous[i])


@compiled
def _combine(  # type: ignore[no-untyped-def]
    t, length, need, columns, j, live, at, start, end, time, value, shared, staleness, born_at,
    suffixes, suffix_previous, place, integers, floats, out, e,
):  # fmt: skip
    """Puts the finished and the running part of a long window together."""
    low, high = at + start, at + end
    after = int(floats[P_COUNT])
    before = high - low - after
    joint = high - after
    if need & NEED_SUM:
        tail = floats[P_SUM] + floats[P_LOST]
        out[columns[j, SUM], e] = suffixes[place[S_SUM], low] + tail if before else tail
    if need & NEED_EXTREMES:
        if need & NEED_MIN:
            out[columns[j, MIN], e] = min(floats[P_MIN], suffixes[place[S_MIN], low]) if before else floats[P_MIN]
        if need & NEED_MAX:
            out[columns[j, MAX], e] = max(floats[P_MAX], suffixes[place[S_MAX], low]) if before else floats[P_MAX]
    if need & NEED_RESETS:
        resets = floats[P_RESETS]
        if before:
            resets += suffixes[place[S_RESETS], low]
            if after and value[joint] < value[joint - 1]:
                resets += value[joint - 1]
        out[columns[j, RESETS], e] = resets
    if need & NEED_CENTRED:
        share = before * (after / (before + after))
        apart = 0.0
        if before:
            apart = (floats[P_ANCHOR] - value[joint - 1]) + (floats[P_MEAN] - suffixes[place[S_MEAN], low])
        if need & NEED_DEVIATION:
            newest, behind = value[high - 1], 0.0
            if after:
                behind = ((newest - floats[P_ANCHOR]) - floats[P_MEAN]) * (after / (before + after))
            if before:
                lag = (newest - value[joint - 1]) - suffixes[place[S_MEAN], low]
                behind += lag * (before / (before + after))
            out[columns[j, DEVIATION], e] = behind
        if need >> MOMENT2 & 1:
            m2 = floats[P_M2]
            if before:
                m2 += suffixes[place[S_M2], low] + (apart * apart * share if after else 0.0)
            out[columns[j, MOMENT2], e] = m2
        if need & NEED_LINE:
            cov, tm2 = floats[P_COV], floats[P_TM2]
            if before:
                cov += suffixes[place[S_COV], low]
                tm2 += suffixes[place[S_TM2], low]
                if after:
                    lag = floats[P_TIME] - suffixes[place[S_TIME], low]
                    cov += apart * lag * share
                    tm2 += lag * lag * share
            if need >> COVARIANCE & 1:
                out[columns[j, COVARIANCE], e] = cov
            if need >> TIME_MOMENT2 & 1:
                out[columns[j, TIME_MOMENT2], e] = tm2
    ends(need, columns, j, value, np.uintp(low), np.uintp(high), out, e)
    if need & NEED_SPAN:
        out[columns[j, SPAN], e] = (time[high - 1] - time[low]) / SECOND
    if need & NEED_COVERAGE:
        s = t - length
        covered = False
        if shared:
            earliest = integers[PREFIX_PREVIOUS]
            if before:
                earliest = min(earliest, suffix_previous[place[SUFFIXES], low])
            covered = born_at < earliest < s
        elif start > live:
            covered = time[low - 1] > born_at and time[low] - time[low - 1] <= staleness
        out[columns[j, COVERAGE], e] = (t - (s if covered else time[low])) / length
