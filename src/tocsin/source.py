"""A source of readings: a connector that gives records and the codec that decodes them.

A file with `sort` is read whole and put in order of time before its first reading is given; readings
of one time stay in the order of their lines.  Its positions count the readings given so far
(`sorted`); after a restart it is read and sorted again, and so many are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tocsin import codecs
from tocsin.codecs import CodecSettings
from tocsin.connectors import file as connector
from tocsin.connectors.file import FileSettings
from tocsin.errors import EndOfInput, SetupError
from tocsin.record import Decoded, Position

if TYPE_CHECKING:
    from tocsin.reading import Series

STEP = 100_000
"""How many readings of a sorted file are given at a time."""


def open_source(file: FileSettings, codec: CodecSettings, series: Series) -> DecodingSource:
    """The source that these settings describe, not opened yet."""
    return SortedSource(file, codec, series) if file.sort else DecodingSource(file, codec, series)


class DecodingSource:
    """Readings and rejects of one file, block by block.

    `open` comes first and may come again; `poll` and `close` may run in another thread than the engine.
    """

    def __init__(self, file: FileSettings, codec: CodecSettings, series: Series) -> None:
        self.bounded = not file.follow
        self._path = file.path
        self._series = series
        self._decoder = codecs.decoder(codec, series)
        self._source = connector.Source(file, self._decoder.whole)

    @property
    def done(self) -> float | None:
        """The part of a bounded file that has been read, from 0 to 1; None if it is followed."""
        return self._source.done

    def open(self, position: Position | None = None) -> None:
        """Find the file and check its columns; raises SetupError before anything is read."""
        try:
            self._source.open(position)
            head = self._source.head
            if self.bounded or b"\n" in head:
                self._check(head)
        except SetupError:
            self._source.close()
            raise

    def poll(self, timeout: float = 0.0) -> Decoded | None:
        """The next readings and rejects, None if there is nothing now; raises EndOfInput when all is read."""
        records = self._source.poll(timeout=timeout)
        return self._decoder.decode(records[0]) if records else None

    def close(self) -> None:
        """Let go of the file; a poll that waits ends."""
        self._source.close()

    def _check(self, head: bytes) -> None:
        if self.bounded and not head.strip():
            raise SetupError(f"{self._path}: the file is empty, expected readings")
        header = self._decoder.begin(head, self._path)
        if self.bounded and not head[header:].strip():
            raise SetupError(f"{self._path}: there is a header and no line after it, expected readings")


class SortedSource(DecodingSource):
    """Readings of one bounded file in order of time."""

    def open(self, position: Position | None = None) -> None:
        """Find the file and check its columns; it is read at the first poll."""
        super().open()
        if position and "sorted" not in position:
            raise SetupError(
                f"{self._path}: part of this file was saved in its own order before `sort: true` was set. "
                "Take a new store, or put `lateness` at the top instead"
            )
        self._given = int((position or {}).get("sorted", 0))
        self._steps: Iterator[Decoded] | None = None

    def poll(self, timeout: float = 0.0) -> Decoded | None:  # noqa: ARG002 - a bounded file is never waited for
        """The next readings in order of time; all rejects come with the first."""
        if self._steps is None:
            self._steps = self._in_order(self._given)
        step = next(self._steps, None)
        if step is None:
            raise EndOfInput(f"{self._path} is read to its end")
        return step

    def _in_order(self, given: int) -> Iterator[Decoded]:
        import numpy as np

        from tocsin.reading import Batch

        parts = list(_all_of(super().poll))
        batch = Batch.join([part.batch for part in parts])
        batch = batch.take(np.argsort(batch.time, kind="stable"))
        rejects = [reject for part in parts for reject in part.rejects]
        for start in range(given, max(len(batch), 1), STEP):
            step = batch.take(slice(start, start + STEP))
            position = {**parts[-1].position, "sorted": max(start + len(step), 1)}
            yield Decoded(
                step, rejects if start == 0 else [], position, sum(part.size for part in parts) if start == given else 0
            )


def _all_of(poll: Callable[[], Decoded | None]) -> Iterator[Decoded]:
    while True:
        try:
            part = poll()
        except EndOfInput:
            return
        if part is not None:
            yield part
