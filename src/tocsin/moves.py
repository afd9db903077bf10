"""How one rule's alerts moved, in columns; objects are made of them only where people look.

A move is a row of whole numbers and one of floats, as `kernels/life.py` writes them, and so is an open
alert.  Whose it is stands there as a slot, which `labels` turns into the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tocsin.alert import Alert, State, Transition
from tocsin.instant import LONG_AGO
from tocsin.kernels import life as kernel
from tocsin.reading import Labels, Times

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Which = npt.NDArray[Any]

STATES = tuple(State)
REASONS = ("", "forgotten", "rule changed")
"""The reasons for a move; that an evaluation or a timer made it is none."""


class _Columns:
    """Columns of equal length; what stands in a row of them belongs together."""

    __slots__ = ()

    def take(self, which: Which) -> Self:
        """Copies of some of the rows."""
        return type(self)(*(column[which] for column in self.all()))

    def all(self) -> list[npt.NDArray[Any]]:
        """The columns, in the order in which they are declared."""
        return [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """The rows of several, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(*map(np.concatenate, zip(*(part.all() for part in parts), strict=True)))


@dataclass(frozen=True, slots=True)
class MoveRows(_Columns):
    """The columns of moves: a row each, in the order in which a key's happened."""

    rows: Rows
    floats: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def slot(self) -> Rows:
        """Whose alert moved."""
        return self.rows[:, kernel.M_SLOT]

    @property
    def time(self) -> Times:
        """When."""
        return self.rows[:, kernel.M_TIME]

    @property
    def since(self) -> Times:
        """Since when its condition had been true, as it was known then."""
        return self.rows[:, kernel.M_SINCE]

    @property
    def from_(self) -> Rows:
        """The state that it left."""
        return self.rows[:, kernel.M_FROM]

    @property
    def to(self) -> Rows:
        """The state that it came to."""
        return self.rows[:, kernel.M_TO]

    @property
    def level(self) -> Rows:
        """The place of its level among the rule's, 0 for none."""
        return self.rows[:, kernel.M_LEVEL]

    @property
    def reason(self) -> Rows:
        """The place of the reason among REASONS."""
        return self.rows[:, kernel.M_FORGOTTEN]

    @property
    def ends(self) -> npt.NDArray[np.bool_]:
        """Whether the alert ended with it."""
        return self.rows[:, kernel.M_ROW] < 0

    @property
    def value(self) -> Floats:
        """The rule's value at that evaluation, NaN where there was none."""
        return self.floats[:, kernel.M_AT]

    def left(self) -> Standing:
        """The alerts that these moves ended, as they stood then."""
        rows, floats = self.rows, self.floats
        return Standing(
            self.slot, self.since, self.to, rows[:, kernel.M_FIRED], self.time, self.level,
            floats[:, kernel.M_VALUE], floats[:, kernel.M_PEAK], floats[:, kernel.M_LAST], self.reason,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class OpenRows(_Columns):
    """The columns of open alerts: a row each; the ring holds the last N evaluations of an M of N rule."""

    rows: Rows
    floats: Floats
    ring_times: Times
    ring_values: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def slot(self) -> Rows:
        """Whose alert it is."""
        return self.rows[:, kernel.SLOT]

    def stand(self) -> Standing:
        """Where they stand."""
        rows, floats = self.rows, self.floats
        return Standing(
            self.slot, rows[:, kernel.SINCE], rows[:, kernel.STATE], rows[:, kernel.FIRED],
            np.full(len(rows), LONG_AGO), rows[:, kernel.LEVEL],
            floats[:, kernel.VALUE], floats[:, kernel.PEAK], floats[:, kernel.LAST], np.zeros(len(rows), np.int64),
        )  # fmt: skip

    def memory(self) -> Iterator[tuple[int, int, int, int, list[list[float | None]]]]:
        """What their holds remember: count, deadline, when the key was heard, and the ring with its position."""
        places = kernel.COUNT, kernel.DEADLINE, kernel.HEARD, kernel.POSITION
        columns = [self.rows[:, place].tolist() for place in places]
        return zip(*columns, self._rings(), strict=True)

    def _rings(self) -> list[list[list[float | None]]]:
        if not self.ring_times.shape[1]:
            return [[]] * len(self)
        return [
            [[t, value] for t, value in zip(times, known(values), strict=True)]
            for times, values in zip(self.ring_times.tolist(), self.ring_values, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Standing(_Columns):
    """Where alerts of one rule stand, or how they ended: the columns of an `Alert`, LONG_AGO and NaN for None."""

    slot: Rows
    since: Times
    state: Rows
    fired: Times
    until: Times
    level: Rows
    value: Floats
    peak: Floats
    last: Floats
    reason: Rows

    def __len__(self) -> int:
        return len(self.slot)

    def alerts(self, rule: str, levels: Sequence[str | None], labels: Callable[[int], Labels]) -> list[Alert]:
        """The same for people."""
        rows = zip(
            map(labels, self.slot.tolist()), self.since.tolist(), self.state.tolist(), happened(self.fired),
            happened(self.until), self.level.tolist(), known(self.value), known(self.peak), known(self.last),
            self.reason.tolist(), strict=True,
        )  # fmt: skip
        return [
            Alert(rule, key, since, STATES[state], fired, until, levels[level], value, peak, last, REASONS[reason])
            for key, since, state, fired, until, level, value, peak, last, reason in rows
        ]


@dataclass(frozen=True, slots=True)
class RuleMoves:
    """What was done to one rule's alerts: how they moved, and the open ones that have changed."""

    rule: str
    levels: tuple[str | None, ...]
    labels: Callable[[int], Labels]
    moves: MoveRows
    open: OpenRows

    def transitions(self) -> list[Transition]:
        """The moves for people, in the order of the columns."""
        moves, name, levels = self.moves, self.rule, self.levels
        rows = zip(
            moves.time.tolist(), map(self.labels, moves.slot.tolist()), moves.since.tolist(), moves.from_.tolist(),
            moves.to.tolist(), moves.level.tolist(), known(moves.value), moves.reason.tolist(), strict=True,
        )  # fmt: skip
        return [
            Transition(time, name, key, since, STATES[from_], STATES[to], levels[level], value, REASONS[reason])
            for time, key, since, from_, to, level, value, reason in rows
        ]

    def alerts(self, standing: Standing) -> list[Alert]:
        """Alerts of this rule for people."""
        return standing.alerts(self.rule, self.levels, self.labels)

    def ended(self) -> list[Alert]:
        """The alerts that ended, as they stood then."""
        return self.alerts(self.moves.take(self.moves.ends).left())

    def standing(self) -> list[Alert]:
        """The open alerts that changed, with what their holds remember."""
        alerts = self.alerts(self.open.stand())
        for alert, (count, deadline, heard, position, ring) in zip(alerts, self.open.memory(), strict=True):
            alert.memory = {"count": count, "deadline": deadline, "heard": heard, "position": position, "ring": ring}
        return alerts

    @staticmethod
    def join(parts: Sequence[RuleMoves]) -> RuleMoves:
        """Several of one rule, one after the other; of an open alert the newest row is kept."""
        first, opened = parts[0], OpenRows.join([part.open for part in parts])
        _, back = np.unique(opened.slot[::-1], return_index=True)
        newest = np.sort(len(opened) - 1 - back)
        moves = MoveRows.join([part.moves for part in parts])
        return RuleMoves(first.rule, first.levels, first.labels, moves, opened.take(newest))


def known(column: Floats) -> list[float | None]:
    """Numbers, None where there is none; never -0.0."""
    numbers: list[float | None] = (column + 0.0).tolist()
    return [None if number != number else number for number in numbers] if np.isnan(column).any() else numbers


def happened(column: Times) -> list[int | None]:
    """Times, None for what has not happened."""
    return [None if time == LONG_AGO else time for time in column.tolist()]


def no_open(ring: int = 0) -> OpenRows:
    """The columns of no open alert."""
    shapes = (0, kernel.ROW_INTEGERS), (0, kernel.ROW_FLOATS), (0, ring), (0, ring)
    rows, floats, times, values = (np.empty(shape) for shape in shapes)
    return OpenRows(rows.astype(np.int64), floats, times.astype(np.int64), values)
