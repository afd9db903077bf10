"""Order statistics of windows: the one kind of summary that needs the window's readings themselves."""

import numpy as np

from tocsin.kernels import compiled
from tocsin.kernels.arena import AT, LIVE, SIZE, lower_bound


@compiled
def quantile(slots, times, meta, time, value, length, q, scratch, out):  # type: ignore[no-untyped-def]
    """The q-quantile of each event's window, interpolated linearly (Hyndman and Fan 1996, type 7).

    `scratch` has room for the readings of any one key.
    """
    for e in range(len(slots)):
        slot, t = slots[e], times[e]
        low, high = meta[slot, AT] + meta[slot, LIVE], meta[slot, AT] + meta[slot, SIZE]
        high = lower_bound(time, low, high, t + 1)
        low = lower_bound(time, low, high, t - length)
        count = high - low
        if count == 0:
            out[e] = np.nan
            continue
        for i in range(count):
            scratch[i] = value[low + i]
        rank = q * (count - 1)
        below = np.int64(np.floor(rank))
        _select(scratch, count, below)
        least = scratch[below]
        above = least
        if below + 1 < count:
            above = scratch[below + 1]
            for i in range(below + 2, count):
                above = min(above, scratch[i])
        out[e] = least + (above - least) * (rank - below)


@compiled
def _select(values, count, k):  # type: ignore[no-untyped-def]
    """Moves values so that the k-th smallest stands at k, none greater before it (Hoare 1961, Find)."""
    low, high = 0, count - 1
    while low < high:
        # The median of three as pivot: readings in order, or all but, are the usual case.
        first, middle, last = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(first, middle), min(max(first, middle), last))
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return
