"""JSON lines: one object a line, its fields named by dotted paths."""

from __future__ import annotations

from tocsin.codecs import JsonLinesSettings
from tocsin.codecs._lines import check_text, line_end
from tocsin.codecs._objects import Objects
from tocsin.reading import Series
from tocsin.record import Decoded, Record


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
        return line_end(data)

    def decode(self, record: Record) -> Decoded:
        """The readings of a record, read at once if all its lines are good."""
        batch, rejects = self._objects.read(record.data, int(record.place["line"]), record)
        return Decoded(batch, rejects, record.end, len(record.data))
