"""One pass over events of any kind in time order: keep readings, and sum up the windows that end at each.

`short.observe` does the same for the usual case, several times as fast.  Here a key may hold several
devices, an event may be a silence that falls due, what was forgotten is not seen, and windows are as long
as they like.
"""

import numpy as np

from tocsin.instant import LONG_AGO, SECOND
from tocsin.kernels import compiled
from tocsin.kernels.arena import AT, BEFORE, LIVE, NEWEST, ROOM, SIZE, lower_bound, make_room
from tocsin.kernels.long import EDGE, look_far
from tocsin.kernels.short import ARENA_FULL, DONE, FEW, LONG_ROWS_FULL, sum_up
from tocsin.kernels.summaries import COVERAGE, NEED_COVERAGE, SUMMARIES


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
            # Neighbouring events have windows of about the same size, so the last one's is tried first.
            s = t - lengths[j]
            start = min(start, max(live, end - np.int64(guesses[j])))
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
                start = look_far(
                    t, lengths[j], needs[j], columns, j, meta, slot, end, time, value, previous, shared, staleness,
                    born_at, suffixes, suffix_previous, suffix_places[j], long_integers[row, j], long_floats[row, j], out, e,
                )  # fmt: skip
            elif end == start:
                for summary in range(SUMMARIES):
                    if needs[j] >> summary & 1:
                        out[columns[j, summary], e] = np.nan
            else:
                low, high = at + start, at + end
                sum_up(needs[j], columns, j, time, value, np.uintp(low), np.uintp(high), out, e)
                if needs[j] & NEED_COVERAGE:
                    covered = False
                    if shared:
                        for i in range(low, high):
                            if born_at < previous[i] < s:
                                covered = True
                                break
                    elif start > live:
                        covered = time[low - 1] > born_at and time[low] - time[low - 1] <= staleness
                    out[columns[j, COVERAGE], e] = (t - (s if covered else time[low])) / lengths[j]
    return len(slots), DONE
