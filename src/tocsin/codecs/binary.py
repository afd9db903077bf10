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

from tocsin.codecs import BinarySettings, columns_of
from tocsin.codecs._cells import Cells, Columns
from tocsin.codecs._lines import Fault, not_text
from tocsin.packed import Packed
from tocsin.reading import Batch, Series

Records = npt.NDArray[np.void]


class Decoder:
    """Reads packed records; `size` is how many bytes each of them takes."""

    def __init__(self, settings: BinarySettings, series: Series) -> None:
        packed = Packed(settings.layout)
        self.cells = Cells(settings.time, settings.cells, series)
        self.size = packed.size
        self._described = ", ".join(f"{name} {kind}" for name, kind in settings.layout)
        self._type = np.dtype(packed.fields(settings.byte_order))
        wanted = columns_of(settings.time, settings.cells)
        self._texts = [name for name in self._type.names or () if name in wanted and self._type[name].kind == "S"]

    def at_once(self, data: bytes) -> Batch | None:
        """The readings of whole records, if there is nothing to reject; else None."""
        records = np.frombuffer(data, self._type)
        if any(not_text(b"\0".join(np.unique(records[name]).tolist())) for name in self._texts):
            return None
        return self.cells.readings_of_all(self._columns(records), len(records))

    def wrong(self, data: bytes) -> str:
        """Why these are no whole records, or an empty text."""
        if len(data) % self.size == 0:
            return ""
        return f"{len(data)} bytes are no whole records of {self.size}: expected {self._described}"

    def closely(self, data: bytes) -> tuple[Batch, list[Fault]]:
        """The readings of whole records, and which of these are at fault."""
        records = np.frombuffer(data, self._type)
        wrong = self._not_text(records)
        good = np.array([row for row in range(len(records)) if row not in wrong], np.intp)
        if wrong and self.cells.alongside is not None:
            self.cells.alongside = self.cells.alongside.only(good)
        batch, faults = self.cells.readings(self._columns(records[good]), len(good))
        return batch, sorted((wrong | {int(good[row]): why for row, why in faults}).items())

    def _not_text(self, records: Records) -> dict[int, str]:
        """Of each record with a text that is none: why."""
        return {
            row: f"{name}: {not_text(value)}"
            for name in self._texts
            for row, value in enumerate(records[name].tolist())
            if not_text(value)
        }

    def _columns(self, records: Records) -> Columns:
        def column(name: str) -> Any:
            values = records[name]
            if values.dtype.kind == "S":
                return pa.array([value.decode().strip("\0 ") for value in values.tolist()], pa.string())
            if values.dtype.kind == "f":
                return pa.array(values.astype(np.float64))
            # Of its own size: a number above 2**63 stays what it is.
            return pa.array(values.astype(values.dtype.newbyteorder("=")))

        return column
