"""Small files beside a journal: how far its consumers have come, and how far it has come itself.

    p.journal.GROUP.consumed     written by the consumers of a group: they never write into the journal, so that one
                                 which is frozen in the middle of it holds no producer up
    p.journal.guard              written by its producers: it tells an older copy of the journal, which would give
                                 numbers out again, from the journal itself

Both name the journal by its mark, so what is said of another file of that name counts for nothing.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from urllib.parse import quote

from tocsin.errors import SetupError

SYNC = 10.0
"""Seconds between two syncs of the guard; only a power cut loses what was written since, and then it says too little."""


class Consumed:
    """How far each group of consumers has come in a journal."""

    def __init__(self, journal: Path, mark: str) -> None:
        self._journal = journal
        self._mark = mark

    def note(self, group: str, upto: int) -> None:
        """No process of this group will ask for messages up to this position again. A hint: nothing depends on it but room.

        It is put in place whole.  A power cut may spoil it, and then says nothing until the next one.
        """
        file = self._journal.with_name(f"{self._journal.name}.{quote(group, safe='')}.consumed")
        new = file.with_name(f"{file.name}.{os.getpid()}")
        new.write_text(json.dumps({"journal": self._mark, "upto": upto}), encoding="ascii")
        new.replace(file)

    def lowest(self) -> int:
        """The position that every group has passed; 0 where there is none, or one of which nothing can be told."""
        found = [self._upto(file) for file in self._journal.parent.glob("*.consumed") if self._is_ours(file)]
        return min((upto for upto in found if upto is not None), default=0)

    def _is_ours(self, file: Path) -> bool:
        return file.name.startswith(f"{self._journal.name}.")

    def _upto(self, file: Path) -> int | None:
        """None of a file that speaks of another journal."""
        try:
            told = json.loads(file.read_text(encoding="ascii"))
            return int(told["upto"]) if told["journal"] == self._mark else None
        except (OSError, ValueError, KeyError, TypeError):
            return 0


class Guard:
    """The newest position that a journal had: what has less is an older copy of it.

    A write of some bytes after each commit, which the system keeps even if the process is killed.  So it never says
    more than the journal has, and at most one commit less.
    """

    def __init__(self, journal: Path, mark: str) -> None:
        self._mark = mark
        self._synced = 0.0
        file = _guard_of(journal)
        try:
            self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise SetupError(
                f"{file}: cannot be written: {error.strerror}: give this user write permission on it and its directory"
            ) from error

    def note(self, position: int) -> None:
        """The journal has come so far."""
        os.pwrite(self._file, f"{self._mark} {position:020}\n".encode(), 0)
        if time.monotonic() - self._synced > SYNC:
            self._sync()

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            self._sync()
            os.close(self._file)
            self._file = -1

    def _sync(self) -> None:
        os.fsync(self._file)
        self._synced = time.monotonic()


def guarded(journal: Path, mark: str) -> int:
    """The newest position of a journal that was noted; 0 where none was, or of another journal."""
    try:
        told, _, position = _guard_of(journal).read_text(encoding="ascii", errors="replace").partition(" ")
    except OSError:
        return 0
    return int(position) if told == mark and position.strip().isdecimal() else 0


def _guard_of(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}.guard")
