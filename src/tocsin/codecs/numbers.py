"""Numbers: one a line, evenly spaced from a given start; a blank line is a moment without a reading.

A number's time comes from its line, so a bad line or a restart moves no other reading.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from tocsin.codecs import NumbersSettings
from tocsin.codecs._cells import to_numbers, wrong_number
from tocsin.codecs._lines import BOM, check_text, line_end, not_text, reject
from tocsin.reading import Batch, Series
from tocsin.record import Decoded, Record, Reject


class Decoder:
    """Reads one source of numbers."""

    def __init__(self, settings: NumbersSettings, series: Series) -> None:
        self._start, self._every = settings.start, settings.every
        self._code = series.code(settings.device, settings.metric, dict(settings.labels))
        self._series = series

    def begin(self, head: bytes, file: str) -> int:
        """There is no header, and no column that could be missing."""
        check_text(head, file)
        return 0

    def whole(self, data: bytes) -> int:
        """Where the last complete line ends."""
        return line_end(data)

    def decode(self, record: Record) -> Decoded:
        """The readings of a record; each line's time is its distance from the first line."""
        lines: list[bytes] = []
        column = _at_once(record.data.removeprefix(BOM))
        if column is None:
            lines = record.data.removeprefix(BOM).splitlines()
            column = pa.array(["?" if not_text(raw) else raw.decode() for raw in lines], pa.string())
        value, bad = to_numbers(column)
        if bad.any() and not lines:
            lines = record.data.removeprefix(BOM).splitlines()
        good = np.flatnonzero(~np.isnan(value))
        first = int(record.place["line"]) - 1 + int(record.place["earlier"])
        time = self._start + (first + good) * self._every
        batch = Batch(self._series, np.full(len(time), self._code, np.int32), time, value[good] + 0.0)
        rejects = [_reject(lines[row], record, row) for row in np.flatnonzero(bad).tolist()]
        return Decoded(batch, rejects, record.end, len(record.data))


def _at_once(data: bytes) -> pa.Array | None:
    """Every line's number, if each is one or blank."""
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    try:
        table = arrow_csv.read_csv(
            pa.py_buffer(data),
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=["number"]),
            parse_options=arrow_csv.ParseOptions(delimiter="\x1f", quote_char=False, ignore_empty_lines=False),
            convert_options=arrow_csv.ConvertOptions(column_types={"number": pa.float64()}, null_values=[""]),
        )
    except pa.ArrowInvalid:
        return None
    return table.column(0).combine_chunks() if table.num_rows == lines else None


def _reject(raw: bytes, record: Record, row: int) -> Reject:
    reason = not_text(raw) or wrong_number("the line", raw.decode())
    return reject(raw, record, int(record.place["line"]) + row, reason)
