"""Whose alert it is: a rule's `by` labels give each series a key, and each key a slot.

Slots count from 0 and are never given twice, so that whatever is known of a key is a row of a column.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tocsin.node import Matcher, Selector
from tocsin.reading import Codes, Labels, Series


class Keys:
    """The slots of one `by`."""

    def __init__(self, by: tuple[str, ...], series: Series) -> None:
        self.by = by
        self.series = series
        self.slot: Codes = np.empty(0, np.int32)
        self._slots: dict[Labels, int] = {}
        self._labels: list[Labels] = []
        self._count = 0
        self._by_device = by == ("device",)

    def __len__(self) -> int:
        return self._count

    def extend(self, count: int) -> None:
        """Gives slots to the series that are new in the dictionary, up to its first `count`."""
        if self._by_device:
            self.slot = self.series.device[:count]
            self._count = len(self.series.devices)
            return
        new = [self._slot_of(code) for code in range(len(self.slot), count)]
        self.slot = np.concatenate([self.slot, np.array(new, np.int32)])
        self._count = len(self._labels)

    def find(self, key: Labels) -> int:
        """The slot of a key that an alert had; KeyError if none of its series is known."""
        if self._by_device:
            return self.series.device_code(dict(key).get("device", ""))
        return self._slots[key]

    def labels(self, slot: int) -> Labels:
        """The key's labels, sorted, empty ones left out."""
        if self._by_device:
            device = self.series.devices[slot]
            return (("device", device),) if device else ()
        return self._labels[slot]

    def _slot_of(self, code: int) -> int:
        device, _, labels = self.series.describe(code)
        own = {**dict(labels), "device": device}
        key = tuple(sorted((name, own[name]) for name in self.by if own.get(name)))
        slot = self._slots.setdefault(key, len(self._labels))
        if slot == len(self._labels):
            self._labels.append(key)
        return slot


class Selection:
    """Which series a selector selects, kept as the dictionary of series grows."""

    def __init__(self, selector: Selector, series: Series) -> None:
        self.series = series
        self.metric = selector.metric
        self._by_device = [matcher for matcher in selector.matchers if matcher.label == "device"]
        self._by_labels = [matcher for matcher in selector.matchers if matcher.label != "device"]
        self._devices: npt.NDArray[np.bool_] = np.empty(0, np.bool_)
        self._label_sets: npt.NDArray[np.bool_] = np.empty(0, np.bool_)

    def of(self, first: int, count: int) -> npt.NDArray[np.bool_]:
        """Of each series from code `first` to before `count`: whether it is selected."""
        series = self.series
        if self.metric not in series.metrics:
            return np.zeros(count - first, np.bool_)
        chosen: npt.NDArray[np.bool_] = series.metric[first:count] == series.metrics.index(self.metric)
        if self._by_device:
            new = series.devices[len(self._devices) :]
            self._devices = _append(self._devices, self._by_device, [{"device": device} for device in new])
            chosen &= self._devices[series.device[first:count]]
        if self._by_labels:
            sets = series.label_sets[len(self._label_sets) :]
            self._label_sets = _append(self._label_sets, self._by_labels, [dict(labels) for labels in sets])
            chosen &= self._label_sets[series.labels[first:count]]
        return chosen


def _append(known: npt.NDArray[np.bool_], matchers: list[Matcher], new: list[dict[str, str]]) -> npt.NDArray[np.bool_]:
    passed = [all(matcher.matches(labels) for matcher in matchers) for labels in new]
    return np.concatenate([known, np.array(passed, np.bool_)])


class DeviceOrder:
    """The rank of each series by device and metric name: the order in which sums add at one time."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self._names: npt.NDArray[np.object_] = np.empty(0, object)
        self._codes: Codes = np.empty(0, np.int32)
        self._ranks: Codes = np.empty(0, np.int32)

    def ranks(self) -> Codes:
        """Of each series: its place in the order of names; new ones are put where they belong among the old."""
        known, count = len(self._codes), len(self.series)
        if known != count:
            new = sorted((self._name(code), code) for code in range(known, count))
            names = np.array([name for name, _ in new], object)
            places = np.searchsorted(self._names, names)
            self._names = np.insert(self._names, places, names)
            self._codes = np.insert(self._codes, places, [code for _, code in new])
            self._ranks = np.empty(count, np.int32)
            self._ranks[self._codes] = np.arange(count, dtype=np.int32)
        return self._ranks

    def _name(self, code: int) -> str:
        device, metric, _ = self.series.describe(code)
        return f"{device}\0{metric}"
