"""A step's alerts as rows: what is inserted, what is changed, and which rows of a replay give way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from tocsin.alert import Alert
from tocsin.instant import LONG_AGO
from tocsin.stores import Life
from tocsin.stores.book import Entry, Owner
from tocsin.stores.rows import (
    Row,
    alert_row,
    execute_many,
    held_alert,
    held_body,
    text_of_labels,
    transition_row,
)
from tocsin.stores.tables import alerts, held_alerts, transitions

RULE_CHANGED = "rule changed"
"""The reason for which an alert may end and another one of the same identity may begin."""


@dataclass(slots=True)
class Held:
    """An open alert's row: its number, its since as stored, and how many transitions it has."""

    number: int
    since: int
    moves: int


def load_held(connection: Connection) -> tuple[dict[Owner, Held], list[Alert]]:
    """The run's open alerts, and their rows by rule and key."""
    found = [
        (row, held_alert(row.body)) for row in connection.execute(select(held_alerts).order_by(held_alerts.c.alert))
    ]
    rows = {(alert.rule, alert.key): Held(row.alert, alert.since, row.moves) for row, alert in found}
    return rows, [alert for _, alert in found]


def save_alerts(connection: Connection, found: Sequence[Entry], held: dict[Owner, Held]) -> None:
    """Write a step's alerts with their transitions, and keep `held` true."""
    rows = AlertRows(connection)
    for entry in found:
        row = rows.going_on(entry, held.pop(entry.owner)) if not entry.new else rows.opened(entry)
        rows.add(entry, row)
        if entry.open:
            held[entry.owner] = row
    rows.write()


def put_alerts(connection: Connection, lives: Iterable[Life]) -> None:
    """Write what a replay found, over what is there of the same identity; what a run holds stays as it is."""
    rows = AlertRows(connection, replayed=True)
    for life in lives:
        entry = Entry(life.alert, new=True, moves=life.transitions)
        rows.add(entry, rows.opened(entry))
    rows.write()


class AlertRows:
    """Rows to write, gathered so that each table is written in one go; `replayed` ones are not held."""

    def __init__(self, connection: Connection, *, replayed: bool = False) -> None:
        self._connection = connection
        self._replayed = replayed
        highest, newest = connection.execute(select(func.max(alerts.c.id), func.max(alerts.c.since))).one()
        self._first = self._next = (highest or 0) + 1
        self._newest: int = LONG_AGO if newest is None else newest
        self._inserted: list[Row] = []
        self._updated: list[Row] = []
        self._cut: list[Row] = []
        self._moves: list[Row] = []
        self._unheld: list[Row] = []
        self._held: list[Row] = []

    def opened(self, entry: Entry) -> Held:
        """The row of an alert that began in this step: a new one, or the one of its identity.

        That one is of a replay, or meets one, and its transitions are overwritten; or it ended because
        its rule was edited, and the new rule found the same: then its life goes on.
        """
        same = self._same(entry.alert)
        if same is None:
            self._next += 1
            return Held(self._next - 1, entry.alert.since, 0)
        number, reason = same
        goes_on = reason == RULE_CHANGED and not self._replayed
        return Held(number, entry.alert.since, self._count(number) if goes_on else 0)

    def going_on(self, entry: Entry, held: Held) -> Held:
        """The row of an alert that was open already; where its since moved onto a replay's row, that one is removed."""
        same = self._same(entry.alert) if held.since != entry.alert.since else None
        if same is not None:
            self._connection.execute(delete(transitions).where(transitions.c.alert == same[0]))
            self._connection.execute(delete(alerts).where(alerts.c.id == same[0]))
        return Held(held.number, entry.alert.since, held.moves)

    def add(self, entry: Entry, row: Held) -> None:
        """Put an alert and its moves among the rows to write."""
        values = alert_row(entry.alert)
        if entry.new and row.number >= self._first:
            self._inserted.append((row.number, *values))
        else:
            self._updated.append((*values, row.number))
            self._cut.append((row.number, row.moves))
            if not self._replayed:
                self._unheld.append((row.number,))
        self._moves += [transition_row(row.number, seq, move) for seq, move in enumerate(entry.moves, row.moves)]
        row.moves += len(entry.moves)
        if entry.open and not self._replayed:
            self._held.append((row.number, row.moves, held_body(entry.alert)))

    def write(self) -> None:
        """Write all of it."""
        names = [column.name for column in alerts.c][1:]
        change = (
            update(alerts)
            .where(alerts.c.id == bindparam("row"))
            .values({name: bindparam(f"_{name}") for name in names})
        )
        cut = delete(transitions).where(transitions.c.alert == bindparam("a"), transitions.c.seq >= bindparam("b"))
        unhold = delete(held_alerts).where(held_alerts.c.alert == bindparam("a"))
        for statement, rows in (
            (insert(alerts), self._inserted),
            (change, self._updated),
            (cut, self._cut),
            (insert(transitions), self._moves),
            (unhold, self._unheld),
            (insert(held_alerts), self._held),
        ):
            execute_many(self._connection, statement, rows)

    def _same(self, alert: Alert) -> tuple[int, str] | None:
        """Number and reason of the row with this identity; for most new alerts the times alone say that there is none."""
        if alert.since > self._newest:
            return None
        find = "SELECT id, reason FROM alerts WHERE rule = ? AND key = ? AND since = ?"
        cursor = self._connection.connection.cursor()
        found: tuple[int, str] | None = cursor.execute(
            find, (alert.rule, text_of_labels(alert.key), alert.since)
        ).fetchone()
        return found

    def _count(self, number: int) -> int:
        query = select(func.count()).where(transitions.c.alert == number)
        return int(self._connection.execute(query).scalar_one())
