"""How a run's steps get into the database: those of all units that came together in one transaction.

    BEGIN IMMEDIATE
      the leases, if every epoch is still ours       otherwise another process has taken over
      for each step
        the checkpoint
        new series, readings, flagged readings
        dead letters
        alerts, transitions, open alerts with what their holds remember
    COMMIT

What can be worked out before the transaction is, so that it is short.  After a StoreError the writers
are of no more use, as the engines are: both have moved on.  A new run goes on from the checkpoints.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.engine import RootTransaction
from sqlalchemy.exc import OperationalError

from tocsin.alert import Alert
from tocsin.errors import SetupError, StoreError, TakenOver, TocsinError
from tocsin.instant import LONG_AGO
from tocsin.message import Origin, Standing
from tocsin.reading import Batch, Series
from tocsin.stores import Checkpoint, Keep, Step, owner, sqlite
from tocsin.stores.alert_rows import Held, load_held, save_alerts
from tocsin.stores.book import Book, book_of
from tocsin.stores.book import Owner as Whose
from tocsin.stores.kept import Kept, Packed, Rows
from tocsin.stores.rows import Row, checkpoint_of, checkpoint_row, dead_letter_row, execute_many, origin_of
from tocsin.stores.series_rows import SeriesRows
from tocsin.stores.sql import put_dead_letters
from tocsin.stores.tables import checkpoints, expected_devices, origins, units

CHECKPOINT = "UPDATE checkpoints SET position = ?, watermark = ?, newest = ?, first_time = ?, rules = ? WHERE unit = ?"
IDLE = "INSERT OR REPLACE INTO idle_advances (unit, newest, watermark) VALUES (?, ?, ?)"
ORIGIN = """INSERT OR REPLACE INTO origins (partition, producer, next, mark, newest, standing, first)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""


Wait = Callable[[TocsinError], bool]
"""Called when another process has held the database's lock for some seconds; says whether to wait on."""


class Desk:
    """One process's place at the database, shared by the writers of all the units that it owns.

    It looks without a lock.  For what is to be written it waits for the lock as long as `wait` says; nothing was
    done by then, so nothing is undone.
    """

    def __init__(
        self, url: str, engine: Engine, pipeline: str, wait: Wait | None = None, readings: Keep = "all"
    ) -> None:
        self.url = url
        self.kept: type[Rows | Packed] = Packed if readings == "none" else Rows
        self._pipeline = pipeline
        self._wait = wait
        self._writers: dict[int, Writer] = {}
        self._renewed = 0.0
        with sqlite.explained(url, SetupError):
            self._connection, self._looking = sqlite.immediate(engine).connect(), engine.connect()
        self._file = sqlite.file_of(url)

    def writer(self, dictionary: Series, unit: str = "", *, politely: bool = False) -> Writer:
        """The part that saves one unit's steps, over that unit's dictionary of series.

        Taking over `politely` is refused (TakenOver) while another process that owns the unit may be alive.
        """
        return Writer(self, dictionary, unit, politely=politely)

    def owners(self) -> list[owner.Owner]:
        """Who owns each unit now, or owned it last."""
        with self.looking() as connection:
            return owner.owners_of(connection)

    def meet(self) -> tuple[list[str], list[owner.Owner]]:
        """Be one of those who share the units: (all of these, who owns each unit)."""
        with self.looking() as connection:
            known, owners = owner.members_of(connection), owner.owners_of(connection)
        if owner.is_due(known):
            with self.transaction(StoreError) as connection:
                known, owners = owner.meet(connection), owner.owners_of(connection)
        return owner.alive(known), owners

    def checkpoints(self) -> dict[str, Checkpoint]:
        """How far each unit has come."""
        query = select(units.c.name, checkpoints).join(units, units.c.number == checkpoints.c.unit)
        with self.looking() as connection:
            return {name: checkpoint_of(row) for name, *row in connection.execute(query)}

    def origins(self) -> list[Origin]:
        """Every producer that is known, in every partition, as it was saved last."""
        with self.looking() as connection:
            return [origin_of(row) for row in connection.execute(select(origins))]

    def save(self, steps: Sequence[tuple[Writer, Step]]) -> list[int]:
        """Save steps whole, or nothing of them (StoreError); each writer's in their order.

        Returns of each how many of its late readings were repeats: equal to an accepted one, and so not stored.
        """
        ready = [(writer, writer.prepare(step)) for writer, step in steps]
        with self.transaction(StoreError) as connection:
            self._hold(connection, {writer.claim.number: writer for writer, _ in steps}.values(), saving=True)
            repeats = [writer.write(connection, prepared) for writer, prepared in ready]
        self._see_that_it_is_there()
        return repeats

    def renew(self) -> None:
        """Tell now and then that what is owned still is: not every unit has something to save."""
        if self._writers and time.monotonic() - self._renewed > owner.RENEW:
            self._renewed = time.monotonic()
            with self.transaction(StoreError) as connection:
                self._hold(connection, self._writers.values())

    def release(self, writer: Writer) -> None:
        """Own a unit no longer, so that others need not wait for its lease to end."""
        self._release([self._writers.pop(writer.claim.number)])

    def take(self, writers: Sequence[Writer]) -> None:
        """Note that messages of these units are taken from now on: a process that ended before has not died of one."""
        with self.transaction(StoreError) as connection:
            if not owner.take(connection, [writer.claim for writer in writers]):
                raise self._taken_over([writer.unit for writer in writers])

    def suspect(self, writer: Writer, message: str) -> None:
        """Note the message that a unit takes next, by itself: should that end the process, it is known which it was."""
        with self.transaction(StoreError) as connection:
            if not owner.suspect(connection, writer.claim, message):
                raise self._taken_over([writer.unit])

    def move(self, connection: Connection, way: Mapping[str, Any], over: Sequence[Origin]) -> None:
        """Let all units go on by another way, which names the broker, and wait for these producers no more.

        Whoever owned a unit can save no more.
        """
        owner.depose(connection)
        position = json.dumps({**way, "partitions": {}}, ensure_ascii=False)
        connection.execute(update(checkpoints).where(checkpoints.c.position != "null").values(position=position))
        for origin in over:
            own = (origins.c.partition == origin.partition) & (origins.c.producer == origin.producer)
            connection.execute(update(origins).where(own).values(standing=int(Standing.EXPIRED)))

    def close(self, *, in_order: bool = True) -> None:
        """Let go of everything; what did not end in order is not given back, and so counts as a death."""
        self._release(list(self._writers.values()) if in_order else [], leave=True)
        self._writers.clear()
        self._connection.close()
        self._looking.close()

    def claimed(self, connection: Connection, writer: Writer) -> owner.Claim:
        """What it takes to own the unit of a writer."""
        if writer.politely and owner.is_taken(connection, writer.unit):
            raise self._taken_over([writer.unit])
        made = owner.claim(connection, writer.unit)
        self._writers[made.number] = writer
        self._renewed = self._renewed or time.monotonic()
        return made

    @contextmanager
    def transaction(self, kind: type[TocsinError]) -> Iterator[Connection]:
        """A transaction that holds the lock from its beginning; what SQLite says becomes an error of this kind."""
        with sqlite.explained(self.url, kind), self._locked():
            yield self._connection

    @contextmanager
    def looking(self) -> Iterator[Connection]:
        """A transaction that only looks, whoever holds the lock."""
        with sqlite.explained(self.url, SetupError), self._looking.begin():
            yield self._looking

    def _see_that_it_is_there(self) -> None:
        """SetupError if the file is no longer what the URL names: SQLite goes on in one that nobody will find again."""
        if sqlite.file_of(self.url) != self._file:
            raise SetupError(
                f"store '{self.url}': its file was deleted, moved or replaced while it was in use. What came since was not acknowledged. "
                "Put the file back (with its -wal and -shm, if it was moved) and run again; or run again with a new one, which begins empty"
            )

    def _locked(self) -> RootTransaction:
        while True:
            try:
                return self._connection.begin()
            except OperationalError as error:
                locked = sqlite.is_locked(self.url, error)
                if locked is None or self._wait is None or not self._wait(locked):
                    raise

    def _release(self, writers: Sequence[Writer], *, leave: bool = False) -> None:
        with suppress(TocsinError), self.transaction(StoreError) as connection:
            owner.release(connection, [writer.claim for writer in writers])
            if leave:
                owner.leave(connection)

    def _hold(self, connection: Connection, writers: Collection[Writer], *, saving: bool = False) -> None:
        """The fence: nothing is saved by a process that does not own the units."""
        if not owner.hold(connection, [writer.claim for writer in writers], saving=saving):
            raise self._taken_over([writer.unit for writer in writers if not owner.hold(connection, [writer.claim])])

    def _taken_over(self, lost: Sequence[str]) -> TakenOver:
        named = f"partition {', '.join(lost)} of " if any(lost) else ""
        return TakenOver(
            f"store '{self.url}': another process has taken over {named}the pipeline '{self._pipeline}'. "
            "What this one had saved is kept, and the other goes on from there"
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A step as rows."""

    step: Step
    checkpoint: Row
    readings: Any
    letters: list[Row]
    found: list[Book]


class Writer:
    """Saves one unit's steps, and gives back what the next run of it goes on from."""

    def __init__(self, desk: Desk, dictionary: Series, unit: str, *, politely: bool) -> None:
        self.unit = unit
        self.politely = politely
        self.claim = owner.Claim(-1, 0)
        self._desk = desk
        self._dictionary = dictionary
        self._series = SeriesRows(dictionary)
        self._kept: Kept = desk.kept(self._series, -1)
        self._open: dict[Whose, Held] = {}

    def owners(self) -> list[owner.Owner]:
        """Who owns each unit now, or owned it last."""
        return self._desk.owners()

    def take_over(self) -> tuple[Checkpoint | None, list[Alert], set[str]]:
        """Own the unit from now on: its checkpoint, None if nothing was saved yet, its open alerts, and who was expected.

        Call it once, before anything else.  Whoever owned it before can save no more.
        """
        with self._desk.transaction(SetupError) as connection:
            self.claim = self._desk.claimed(connection, self)
            number = self.claim.number
            self._series = SeriesRows(self._dictionary, number)
            self._series.load(connection)
            self._kept = self._desk.kept(self._series, number)
            self._kept.begin(connection)
            self._open, held = load_held(connection, number)
            row = connection.execute(select(checkpoints).where(checkpoints.c.unit == number)).one_or_none()
            if row is None:
                execute_many(connection, insert(checkpoints), [(number, *checkpoint_row(Checkpoint()))])
                _expect(connection, number, list(self._dictionary.expected))
            own = expected_devices.c.unit == number
            expected = set(connection.execute(select(expected_devices.c.device).where(own)).scalars())
        checkpoint = checkpoint_of(row) if row else Checkpoint()
        return (None if checkpoint.position is None else checkpoint), held, expected

    def readings(self, since: int = LONG_AGO) -> Batch:
        """Accepted readings: of each series those from `since` on, and the newest before."""
        with self._desk.looking() as connection:
            found = self._kept.read(connection, since)
        return self._series.batch(found["series"], found["time"], found["value"])

    def save(self, step: Step) -> int:
        """Save one step; see `Desk.save`."""
        return self._desk.save([(self, step)])[0]

    def save_together(self, steps: Sequence[Step]) -> None:
        """Save several steps, all of them or none."""
        self._desk.save([(self, step) for step in steps])

    def prepare(self, step: Step) -> Prepared:
        """All of a step's rows that can be made before the transaction."""
        letters = [dead_letter_row(reject) for reject in step.rejects]
        found = [book_of(told) for told in step.moves]
        return Prepared(step, checkpoint_row(step.checkpoint), self._kept.prepare(step), letters, found)

    def write(self, connection: Connection, prepared: Prepared) -> int:
        """Write what was prepared; returns how many of the late readings were repeats."""
        execute, number = connection.connection.cursor(), self.claim.number
        step = prepared.step
        execute.execute(CHECKPOINT, (*prepared.checkpoint, number))
        if step.expected is not None:
            _expect(connection, number, step.expected)
        if step.idle:
            execute.execute(IDLE, (number, step.checkpoint.newest, step.checkpoint.watermark))
        if step.origins:
            execute.executemany(ORIGIN, [one.row() for one in step.origins])
        self._series.save(connection)
        repeats = self._kept.write(connection, prepared.readings)
        put_dead_letters(connection, prepared.letters)
        if prepared.found:
            save_alerts(connection, prepared.found, self._open, number)
        return repeats

    def close(self) -> None:
        """Let go of the desk, where this is its only writer."""
        self._desk.close()


def _expect(connection: Connection, unit: int, devices: Sequence[str]) -> None:
    """Note who is expected in a unit."""
    connection.execute(delete(expected_devices).where(expected_devices.c.unit == unit))
    execute_many(connection, insert(expected_devices), [(unit, device) for device in devices])
