"""What flows: readings in columns, and the dictionary that gives every series its code.

A *series* is a device, a metric and the labels that came with them.  A reading is a series, a time
and a value; in a `Batch` these are three columns of equal length, in log order.  A row object
exists only at the edges, for people.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=Hashable)

Codes = npt.NDArray[np.int32]
Times = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.uint8]
Labels = tuple[tuple[str, str], ...]
"""Label pairs sorted by name, empty ones left out."""


class Flag(IntEnum):
    """What became of a reading when it was admitted; only accepted ones reach rules."""

    ACCEPTED = 0
    LATE = 1
    CONFLICT = 2
    FUTURE = 3
    REPEAT = 4


def labels_of(pairs: Mapping[str, str]) -> Labels:
    """Sorted label pairs without the empty ones: an absent label is the empty string."""
    return tuple(sorted((name, value) for name, value in pairs.items() if value != ""))


class Series:
    """The dictionary of series: append-only, so that a code once given stays good.

    One thread may add to it while another reads: a series counts only once all of it is there.

    `devices` are the labels that the pipeline file adds to a device's own; they win.
    """

    def __init__(self, devices: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.expected = {name: dict(labels) for name, labels in (devices or {}).items()}
        self.devices: list[str] = []
        self.metrics: list[str] = []
        self.label_sets: list[Labels] = []
        self._device_codes: dict[str, int] = {}
        self._metric_codes: dict[str, int] = {}
        self._label_codes: dict[Labels, int] = {}
        self._codes: dict[int, int] = {}
        self._identities: dict[int, int] = {}
        self._columns = np.empty((5, 1024), np.int32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def device(self) -> Codes:
        """Of each series: its place in `devices`."""
        return self._columns[0, : self._count]

    @property
    def metric(self) -> Codes:
        """Of each series: its place in `metrics`."""
        return self._columns[1, : self._count]

    @property
    def labels(self) -> Codes:
        """Of each series: its place in `label_sets`."""
        return self._columns[2, : self._count]

    @property
    def identity(self) -> Codes:
        """Of each series: the number of its (device, metric), by which repeats are known.

        Series that differ in their labels alone share it.
        """
        return self._columns[3, : self._count]

    @property
    def is_expected(self) -> Codes:
        """Of each series: 1 if its device is expected, else 0."""
        return self._columns[4, : self._count]

    @property
    def identities(self) -> int:
        """How many (device, metric) pairs there are."""
        return len(self._identities)

    def code(self, device: str, metric: str, labels: Mapping[str, str] | None = None) -> int:
        """The code of one series, given now if it is new."""
        return int(self.codes([device], metric, [labels_of(labels or {})])[0])

    def codes(self, devices: Sequence[str], metric: str, labels: Iterable[Labels] | None = None) -> Codes:
        """The codes of many series of one metric: one for each device, with its labels if given."""
        metric_code = _intern(metric, self._metric_codes, self.metrics)
        known = self._device_codes
        if labels is None and not self.expected:
            nothing = _intern((), self._label_codes, self.label_sets)
            lookup, rest = self._codes.get, _packed(0, metric_code, nothing)
            found = [lookup(known.get(device, -1) + rest, -1) for device in devices]
            for place, code in enumerate(found):
                if code < 0:
                    found[place] = self._add(_intern(devices[place], known, self.devices), metric_code, nothing)
            return np.array(found, np.int32)
        return np.array(
            [
                self._add(
                    _intern(device, known, self.devices),
                    metric_code,
                    _intern(self._with_expected(device, own), self._label_codes, self.label_sets),
                )
                for device, own in zip(devices, labels if labels is not None else [()] * len(devices), strict=True)
            ],
            np.int32,
        )

    def device_code(self, device: str) -> int:
        """The place of a known device in `devices`; KeyError if it has no series yet."""
        return self._device_codes[device]

    def describe(self, code: int) -> tuple[str, str, Labels]:
        """Device, metric and labels of a series, for people."""
        return (
            self.devices[self.device[code]],
            self.metrics[self.metric[code]],
            self.label_sets[self.labels[code]],
        )

    def _with_expected(self, device: str, own: Labels) -> Labels:
        added = self.expected.get(device)
        return labels_of({**dict(own), **added}) if added else own

    def _add(self, device: int, metric: int, labels: int) -> int:
        place = len(self._codes)
        code = self._codes.setdefault(_packed(device, metric, labels), place)
        if code == place:
            if place == self._columns.shape[1]:
                self._columns = np.concatenate([self._columns, np.empty_like(self._columns)], axis=1)
            identity = self._identities.setdefault(_packed(device, metric, 0), len(self._identities))
            self._columns[:, place] = (device, metric, labels, identity, self.devices[device] in self.expected)
            self._count += 1
        return code


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings in log order: three columns of equal length over one dictionary of series.

    `code` int32, `time` int64 nanoseconds UTC, `value` float64 (finite).
    """

    series: Series
    code: Codes
    time: Times
    value: Values

    def __len__(self) -> int:
        return len(self.time)

    def take(self, which: npt.NDArray[np.bool_] | npt.NDArray[np.intp] | slice) -> Batch:
        """The readings that a mask, a slice or a list of places selects."""
        return Batch(self.series, self.code[which], self.time[which], self.value[which])

    @staticmethod
    def empty(series: Series) -> Batch:
        """No reading at all."""
        return Batch(series, np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64))

    @staticmethod
    def join(batches: Sequence[Batch]) -> Batch:
        """Several batches over one dictionary, one after the other."""
        return Batch(
            batches[0].series,
            np.concatenate([batch.code for batch in batches]),
            np.concatenate([batch.time for batch in batches]),
            np.concatenate([batch.value for batch in batches]),
        )


def _packed(device: int, metric: int, labels: int) -> int:
    """Three codes as one number: with a million devices a third of the memory of a tuple."""
    return device + (metric << 32) + (labels << 64)


def _intern(thing: T, codes: dict[T, int], things: list[T]) -> int:
    code = codes.setdefault(thing, len(things))
    if code == len(things):
        things.append(thing)
    return code
