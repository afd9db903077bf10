"""A source of readings: a connector that gives records and the codec that decodes them.

A file with `sort` is read whole and put in order of time before its first reading is given; readings
of one time stay in the order of their lines.  Its positions count the readings given so far
(`sorted`); after a restart it is read and sorted again, and so many are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tocsin import codecs
from tocsin.codecs import CodecSettings, Decoder
from tocsin.connectors import file as connector
from tocsin.connectors.file import FileSettings
from tocsin.errors import EndOfInput, RunError, SetupError, TocsinError
from tocsin.instant import format_time
from tocsin.record import Decoded, Position, Record

if TYPE_CHECKING:
    from tocsin.reading import Series

STEP = 100_000
"""How many readings of a sorted file are given at a time."""
_BETWEEN = b" \t\r\n,[]"
"""What stands between the values of a JSON file."""


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
        self._codec = codec
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
        if not records:
            return None
        return replace(self._decoder.decode(records[0]), line_of=partial(self._line_of, records[0].place))

    def decode(self, record: Record) -> Decoded:
        """What a record of this file holds; the file was opened, so that its header is known."""
        return self._decoder.decode(record)

    def close(self) -> None:
        """Let go of the file; a poll that waits ends."""
        self._source.close()

    def _line_of(self, place: Position, row: int) -> int | None:
        """The line of the reading number `row` after a position, from 0; None if the file is no longer what it was."""
        from tocsin.reading import Series

        decoder = codecs.decoder(self._codec, Series())
        with closing(connector.Source(FileSettings(self._path), decoder.whole)) as again, suppress(TocsinError):
            again.open(place)
            decoder.begin(again.head, self._path)
            if again.fresh == (place["offset"] == 0):
                return _line_of(_records(again), row, decoder)
        return None

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
        self._upto = (position or {}).get("upto")
        self._steps: Iterator[Decoded] | None = None

    def poll(self, timeout: float = 0.0) -> Decoded | None:  # noqa: ARG002 - a bounded file is never waited for
        """The next readings in order of time; all rejects come with the first."""
        if self._steps is None:
            self._steps = self._in_order(self._given, self._upto)
        step = next(self._steps, None)
        if step is None:
            raise EndOfInput(f"{self._path} is read to its end")
        return step

    def _in_order(self, given: int, upto: int | None) -> Iterator[Decoded]:
        import numpy as np

        from tocsin.reading import Batch

        parts = list(_all_of(super().poll))
        batch = Batch.join([part.batch for part in parts])
        batch = batch.take(np.argsort(batch.time, kind="stable"))
        rejects = [reject for part in parts for reject in part.rejects]
        if upto is not None and (given > len(batch) or int(batch.time[given - 1]) != upto):
            raise RunError(
                f"{self._path}: the file has other readings before {format_time(upto)} than when that was reached: with "
                "`sort: true` it is put in order as a whole, so nothing may be added to what was read. Take a new store, or "
                "put `lateness` at the top instead of `sort`"
            )
        for start in range(given, max(len(batch), 1), STEP):
            step = batch.take(slice(start, start + STEP))
            position = {**parts[-1].position, "sorted": max(start + len(step), 1)}
            if start + len(step):
                position["upto"] = int(batch.time[start + len(step) - 1])
            yield Decoded(
                step, rejects if start == 0 else [], position, sum(part.size for part in parts) if start == given else 0
            )


def _records(source: connector.Source) -> Iterator[Record]:
    while True:
        yield from source.poll()


def _line_of(records: Iterator[Record], row: int, decoder: Decoder) -> int:
    """The line of the reading number `row` of these records; raises EndOfInput if they have fewer."""
    while row >= (count := len(decoder.decode(record := next(records)).batch)):
        row -= count
    return _line_in(record, row, decoder)


def _line_in(record: Record, row: int, decoder: Decoder) -> int:
    """The same in one record, which is cut in two around the reading until a single line is left."""
    data, place = record.data, record.place
    while cut := _middle(data, decoder.whole):
        count = len(decoder.decode(Record(data[:cut], place, place)).batch)
        if row < count:
            data = data[:cut]
        else:
            place = {**place, "line": place["line"] + data.count(b"\n", 0, cut), "offset": place["offset"] + cut}
            data, row = data[cut:], row - count
    before = data[: len(data) - len(data.lstrip(_BETWEEN))]
    return int(place["line"]) + before.count(b"\n")


def _middle(data: bytes, whole: Callable[[bytes], int]) -> int:
    """Where to cut some lines (or values) in two, as near to the middle as may be; 0 if there is only one."""
    rest = len(data) // 2
    while rest:
        if cut := whole(data[: len(data) - rest]):
            return cut
        rest //= 2
    return 0


def _all_of(poll: Callable[[], Decoded | None]) -> Iterator[Decoded]:
    while True:
        try:
            part = poll()
        except EndOfInput:
            return
        if part is not None:
            yield part
