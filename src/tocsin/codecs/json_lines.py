"""JSON lines: one object a line, its fields named by dotted paths."""

from __future__ import annotations

from tocsin.codecs import JsonLinesSettings
from tocsin.codecs._lines import check_text, numbered
from tocsin.codecs._objects import Objects
from tocsin.reading import Series
from tocsin.record import Decoded, Record, Reject


class Decoder:
    """Reads one source of JSON lines."""

    def __init__(self, settings: JsonLinesSettings, series: Series) -> None:
        self._objects = Objects(settings.time, settings.cells, series)

    def begin(self, head: bytes, file: str) -> int:
        """Look for the paths in the first objects; there is no header."""
        check_text(head, file)
        self._objects.begin(head[: self.whole(head) or len(head)].splitlines(), file)
        return 0

    def whole(self, data: bytes) -> int:
        """Where the last complete line ends."""
        return data.rfind(b"\n") + 1

    def decode(self, record: Record) -> Decoded:
        """The readings of a record, read at once if all its lines are good."""
        batch = self._objects.at_once(record.data)
        rejects: list[Reject] = []
        if batch is None:
            batch, rejects = self._objects.one_by_one(numbered(record), record)
        return Decoded(batch, rejects, record.end, len(record.data))
