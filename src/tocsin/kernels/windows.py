"""One pass over readings in time order: keep each, and sum up the windows that end at it.

For a window of up to `FEW` readings a plain scan is fastest.  A longer one is put together from two
parts that meet at an edge in event time, a whole multiple of the window's length: what lies before
the edge was summed up backwards from it once, when it was crossed; what lies after is summed up as
it comes (van Herk 1992, Gil and Werman 1993, for minimum and maximum; the same works for whatever
can be combined).  So the cost of a reading does not grow with the window, nothing is ever
subtracted, and a value depends on the window's readings alone: not on when the process started,
nor on how readings were batched.

             edge - w        start = t - w        edge               t
    ────────────┼──────────────────┼────────────────┼────────────────┼──▶
                                   └──── suffix ────┘└─── prefix ────┘

Centred moments of the two parts are combined as in Chan, Golub and LeVeque (1983).  Each part's values are
taken from an anchor of its own, its reading nearest the edge, so that no digits go to a large mean.
"""

import numpy as np

from tocsin.instant import LONG_AGO, SECOND
from tocsin.kernels import allocating, compiled, inlined
from tocsin.kernels.arena import AT, BEFORE, LIVE, MOVES, NEWEST, ROOM, SHIFT, SIZE, lower_bound, make_room

FEW = 64
"""Up to so many readings a window is scanned."""

COUNT, SUM, MIN, MAX, FIRST, LAST, RESETS, MOMENT2, COVARIANCE, TIME_MOMENT2, SPAN, COVERAGE, DEVIATION = range(13)
SUMMARIES = 13
"""The columns that may be asked of one window; a place below 0 in `columns` means: not wanted."""

# What is asked of a window is a bit for each summary; these belong together.
NEED_SUM, NEED_MIN, NEED_MAX, NEED_COUNT, NEED_FIRST, NEED_LAST = (
    1 << SUM, 1 << MIN, 1 << MAX, 1 << COUNT, 1 << FIRST, 1 << LAST,
)  # fmt: skip
NEED_RESETS, NEED_MOMENTS, NEED_SPAN, NEED_COVERAGE = 1 << RESETS, 1 << MOMENT2, 1 << SPAN, 1 << COVERAGE
NEED_LINE, NEED_DEVIATION = 1 << COVARIANCE | 1 << TIME_MOMENT2, 1 << DEVIATION
NEED_CENTRED = NEED_MOMENTS | NEED_LINE | NEED_DEVIATION
NEED_EXTREMES = NEED_MIN | NEED_MAX
NEED_ENDS = NEED_COUNT | NEED_FIRST | NEED_LAST
NEED_MORE = NEED_RESETS | NEED_CENTRED | NEED_SPAN

DONE, ARENA_FULL, LONG_ROWS_FULL = 0, 1, 2
"""Why the pass stopped: the caller makes room and goes on from where it stopped."""

# A long window's running part: whole numbers, then floats.
EDGE, HINT, NEXT, PREFIX_PREVIOUS, MOVED = 0, 1, 2, 3, 4
LONG_INTEGERS = 5
P_SUM, P_LOST, P_MIN, P_MAX, P_RESETS, P_COUNT, P_ANCHOR, P_MEAN, P_M2, P_TIME, P_COV, P_TM2 = range(12)
LONG_FLOATS = 12
# The same of its finished part, one column each beside the arena.
S_SUM, S_MIN, S_MAX, S_RESETS, S_MEAN, S_M2, S_TIME, S_COV, S_TM2 = range(9)
SUFFIXES = 9


@compiled
def observe(  # type: ignore[no-untyped-def]
    first,
    slots,
    times,
    values,
    members,
    keep,
    look,
    cutoff,
    meta,
    heads,
    top,
    time,
    value,
    previous,
    newest_of,
    lengths,
    needs,
    guesses,
    columns,
    newest_column,
    silence_column,
    staleness,
    born,
    silent_since,
    suffixes,
    suffix_previous,
    suffix_places,
    long_row,
    long_integers,
    long_floats,
    long_top,
    out,
):
    """Goes over events from `first` on and returns (the event it stopped at, why).

    ARENA_FULL: nothing of that event is done yet.  LONG_ROWS_FULL: it is kept, but not looked at.

    An event is a key's slot and a time, in time order; with `keep` its value is added to the key's
    readings, with `look` the windows that end at it are summed up into `out` (columns × events).
    """
    shared = len(previous) > 0
    for e in range(first, len(slots)):
        slot, t = slots[e], times[e]
        if keep:
            if meta[slot, SIZE] == meta[slot, ROOM] and not make_room(
                meta, slot, cutoff, heads, top, time, value, previous
            ):
                return e, ARENA_FULL
            place = meta[slot, AT] + meta[slot, SIZE]
            time[place] = t
            value[place] = values[e]
            if shared:
                before = newest_of[members[e]]
                previous[place] = before if before != LONG_AGO and t - before <= staleness else t
                newest_of[members[e]] = t
            meta[slot, SIZE] += 1
            meta[slot, NEWEST] = t
        if not look:
            continue
        at, live, end = meta[slot, AT], meta[slot, LIVE], meta[slot, SIZE]
        if not keep and end > live and time[at + end - 1] > t:
            end = lower_bound(time, at + live, at + end, t + 1) - at
        born_at = born[e] if len(born) else LONG_AGO
        if newest_column >= 0:
            known = end > live and time[at + end - 1] > born_at and t - time[at + end - 1] <= staleness
            out[newest_column, e] = value[at + end - 1] if known else np.nan
        if silence_column >= 0:
            heard = time[at + end - 1] if end > live else meta[slot, BEFORE if meta[slot, ROOM] > 0 else NEWEST]
            if heard <= born_at:
                heard = LONG_AGO
            if heard == LONG_AGO and len(silent_since):
                heard = silent_since[slot]
            out[silence_column, e] = (t - heard) / SECOND if heard != LONG_AGO else np.nan
        start = end
        for j in range(len(lengths)):
            # Places are unsigned in the inner loops: a sign would be looked at again at each step.
            # Neighbouring events have windows of about the same size, so the last one's is tried first.
            s = t - lengths[j]
            start = min(start, max(live, end - guesses[j]))
            while start > live and time[np.uintp(at + start - 1)] >= s and end - start <= FEW:
                start -= 1
            while start < end and time[np.uintp(at + start)] < s:
                start += 1
            guesses[j] = end - start
            if end - start > FEW:
                if long_row[slot] < 0:
                    if long_top[0] == len(long_integers):
                        return e, LONG_ROWS_FULL
                    long_row[slot] = long_top[0]
                    long_top[0] += 1
                    for k in range(len(lengths)):
                        long_integers[long_row[slot], k, EDGE] = LONG_AGO
                row = long_row[slot]
                start = _look_far(
                    t, lengths[j], needs[j], columns, j, meta, slot, end, time, value, previous, shared, staleness,
                    born_at, suffixes, suffix_previous, suffix_places[j], long_integers[row, j], long_floats[row, j], out, e,
                )  # fmt: skip
            elif end == start:
                for summary in range(SUMMARIES):
                    if columns[j, summary] >= 0:
                        out[columns[j, summary], e] = np.nan
            else:
                need = needs[j]
                low, high = at + start, at + end
                if need & NEED_SUM:
                    total, least, most = 0.0, value[low], value[low]
                    for i in range(np.uintp(low), np.uintp(high)):
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
                    for i in range(np.uintp(low), np.uintp(high)):
                        v = value[i]
                        least = v if v < least else least  # noqa: FURB136
                        most = v if v > most else most  # noqa: FURB136
                    if need & NEED_MIN:
                        out[columns[j, MIN], e] = least
                    if need & NEED_MAX:
                        out[columns[j, MAX], e] = most
                if need & NEED_ENDS:
                    _ends(need, columns, j, value, low, high, out, e)
                if need & NEED_COVERAGE:
                    covered = False
                    if shared:
                        for i in range(low, high):
                            if born_at < previous[i] < s:
                                covered = True
                                break
                    elif start > live:
                        covered = time[low - 1] > born_at and time[low] - time[low - 1] <= staleness
                    out[columns[j, COVERAGE], e] = (t - (s if covered else time[low])) / lengths[j]
                if need & NEED_MORE:
                    _look_closer(j, columns, low, high, time, value, out, e)
    return len(slots), DONE


@compiled
def _look_closer(j, columns, low, high, time, value, out, e):  # type: ignore[no-untyped-def]
    """What few rules ask of a short window: moments, line, resets and span."""
    count = high - low
    newest, behind, when = value[high - 1], 0.0, 0.0
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
        if i > low and value[i] < value[i - 1]:
            resets += value[i - 1]
    if columns[j, MOMENT2] >= 0:
        out[columns[j, MOMENT2], e] = moment
    if columns[j, COVARIANCE] >= 0:
        out[columns[j, COVARIANCE], e] = covariance
    if columns[j, TIME_MOMENT2] >= 0:
        out[columns[j, TIME_MOMENT2], e] = time_moment
    if columns[j, DEVIATION] >= 0:
        out[columns[j, DEVIATION], e] = behind
    if columns[j, RESETS] >= 0:
        out[columns[j, RESETS], e] = resets
    if columns[j, SPAN] >= 0:
        out[columns[j, SPAN], e] = (time[high - 1] - time[low]) / SECOND


@inlined
def _ends(need, columns, j, value, low, high, out, e):  # type: ignore[no-untyped-def]
    """What is read off a window's ends."""
    if need & NEED_COUNT:
        out[columns[j, COUNT], e] = high - low
    if need & NEED_FIRST:
        out[columns[j, FIRST], e] = value[low]
    if need & NEED_LAST:
        out[columns[j, LAST], e] = value[high - 1]


@compiled
def _look_far(  # type: ignore[no-untyped-def]
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
        if columns[j, MOMENT2] >= 0:
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
            if columns[j, COVARIANCE] >= 0:
                out[columns[j, COVARIANCE], e] = cov
            if columns[j, TIME_MOMENT2] >= 0:
                out[columns[j, TIME_MOMENT2], e] = tm2
    _ends(need, columns, j, value, low, high, out, e)
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


@allocating
def quantile(slots, times, meta, time, value, length, q, out):  # type: ignore[no-untyped-def]
    """The q-quantile of each event's window, interpolated linearly (Hyndman and Fan 1996, type 7)."""
    for e in range(len(slots)):
        slot, t = slots[e], times[e]
        low, high = meta[slot, AT] + meta[slot, LIVE], meta[slot, AT] + meta[slot, SIZE]
        high = lower_bound(time, low, high, t + 1)
        low = lower_bound(time, low, high, t - length)
        if low == high:
            out[e] = np.nan
            continue
        rank = q * (high - low - 1)
        below = int(np.floor(rank))
        parted = np.partition(value[low:high], below)
        above = np.min(parted[below + 1 :]) if below + 1 < high - low else parted[below]
        out[e] = parted[below] + (above - parted[below]) * (rank - below)
