"""Binary: packed numbers, one record after the other, as C structures and `struct.pack` write them.

A layout says the fields in their order, without padding between them:

    layout: {time: double, value: float}      16 bytes would be two doubles; these are 12

A kind is `double`, `float`, `int8` to `int64`, `uint8` to `uint64`, `text N` for a text of N bytes in UTF-8 that
zeros or blanks fill up, and `skip N` for bytes that nobody looks at.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tocsin.codecs import BinarySettings
from tocsin.codecs._cells import Cells, Columns
from tocsin.packed import Packed
from tocsin.reading import Batch, Series
from tocsin.record import Reject

Records = npt.NDArray[np.void]


class Decoder:
    """Reads packed records; `size` is how many bytes each of them takes."""

    def __init__(self, settings: BinarySettings, series: Series) -> None:
        packed = Packed(settings.layout)
        self.cells = Cells(settings.time, settings.cells, series)
        self.size = packed.size
        self._described = ", ".join(f"{name} {kind}" for name, kind in settings.layout)
        self._type = np.dtype(packed.fields(settings.byte_order))

    def at_once(self, data: bytes) -> Batch | None:
        """The readings of whole records, if there is nothing to reject; else None."""
        records = np.frombuffer(data, self._type)
        columns = self._columns(records)
        if any(_not_text(records[name]) for name in self._texts()):
            return None
        batch, faults = self.cells.readings(columns, len(records))
        return None if faults else batch

    def closely(self, data: bytes) -> tuple[Batch, list[Reject]]:
        """The same, with a reject for each record that is at fault, or for all of it if these are no whole records."""
        if len(data) % self.size:
            reason = f"{len(data)} bytes are no whole records of {self.size}: expected {self._described}"
            return self.cells.readings(self._columns(np.empty(0, self._type)), 0)[0], [Reject(data, {}, reason)]
        records = np.frombuffer(data, self._type)
        batch, faults = self.cells.readings(self._columns(records), len(records))
        return batch, [
            Reject(data[row * self.size : (row + 1) * self.size], {"record": row + 1}, reason) for row, reason in faults
        ]

    def _texts(self) -> list[str]:
        return [name for name in self._type.names or () if self._type[name].kind == "S"]

    def _columns(self, records: Records) -> Columns:
        def column(name: str) -> Any:
            values = records[name]
            if values.dtype.kind == "S":
                return pa.array([_text(value) for value in values.tolist()], pa.string())
            if values.dtype.kind == "f":
                return pa.array(values.astype(np.float64))
            # Of its own size: a number above 2**63 stays what it is.
            return pa.array(values.astype(values.dtype.newbyteorder("=")))

        return column


def _text(value: bytes) -> str | None:
    """A text without what fills it up; None if it is none."""
    try:
        return value.decode().strip("\0 ")
    except UnicodeDecodeError:
        return None


def _not_text(values: Any) -> bool:
    return any(_text(value) is None for value in np.unique(values).tolist())
