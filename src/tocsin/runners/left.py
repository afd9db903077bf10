"""What waits in a pipeline's journal or spool of before `broker:` was changed: from then on nobody would take or send it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tocsin.connectors.journal import Journal


def left_behind(folder: Path, pipeline: str, *, embedded: bool) -> str:
    """A sentence about it with what to do, '' if there is none; `embedded` says that the journal is the broker now."""
    patterns, lack = ((".spool", "+*.spool"), "the old broker") if embedded else ((".journal",), "a consumer")
    for path in sorted(path for pattern in patterns for path in folder.glob(f"{pipeline}{pattern}")):
        with closing(Journal(path, create=False)) as left:
            waiting = left.waiting()
        if waiting:
            return (
                f"{path} holds messages that {lack} has not taken ({waiting:,}), and with the `broker:` of now never would. Put the old "
                "`broker:` back until they are taken, or move that file away"
            )
    return ""
