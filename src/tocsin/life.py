"""The lives of one rule's alerts: rows for the open ones, and the moves that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tocsin.alert import Alert, Transition
from tocsin.instant import LONG_AGO, NEVER
from tocsin.kernels import life as kernel
from tocsin.key import Keys
from tocsin.moves import Floats, MoveRows, OpenRows, Rows, RuleMoves, no_open
from tocsin.plan import Answers
from tocsin.reading import Codes, Times
from tocsin.rule import ForDuration, ForReadings, Rule
from tocsin.state import Stateful, grown

_ON_UNKNOWN = {"hold": kernel.HOLD, "clear": kernel.CLEAR, "fire": kernel.FIRE}
_PEAK = {"magnitude": kernel.MAGNITUDE, "max": kernel.MAXIMUM, "min": kernel.MINIMUM}
_MOVES_AT_ONCE = 4096


@dataclass
class Moves:
    """What one call of the engine did to alerts, in columns until somebody reads it."""

    parts: list[tuple[Life, Rows, Floats]] = field(default_factory=list)
    changed: list[tuple[Life, OpenRows]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(rows) for _, rows, _ in self.parts)

    def by_rule(self) -> list[RuleMoves]:
        """The same, put together rule by rule; a rule of which nothing is told is left out."""
        moves: dict[Life, list[MoveRows]] = {}
        for life, rows, floats in self.parts:
            moves.setdefault(life, []).append(MoveRows(rows, floats))
        changed = dict(self.changed)
        return [
            life.told(MoveRows.join(moves[life]) if life in moves else None, changed.get(life))
            for life in dict.fromkeys([*moves, *changed])
        ]

    def transitions(self) -> list[Transition]:
        """Every move, by time, rule and key, then in the order they happened."""
        found = [transition for told in self.by_rule() for transition in told.transitions()]
        return sorted(found, key=lambda transition: (transition.time, transition.rule, transition.key))

    def alerts(self) -> list[Alert]:
        """The alerts that ended, and those still open that changed, by since, rule and key."""
        found = [alert for told in self.by_rule() for alert in (*told.ended(), *told.standing())]
        return sorted(found, key=lambda alert: (alert.since, alert.rule, alert.key, -alert.state))


class Life(Stateful):
    """One rule's alerts."""

    state = ("row_of", "rows", "floats", "ring_times", "ring_values", "free", "touched", "tally", "_next_due")

    def __init__(self, rule: Rule, keys: Keys, forget_after: int, *, timed: bool, answers: Answers) -> None:
        self.rule = rule
        self.keys = keys
        self.answers = answers
        self._levels = (None, *(level.name for level in rule.levels))
        self.numbers = _numbers(rule, forget_after, timed)
        self.limits = np.array([level.limit for level in rule.levels], np.float64)
        self.limit_clears = np.array(
            [np.nan if level.clear is None else level.clear for level in rule.levels], np.float64
        )
        ring = self.numbers[kernel.R_OF] if self.numbers[kernel.R_FOR] == kernel.M_OF_N else 0
        self.row_of: Codes = np.empty(0, np.int32)
        self.rows: Rows = np.empty((0, kernel.ROW_INTEGERS), np.int64)
        self.floats: Floats = np.empty((0, kernel.ROW_FLOATS), np.float64)
        self.ring_times: Times = np.empty((0, ring), np.int64)
        self.ring_values: Floats = np.empty((0, ring), np.float64)
        self.free = np.zeros(1, np.int64)
        self.touched = np.zeros(1, np.int64)
        self.tally = np.zeros(2, np.int64)
        self._next_due = NEVER
        self._pages: tuple[Rows, Floats] = (np.empty((0, 0), np.int64), np.empty((0, 0)))
        held = [timer for timer in (self.numbers[kernel.R_KEEP], self.numbers[kernel.R_DURATION]) if timer > 0]
        self._soonest = int(min([forget_after - rule.longest_window, *held]))

    def extend(self, count: int) -> None:
        """Room for so many keys."""
        self.row_of = grown(self.row_of, count, -1)

    def advance(
        self,
        slots: Codes,
        times: Times,
        heard: Times,
        columns: Sequence[npt.NDArray[np.float64]],
        expected_since: Times,
        moves: Moves,
    ) -> None:
        """Goes over evaluations in time order."""
        nothing = np.empty(0)
        answers = self.answers
        truths = columns[answers.truth] if answers.truth >= 0 else nothing
        clears = columns[answers.clear] if answers.clear >= 0 else nothing
        values = columns[answers.value] if answers.value >= 0 else nothing
        first = 0
        while first < len(slots):
            if self.free[0] == 0:
                self._add_rows()
            made, rows, floats = self._room()
            first = kernel.advance(
                first,
                slots,
                times,
                heard,
                truths,
                clears,
                values,
                self.numbers,
                self.limits,
                self.limit_clears,
                expected_since,
                self.row_of,
                self.rows,
                self.floats,
                self.ring_times,
                self.ring_values,
                self.free,
                self.touched,
                self.tally,
                rows,
                floats,
                made,
            )
            self._take(int(made[0]), moves)
        self._next_due = min(self._next_due, int(times[0]) + self._soonest)

    def run_timers(self, watermark: int, expected_since: Times, moves: Moves) -> None:
        """Runs every timer due before the watermark, and notes which open alerts have changed."""
        through = watermark <= self._next_due
        while not through:
            made, rows, floats = self._room()
            through, self._next_due = kernel.run_out(
                watermark,
                self.numbers,
                expected_since,
                self.row_of,
                self.rows,
                self.floats,
                self.free,
                self.touched,
                rows,
                floats,
                made,
            )
            self._take(int(made[0]), moves)
        self._note_changes(moves)

    def open_alerts(self) -> list[Alert]:
        """Every open alert of the rule."""
        return self.told(None, self._columns().take(self.rows[:, kernel.SLOT] >= 0)).standing()

    def told(self, moves: MoveRows | None, opened: OpenRows | None) -> RuleMoves:
        """Moves and open alerts of this rule, with what it takes to read them."""
        none = np.empty((0, kernel.MOVE_INTEGERS), np.int64), np.empty((0, kernel.MOVE_FLOATS))
        made = moves if moves is not None else MoveRows(*none)
        return RuleMoves(
            self.rule.name,
            self._levels,
            self.keys.labels,
            made,
            opened if opened is not None else no_open(self.ring_times.shape[1]),
        )

    def reopen(self, alert: Alert) -> None:
        """Takes up an alert that `open_alerts` gave."""
        if self.free[0] == 0:
            self._add_rows()
        place = int(self.free[self.free[0]])
        self.free[0] -= 1
        slot = self.keys.find(alert.key)
        self.row_of[slot] = place
        row, memory = self.rows[place], alert.memory
        row[kernel.SLOT], row[kernel.STATE], row[kernel.SINCE] = slot, alert.state, alert.since
        row[kernel.LEVEL] = self._levels.index(alert.level)
        row[kernel.FIRED] = LONG_AGO if alert.fired is None else alert.fired
        row[kernel.COUNT], row[kernel.DEADLINE] = memory["count"], memory["deadline"]
        row[kernel.HEARD], row[kernel.POSITION], row[kernel.TOUCHED] = memory["heard"], memory["position"], 0
        self.floats[place] = [_or_nan(number) for number in (alert.value, alert.peak, alert.last)]
        if memory["ring"]:
            self.ring_times[place] = [t for t, _ in memory["ring"]]
            self.ring_values[place] = [_or_nan(value) for _, value in memory["ring"]]
        self._next_due = LONG_AGO

    def _columns(self) -> OpenRows:
        return OpenRows(self.rows, self.floats, self.ring_times, self.ring_values)

    def _note_changes(self, moves: Moves) -> None:
        touched = self.touched[1 : 1 + self.touched[0]]
        if len(touched):
            self.rows[touched, kernel.TOUCHED] = 0
            still_open = touched[self.rows[touched, kernel.SLOT] >= 0]
            moves.changed.append((self, self._columns().take(still_open)))
            self.touched[0] = 0

    def _room(self) -> tuple[npt.NDArray[np.int64], Rows, Floats]:
        """Where the next moves go: how many there are (none yet), and pages that nobody has written to."""
        if len(self._pages[0]) < kernel.MOST_MOVES:
            self._pages = (
                np.empty((_MOVES_AT_ONCE, kernel.MOVE_INTEGERS), np.int64),
                np.empty((_MOVES_AT_ONCE, kernel.MOVE_FLOATS), np.float64),
            )
        return np.zeros(1, np.int64), *self._pages

    def _take(self, made: int, moves: Moves) -> None:
        if made:
            rows, floats = self._pages
            moves.parts.append((self, rows[:made], floats[:made]))
            self._pages = rows[made:], floats[made:]

    def _add_rows(self) -> None:
        """Doubles the rows; the free ones are a stack, its height first."""
        old = len(self.rows)
        new = max(64, 2 * old)
        self.rows = grown(self.rows, new)
        self.rows[old:, kernel.SLOT] = -1
        self.floats = grown(self.floats, new, np.nan)
        self.ring_times = grown(self.ring_times, new, LONG_AGO)
        self.ring_values = grown(self.ring_values, new, np.nan)
        free = np.zeros(new + 1, np.int64)
        free[0] = new - old
        free[1 : new - old + 1] = np.arange(new - 1, old - 1, -1)
        self.free = free
        self.touched = grown(self.touched, new + 1)


def _numbers(rule: Rule, forget_after: int, timed: bool) -> npt.NDArray[np.int64]:
    """The rule as the kernel reads it."""
    numbers = np.zeros(kernel.RULE_INTEGERS, np.int64)
    match rule.hold:
        case ForDuration(nanoseconds):
            numbers[kernel.R_FOR], numbers[kernel.R_DURATION] = kernel.DURATION, nanoseconds
            numbers[kernel.R_TIMED] = timed
        case ForReadings(needed, of, in_a_row):
            numbers[kernel.R_FOR] = kernel.CONSECUTIVE if in_a_row else kernel.M_OF_N
            numbers[kernel.R_NEEDED], numbers[kernel.R_OF] = needed, of
    numbers[kernel.R_KEEP] = rule.keep_firing_for
    numbers[kernel.R_FORGET] = forget_after
    numbers[kernel.R_ON_UNKNOWN] = _ON_UNKNOWN[rule.on_unknown]
    numbers[kernel.R_PEAK] = _PEAK[rule.peak]
    numbers[kernel.R_HAS_CLEAR] = rule.clear is not None
    numbers[kernel.R_BELOW] = rule.below
    return numbers


def _or_nan(number: float | None) -> float:
    return np.nan if number is None else number
