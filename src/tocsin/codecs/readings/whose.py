"""Whose a reading is: from the names that stand beside it to the code of its series, each learned once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from tocsin.codecs._cells import Seen
from tocsin.reading import Codes, Labels, Series

LabelsOf = Callable[[Sequence[str]], Labels]
"""From what stands in a row's columns of labels to the labels."""


class Whose:
    """What is known of the names in messages."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._seen = Seen()
        self._codes: dict[tuple[str, ...], Codes] = {}

    def codes(self, columns: Mapping[str, pa.Array], labels_of: LabelsOf) -> Codes:
        """The code of every row's series: the first two columns are device and metric, any others tell its labels."""
        names = tuple(columns)
        if not len(columns[names[0]]):
            return np.empty(0, np.int32)
        places = self._seen.of(columns.__getitem__, names, len(columns[names[0]]))
        known = self._codes.get(names, np.empty(0, np.int32))
        new = int(places.max()) + 1 - len(known)
        if new > 0:
            row_of = np.zeros(new, np.intp)
            rows = np.flatnonzero(places >= len(known))
            row_of[places[rows] - len(known)] = rows
            told = [column.take(pa.array(row_of)).fill_null("").to_pylist() for column in columns.values()]
            devices, metrics, *labels = told
            sets = [labels_of(row) for row in zip(*labels, strict=True)] if labels else None
            known = self._codes[names] = np.append(known, codes_of(self._series, devices, metrics, sets))
        return known[places]


def codes_of(
    series: Series, devices: Sequence[str], metrics: Sequence[str], labels: Sequence[Labels] | None = None
) -> Codes:
    """The code of each row's series, given now if it is new."""
    codes = np.empty(len(devices), np.int32)
    by_metric: dict[str, list[int]] = {}
    for place, metric in enumerate(metrics):
        by_metric.setdefault(metric, []).append(place)
    for metric, group in by_metric.items():
        own = None if labels is None else [labels[place] for place in group]
        codes[group] = series.codes([devices[place] for place in group], metric, own)
    return codes
