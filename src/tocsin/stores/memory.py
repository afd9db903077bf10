"""A store that keeps alerts and dead letters as long as the program runs: what `replay` found."""

from __future__ import annotations

from collections.abc import Iterator

from tocsin.alert import Alert, Transition
from tocsin.record import Reject
from tocsin.stores import DeadLetter, Life, Step
from tocsin.stores.book import Owner, entries, fired


class MemoryStore:
    """Keeps what was decided, and no readings: nothing goes on from here."""

    def __init__(self) -> None:
        self.lives: list[Life] = []
        self._open: dict[Owner, Life] = {}
        self._rejects: dict[tuple[str, bytes, str], Reject] = {}

    @property
    def rejects(self) -> list[Reject]:
        """The lines that could not be read, each once."""
        return list(self._rejects.values())

    def save(self, step: Step) -> int:
        """Keep a step's alerts, transitions and rejects; 0, because without readings no late one is known to be a repeat."""
        for entry in entries(step.transitions, step.alerts):
            if entry.new:
                self.lives.append(Life(entry.alert, []))
                self._open[entry.owner] = self.lives[-1]
            life = self._open[entry.owner]
            life.alert = entry.alert
            life.transitions.extend(entry.moves)
        for reject in step.rejects:
            self._rejects.setdefault((str(reject.place), reject.data, reject.reason), reject)
        return 0

    def alerts(self, pending: bool = False) -> list[Alert]:
        """The alerts in order of since; those that never fired only if asked for."""
        found = [life.alert for life in self.lives if pending or fired(life.alert)]
        return sorted(found, key=lambda alert: (alert.since, alert.rule, alert.key))

    def transitions(self) -> Iterator[Transition]:
        """Every transition in the order of the ledger."""
        moves = [(move, life.alert.since, seq) for life in self.lives for seq, move in enumerate(life.transitions)]
        moves.sort(key=lambda item: (item[0].time, item[0].rule, item[0].key, item[1], item[2]))
        return (move for move, _, _ in moves)

    def dead_letters(self) -> list[DeadLetter]:
        """The lines that could not be read, in the order they came."""
        return [
            DeadLetter(number, reject.data, reject.place, reject.reason)
            for number, reject in enumerate(self.rejects, 1)
        ]
