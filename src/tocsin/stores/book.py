"""Which moves belong to which alert, as steps come in.

A step brings moves and the open alerts that they left behind; what it does not bring is a number
that ties them together, because an alert's own identity (rule, key, since) may move while it is
pending.  But one alert is open at most for a rule and a key, so the order says it: a move from
inactive opens the next alert of its key, every other one goes on with the open one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tocsin.alert import Alert, State
from tocsin.moves import MoveRows, OpenRows, RuleMoves, Standing
from tocsin.reading import Labels

Owner = tuple[str, Labels]
Places = npt.NDArray[np.intp]
NO_ROW = -1


@dataclass(frozen=True, slots=True)
class Book:
    """One rule's alerts of a step, a row each: where they stand now, and which of the moves are theirs.

    `moves` are the step's, alert by alert and in the order they happened: first those of row 0, as
    many as `counts` says.  `row` is an open alert's among `told.open`, NO_ROW for one that ended.
    """

    told: RuleMoves
    standing: Standing
    moves: MoveRows
    counts: Places
    new: npt.NDArray[np.bool_]
    row: Places

    def __len__(self) -> int:
        return len(self.standing)

    @property
    def firsts(self) -> Places:
        """Of each alert: the place of its first move."""
        return np.cumsum(self.counts) - self.counts

    def opened(self) -> list[int]:
        """When each of the new alerts began, in their order: the time of its first move."""
        times: list[int] = self.moves.time[self.firsts[self.new]].tolist()
        return times

    def numbered(self) -> Places:
        """Of each move: how many of the same alert came before it in this step."""
        return np.arange(len(self.moves)) - np.repeat(self.firsts, self.counts)


def fired(alert: Alert) -> bool:
    """Whether an alert is, or ever was, more than pending."""
    return alert.state not in (State.INACTIVE, State.PENDING)


def book_of(told: RuleMoves) -> Book:
    """The alerts of a rule with their moves; the open ones that did not move come last."""
    moves = told.moves.take(np.argsort(told.moves.slot, kind="stable"))
    opens = moves.from_ == State.INACTIVE
    begins = opens.copy()
    begins[:1] = True
    begins[1:] |= moves.slot[1:] != moves.slot[:-1]
    firsts = np.flatnonzero(begins)
    counts = np.diff(np.append(firsts, len(moves)))
    last = moves.take(firsts + counts - 1)
    row = np.where(last.ends, NO_ROW, _find(last.slot, told.open))
    quiet = np.flatnonzero(~np.isin(told.open.slot, last.slot))
    row = np.concatenate([row, quiet])
    standing = Standing.join([last.left(), told.open.take(quiet).stand()])
    is_open = row != NO_ROW
    _put(standing, is_open, told.open.take(row[is_open]).stand())
    none = np.zeros(len(quiet), np.intp)
    return Book(told, standing, moves, np.append(counts, none), np.append(opens[firsts], none > 0), row)


def _find(slots: npt.NDArray[np.int64], opened: OpenRows) -> Places:
    """Of each slot the place of its open alert; of one that has none, any place."""
    order = np.argsort(opened.slot)
    if not len(order):
        return np.full(len(slots), NO_ROW)
    places = np.searchsorted(opened.slot[order], slots)
    return order[np.minimum(places, len(order) - 1)]


def _put(standing: Standing, which: npt.NDArray[np.bool_], opened: Standing) -> None:
    for column, values in zip(standing.all(), opened.all(), strict=True):
        column[which] = values
