"""A step's alerts as rows: what is inserted, what is changed, and which rows of a replay give way.

Rows are made column by column: at 100,000 devices most of a step's time would go into objects of which
each is written once and never read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, func, select

from tocsin.alert import Alert
from tocsin.instant import LONG_AGO
from tocsin.moves import RuleMoves
from tocsin.reading import Labels
from tocsin.stores.book import NO_ROW, Book, Owner, book_of
from tocsin.stores.columns import alert_columns, held_bodies, insert_rows, move_columns
from tocsin.stores.rows import Row, held_alert, text_of_labels
from tocsin.stores.tables import alerts, held_alerts, transitions

NO_UNIT = -1
RULE_CHANGED = "rule changed"
"""The reason for which an alert may end and another one of the same identity may begin."""


@dataclass(slots=True)
class Held:
    """An open alert's row: its number, its key and since as stored, and how many transitions it has.

    `version` is what the database's was when nothing but these transitions was there.
    """

    number: int
    key: str
    since: int
    moves: int
    version: int = -1


def load_held(connection: Connection, unit: int) -> tuple[dict[Owner, Held], list[Alert]]:
    """A unit's open alerts, and their rows by rule and key."""
    query = select(held_alerts).where(held_alerts.c.unit == unit).order_by(held_alerts.c.alert)
    found = [(row, held_alert(row.body)) for row in connection.execute(query)]
    rows = {
        (alert.rule, alert.key): Held(row.alert, text_of_labels(alert.key), alert.since, row.moves)
        for row, alert in found
    }
    return rows, [alert for _, alert in found]


def save_alerts(connection: Connection, found: Sequence[Book], held: dict[Owner, Held], unit: int) -> None:
    """Write the alerts of a unit's step with their transitions, and keep `held` true."""
    rows = AlertRows(connection, unit)
    for pages in rows.numbered(found, held):
        rows.add(pages)
        rows.hold(pages, held)
    rows.write()


def put_alerts(connection: Connection, found: Iterable[RuleMoves]) -> None:
    """Write what a replay found, over what is there of the same identity; what a run holds stays as it is."""
    rows = AlertRows(connection, NO_UNIT)
    for pages in rows.numbered([book_of(told) for told in found], {}):
        rows.add(pages)
    rows.write()


@dataclass(frozen=True, slots=True)
class Pages:
    """One rule's alerts of a step with their rows in the database, and for each whether that one is new."""

    book: Book
    keys: list[Labels]
    rows: list[Held]
    fresh: list[bool]


class AlertRows:
    """Rows to write, gathered so that each table is written in one go; those of a replay, which has no unit, are not held."""

    def __init__(self, connection: Connection, unit: int) -> None:
        self._cursor = connection.connection.cursor()
        self._unit = unit
        highest, newest = connection.execute(select(func.max(alerts.c.id), func.max(alerts.c.since))).one()
        self._first = self._next = (highest or 0) + 1
        self._newest: int = LONG_AGO if newest is None else newest
        self._version: int = self._cursor.execute("PRAGMA data_version").fetchone()[0]
        self._inserted: list[Row] = []
        self._updated: list[Row] = []
        self._moved: list[Row] = []
        self._cut: list[Row] = []
        self._moves: list[Row] = []
        self._unheld: list[Row] = []
        self._held: list[Row] = []

    def numbered(self, found: Sequence[Book], held: dict[Owner, Held]) -> list[Pages]:
        """Gives every alert its row: those that were open before have one, new ones get theirs in the order of opening."""
        made = [self._going_on(book, held) for book in found]
        opened = [
            (time, pages.book.told.rule, pages.keys[row], place, row)
            for place, pages in enumerate(made)
            for time, row in zip(pages.book.opened(), np.flatnonzero(pages.book.new).tolist(), strict=True)
        ]
        for _, rule, key, place, row in sorted(opened):
            pages = made[place]
            since = int(pages.book.standing.since[row])
            pages.rows[row] = own = self._opened(rule, text_of_labels(key), since)
            pages.fresh[row] = own.number >= self._first
        return made

    def add(self, pages: Pages) -> None:
        """Put a rule's alerts and their moves among the rows to write."""
        book, rows, fresh = pages.book, pages.rows, pages.fresh
        rule = book.told.rule
        columns = zip(*alert_columns(book.told, book.standing), strict=True)
        for own, is_fresh, values in zip(rows, fresh, columns, strict=True):
            if is_fresh:
                self._inserted.append((own.number, rule, own.key, *values))
            else:
                (self._updated if own.since == values[0] else self._moved).append((*values, own.number))
                if own.version != self._version:
                    self._cut.append((own.number, own.moves))
        numbers = np.array([own.number for own in rows], np.int64).repeat(book.counts)
        before = np.array([own.moves for own in rows], np.int64).repeat(book.counts)
        told = move_columns(book.told, book.moves)
        self._moves += zip(numbers.tolist(), (before + book.numbered()).tolist(), *told, strict=True)

    def hold(self, pages: Pages, held: dict[Owner, Held]) -> None:
        """Put what open alerts' holds remember among the rows to write, and note which rows those have."""
        book, rule = pages.book, pages.book.told.rule
        is_open = book.row != NO_ROW
        for own, made, goes_on, since in zip(
            pages.rows, book.counts.tolist(), is_open.tolist(), book.standing.since.tolist(), strict=True
        ):
            own.moves += made
            own.since, own.version = since, self._version
            if not goes_on:
                self._unheld.append((own.number,))
        places = np.flatnonzero(is_open)
        rows = [pages.rows[place] for place in places.tolist()]
        bodies = held_bodies(
            book.told, [own.key for own in rows], book.standing.take(places), book.told.open.take(book.row[places])
        )
        self._held += [(own.number, self._unit, own.moves, body) for own, body in zip(rows, bodies, strict=True)]
        held.update(zip([(rule, pages.keys[place]) for place in places.tolist()], rows, strict=True))

    def write(self) -> None:
        """Write all of it."""
        many = self._cursor.executemany
        many(_change("since"), self._moved)
        many(_change("state"), [row[1:] for row in self._updated])
        many("DELETE FROM transitions WHERE alert = ? AND seq >= ?", self._cut)
        many("DELETE FROM held_alerts WHERE alert = ?", self._unheld)
        insert_rows(self._cursor, "INSERT", alerts, self._inserted)
        insert_rows(self._cursor, "INSERT", transitions, self._moves)
        insert_rows(self._cursor, "INSERT OR REPLACE", held_alerts, self._held)

    def _going_on(self, book: Book, held: dict[Owner, Held]) -> Pages:
        """The rows of alerts that were open already; where a since moved onto a replay's row, that one is removed."""
        rule, sinces = book.told.rule, book.standing.since.tolist()
        keys = list(map(book.told.labels, book.standing.slot.tolist()))
        rows = [_NONE] * len(book)
        for row in np.flatnonzero(~book.new).tolist():
            rows[row] = own = held.pop((rule, keys[row]))
            if own.since != sinces[row] and (same := self._same(rule, own.key, sinces[row])) is not None:
                self._cursor.execute("DELETE FROM transitions WHERE alert = ?", same[:1])
                self._cursor.execute("DELETE FROM alerts WHERE id = ?", same[:1])
        return Pages(book, keys, rows, [False] * len(book))

    def _opened(self, rule: str, key: str, since: int) -> Held:
        """The row of an alert that began in this step: a new one, or the one of its identity.

        That one is of a replay, or meets one, and its transitions are overwritten; or it ended because
        its rule was edited, and the new rule found the same: then its life goes on.
        """
        same = self._same(rule, key, since)
        if same is None:
            self._next += 1
            return Held(self._next - 1, key, since, 0, self._version)
        number, reason = same
        goes_on = reason == RULE_CHANGED and self._unit != NO_UNIT
        return Held(number, key, since, self._count(number) if goes_on else 0)

    def _same(self, rule: str, key: str, since: int) -> tuple[int, str] | None:
        """Number and reason of the row with this identity; for most new alerts the times alone say that there is none."""
        if since > self._newest:
            return None
        find = "SELECT id, reason FROM alerts WHERE rule = ? AND key = ? AND since = ?"
        found: tuple[int, str] | None = self._cursor.execute(find, (rule, key, since)).fetchone()
        return found

    def _count(self, number: int) -> int:
        count: int = self._cursor.execute("SELECT count(*) FROM transitions WHERE alert = ?", (number,)).fetchone()[0]
        return count


_NONE = Held(0, "", LONG_AGO, 0)
"""Stands where an alert has no row yet."""


def _change(first: str) -> str:
    """The statement that changes the columns from this one on; since stands in two indexes, and seldom moves."""
    names = [column.name for column in alerts.c]
    change = ", ".join(f"{name} = ?" for name in names[names.index(first) :])
    return f"UPDATE alerts SET {change} WHERE id = ?"  # noqa: S608 (our own columns)
