"""Every error Tocsin raises on purpose; the class says what happens next.

    TocsinError
    ├── ConfigError        the user's file is wrong: nothing has run, exit 78
    ├── SetupError         something outside the file is missing or broken before the first reading: exit 78
    └── RunError           something broke on the way: exit 1, whatever was acknowledged is saved
        ├── StoreError     the store could not save: the engine is thrown away and restored
        │   └── TakenOver  another process owns the pipeline now: this one stops
        ├── NotConnected   connect again, with back-off
        ├── RetryLater     wait and try the same again
        ├── Rejected       this record can never be read: it goes to the dead letters
        └── EndOfInput     a bounded source has no more: finish cleanly

A message says what happened, to what, what was expected, and how to mend it.  Plug-ins raise these
and never retry, sleep or log; one place above them does.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class TocsinError(Exception):
    """Anything that Tocsin can explain to the person who uses it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the user's file a mistake stands; lines and columns count from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


class ConfigError(TocsinError):
    """The user's file cannot be used as it stands.

    `place` may be None where rules come from a program rather than from a file.
    """

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.message = message
        self.place = place


class ConfigErrors(ConfigError):
    """Several mistakes found in one reading of the file, in the order of their places."""

    def __init__(self, errors: list[ConfigError]) -> None:
        Exception.__init__(self, "\n".join(str(error) for error in errors))
        self.errors = errors
        self.message = errors[0].message
        self.place = errors[0].place


class SetupError(TocsinError):
    """Missing input, a locked or corrupt store, no permission: found before the first reading."""


class RunError(TocsinError):
    """Something broke after the first reading."""


class StoreError(RunError):
    """The store refused a transaction; nothing of it was saved."""


class TakenOver(StoreError):
    """Another process does this work now; whoever raises it may save no more."""


class NotConnected(RunError):
    """The other side is not there; connect again."""


class RetryLater(RunError):
    """The other side asks for patience; try the same again."""


class Rejected(RunError):
    """This record can never be read; it belongs in the dead letters."""


class EndOfInput(RunError):
    """A bounded source has nothing more to give."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'drop'?`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
