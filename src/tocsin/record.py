"""What flows before there are readings: records, and what became of them.

A *record* is undecoded bytes with their place: a connector gives them, a codec decodes them.  A
record holds whole lines (or whole JSON values), as many as fit into a block of some megabytes.

A *position* says where to go on; it is a plain mapping that survives JSON.  Only the connector that
made it reads it, except for these keys, which every position of a file has:

    file      the path as the user wrote it
    line      the number of the next line of this file, from 1
    offset    how many bytes of the text lie before that line (so of a gz file the unpacked ones)
    earlier   how many lines came before this file began, in files that were rotated or truncated away
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tocsin.reading import Batch

Position = dict[str, Any]

LONGEST_REASON = 2_000
_SAID = 40
"""Room for what is said of a middle that was cut out."""
_HEADS = 1 << 20
"""So many bytes all the heads of one body's rejects have together."""
MOST_BAD = 1_000
"""Bad lines, rows, objects or records of one body that are told and kept each by itself."""


@dataclass(frozen=True, slots=True)
class Record:
    """Whole lines as they stand in the source: from `place` up to `end`, where reading goes on."""

    data: bytes
    place: Position
    end: Position


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that could not be read, or not all of it: its bytes, its place (`file`, `line`) and why.

    A reason that quotes very much is cut in its middle.
    """

    data: bytes
    place: Position
    reason: str

    def __post_init__(self) -> None:
        if len(self.reason) > LONGEST_REASON:
            object.__setattr__(self, "reason", cut(self.reason, LONGEST_REASON))


def cut(text: str, most: int) -> str:
    """A text that is too long without its middle; what was cut is not too long any more."""
    half = (most - _SAID) // 2
    return text if len(text) <= most else f"{text[:half]} … {len(text) - 2 * half:,} characters … {text[-half:]}"


def few(bad: Sequence[Reject], between: bytes = b"\n", head: bytes = b"") -> list[Reject]:
    """The rejects of one body: the first of them each by itself, all others as one; `head` goes before each.

    They are fewer where that is long.
    """
    most = min(MOST_BAD, max(1, _HEADS // max(1, len(head))))
    each, left = list(bad[:most]), bad[most:]
    if left:
        reason = f"{most:,} before this one are bad, and {len(left) - 1:,} after it: {left[0].reason}"
        each.append(Reject(between.join([reject.data for reject in left]), left[0].place, reason))
    return [replace(reject, data=head + reject.data) for reject in each] if head else each


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a record held: readings in log order, rejects in the order of their lines.

    Save both together with `position`, and reading goes on just after them.  `size` is how many bytes were read for it.
    `line_of` finds the line of a reading by its place in the batch; it reads the source again, so it is for messages.
    """

    batch: Batch
    rejects: list[Reject]
    position: Position
    size: int = 0
    line_of: Callable[[int], int | None] = field(default=lambda _: None, compare=False)
