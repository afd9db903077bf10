"""Series as rows: which row a code of the running program has, and readings by their rows."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select

from tocsin.reading import Batch, Codes, Flag, Labels, Series, Times, Values
from tocsin.stores import Step
from tocsin.stores.rows import Row, labels_of_text, text_of_labels
from tocsin.stores.tables import devices, series

UNKNOWN = -1
UNIT = 1 << 32
"""Numbers of series that each unit has for itself."""
NEW_DEVICE = "INSERT OR IGNORE INTO devices (name) VALUES (?)"
NEW_SERIES = """INSERT INTO series (id, device, metric, labels)
    VALUES (?, (SELECT id FROM devices WHERE name = ?), ?, ?)"""
Numbers = npt.NDArray[np.int64]
Columns = tuple[list[int], list[int], list[float]]


def span_of(unit: int) -> tuple[int, int]:
    """The first and the last number that a unit's series can have."""
    return unit * UNIT, (unit + 1) * UNIT - 1


class SeriesRows:
    """The two dictionaries of series, the program's and a unit's part of the table's, side by side.

    Rows are counted from the unit's own beginning in here.
    """

    def __init__(self, dictionary: Series, unit: int = 0) -> None:
        self.dictionary = dictionary
        self._base, self._last = span_of(unit)
        self._row_of = np.empty(0, np.int64)
        self._code_of = np.full(1, UNKNOWN, np.int32)
        self._new_series: list[Row] = []

    def load(self, connection: Connection) -> None:
        """Give every stored series a code.

        Where the pipeline file has since given a device other labels, several rows come to one code:
        the readings are the device's as it is described now.
        """
        own = series.c.id.between(self._base, self._last)
        query = select(series.c.id - self._base, devices.c.name, series.c.metric, series.c.labels)
        rows = connection.execute(query.join(devices).where(own).order_by(series.c.id)).all()
        self._code_of = np.full(rows[-1][0] + 1 if rows else 1, UNKNOWN, np.int32)
        for metric, run in groupby(rows, lambda row: row[2]):
            numbers, names, _, labels = zip(*run, strict=True)
            codes = self.dictionary.codes(names, metric, [labels_of_text(text) for text in labels])
            self._code_of[list(numbers)] = codes
            self._grow()
            for number, code, text in zip(numbers, codes.tolist(), labels, strict=True):
                if not self.dictionary.expected or text_of_labels(self.dictionary.describe(code)[2]) == text:
                    self._row_of[code] = number

    def columns(self, step: Step) -> tuple[Columns, list[Row]]:
        """A step's accepted readings in the order of the table's key, and its flagged ones as rows.

        Repeats are in neither.
        """
        if step.batch is None or step.flags is None:
            return ([], [], []), []
        batch, flags = step.batch, step.flags
        rows = self.numbers(batch.code)
        kept = np.flatnonzero(flags == Flag.ACCEPTED)
        kept = kept[np.lexsort((batch.time[kept], rows[kept]))]
        accepted = rows[kept].tolist(), batch.time[kept].tolist(), batch.value[kept].tolist()
        others = np.flatnonzero((flags != Flag.ACCEPTED) & (flags != Flag.REPEAT))
        words = [Flag(flag).name.lower() for flag in flags[others].tolist()]
        flagged = zip(
            rows[others].tolist(), batch.time[others].tolist(), words, batch.value[others].tolist(), strict=True
        )
        return accepted, list(flagged)

    def __len__(self) -> int:
        return len(self._code_of)

    def numbers(self, codes: Codes) -> Numbers:
        """The rows of these codes as the table numbers them; those that are new are written by `save`."""
        return self._rows(codes) + self._base

    def save(self, connection: Connection) -> None:
        """Write the series that were met for the first time."""
        if self._new_series:
            cursor = connection.connection.cursor()
            cursor.executemany(NEW_DEVICE, [(device,) for device in dict.fromkeys(row[1] for row in self._new_series)])
            cursor.executemany(NEW_SERIES, self._new_series)
            self._new_series = []

    def batch(self, rows: Numbers, time: Times, value: Values) -> Batch:
        """Stored readings as the program knows them."""
        return Batch(self.dictionary, self._code_of[rows - self._base], time, value)

    def _rows(self, codes: Codes) -> Numbers:
        self._grow()
        fresh = np.unique(codes[self._row_of[codes] == UNKNOWN])
        for row, code in enumerate(fresh.tolist(), len(self._code_of)):
            self._add(row, *self.dictionary.describe(code))
            self._row_of[code] = row
        if len(fresh):
            self._code_of = np.concatenate([self._code_of, fresh])
        return self._row_of[codes]

    def _grow(self) -> None:
        added = len(self.dictionary) - len(self._row_of)
        if added > 0:
            self._row_of = np.concatenate([self._row_of, np.full(added, UNKNOWN, np.int64)])

    def _add(self, row: int, device: str, metric: str, labels: Labels) -> None:
        self._new_series.append((self._base + row, device, metric, text_of_labels(labels)))
