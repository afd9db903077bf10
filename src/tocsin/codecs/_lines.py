"""What codecs of text have in common: encodings, lines and rejects."""

from __future__ import annotations

from collections.abc import Iterator

from tocsin.errors import SetupError
from tocsin.record import Record, Reject

BOM = b"\xef\xbb\xbf"
"""The mark that some programs put before UTF-8."""


def not_text(data: bytes) -> str:
    """Why these bytes are no text, or an empty string."""
    if data.isascii():
        return ""
    try:
        data.decode()
    except UnicodeDecodeError as fault:
        return f"byte {data[fault.start]:#04x} is not UTF-8: save the file as UTF-8 (it may be Latin-1)"
    return ""


def check_text(head: bytes, file: str) -> None:
    """Refuse a file whose first bytes tell that it is UTF-16."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SetupError(f"{file}: this is UTF-16, expected UTF-8: save it as UTF-8 (in a spreadsheet: CSV UTF-8)")


def reject(raw: bytes, record: Record, line: int, reason: str) -> Reject:
    """A reject for these bytes of a record."""
    return Reject(raw.rstrip(b"\r\n"), {"file": record.place["file"], "line": line}, reason)


def numbered(record: Record) -> Iterator[tuple[int, bytes]]:
    """The lines of a record with their numbers."""
    return enumerate(record.data.splitlines(), int(record.place["line"]))
