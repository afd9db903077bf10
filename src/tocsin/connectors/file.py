"""Files: read from a position to the end, or followed while they grow, through rotation and truncation.

A position holds `file`, `line`, `offset` and `earlier` as in `record.py`: the next line to read has the
number `line` of its file and begins `offset` bytes after the file's start (for gz: unpacked bytes).  Its
`seen` is a checksum over the `SEEN` bytes before the offset.  Only if that fits is a file gone on with at the
offset; otherwise it was rewritten, truncated or replaced, and is read from its start.  When following, the
file that the position was made in is looked for first under the names that rotation gives.

A bounded file's last line counts without a line end.  A file that is followed is waited for until the
line end comes; what a rotated or truncated file leaves without one is its last line.

A file counts as rotated when another one has its name.  The old one is read until twice in a row nothing
came, since a program may still write to it; then comes the one that was changed next after it, should
several have been missed, and at last the one that has the name.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from tocsin.errors import EndOfInput, RunError, SetupError, did_you_mean
from tocsin.record import Position, Record

BLOCK = 6 << 20
"""How many bytes are read at a time: some 50,000 to 100,000 readings, which suits the engine."""
HEAD = 64 << 10
"""How much of a file's beginning a codec gets to see before the first record."""
LONGEST = 32 << 20
"""A line may be so long; a longer one is cut there, so that memory does not grow."""
SEEN = 256
"""How many bytes before the offset tell whether a file is still the one that was read."""

_GZ = b"\x1f\x8b"
_PAUSE = 0.005, 0.05
"""Seconds between two looks at a file that is followed: while it grows, and when nothing has come for a while."""
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True)
class FileSettings:
    """Which file, whether it is followed as it grows, and whether it is put in order of time first."""

    path: str
    follow: bool = False
    sort: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot go together; ValueError says why."""
        if self.follow and self.sort:
            raise ValueError("a file that is followed has no end and cannot be sorted: take out `sort` or `follow`")


def _last_line_end(data: bytes) -> int:
    return data.rfind(b"\n") + 1


class Source:
    """One file's records, in order.

    `whole` says how many of some bytes are whole lines (or values); the default counts to the last line end.
    """

    def __init__(self, settings: FileSettings, whole: Callable[[bytes], int] = _last_line_end) -> None:
        self._settings = settings
        self._path = Path(settings.path)
        self._whole = whole
        self._closing = Event()
        self._file: _File | None = None
        self._pending, self._seen = b"", b""
        self._offset, self._line, self._earlier, self._quiet = 0, 1, 0, 0
        self._changed, self._unchanged = 0, 0.0
        self.head = b""
        """How the file begins, as far as it is there: HEAD bytes, or at least its first line."""

    def open(self, position: Position | None = None) -> None:
        """Find the file and the place to go on from; raises SetupError if it cannot be read."""
        self._closing.clear()
        self._file = self._open_first()
        self.head = self._peek(self._file)
        if position is not None and not self._go_on(self._file, position) and not self._find_rotated(position):
            lines = int(position["earlier"]) + int(position["line"]) - 1
            self._restart(earlier=lines if self._settings.follow else 0)

    @property
    def fresh(self) -> bool:
        """Whether reading begins at the file's start."""
        return self._offset == 0

    @property
    def done(self) -> float | None:
        """The part of the file that has been read, from 0 to 1; None if it is followed."""
        if self._settings.follow or self._file is None:
            return None
        raw = self._file.archive if isinstance(self._file, _Unpacked) else self._file
        return min(1.0, raw.tell() / max(1, os.fstat(raw.fileno()).st_size))

    def poll(self, max_bytes: int = BLOCK, timeout: float = 0.0) -> list[Record]:
        """The next record, or none if there is nothing now; raises EndOfInput after a bounded file's last one."""
        waited = 0.0
        while not self._closing.is_set():
            if record := self._next(max_bytes):
                self._unchanged = 0.0
                return [record]
            if waited >= timeout:
                return []
            # A file that was rotated is given the long pause: a program may still write to it.
            pause = _PAUSE[0] if self._unchanged < 1 and not self._quiet else _PAUSE[1]
            self._closing.wait(pause)
            waited += pause
            self._unchanged += pause
        return []

    def close(self) -> None:
        """Let go of the file; a poll that waits ends."""
        self._closing.set()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next(self, max_bytes: int) -> Record | None:
        if self._settings.follow and self._truncated():
            return self._after_truncation()
        while self._fill(len(self._pending) + max_bytes):
            size = self._whole(self._pending)
            if size or len(self._pending) > LONGEST:
                return self._record(size or len(self._pending))
        return self._at_end()

    def _fill(self, size: int) -> bool:
        """Read until so many bytes wait to be taken; whether there are any new ones."""
        parts = [self._pending]
        waiting = len(self._pending)
        try:
            while waiting < size and (data := _some(self._opened(), size - waiting)):
                parts.append(data)
                waiting += len(data)
        except _DAMAGED as fault:
            # What lies before the damage is taken first; reading on fails again.
            if len(parts) == 1:
                where = f"after line {self._line - 1}"
                raise RunError(f"{self._path}: the gz archive is damaged or cut off {where}: fetch it again") from fault
        except OSError as fault:
            raise RunError(f"{self._path}: cannot be read on from line {self._line}: {fault.strerror}") from fault
        self._pending = b"".join(parts)
        if len(parts) > 1:
            self._quiet = 0
        return len(parts) > 1

    def _at_end(self) -> Record | None:
        if self._settings.follow:
            return self._after_rotation() if self._rotated_away() else None
        if not self._pending:
            raise EndOfInput(f"{self._path} is read to its end")
        return self._record(len(self._pending))

    def _record(self, size: int) -> Record:
        """Take so many bytes as a record and move on behind them."""
        data, self._pending = self._pending[:size], self._pending[size:]
        place = self._position()
        self._offset += size
        self._line += data.count(b"\n")
        self._seen = (self._seen + data[-SEEN:])[-SEEN:]
        return Record(data, place, self._position())

    def _position(self) -> Position:
        return {
            "file": self._settings.path,
            "line": self._line,
            "offset": self._offset,
            "earlier": self._earlier,
            "seen": zlib.crc32(self._seen),
        }

    def _restart(self, earlier: int) -> None:
        """Begin the open file at its start; so many lines came before it."""
        self._pending, self._seen = b"", b""
        self._offset, self._line, self._earlier, self._quiet = 0, 1, earlier, 0
        self._opened().seek(0)

    def _opened(self) -> _File:
        if self._file is None:
            raise RunError(f"{self._path}: is not open")
        return self._file

    def _open_first(self) -> _File:
        """Open the file for the first time: every fault is the user's to mend before anything is read."""
        try:
            if self._path.is_dir():
                raise SetupError(f"{self._path}: this is a folder, expected a file")
            file = _open(self._path)
        except FileNotFoundError as fault:
            raise SetupError(_not_found(self._path)) from fault
        except PermissionError as fault:
            raise SetupError(f"{self._path}: may not be read: grant read permission with `chmod u+r`") from fault
        except OSError as fault:
            raise SetupError(f"{self._path}: cannot be opened: {fault.strerror}") from fault
        if self._settings.follow and isinstance(file, _Unpacked):
            file.close()
            raise SetupError(f"{self._path}: a gz archive cannot be followed: unpack it, or take out `follow`")
        return file

    def _peek(self, file: _File) -> bytes:
        try:
            data = _exactly(file, HEAD)
            more = b"" if b"\n" in data else _exactly(file, LONGEST)
            file.seek(0)
        except _DAMAGED as fault:
            raise SetupError(f"{self._path}: the gz archive is damaged or cut off: fetch it again ({fault})") from fault
        return data + more[: more.find(b"\n") + 1 or len(more)]

    def _go_on(self, file: _File, position: Position) -> bool:
        """Move to a position, if this is the file that it was made in."""
        offset = int(position["offset"])
        try:
            file.seek(max(0, offset - SEEN))
            seen = _exactly(file, min(SEEN, offset))
        except _DAMAGED:
            return False
        if len(seen) < min(SEEN, offset) or zlib.crc32(seen) != position["seen"]:
            return False
        self._pending, self._seen = b"", seen
        self._offset, self._line, self._earlier = offset, int(position["line"]), int(position["earlier"])
        return True

    def _find_rotated(self, position: Position) -> bool:
        """Go on in the file that a position was made in, if it is beside this one under another name."""
        if not self._settings.follow or not position["offset"]:
            return False
        for path in self._siblings():
            file = _open(path)
            if self._go_on(file, position):
                self._opened().close()
                self._file = file
                return True
            file.close()
        return False

    def _siblings(self) -> list[Path]:
        """Files beside this one that have its name and a number or a date, oldest first."""
        named = re.compile(re.escape(self._path.name) + r"[.-][\d.T_-]+")
        found = [path for path in self._path.parent.iterdir() if named.fullmatch(path.name)]
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def _truncated(self) -> bool:
        """Whether what was read is no longer there, or something else stands in its place."""
        file = self._opened()
        now = os.fstat(file.fileno())
        there, read = now.st_size, self._offset + len(self._pending)
        if there == read and now.st_mtime_ns == self._changed:
            return False
        self._changed = now.st_mtime_ns
        expected = (self._seen + self._pending)[-SEEN:]
        file.seek(max(0, read - len(expected)))
        same = there >= read and _exactly(file, len(expected)) == expected
        file.seek(read)
        return not same

    def _rotated_away(self) -> bool:
        """Whether another file has the name by now, and nothing more comes from this one."""
        try:
            named = self._path.stat()
        except OSError:
            return False
        own = os.fstat(self._opened().fileno())
        if (named.st_ino, named.st_dev) == (own.st_ino, own.st_dev):
            return False
        self._quiet += 1
        return self._quiet > 1

    def _after_rotation(self) -> Record | None:
        """What a file leaves that is over, then the one that was begun after it."""
        if self._pending:
            return self._record(len(self._pending))
        file = self._opened()
        self._file = self._successor(file)
        file.close()
        self._restart(earlier=self._earlier + self._line - 1)
        return None

    def _after_truncation(self) -> Record | None:
        """The rest of the file from the copy that was made of it, if there is one; then it begins anew."""
        if self._find_rotated(self._position()):
            return None
        if self._pending:
            return self._record(len(self._pending))
        self._restart(earlier=self._earlier + self._line - 1)
        return None

    def _successor(self, file: _File) -> _File:
        """The file begun after this one: the oldest rotated one that was changed later, or the one of the name."""
        own = os.fstat(file.fileno())
        later = [path for path in self._siblings() if path.stat().st_mtime_ns > own.st_mtime_ns]
        others = [path for path in later if path.stat().st_ino != own.st_ino]
        return _open(others[0] if others else self._path)


class _Unpacked(gzip.GzipFile):
    """A gz file and the archive that it is read from."""

    def __init__(self, archive: io.FileIO) -> None:
        super().__init__(fileobj=archive, mode="rb")
        self.archive = archive

    def close(self) -> None:
        """Close the archive too."""
        super().close()
        self.archive.close()


_File = io.FileIO | _Unpacked


def _open(path: Path) -> _File:
    raw = io.FileIO(path)
    packed = raw.read(len(_GZ)) == _GZ
    raw.seek(0)
    return _Unpacked(raw) if packed else raw


def _some(file: _File, size: int) -> bytes:
    """What comes at once, so that a damaged end of an archive costs nothing that lies before it."""
    return file.read1(size) if isinstance(file, _Unpacked) else file.read(size) or b""


def _exactly(file: _File, size: int) -> bytes:
    """So many bytes, fewer only at the end."""
    parts = []
    while size > 0 and (data := _some(file, size)):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _not_found(path: Path) -> str:
    folder = path.parent
    near = sorted(other.name for other in folder.iterdir()) if folder.is_dir() and os.access(folder, os.R_OK) else []
    near = [name for name in near if not re.search(r"\.(db|journal|spool|requeue|ya?ml)\b", name)]
    return f"{path}: there is no such file.{did_you_mean(path.name, near)} Expected it there, or another name in `source.file`"
