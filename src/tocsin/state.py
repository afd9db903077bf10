"""Declared state: what a part must keep to go on exactly where it stood.

A part names its state's attributes; columns that grow with the number of keys are kept a little
longer than needed, so that new keys seldom cost a copy.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt


class Stateful:
    """A part whose whole state is the attributes that it names in `state`."""

    state: ClassVar[tuple[str, ...]] = ()

    def snapshot(self) -> dict[str, Any]:
        """A copy of the state that later work does not touch."""
        return {name: _copy(getattr(self, name)) for name in self.state}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Back to what `snapshot` saw."""
        for name in self.state:
            setattr(self, name, _copy(snapshot[name]))


class Scratch:
    """Memory that is used again at each call, so that the system need not clear new pages for it."""

    def __init__(self) -> None:
        self._room: npt.NDArray[np.float64] = np.empty(0)

    def shaped(self, rows: int, columns: int) -> npt.NDArray[np.float64]:
        """A table of that size; what is in it is whatever was there."""
        if len(self._room) < rows * columns:
            self._room = np.empty(rows * columns)
        return self._room[: rows * columns].reshape(rows, columns)


def grown(column: npt.NDArray[Any], rows: int, fill: Any = 0, factor: float = 1.5) -> npt.NDArray[Any]:
    """The column with at least so many rows, new ones filled; the same one if it has them already."""
    if len(column) >= rows:
        return column
    larger = np.empty((max(rows, int(len(column) * factor)), *column.shape[1:]), column.dtype)
    larger[: len(column)] = column
    larger[len(column) :] = fill
    return larger


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value.copy() if isinstance(value, np.ndarray) else value
