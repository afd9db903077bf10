"""Which transitions belong to which alert, as steps come in.

A step brings transitions and the alerts that they left behind; what it does not bring is a number
that ties them together, because an alert's own identity (rule, key, since) may move while it is
pending.  But one alert is open at most for a rule and a key, so the order says it: a transition
from inactive opens the next alert of its key, every other one goes on with the open one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tocsin.alert import Alert, State, Transition
from tocsin.reading import Labels

Owner = tuple[str, Labels]


@dataclass(slots=True)
class Entry:
    """One alert's part of a step: where it stands now, and its moves, the first of them being number `seq`."""

    alert: Alert
    new: bool
    seq: int = 0
    moves: list[Transition] = field(default_factory=list)

    @property
    def owner(self) -> Owner:
        """Its rule and key, for which it is the only open alert."""
        return self.alert.rule, self.alert.key

    @property
    def open(self) -> bool:
        """Whether more may come."""
        return self.alert.state not in (State.INACTIVE, State.RESOLVED)


def fired(alert: Alert) -> bool:
    """Whether an alert is, or ever was, more than pending."""
    return alert.state not in (State.INACTIVE, State.PENDING)


def entries(transitions: Sequence[Transition], alerts: Sequence[Alert]) -> list[Entry]:
    """The alerts of a step with their transitions: first those that were open before, then in the order of opening."""
    lives: dict[Owner, list[list[Transition]]] = {}
    opened: list[tuple[Owner, list[Transition]]] = []
    going_on: dict[Owner, list[Transition]] = {}
    for move in transitions:
        owner = move.rule, move.key
        if move.from_ == State.INACTIVE:
            life = [move]
            lives.setdefault(owner, []).append(life)
            opened.append((owner, life))
        else:
            own = lives.get(owner)
            (own[-1] if own else going_on.setdefault(owner, [])).append(move)
    of_owner: dict[Owner, list[Alert]] = {}
    for alert in sorted(alerts, key=lambda alert: alert.since):
        of_owner.setdefault((alert.rule, alert.key), []).append(alert)
    old = [
        Entry(found[0], new=False, moves=going_on.get(owner, []))
        for owner, found in of_owner.items()
        if len(found) > len(lives.get(owner, ()))
    ]
    newest_first = {owner: found[::-1][: len(lives.get(owner, ()))] for owner, found in of_owner.items()}
    return old + [Entry(newest_first[owner].pop(), new=True, moves=life) for owner, life in opened]
