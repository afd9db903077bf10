"""The store of the user's `store:` line: a SQL database, reached through SQLAlchemy Core.

What a run saves goes through `writer.py`; here is how the database is opened, what commands and the
page read, and how a replay puts in what it found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import Connection, bindparam, delete, func, insert, select

from tocsin.alert import Alert, Transition
from tocsin.errors import SetupError, StoreError
from tocsin.message import Origin
from tocsin.record import Reject
from tocsin.stores import Checkpoint, DeadLetter, Keep, Life, sqlite
from tocsin.stores.owner import Owner, owners_of
from tocsin.stores.rows import alert_of, checkpoint_of, dead_letter_row, execute_many, origin_of, transition_of
from tocsin.stores.series_rows import SeriesRows, span_of
from tocsin.stores.tables import (
    VERSION,
    about,
    alerts,
    checkpoints,
    dead_letters,
    flagged_readings,
    held_alerts,
    metadata,
    origins,
    transitions,
    units,
)

if TYPE_CHECKING:
    from tocsin.moves import RuleMoves
    from tocsin.reading import Batch, Series
    from tocsin.stores.writer import Desk, Wait, Writer

KEEPS_NONE = "keeps no readings"
NEVER_FIRED = ("pending", "inactive")


@dataclass(frozen=True, slots=True)
class Reached:
    """What is decided by itself: a partition of this name, or all where the name is empty; and how far it has come."""

    number: int
    name: str
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a pipeline stands.

    Who owns its units, how far each has come, its producers, and how many open alerts and dead letters it has; and how many readings by
    their flag, None of a store that has not kept them all.
    """

    owners: list[Owner]
    units: list[Reached]
    origins: list[Origin]
    alerts: int
    dead_letters: int
    flagged: Mapping[str, int] | None


class SqlStore:
    """One pipeline's database."""

    def __init__(self, url: str, pipeline: str, *, create: bool = True, readings: Keep = "all") -> None:
        self.url = url
        self.readings = readings
        self.pipeline = pipeline
        self._engine = sqlite.connect(url, create=create)
        with sqlite.explained(url, SetupError):
            self._claim(create)

    def desk(self, wait: Wait | None = None) -> Desk:
        """The place through which one process's run saves; `wait` says how long it waits for another's lock."""
        from tocsin.stores.writer import Desk

        if self.readings == "none":
            self._keeps_none()
        return Desk(self.url, self._engine, self.pipeline, wait, self.readings)

    def writer(self, series: Series) -> Writer:
        """The part that a run saves through which decides everything in one engine, over its dictionary of series."""
        return self.desk().writer(series)

    def units(self) -> list[Reached]:
        """What is decided by itself, and how far each has come."""
        query = select(units.c.number, units.c.name, checkpoints).join(checkpoints).order_by(units.c.number)
        with self._looking() as connection:
            return [Reached(number, name, checkpoint_of(row)) for number, name, *row in connection.execute(query)]

    def admitted(self, series: Series, unit: int = 0) -> Iterator[Batch]:
        """A unit's accepted readings in order of time: all that its ledger follows from.

        The order in which they were admitted is no part of it, since each instant is decided once, when all of its
        readings are in; and those that came too late for theirs are not among them.
        """
        rows = SeriesRows(series, unit)
        with self._looking() as connection:
            if _keeps_none(connection):
                raise SetupError(
                    f"store '{self.url}': it was filled with `readings: none`, so what was decided then cannot be decided once "
                    "more: expected a store that has kept all readings from the beginning. The alerts themselves are here: "
                    "`tocsin alerts ledger`"
                )
            rows.load(connection)
            for found in sqlite.stream_readings(connection, *span_of(unit)):
                yield rows.batch(found["series"], found["time"], found["value"])

    def put(self, moves: Iterable[RuleMoves], rejects: Iterable[Reject] = ()) -> None:
        """Put in what a replay found, by identity: what is there already is replaced, so twice is once.

        A run's checkpoint, its readings and its open alerts stay as they are.
        """
        from tocsin.stores.alert_rows import put_alerts  # here, because those who only look need no columns

        letters = [dead_letter_row(reject) for reject in rejects]
        with sqlite.explained(self.url, StoreError), sqlite.immediate(self._engine).begin() as connection:
            put_dead_letters(connection, letters)
            put_alerts(connection, moves)

    def refuse_other_rules(self, fingerprints: Mapping[str, str]) -> None:
        """SetupError if alerts of rules as they once were are here: a replay would put others beside them."""
        with self._looking() as connection:
            changed = connection.execute(select(alerts.c.id).where(alerts.c.reason == "rule changed").limit(1)).first()
            told = [json.loads(rules) for rules in connection.execute(select(checkpoints.c.rules)).scalars()]
        other = [name for rules in told for name, (known, *_) in rules.items() if fingerprints.get(name) != known]
        if changed or other:
            raise SetupError(
                f"{self.url} holds alerts of rules that have been edited since, and a replay would put others beside "
                "them: replay with --no-store, or with --store and a new file"
            )

    def alerts(self, pending: bool = False) -> list[Alert]:
        """The alerts in order of since; those that never fired only if asked for."""
        return [alert for _, alert in self.numbered_alerts(pending)]

    def numbered_alerts(self, pending: bool = False) -> list[tuple[int, Alert]]:
        """The same with the numbers by which `alert` finds them."""
        query = select(alerts)
        if not pending:
            query = query.where(alerts.c.state.not_in(NEVER_FIRED))
        with self._looking() as connection:
            found = [(row.id, alert_of(row)) for row in connection.execute(query)]
        return sorted(found, key=lambda item: (item[1].since, item[1].rule, item[1].key))

    def alert(self, number: int) -> Life | None:
        """One alert with its transitions, or None if no alert has this number."""
        moves = select(transitions).where(transitions.c.alert == number).order_by(transitions.c.seq)
        with self._looking() as connection:
            row = connection.execute(select(alerts).where(alerts.c.id == number)).one_or_none()
            if row is None:
                return None
            return Life(alert_of(row), [transition_of(row.rule, row.key, move) for move in connection.execute(moves)])

    def transitions(self) -> Iterator[Transition]:
        """Every transition in the order of the ledger; of a long ledger only one instant is in memory."""
        query = (
            select(alerts.c.rule, alerts.c.key, alerts.c.since, *transitions.c)
            .join(alerts, alerts.c.id == transitions.c.alert)
            .order_by(transitions.c.time)
        )
        with self._looking() as connection:
            for _, rows in groupby(connection.execution_options(yield_per=10_000).execute(query), lambda row: row.time):
                instant = [(transition_of(rule, key, move), since, move[1]) for rule, key, since, *move in rows]
                instant.sort(key=lambda item: (item[0].rule, item[0].key, item[1], item[2]))
                yield from (move for move, _, _ in instant)

    def dead_letters(self) -> list[DeadLetter]:
        """The lines that could not be read, in the order they were kept."""
        with self._looking() as connection:
            rows = connection.execute(select(dead_letters).order_by(dead_letters.c.id))
            return [DeadLetter(row.id, row.data, json.loads(row.place), row.reason) for row in rows]

    def drop_dead_letters(self, numbers: Iterable[int]) -> None:
        """Let go of these."""
        with sqlite.explained(self.url, SetupError), sqlite.immediate(self._engine).begin() as connection:
            rows = [(number,) for number in numbers]
            execute_many(connection, delete(dead_letters).where(dead_letters.c.id == bindparam("number")), rows)

    def progress(self) -> Progress:
        """How far the pipeline has come, and by whom."""
        with self._looking() as connection:
            known = connection.execute(select(origins).order_by(origins.c.partition, origins.c.producer))
            found = [origin_of(row) for row in known]
            held, letters = (
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (held_alerts, dead_letters)
            )
            owners = owners_of(connection)
            flagged = _flagged(connection)
        return Progress(owners, self.units(), found, held, letters, flagged)

    def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        with self._looking() as connection:
            return {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in metadata.sorted_tables
            }

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _keeps_none(self) -> None:
        """Note that there are not all readings here."""
        with sqlite.explained(self.url, SetupError), sqlite.immediate(self._engine).begin() as connection:
            if not _keeps_none(connection):
                connection.execute(insert(about), [{"name": KEEPS_NONE, "value": "once"}])

    @contextmanager
    def _looking(self) -> Iterator[Connection]:
        with sqlite.explained(self.url, SetupError), self._engine.begin() as connection:
            yield connection

    def _claim(self, create: bool) -> None:
        """Make the tables in an empty database; refuse one that is another pipeline's or another program's.

        Whoever finds them there needs no lock.
        """
        if create and not self._tables():
            with sqlite.immediate(self._engine).begin() as connection:
                if not sqlalchemy.inspect(connection).get_table_names():
                    self._make(connection)
        found = self._tables()
        with self._engine.begin() as connection:
            if about.name not in found:
                raise SetupError(
                    f"store '{self.url}': the database has tables that are not Tocsin's "
                    f"({', '.join(sorted(found)[:3])}): name a file of its own in `store:`"
                    if found
                    else f"store '{self.url}': the database is empty: `tocsin run` or `tocsin replay` fills it"
                )
            self._recognise({row.name: row.value for row in connection.execute(select(about))})

    def _tables(self) -> set[str]:
        with self._engine.begin() as connection:
            return set(sqlalchemy.inspect(connection).get_table_names())

    def _make(self, connection: Connection) -> None:
        metadata.create_all(connection)
        sqlite.create_views(connection)
        words = [{"name": "tables", "value": VERSION}, {"name": "pipeline", "value": self.pipeline}]
        connection.execute(insert(about), words)

    def _recognise(self, words: dict[str, str]) -> None:
        if words.get("tables") != VERSION:
            raise SetupError(
                f"store '{self.url}': its tables are of version {words.get('tables')}, this program knows version {VERSION}: "
                "use the version of Tocsin that made it, or name another file in `store:`"
            )
        if words.get("pipeline") != self.pipeline:
            raise SetupError(
                f"store '{self.url}': it belongs to the pipeline '{words.get('pipeline')}', not to '{self.pipeline}': "
                "give each pipeline a store of its own, or its old name back"
            )


def _keeps_none(connection: Connection) -> bool:
    """Whether it was ever filled without its readings."""
    return connection.execute(select(about.c.value).where(about.c.name == KEEPS_NONE)).first() is not None


def _flagged(connection: Connection) -> dict[str, int] | None:
    """How many readings are kept that no rule sees, by their flag; None if not all of them are."""
    if _keeps_none(connection):
        return None
    query = select(flagged_readings.c.flag, func.count().label("number")).group_by(flagged_readings.c.flag)
    return {row.flag: row.number for row in connection.execute(query)}


def put_dead_letters(connection: Connection, letters: Sequence[tuple[Any, ...]]) -> None:
    """Keep lines that could not be read, each once."""
    columns = [column for column in dead_letters.c if column.name != "id"]
    statement = insert(dead_letters).values({column.name: None for column in columns})
    execute_many(connection, statement.prefix_with("OR IGNORE", dialect="sqlite"), letters)
