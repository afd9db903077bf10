"""Which partition a reading belongs to: a stable hash of its key, the same for every program that publishes.

The partition key is the set of labels that every rule's `by` has, so that whatever a rule looks at
together travels together.  The hash is murmur2 over the key's UTF-8 text, as Kafka's own producers
take it: whoever sends there with the same key comes to the same partition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tocsin.reading import Series

SEPARATOR = "\x1f"
"""Between the values of a key of several labels."""
NO_QUEUE, TOO_LONG = -1, -2
"""In place of a partition's: a template names none of them; no broker would take its messages."""
LONGEST_NAMES = 64 << 10
"""Bytes of a series' device, metric and labels: they travel with each message, and in its key once more."""


def murmur2(data: bytes) -> int:
    """Kafka's variant of MurmurHash2 (seed 0x9747b28c), as a number without sign."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if len(data) > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


class Partitioner:
    """The key and the partition of each series; `by` are labels, `device` among them.

    With a `queue` template the partitions are named by it, from a reading's labels, and must be among `partitions`.
    """

    def __init__(self, series: Series, by: Sequence[str], partitions: Sequence[str], queue: str | None = None) -> None:
        self.partitions = list(partitions)
        self._series = series
        self._by = sorted(by)
        self._queue = queue
        self._place = {name: place for place, name in enumerate(partitions)}
        self._keys: list[str] = []
        self._places: npt.NDArray[np.int32] = np.empty(0, np.int32)

    @property
    def is_named(self) -> bool:
        """Whether a template names the partitions, so that it does not matter how many there are."""
        return self._queue is not None

    def places(self) -> npt.NDArray[np.int32]:
        """Of each series: the place of its partition in `partitions`; NO_QUEUE, TOO_LONG where it has none."""
        known, count = len(self._places), len(self._series)
        if known < count:
            new = [self._one(code) for code in range(known, count)]
            self._keys += [key for key, _ in new]
            self._places = np.concatenate([self._places, np.array([place for _, place in new], np.int32)])
        return self._places

    def key(self, code: int) -> str:
        """The key by which a series was put where it is."""
        return self._keys[code]

    def _one(self, code: int) -> tuple[str, int]:
        device, metric, labels = self._series.describe(code)
        own = {**dict(labels), "device": device, "metric": metric}
        key = SEPARATOR.join(own.get(label, "") for label in self._by)
        if sum(len(name.encode()) + len(value.encode()) for name, value in own.items()) > LONGEST_NAMES:
            return key, TOO_LONG
        if self._queue is not None:
            return key, self._place.get(self._queue.format_map(own), NO_QUEUE)
        return key, (murmur2(key.encode()) & 0x7FFFFFFF) % len(self.partitions)


def devices_in(
    devices: Mapping[str, Mapping[str, str]], by: Sequence[str], partitions: Sequence[str], queue: str | None = None
) -> dict[str, dict[str, Mapping[str, str]]]:
    """Of each partition the expected devices whose readings go there, with their labels."""
    series = Series(devices)
    partitioner = Partitioner(series, by, partitions, queue)
    found: dict[str, dict[str, Mapping[str, str]]] = {name: {} for name in partitions}
    codes = series.codes(list(devices), "")
    for (device, labels), place in zip(devices.items(), partitioner.places()[codes].tolist(), strict=True):
        if place >= 0:
            found[partitions[place]][device] = labels
    return found
