"""A store that keeps alerts and dead letters as long as the program runs: what `replay` found.

Moves stay in the columns in which they came; alerts and transitions are made when somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from operator import attrgetter

from tocsin.alert import Alert, Transition
from tocsin.moves import RuleMoves
from tocsin.record import Reject
from tocsin.stores import DeadLetter, Step
from tocsin.stores.book import book_of, fired

ROOM = 100_000
"""So many rows of open alerts are kept of a rule before the outdated ones among them are let go, at least."""


class MemoryStore:
    """Keeps what was decided, and no readings: nothing goes on from here."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], list[RuleMoves]] = {}
        self._waiting: dict[tuple[str, str], int] = {}
        self._rejects: dict[tuple[str, bytes, str], Reject] = {}

    @property
    def rejects(self) -> list[Reject]:
        """The lines that could not be read, each once."""
        return list(self._rejects.values())

    def save(self, step: Step, unit: str = "") -> int:
        """Keep the moves and rejects of a unit's step; 0, because without readings no late one is known to be a repeat."""
        for told in step.moves:
            self._keep(unit, told)
        for reject in step.rejects:
            self._rejects.setdefault((str(reject.place), reject.data, reject.reason), reject)
        return 0

    def moves(self) -> list[RuleMoves]:
        """All that was decided, unit by unit and rule by rule."""
        return [RuleMoves.join(parts) for parts in self._kept.values()]

    def alerts(self, pending: bool = False) -> list[Alert]:
        """The alerts in order of since; those that never fired only if asked for."""
        alerts = [alert for told in self.moves() for alert in told.alerts(book_of(told).standing)]
        found = [alert for alert in alerts if pending or fired(alert)]
        return sorted(found, key=attrgetter("since", "rule", "key"))

    def transitions(self) -> Iterator[Transition]:
        """Every transition in the order of the ledger."""
        moves = [item for told in self.moves() for item in _placed(told)]
        moves.sort(key=lambda item: (item[0].time, item[0].rule, item[0].key, item[1], item[2]))
        return (move for move, _, _ in moves)

    def dead_letters(self) -> list[DeadLetter]:
        """The lines that could not be read, in the order they came."""
        return [
            DeadLetter(number, reject.data, reject.place, reject.reason)
            for number, reject in enumerate(self.rejects, 1)
        ]

    def _keep(self, unit: str, told: RuleMoves) -> None:
        """A step tells anew of every open alert that was heard of: what is outdated must not pile up."""
        whose = unit, told.rule
        parts = self._kept.setdefault(whose, [])
        parts.append(told)
        waiting = self._waiting.get(whose, 0) + len(told.open)
        if waiting > ROOM + len(parts[0].open) + len(parts[0].moves):
            parts[:] = [RuleMoves.join(parts)]
            waiting = 0
        self._waiting[whose] = waiting


def _placed(told: RuleMoves) -> Iterator[tuple[Transition, int, int]]:
    """Transitions with what puts those of one time, rule and key in order: their alert's since, and their number in it."""
    book = book_of(told)
    since = book.standing.since.repeat(book.counts).tolist()
    return zip(replace(told, moves=book.moves).transitions(), since, book.numbered().tolist(), strict=True)
