"""The recent readings of every key for one selector, and what a rule sees of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tocsin.instant import LONG_AGO
from tocsin.kernels import arena, long, order, short, summaries, windows
from tocsin.key import Keys, Selection
from tocsin.node import Selector
from tocsin.reading import Codes, Series, Times, Values
from tocsin.state import Stateful, grown

Column = npt.NDArray[np.uint32]
_NONE_FLOAT = np.empty(0, np.float64)
_NONE_INT = np.empty(0, np.int64)
_NONE_CODE = np.empty(0, np.int32)

SUMMARY = {
    "count": summaries.COUNT,
    "sum": summaries.SUM,
    "min": summaries.MIN,
    "max": summaries.MAX,
    "first": summaries.FIRST,
    "last": summaries.LAST,
    "resets": summaries.RESETS,
    "moment2": summaries.MOMENT2,
    "covariance": summaries.COVARIANCE,
    "time_moment2": summaries.TIME_MOMENT2,
    "span": summaries.SPAN,
    "coverage": summaries.COVERAGE,
    "deviation": summaries.DEVIATION,
}


@dataclass
class Wanted:
    """What rules ask of one selector: a column of the input for each, shared by all that ask the same.

    `windows` maps a length to its summaries and their columns; a column of -1 is 'not wanted'.
    """

    windows: dict[int, dict[str, int]] = field(default_factory=dict)
    quantiles: dict[tuple[int, float], int] = field(default_factory=dict)
    newest: int = -1
    silence: int = -1


class Recent(Stateful):
    """The readings of each key that a window may still want, side by side and in time order.

    A selection is `shared` where one key may hold several devices; then each reading also keeps
    when its own series was heard before it.
    """

    state = ("slot_of", "meta", "heads", "top", "time", "value", "previous", "newest_of", "_released")

    def __init__(self, selector: Selector, keys: Keys, series: Series, staleness: int) -> None:
        self.selector = selector
        self.keys = keys
        self.series = series
        self.staleness = staleness
        self.shared = "device" not in keys.by and selector.pinned("device") is None
        self.longest = staleness
        self.slot_of: Codes = np.empty(0, np.int32)
        self._selection = Selection(selector, series)
        self.meta = arena.new_meta(0)
        self.heads = np.full(arena.CLASSES, -1, np.int64)
        self.top = np.zeros(1, np.int64)
        self.time: Times = np.empty(0, np.int64)
        self.value: Values = np.empty(0, np.float64)
        self.previous: Times = np.empty(1 if self.shared else 0, np.int64)
        self.newest_of: Times = np.empty(0, np.int64)
        self.member_of: Codes = np.empty(0, np.int32)
        self._members: dict[tuple[int, int], int] = {}
        self._released = LONG_AGO
        self.views: list[View] = []

    def extend(self, count: int) -> None:
        """Takes in the keys and series that are new, up to the dictionary's first `count`."""
        known = len(self.slot_of)
        chosen = self._selection.of(known, count)
        slots = np.where(chosen, self.keys.slot[known:], np.int32(-1)).astype(np.int32)
        self.slot_of = np.concatenate([self.slot_of, slots])
        missing = len(self.keys) - len(self.meta)
        if missing > 0:
            self.meta = np.concatenate([self.meta, arena.new_meta(max(missing, len(self.meta) // 4))])
        if self.shared:
            self._number_members(slots, known)
        for view in self.views:
            view.long_row = grown(view.long_row, len(self.meta), -1)

    def _number_members(self, slots: Codes, known: int) -> None:
        """Gives each key's series numbers: one for a device and metric, whatever its other labels are."""
        pairs = zip(self.series.identity[known : known + len(slots)].tolist(), slots.tolist(), strict=True)
        new = [self._members.setdefault(pair, len(self._members)) for pair in pairs]
        self.member_of = np.concatenate([self.member_of, np.array(new, np.int32)])
        self.newest_of = grown(self.newest_of, len(self._members), LONG_AGO)

    def keep(self, slots: Codes, times: Times, values: Values, codes: Codes, cutoff: int) -> None:
        """Adds readings in time order."""
        self._observe(
            View(self, Wanted()), slots, times, values, codes, True, False, cutoff, _NONE_INT, np.empty((0, 0))
        )

    def read(
        self, view: View, slots: Codes, times: Times, values: Values, cutoff: int, out: npt.NDArray[np.float64]
    ) -> None:
        """Adds readings of keys of one device each, and sums up the windows that end at every one of them.

        As `observe` does, by the shortest way until a window holds more than a few readings.
        """
        first, count = 0, len(slots)
        while first < count and view.is_short:
            first, why = short.observe(
                first, slots, times, values, cutoff, self.meta, self.heads, self.top, self.time, self.value,
                self.previous, view.lengths, view.needs, view.guesses, view.columns, view.wanted.newest, self.staleness,
                out,
            )  # fmt: skip
            if why == short.ARENA_FULL:
                self._enlarge()
            elif why == short.LONG_WINDOW:
                view.is_short = False
        self._observe(view, slots, times, values, slots, True, True, cutoff, _NONE_INT, out, first)

    def look(self, view: View, slots: Codes, times: Times, born: Times, out: npt.NDArray[np.float64]) -> None:
        """Sums up the windows that end at events, whose readings have been kept."""
        self._observe(view, slots, times, _NONE_FLOAT, _NONE_CODE, False, True, LONG_AGO, born, out)

    def _observe(
        self,
        view: View,
        slots: Codes,
        times: Times,
        values: Values,
        codes: Codes,
        keep: bool,
        look: bool,
        cutoff: int,
        born: Times,
        out: npt.NDArray[np.float64],
        first: int = 0,
    ) -> None:
        """Adds events that are readings (`keep`), and sums up the windows that end at them (`look`)."""
        count = len(slots)
        while first < count:
            first, why = self._pass(view, first, slots, times, values, codes, keep, look, cutoff, born, out)
            if why == short.ARENA_FULL:
                self._enlarge()
            elif why == short.LONG_ROWS_FULL:
                view.enlarge()
                if keep:
                    # What it had kept it must not keep again, so this one event is looked at by itself.
                    one, seen = slice(first, first + 1), np.empty((len(out), 1))
                    self._pass(view, 0, slots[one], times[one], values, codes, False, True, cutoff, born[one], seen)
                    out[:, first] = seen[:, 0]
                    first += 1

    def _pass(
        self,
        view: View,
        first: int,
        slots: Codes,
        times: Times,
        values: Values,
        codes: Codes,
        keep: bool,
        look: bool,
        cutoff: int,
        born: Times,
        out: npt.NDArray[np.float64],
    ) -> tuple[int, int]:
        stopped: tuple[int, int] = windows.observe(
            first,
            slots,
            times,
            values,
            self.member_of[codes] if self.shared and keep else codes,
            keep,
            look,
            cutoff,
            self.meta,
            self.heads,
            self.top,
            self.time,
            self.value,
            self.previous,
            self.newest_of,
            view.lengths,
            view.needs,
            view.guesses,
            view.columns,
            view.wanted.newest,
            view.wanted.silence,
            self.staleness,
            born,
            view.silent_since,
            view.suffixes,
            view.suffix_previous,
            view.suffix_places,
            view.long_row,
            view.long_integers,
            view.long_floats,
            view.long_top,
            out,
        )
        return stopped

    def release(self, watermark: int) -> None:
        """Lets go of keys that have been silent for longer than any window; what they sent last is known still."""
        if watermark - self._released > self.longest and watermark > LONG_AGO + 2 * self.longest:
            arena.release_silent(self.meta, self.heads, self.time, watermark - self.longest)
            self._released = watermark

    def _enlarge(self) -> None:
        # Far more than is used at first: memory that nobody has touched costs nothing.
        used, size = int(self.top[0]), max(2 * len(self.time), 8 * arena.SMALLEST * len(self.meta), 1024)
        self.time = _enlarged(self.time, used, size)
        self.value = _enlarged(self.value, used, size)
        if self.shared:
            self.previous = _enlarged(self.previous, used, size)
        for view in self.views:
            view.fit()


class View:
    """What the rules of one group want to see of a selection, and the running parts of long windows.

    Those parts are not state: they are rebuilt from the readings whenever they are not there.
    """

    def __init__(self, recent: Recent, wanted: Wanted) -> None:
        self.recent = recent
        self.wanted = wanted
        lengths = sorted(wanted.windows)
        self.lengths = np.array(lengths, np.int64)
        self.needs = np.array([_needs(wanted.windows[length]) for length in lengths], np.int64)
        self.guesses = np.zeros(len(lengths), np.uint64)
        self.columns: Column = np.zeros((len(lengths), summaries.SUMMARIES), np.uint32)
        for place, length in enumerate(lengths):
            for summary, column in wanted.windows[length].items():
                self.columns[place, SUMMARY[summary]] = column
        self.suffix_places, self._kinds = _suffix_places(self.needs)
        self.silent_since: Times = _NONE_INT
        self.is_short = not recent.shared and wanted.silence < 0
        self.forget_long_windows()

    def forget_long_windows(self) -> None:
        """Drops the running parts; the next look builds those that it needs."""
        self.suffixes = np.empty((self._kinds, 0), np.float64)
        self.suffix_previous = np.empty((len(self.lengths), 0), np.int64)
        self.long_row = np.full(len(self.recent.meta), -1, np.int32)
        self.long_integers = np.empty((0, len(self.lengths), long.LONG_INTEGERS), np.int64)
        self.long_floats = np.empty((0, len(self.lengths), long.LONG_FLOATS), np.float64)
        self.long_top = np.zeros(1, np.int64)

    def enlarge(self) -> None:
        """Room for more keys with long windows."""
        rows = max(16, 2 * len(self.long_integers))
        self.long_integers = grown(self.long_integers, rows)
        self.long_floats = grown(self.long_floats, rows)
        self.fit()

    def fit(self) -> None:
        """Makes the finished parts as long as the arena, once there are any."""
        size = len(self.recent.time)
        if len(self.long_integers) == 0 or self.suffixes.shape[1] >= size:
            return
        self.suffixes = _lengthened(self.suffixes, size)
        if self.recent.shared:
            self.suffix_previous = _lengthened(self.suffix_previous, size)

    def quantiles(self, slots: Codes, times: Times, out: npt.NDArray[np.float64]) -> None:
        """Fills the columns of order statistics."""
        recent = self.recent
        if self.wanted.quantiles:
            scratch = np.empty(int(recent.meta[:, arena.ROOM].max(initial=0)))
        for (length, q), column in self.wanted.quantiles.items():
            order.quantile(slots, times, recent.meta, recent.time, recent.value, length, q, scratch, out[column])


def _needs(summaries: Iterable[str]) -> int:
    return sum(1 << SUMMARY[summary] for summary in summaries)


def _suffix_places(needs: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    """Which column beside the arena holds what of which window, and how many columns that makes."""
    kinds = (
        (summaries.NEED_SUM, (long.S_SUM,)),
        (summaries.NEED_EXTREMES, (long.S_MIN, long.S_MAX)),
        (summaries.NEED_RESETS, (long.S_RESETS,)),
        (summaries.NEED_CENTRED, (long.S_MEAN, long.S_M2)),
        (summaries.NEED_LINE, (long.S_TIME, long.S_COV, long.S_TM2)),
    )
    places = np.full((len(needs), long.SUFFIXES + 1), -1, np.int64)
    used = 0
    for window, need in enumerate(needs):
        for flag, members in kinds:
            for member in members if need & flag else ():
                places[window, member] = used
                used += 1
        places[window, long.SUFFIXES] = window
    return places, used


def _enlarged(column: npt.NDArray[Any], used: int, size: int) -> npt.NDArray[Any]:
    larger = np.empty(size, column.dtype)
    larger[:used] = column[:used]
    return larger


def _lengthened(columns: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    wider = np.empty((columns.shape[0], size), columns.dtype)
    wider[:, : columns.shape[1]] = columns
    return wider
