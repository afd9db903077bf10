"""Moves the alerts of one rule along the table in `alert.py`, a column of evaluations at a time.

A key without an open alert costs one look-up.  An open alert is a row, of whole numbers and of
floats, and is closed by giving the row back.  Each move writes one row of events.

Timers (the end of `keep_firing_for`, of `for` in a rule with `missing`, and of `forget_after`) run
before an evaluation if they were due before it, and after it if they are due at its very time.
"""

import numpy as np

from tocsin.instant import LONG_AGO, NEVER
from tocsin.kernels import compiled, inlined

INACTIVE, PENDING, FIRING, RECOVERING, RESOLVED = (np.int64(state) for state in range(5))
"""The values of `alert.State`; as typed numbers, so that what takes one is not compiled once for each."""
REMEMBERED, FORGOTTEN = np.int64(0), np.int64(1)

# An open alert's row: whole numbers, then floats.
SLOT, STATE, LEVEL, COUNT, SINCE, DEADLINE, FIRED, HEARD, POSITION, TOUCHED = range(10)
ROW_INTEGERS = 10
VALUE, PEAK, LAST = range(3)
ROW_FLOATS = 3

# A move: whole numbers, then floats. ROW is -1 where the move closed the alert.
(M_SLOT, M_TIME, M_SINCE, M_FROM, M_TO, M_LEVEL, M_FORGOTTEN, M_FIRED, M_ROW) = range(9)
MOVE_INTEGERS = 9
M_AT, M_VALUE, M_PEAK, M_LAST = range(4)
MOVE_FLOATS = 4
MOST_MOVES = 8
"""One evaluation makes at most so many moves, its timers included."""

HOLD, CLEAR, FIRE = range(3)
AT_ANY_RATE = 2.0
"""How clear it is when an unknown evaluation counts as clear: more than 1, the default of an M of N rule."""
AT_ONCE, DURATION, CONSECUTIVE, M_OF_N = range(4)
MAGNITUDE, MAXIMUM, MINIMUM = range(3)

# What a rule is, as whole numbers.
(R_FOR, R_NEEDED, R_OF, R_DURATION, R_KEEP, R_FORGET, R_ON_UNKNOWN, R_PEAK, R_TIMED, R_HAS_CLEAR, R_BELOW) = range(11)
RULE_INTEGERS = 11

EVALUATIONS, UNKNOWN = range(2)


@compiled
def advance(  # type: ignore[no-untyped-def]
    first,
    slots,
    times,
    heard,
    truths,
    clears,
    values,
    rule,
    limits,
    limit_clears,
    expected_since,
    row_of,
    rows,
    floats,
    ring_times,
    ring_values,
    free,
    touched,
    tally,
    moves,
    move_floats,
    made,
):
    """Goes over evaluations from `first` on; returns the one before which rows or moves ran out, else the end.

    `heard` is when the key's newest reading was; empty where every evaluation is one.  A key that had
    heard an expected device by its newest reading (`expected_since`) is never forgotten.
    `truths` is not looked at where there are `limits` (levels); `clears` and `values` may be empty.
    """
    plain = len(limits) == 0
    has_clear = rule[R_HAS_CLEAR] == 1
    skips = rule[R_ON_UNKNOWN] != FIRE
    steady = plain and rule[R_FOR] != M_OF_N and len(heard) == 0
    valued, kind, forget = len(values) > 0, rule[R_PEAK], rule[R_FORGET]
    e, count, unknown = first, len(slots), 0
    while True:
        # Nearly every evaluation is false and finds nothing open, or true and finds its alert firing.
        # Unsigned places: a sign would be looked at again at each step.
        if plain:
            i = np.uintp(e)
            while i < np.uintp(count) and truths[i] == 0.0 and row_of[np.uintp(slots[i])] < 0:
                if has_clear and clears[i] != clears[i]:
                    break
                i += np.uintp(1)
            e = np.int64(i)
        if e == count:
            break
        row, t = np.int64(row_of[slots[e]]), times[e]
        if plain and row < 0 and truths[e] != 1.0 and skips:
            unknown += 1
        elif row >= 0 and steady and truths[e] == 1.0 and rows[row, STATE] == FIRING and rows[row, HEARD] + forget > t:
            rows[row, HEARD] = t
            _touch(row, rows, touched)
            if valued:
                floats[row, LAST] = values[e]
                _keep_peak(row, values[e], kind, floats)
        elif free[0] == 0 or made[0] + MOST_MOVES > len(moves):
            break
        else:
            _advance_one(
                e, slots[e], t, heard, truths, clears, values, rule, limits, limit_clears, expected_since, row_of, rows,
                floats, ring_times, ring_values, free, touched, tally, moves, move_floats, made,
            )  # fmt: skip
        e += 1
    tally[EVALUATIONS] += e - first
    tally[UNKNOWN] += unknown
    return e


@inlined
def _advance_one(  # type: ignore[no-untyped-def]
    e, slot, t, heard, truths, clears, values, rule, limits, limit_clears, expected_since, row_of, rows,
    floats, ring_times, ring_values, free, touched, tally, moves, move_floats, made,
):  # fmt: skip
    """One evaluation of a key that has an open alert, or may get one."""
    value = values[e] if len(values) else np.nan
    truth, clear, top = _judge(e, truths, clears, value, rule, limits)
    if truth != truth:
        tally[UNKNOWN] += 1
        if rule[R_ON_UNKNOWN] == CLEAR:
            truth, clear = 0.0, AT_ANY_RATE
        elif rule[R_ON_UNKNOWN] == FIRE:
            truth, top = 1.0, max(top, min(1, len(limits)))
    row = np.int64(row_of[slot])
    if row >= 0:
        _run_timers(row, t - 1, rule, expected_since, row_of, rows, floats, free, touched, moves, move_floats, made)
        row = np.int64(row_of[slot])
    if truth == truth and (row >= 0 or truth == 1.0):
        if row < 0:
            row = _open(slot, t, row_of, rows, floats, ring_times, free)
        _evaluate(
            row, t, truth, clear, value, top, rule, limits, limit_clears, row_of, rows, floats, ring_times,
            ring_values, free, touched, moves, move_floats, made,
        )  # fmt: skip
        row = np.int64(row_of[slot])
    if row >= 0:
        rows[row, HEARD] = heard[e] if len(heard) else t
        _touch(row, rows, touched)
        _run_timers(row, t, rule, expected_since, row_of, rows, floats, free, touched, moves, move_floats, made)


@compiled
def run_out(upto, rule, expected_since, row_of, rows, floats, free, touched, moves, move_floats, made):  # type: ignore[no-untyped-def]
    """Runs every timer due before `upto`; returns (whether all went through, when the next one is due)."""
    due = NEVER
    for row in range(len(rows)):
        if rows[row, SLOT] < 0:
            continue
        if made[0] + MOST_MOVES > len(moves):
            return False, LONG_AGO
        if _next_timer(row, rule, expected_since, rows) < upto:
            _run_timers(
                row, upto - 1, rule, expected_since, row_of, rows, floats, free, touched, moves, move_floats, made
            )
        if rows[row, SLOT] >= 0:
            due = min(due, _next_timer(row, rule, expected_since, rows))
    return True, due


@inlined
def _judge(e, truths, clears, value, rule, limits):  # type: ignore[no-untyped-def]
    """(truth, clear, highest level that is true) of one evaluation; NaN is unknown."""
    if len(limits) == 0:
        truth = truths[e]
        clear = 1.0 - truth
        if rule[R_HAS_CLEAR] and truth == 0.0:
            clear = clears[e]
            if clear != clear:
                truth = np.nan
        return truth, clear, 0
    if value != value:
        return np.nan, 0.0, 0
    top = 0
    for level in range(len(limits)):
        if (value < limits[level]) if rule[R_BELOW] else (value > limits[level]):
            top = level + 1
    return (1.0 if top > 0 else 0.0), 0.0, top


@compiled
def _open(slot, t, row_of, rows, floats, ring_times, free):  # type: ignore[no-untyped-def]
    """A row for a new alert; `free` is a stack, its height first."""
    row = free[free[0]]
    free[0] -= 1
    row_of[slot] = row
    rows[row, SLOT], rows[row, STATE], rows[row, LEVEL], rows[row, COUNT] = slot, INACTIVE, 0, 0
    rows[row, SINCE], rows[row, DEADLINE], rows[row, FIRED], rows[row, HEARD] = t, NEVER, LONG_AGO, t
    rows[row, POSITION] = 0
    floats[row, VALUE] = floats[row, PEAK] = floats[row, LAST] = np.nan
    for place in range(ring_times.shape[1]):
        ring_times[row, place] = LONG_AGO
    return row


@compiled
def _move(row, t, to, value, forgotten, row_of, rows, floats, free, touched, moves, move_floats, made):  # type: ignore[no-untyped-def]
    """Writes one move down and makes it; the row is given back where the alert ends."""
    n = made[0]
    made[0] += 1
    ends = to in (INACTIVE, RESOLVED)
    moves[n, M_SLOT], moves[n, M_TIME], moves[n, M_SINCE] = rows[row, SLOT], t, rows[row, SINCE]
    moves[n, M_FROM], moves[n, M_TO], moves[n, M_LEVEL] = rows[row, STATE], to, rows[row, LEVEL]
    moves[n, M_FORGOTTEN], moves[n, M_ROW] = forgotten, -1 if ends else row
    if to == FIRING and rows[row, FIRED] == LONG_AGO:
        rows[row, FIRED] = t
        floats[row, VALUE] = value
    moves[n, M_FIRED] = rows[row, FIRED]
    move_floats[n, M_AT], move_floats[n, M_VALUE] = value, floats[row, VALUE]
    move_floats[n, M_PEAK], move_floats[n, M_LAST] = floats[row, PEAK], floats[row, LAST]
    rows[row, STATE] = to
    rows[row, DEADLINE] = NEVER
    _touch(row, rows, touched)
    if ends:
        row_of[rows[row, SLOT]] = -1
        rows[row, SLOT] = -1
        free[0] += 1
        free[free[0]] = row


@inlined
def _touch(row, rows, touched):  # type: ignore[no-untyped-def]
    """Notes once that a row has changed; `touched` is a stack, its height first."""
    if rows[row, TOUCHED] == 0:
        rows[row, TOUCHED] = 1
        touched[0] += 1
        touched[touched[0]] = row


@inlined
def _next_timer(row, rule, expected_since, rows):  # type: ignore[no-untyped-def]
    """When the next timer of an open alert is due."""
    due = rows[row, DEADLINE]
    if expected_since[rows[row, SLOT]] > rows[row, HEARD]:
        due = min(due, rows[row, HEARD] + rule[R_FORGET])
    return due


@compiled
def _run_timers(row, upto, rule, expected_since, row_of, rows, floats, free, touched, moves, move_floats, made):  # type: ignore[no-untyped-def]
    """Runs the timers of one open alert that are due at `upto` or before, in their order."""
    while rows[row, SLOT] >= 0:
        due = _next_timer(row, rule, expected_since, rows)
        if due > upto:
            return
        if due == rows[row, DEADLINE]:
            to = FIRING if rows[row, STATE] == PENDING else RESOLVED
            _move(row, due, to, np.nan, REMEMBERED, row_of, rows, floats, free, touched, moves, move_floats, made)
        else:
            to = INACTIVE if rows[row, STATE] == PENDING else RESOLVED
            _move(row, due, to, np.nan, FORGOTTEN, row_of, rows, floats, free, touched, moves, move_floats, made)


@compiled
def _evaluate(  # type: ignore[no-untyped-def]
    row, t, truth, clear, value, top, rule, limits, limit_clears, row_of, rows, floats, ring_times, ring_values,
    free, touched, moves, move_floats, made,
):  # fmt: skip
    """One known evaluation of a key that has an open alert, or gets one."""
    _touch(row, rows, touched)
    floats[row, LAST] = value
    _keep_peak(row, value, rule[R_PEAK], floats)
    if rule[R_FOR] == M_OF_N:
        place = rows[row, POSITION]
        ring_times[row, place] = t if truth == 1.0 else LONG_AGO
        ring_values[row, place] = value
        rows[row, POSITION] = (place + 1) % rule[R_OF]
    state = rows[row, STATE]
    if state in (INACTIVE, PENDING):
        if truth == 1.0:
            _hold(
                row,
                t,
                value,
                top,
                rule,
                row_of,
                rows,
                floats,
                ring_times,
                ring_values,
                free,
                touched,
                moves,
                move_floats,
                made,
            )
        elif rule[R_FOR] == M_OF_N and _count_true(row, rule, ring_times) > 0:
            _look_back(row, rule, rows, floats, ring_times, ring_values)
        else:
            _move(row, t, INACTIVE, value, REMEMBERED, row_of, rows, floats, free, touched, moves, move_floats, made)
        return
    level = rows[row, LEVEL]
    if len(limits):
        level, ended = _fall_or_rise(value, level, top, clear, rule, limits, limit_clears)
    else:
        ended = truth != 1.0 and clear >= 1.0
        if ended and clear != AT_ANY_RATE and rule[R_FOR] == M_OF_N and not rule[R_HAS_CLEAR]:
            ended = _count_true(row, rule, ring_times) < rule[R_NEEDED]
    if ended:
        if rule[R_KEEP] == 0:
            _move(row, t, RESOLVED, value, REMEMBERED, row_of, rows, floats, free, touched, moves, move_floats, made)
        elif state == FIRING:
            _move(row, t, RECOVERING, value, REMEMBERED, row_of, rows, floats, free, touched, moves, move_floats, made)
            rows[row, DEADLINE] = t + rule[R_KEEP]
    elif state == RECOVERING or level != rows[row, LEVEL]:
        rows[row, LEVEL] = level
        _move(row, t, FIRING, value, REMEMBERED, row_of, rows, floats, free, touched, moves, move_floats, made)


@compiled
def _hold(  # type: ignore[no-untyped-def]
    row, t, value, top, rule, row_of, rows, floats, ring_times, ring_values, free, touched, moves, move_floats, made
):
    """A true evaluation before firing: has it been true for long enough?"""
    rows[row, COUNT] += 1
    fires = True
    if rule[R_FOR] == DURATION:
        fires = t >= rows[row, SINCE] + rule[R_DURATION]
    elif rule[R_FOR] == CONSECUTIVE:
        fires = rows[row, COUNT] >= rule[R_NEEDED]
    elif rule[R_FOR] == M_OF_N:
        fires = _count_true(row, rule, ring_times) >= rule[R_NEEDED]
        _look_back(row, rule, rows, floats, ring_times, ring_values)
    if fires:
        rows[row, LEVEL] = top
        _move(row, t, FIRING, value, REMEMBERED, row_of, rows, floats, free, touched, moves, move_floats, made)
    elif rows[row, STATE] == INACTIVE:
        rows[row, LEVEL] = min(top, 1)
        _move(row, t, PENDING, value, REMEMBERED, row_of, rows, floats, free, touched, moves, move_floats, made)
        if rule[R_TIMED]:
            rows[row, DEADLINE] = t + rule[R_DURATION]


@compiled
def _fall_or_rise(value, level, top, clear, rule, limits, limit_clears):  # type: ignore[no-untyped-def]
    """(level, whether the alert ends) after an evaluation of a rule with levels: only the current one latches."""
    if top > level:
        return top, False
    limit, ease = limits[level - 1], limit_clears[level - 1]
    if value != value:
        eased = clear == AT_ANY_RATE
    elif ease != ease:
        eased = not ((value < limit) if rule[R_BELOW] else (value > limit))
    else:
        eased = (value > ease) if rule[R_BELOW] else (value < ease)
    if not eased:
        return level, False
    return (top, False) if top > 0 else (level, True)


@inlined
def _count_true(row, rule, ring_times):  # type: ignore[no-untyped-def]
    count = 0
    for i in range(rule[R_OF]):
        if ring_times[row, i] != LONG_AGO:
            count += 1
    return count


@compiled
def _look_back(row, rule, rows, floats, ring_times, ring_values):  # type: ignore[no-untyped-def]
    """Before firing, since and peak move on with the oldest true evaluation among the last N."""
    since = NEVER
    for i in range(rule[R_OF]):
        if ring_times[row, i] != LONG_AGO:
            since = min(since, ring_times[row, i])
    if since == rows[row, SINCE]:
        return
    rows[row, SINCE] = since
    floats[row, PEAK] = np.nan
    for back in range(rule[R_OF]):
        i = (rows[row, POSITION] + back) % rule[R_OF]
        if ring_times[row, i] != LONG_AGO:
            since = LONG_AGO
        if since == LONG_AGO:
            _keep_peak(row, ring_values[row, i], rule[R_PEAK], floats)


@inlined
def _keep_peak(row, value, kind, floats):  # type: ignore[no-untyped-def]
    if value != value:
        return
    peak = floats[row, PEAK]
    if (
        peak != peak
        or (kind == MAXIMUM and value > peak)
        or (kind == MINIMUM and value < peak)
        or (kind == MAGNITUDE and abs(value) > abs(peak))
    ):
        floats[row, PEAK] = value
