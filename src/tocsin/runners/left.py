"""What waits in files beside a pipeline that nobody would take or send from now on, or the wrong one would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tocsin.connectors.journal import Journal

_CHANCE = 9
"""Characters behind the name in a producer's id: a dash, and eight by chance."""


def left_behind(folder: Path, pipeline: str, *, embedded: bool) -> str:
    """A sentence about it with what to do, '' if there is none; `embedded` says that the journal is the broker now."""
    return _of_another_broker(folder, pipeline, embedded) or _named_as_before(folder, pipeline)


def _of_another_broker(folder: Path, pipeline: str, embedded: bool) -> str:
    """What waits in the journal or spool of before `broker:` was changed."""
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


def _named_as_before(folder: Path, pipeline: str) -> str:
    """What the producer `b` of `x` left in `x.b.spool`, as its spool was called until a plus told it from that of a pipeline `x.b`."""
    for path, of, producer in _perhaps_named_as_before(folder, pipeline):
        waiting = _waiting_of(path, producer)
        if waiting:
            now = path.with_name(f"{of}+{producer}.spool")
            return (
                f"{path} holds messages of the producer {producer} of the pipeline {of} that are not sent yet ({waiting:,}): its spool is called "
                f"{now} now. Rename it, and what lies beside it, and let `tocsin publish --producer {producer}` of {of} send them"
            )
    return ""


def _perhaps_named_as_before(folder: Path, pipeline: str) -> Iterator[tuple[Path, str, str]]:
    """Each such file that is there, with the pipeline and the producer whose it would be."""
    for path in sorted(folder.glob(f"{pipeline}.*.spool")):
        yield path, pipeline, path.name.removeprefix(f"{pipeline}.").removesuffix(".spool")
    own = folder / f"{pipeline}.spool"
    if own.exists():
        for place in (place for place, sign in enumerate(pipeline) if sign == "."):
            yield own, pipeline[:place], pipeline[place + 1 :]


def _waiting_of(path: Path, producer: str) -> int:
    """How many messages of a producer of this name wait in a spool."""
    with closing(Journal(path, create=False)) as spool:
        sent = spool.sent(is_spool=True) if spool.waiting() else []
    return sum(one.waiting or 0 for one in sent if one.producer[:-_CHANCE] == producer)
