"""Stores: where readings, alerts, dead letters and the checkpoint are kept together.

A store is given one `Step` at a time and saves it whole or not at all; what it has, it gives back
for a restart, for a command and for the page.  `sql.py` is the store of the user's `store:` line,
`memory.py` keeps what a replay found until it is shown or put into the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tocsin.errors import SetupError, did_you_mean
from tocsin.instant import LONG_AGO

if TYPE_CHECKING:
    from tocsin.alert import Alert, Transition
    from tocsin.message import Origin
    from tocsin.moves import RuleMoves
    from tocsin.reading import Batch, Flags
    from tocsin.record import Position, Reject
    from tocsin.stores.sql import SqlStore

Keep = Literal["all", "none"]
"""What is kept of readings: all of them, or none but those that windows still need."""

SCHEMES = ("sqlite",)
"""The databases that there are; the others of the design come with the brokers."""


@dataclass(frozen=True, slots=True)
class RuleRecord:
    """What a checkpoint says of one rule: which text of it decided, and how often it was evaluated and unknown."""

    fingerprint: str
    evaluations: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a run has come.

    With the stored readings and the open alerts it is all that a restart needs: the windows are
    rebuilt from the readings, so a checkpoint costs what changed and not what exists.
    """

    position: Position | None = None
    watermark: int = LONG_AGO
    newest: int = LONG_AGO
    first_time: int | None = None
    rules: dict[str, RuleRecord] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """What one turn of the loop read and decided; it is saved whole or not at all.

    `flags` has one flag a reading of `batch`.  `idle` says that the watermark was moved by the wall
    clock: the store logs where to, because nothing else could tell a replay.  `origins` are the producers of
    which something new is known; `expected` are the devices that are expected from now on, where these are others.  No window needs readings from before `needed_from` any more, but for the newest of each
    series.
    """

    checkpoint: Checkpoint
    batch: Batch | None = None
    flags: Flags | None = None
    rejects: Sequence[Reject] = ()
    moves: Sequence[RuleMoves] = ()
    idle: bool = False
    origins: Sequence[Origin] = ()
    needed_from: int = LONG_AGO
    expected: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A line that could not be read, as it was kept."""

    id: int
    data: bytes
    place: Position
    reason: str


@dataclass(slots=True)
class Life:
    """An alert with every transition that led to where it stands."""

    alert: Alert
    transitions: list[Transition]


def open_store(url: str, pipeline: str, *, create: bool = True, readings: Keep = "all") -> SqlStore:
    """The store of a pipeline; `create=False` is for commands that only look, `readings` says what a run keeps of them.

    Raises SetupError if it is missing, locked, corrupt, of another pipeline, or not ours.
    """
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES:
        raise SetupError(
            f"store '{url}': there is no store '{scheme}'.{did_you_mean(scheme, SCHEMES)} "
            "Expected sqlite:///FILE, such as sqlite:///readings.db"
        )
    from tocsin.stores.sql import SqlStore  # here, because SQLAlchemy takes a third of a second to load

    return SqlStore(url, pipeline, create=create, readings=readings)
