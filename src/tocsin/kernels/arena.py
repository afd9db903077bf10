"""Blocks of a shared array, one for each key, that grow and move as its readings come and go.

A key's readings lie side by side in one block: `arena[at + live : at + size]`, in time order.
Where a block stands is one row of `meta`, 64 bytes, so that a key is one cache line:

    AT      first place of its block in the arena         SIZE    index past the newest reading
    ROOM    how many readings fit (8, 16, 32, …)          SHIFT   ordinal of the reading at index 0
    LIVE    index of the oldest reading still wanted      NEWEST  time of the newest reading ever
    BEFORE  what NEWEST was when the block was begun         MOVES   how often its readings changed place

A block that is full first lets go of what no window can want any more, then closes up or moves to
one of another size.  Freed blocks are linked through their first time and used again.
"""

import numpy as np

from tocsin.instant import LONG_AGO
from tocsin.kernels import compiled

AT, ROOM, LIVE, SIZE, SHIFT, NEWEST, BEFORE, MOVES = 0, 1, 2, 3, 4, 5, 6, 7
META_WIDTH = 8
SMALLEST = 8
CLASSES = 48


def new_meta(slots: int) -> np.ndarray:
    """Rows for keys that have no reading yet."""
    meta = np.zeros((slots, META_WIDTH), np.int64)
    meta[:, NEWEST] = meta[:, BEFORE] = LONG_AGO
    return meta


@compiled
def block_class(room):  # type: ignore[no-untyped-def]
    """The size class of the smallest block that holds so many readings."""
    size, found = SMALLEST, 0
    while size < room:
        size *= 2
        found += 1
    return found


@compiled
def lower_bound(time, low, high, t):  # type: ignore[no-untyped-def]
    """The first place in [low, high) whose time is not before t, else high."""
    while low < high:
        middle = (low + high) // 2
        if time[middle] < t:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def let_go(meta, slot, time, cutoff):  # type: ignore[no-untyped-def]
    """Drops what lies before the cutoff, but for the newest of it: coverage asks for the one before."""
    at, live, size = meta[slot, AT], meta[slot, LIVE], meta[slot, SIZE]
    while live + 1 < size and time[at + live + 1] < cutoff:
        live += 1
    meta[slot, LIVE] = live


@compiled
def make_room(meta, slot, cutoff, heads, top, time, value, previous):  # type: ignore[no-untyped-def]
    """Space for one more reading in a full block; False, and nothing changed, if the arena is full."""
    let_go(meta, slot, time, cutoff)
    room, live, size, old = meta[slot, ROOM], meta[slot, LIVE], meta[slot, SIZE], meta[slot, AT]
    kept = size - live
    new_room = room
    if room == 0:
        new_room = SMALLEST
        meta[slot, BEFORE] = meta[slot, NEWEST]
    elif kept > room // 2:
        new_room = 2 * room
    elif kept <= room // 8 and room > SMALLEST:
        new_room = SMALLEST << block_class(2 * kept + 1)
    new = old
    if new_room != room:
        found = block_class(new_room)
        if heads[found] >= 0:
            new = heads[found]
            heads[found] = time[new]
        elif top[0] + new_room <= len(time):
            new = top[0]
            top[0] += new_room
        else:
            return False
    for i in range(kept):
        time[new + i] = time[old + live + i]
        value[new + i] = value[old + live + i]
    if len(previous):
        for i in range(kept):
            previous[new + i] = previous[old + live + i]
    if new != old and room > 0:
        found = block_class(room)
        time[old] = heads[found]
        heads[found] = old
    meta[slot, AT], meta[slot, ROOM], meta[slot, LIVE], meta[slot, SIZE] = new, new_room, 0, kept
    meta[slot, SHIFT] += live
    meta[slot, MOVES] += 1
    return True


@compiled
def release_silent(meta, heads, time, horizon):  # type: ignore[no-untyped-def]
    """Frees the blocks of keys whose newest reading lies before the horizon; NEWEST stays."""
    for slot in range(len(meta)):
        if meta[slot, ROOM] > 0 and meta[slot, NEWEST] < horizon:
            found = block_class(meta[slot, ROOM])
            time[meta[slot, AT]] = heads[found]
            heads[found] = meta[slot, AT]
            meta[slot, SHIFT] += meta[slot, SIZE]
            meta[slot, MOVES] += 1
            meta[slot, AT] = meta[slot, ROOM] = meta[slot, LIVE] = meta[slot, SIZE] = 0
