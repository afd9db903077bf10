"""Whose a reading is: from the names that stand beside it to the code of its series, each learned once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from tocsin.codecs._cells import Seen
from tocsin.reading import Codes, Labels, Series

LabelsOf = Callable[[Sequence[str]], Labels]
"""From what stands in a row's columns of labels to the labels."""


_UNKNOWN = -1


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
        if (more := int(places.max()) + 1 - len(known)) > 0:
            known = self._codes[names] = np.append(known, np.full(more, _UNKNOWN, np.int32))
        # A place may be known of other rows, which have labels besides, and be new among these.
        unknown = np.flatnonzero(known[places] == _UNKNOWN)
        if len(unknown):
            new, first = np.unique(places[unknown], return_index=True)
            rows = pa.array(unknown[first])
            told = [column.take(rows).fill_null("").to_pylist() for column in columns.values()]
            devices, metrics, *labels = told
            sets = [labels_of(row) for row in zip(*labels, strict=True)] if labels else None
            known[new] = codes_of(self._series, devices, metrics, sets)
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
