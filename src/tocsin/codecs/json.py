"""JSON: an array of objects, or objects one after the other, over any number of lines.

The objects are found by their braces, outside of strings, so that a long array can be read in
pieces: each piece ends after an object, and the next one begins with the comma.  A piece that cannot be read goes on
at the next brace that begins a line or follows another object.
"""

from __future__ import annotations

from tocsin.codecs import JsonSettings
from tocsin.codecs._lines import BOM, Entry, check_text, reject
from tocsin.codecs._objects import Objects
from tocsin.codecs._pieces import BETWEEN, Piece, in_one_line, objects_in, pieces_of
from tocsin.reading import Series
from tocsin.record import Decoded, Record, Reject

_NO_OBJECT = "expected a JSON object here"


class Decoder:
    """Reads one source of JSON values; with `all_hold`, an object that holds no value of the mapping is a reject."""

    def __init__(self, settings: JsonSettings, series: Series, *, all_hold: bool = False) -> None:
        self.objects = Objects(settings.time, settings.cells, series, all_hold=all_hold)

    def begin(self, head: bytes, file: str) -> int:
        """Look for the paths in the first objects; there is no header."""
        check_text(head, file)
        self.objects.begin([head[start:end] for start, end in objects_in(head)], file)
        return 0

    def whole(self, data: bytes) -> int:
        """Where the last complete object ends."""
        return max((end for _, end in objects_in(data)), default=0)

    def decode(self, record: Record) -> Decoded:
        """The readings of a record, read at once if all its objects are good."""
        batch = self.objects.at_once(record.data)
        if batch is None:
            batch = self.objects.at_once(lined_up(record.data))
        rejects: list[Reject] = []
        if batch is None:
            pieces = pieces_of(record.data, int(record.place["line"]))
            objects = [place for place, piece in enumerate(pieces) if piece.is_object]
            batch, faults = self.objects.read(b"\n".join(pieces[place].in_one_line() for place in objects), 0, record)
            wrong = {place: _NO_OBJECT for place, piece in enumerate(pieces) if not piece.is_object}
            wrong |= {objects[int(fault.place["line"])]: fault.reason for fault in faults}
            rejects = [reject(pieces[place].raw, record, pieces[place].line, wrong[place]) for place in sorted(wrong)]
        return Decoded(batch, rejects, record.end, len(record.data))

    def entries(self, data: bytes, line: int) -> list[Entry]:
        """The objects of a text that begins with this line, and what stands between them but should not."""
        if data.startswith(b"{") and b"\n" not in data:
            alone = self.objects.entry(line, data)
            if isinstance(alone.says, dict):
                return [alone]
        return [self._entry(piece) for piece in pieces_of(data, line)]

    def _entry(self, piece: Piece) -> Entry:
        if not piece.is_object:
            return Entry(piece.line, piece.raw, None, _NO_OBJECT)
        return self.objects.entry(piece.line, piece.in_one_line())._replace(raw=piece.raw)


def lined_up(data: bytes) -> bytes:
    """Objects that only separators stand between, a line each; nothing that can be read if there is more."""
    flat = in_one_line(data.removeprefix(BOM))
    spans = objects_in(flat)
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(flat)]
    if any(flat[end:start].strip(BETWEEN) for end, start in zip(ends, starts, strict=True)):
        return b"null"
    return b"\n".join([flat[start:end] for start, end in spans])
