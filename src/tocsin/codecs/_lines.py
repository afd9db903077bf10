"""What codecs of text have in common: encodings, lines, rejects, and the search for bad lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tocsin.errors import SetupError
from tocsin.reading import Batch
from tocsin.record import Record, Reject

Read = tuple[Batch, list[Reject]]
Fault = tuple[int, str]
"""A row, from 0, and what is wrong with it."""


class Entry(NamedTuple):
    """A row or an object of a text: its line, its bytes, what it says, and what is at fault in it."""

    line: int
    raw: bytes
    says: Any
    fault: str = ""


BOM = b"\xef\xbb\xbf"
"""The mark that some programs put before UTF-8."""


def not_text(data: bytes) -> str:
    """Why these bytes are no text, or an empty string."""
    if data.isascii():
        return ""
    try:
        data.decode()
    except UnicodeDecodeError as fault:
        return f"byte {data[fault.start]:#04x} is not UTF-8 (it may be Latin-1): save or send it as UTF-8"
    return ""


def check_text(head: bytes, file: str) -> None:
    """Refuse a file whose first bytes tell that it is UTF-16."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SetupError(f"{file}: this is UTF-16, expected UTF-8: save it as UTF-8 (in a spreadsheet: CSV UTF-8)")


def reject(raw: bytes, record: Record, line: int, reason: str) -> Reject:
    """A reject for these bytes of a record."""
    return Reject(raw.rstrip(b"\r\n"), {"file": record.place["file"], "line": line}, reason)


def judged(
    entries: Sequence[Entry], readings: Callable[[Sequence[Entry]], tuple[Batch, list[Fault]]]
) -> tuple[Batch, list[Fault]]:
    """The readings of those in which nothing is at fault as yet, and all faults, in the order of the entries."""
    good = [place for place, entry in enumerate(entries) if not entry.fault]
    batch, faults = readings([entries[place] for place in good])
    wrong = {place: entry.fault for place, entry in enumerate(entries) if entry.fault}
    return batch, sorted((wrong | {good[row]: why for row, why in faults}).items())


def told(
    entries: Sequence[Entry], readings: Callable[[Sequence[Entry]], tuple[Batch, list[Fault]]], record: Record
) -> Read:
    """The same, with a reject of the record for each fault."""
    batch, faults = judged(entries, readings)
    return batch, [reject(entries[place].raw, record, entries[place].line, why) for place, why in faults]


def line_end(data: bytes) -> int:
    """Where the last complete line ends."""
    return data.rfind(b"\n") + 1


def narrow(
    data: bytes,
    line: int,
    at_once: Callable[[bytes], Batch | None],
    closely: Callable[[bytes, int], Read],
    whole: Callable[[bytes], int],
) -> Read:
    """Read at once what can be, and look closely only at the small pieces that hold something bad."""
    reads = list(_narrow(data, line, at_once, closely, whole))
    if len(reads) == 1:
        return reads[0]
    return Batch.join([batch for batch, _ in reads]), [reject for _, rejects in reads for reject in rejects]


def _narrow(
    data: bytes,
    line: int,
    at_once: Callable[[bytes], Batch | None],
    closely: Callable[[bytes, int], Read],
    whole: Callable[[bytes], int],
) -> Iterator[Read]:
    batch = at_once(data)
    if batch is not None:
        yield batch, []
        return
    for piece in _pieces(data, whole):
        if len(piece) == len(data):
            yield closely(piece, line)
        else:
            yield from _narrow(piece, line, at_once, closely, whole)
        line += len(piece.splitlines())


def _pieces(data: bytes, whole: Callable[[bytes], int]) -> Iterator[bytes]:
    """Some parts of a text, each of whole lines; only itself if it is small or cannot be cut."""
    size = len(data) // _PARTS
    start = 0
    while start < len(data):
        cut = whole(data[start : start + size]) if len(data) > _SMALL else 0
        end = start + cut if cut else len(data)
        yield data[start:end]
        start = end


_PARTS = 16
_SMALL = 32 << 10
"""A piece of this size is read line by line rather than cut again."""
