"""What `check` sees of the recording itself: whether it is there, and whether a CSV has the columns that the file names.

Either is advice and no mistake: a pipeline file may be checked where its recording is not, or is not yet.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.codecs import CsvSettings, columns_of
from tocsin.errors import did_you_mean

if TYPE_CHECKING:
    from tocsin.config import Config

HEAD = 64 << 10
"""Bytes in which a header is looked for."""
GZ = b"\x1f\x8b"


def look_at_recording(config: Config) -> Iterator[str]:
    """A sentence for each thing that `run` would stumble over."""
    if config.recording is None:
        return
    path, settings = Path(config.recording[0].path), config.recording[1]
    if not path.exists():
        yield f"`source.file`: there is no file {path} yet: expected it there before `tocsin run`"
    elif path.is_file() and isinstance(settings, CsvSettings) and not settings.header:
        there = _header(path, settings.delimiter)
        for name in columns_of(settings.time, settings.cells) if there else ():
            if name not in there:
                yield f"{path}: there is no column '{name}'.{did_you_mean(name, there)} The file has: {', '.join(there)}"


def _header(path: Path, delimiter: str) -> list[str]:
    """The names in a CSV's first line; none where that cannot be told."""
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZ)) == GZ
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(HEAD).decode("utf-8-sig", "replace")
    except (OSError, EOFError):
        return []  # `run` tells what is wrong with it
    lines = (line for line in head.splitlines(keepends=True) if line.strip())
    try:
        return [name.strip() for name in next(csv.reader(lines, delimiter=delimiter), [])]
    except csv.Error:
        return []
