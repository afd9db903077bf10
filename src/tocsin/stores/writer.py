"""How a run's steps get into the database: each in one transaction, by the one process that owns the pipeline.

    BEGIN IMMEDIATE
      the lease, if the epoch is still ours          otherwise another process has taken over
      the checkpoint
      new series, readings, flagged readings
      dead letters
      alerts, transitions, open alerts with what their holds remember
    COMMIT

What can be worked out before the transaction is, so that it is short.  After a StoreError the writer
is of no more use, as the engine is: both have moved on.  A new run goes on from the checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, delete, insert, select, update

from tocsin.alert import Alert
from tocsin.errors import SetupError, StoreError, TakenOver, TocsinError
from tocsin.instant import LONG_AGO
from tocsin.message import Origin, Standing
from tocsin.reading import Batch, Series
from tocsin.stores import Checkpoint, Step, owner, sqlite
from tocsin.stores.alert_rows import Held, load_held, save_alerts
from tocsin.stores.book import Owner, book_of
from tocsin.stores.rows import checkpoint_of, checkpoint_row, dead_letter_row, execute_many
from tocsin.stores.series_rows import SeriesRows
from tocsin.stores.sql import put_dead_letters
from tocsin.stores.tables import checkpoints, idle_advances, origins


class Writer:
    """Saves the steps of one run, and gives back what the next one goes on from."""

    def __init__(self, url: str, engine: Engine, pipeline: str, dictionary: Series) -> None:
        self._url = url
        self._pipeline = pipeline
        self._series = SeriesRows(dictionary)
        self._open: dict[Owner, Held] = {}
        self._epoch = 0
        self._renewed = 0.0
        with sqlite.explained(url, SetupError):
            self._connection = engine.connect()

    def owner(self) -> owner.Owner | None:
        """Who owns the pipeline now, or owned it last."""
        with self._transaction(SetupError) as connection:
            return owner.owner_of(connection, self._pipeline)

    def take_over(self) -> tuple[Checkpoint | None, list[Alert]]:
        """Own the pipeline from now on: its checkpoint, None if nothing was saved yet, and its open alerts.

        Call it once, before anything else.  Whoever owned it before can save no more.
        """
        own = checkpoints.c.pipeline == self._pipeline
        with self._transaction(SetupError) as connection:
            self._epoch = owner.claim(connection, self._pipeline)
            self._renewed = time.monotonic()
            self._series.load(connection)
            self._open, held = load_held(connection)
            row = connection.execute(select(checkpoints).where(own)).one_or_none()
            if row is None:
                execute_many(connection, insert(checkpoints), [(self._pipeline, *checkpoint_row(Checkpoint()))])
        checkpoint = checkpoint_of(row) if row else Checkpoint()
        return (None if checkpoint.position is None else checkpoint), held

    def renew(self) -> None:
        """Tell that the pipeline is still owned, where nothing had to be saved for a while."""
        if self._epoch and time.monotonic() - self._renewed > owner.RENEW:
            with self._transaction(StoreError) as connection:
                self._hold(connection)

    def readings(self, since: int = LONG_AGO) -> Batch:
        """Accepted readings: of each series those from `since` on, and the newest before."""
        with self._transaction(SetupError) as connection:
            found = sqlite.read_readings(connection, since)
        return self._series.batch(found["series"], found["time"], found["value"])

    def origins(self) -> list[Origin]:
        """Every producer that is known, as it was saved last."""
        with self._transaction(SetupError) as connection:
            rows = connection.execute(select(origins)).all()
        return [
            Origin(row.partition, row.producer, row.next, row.mark, row.newest, Standing(row.standing)) for row in rows
        ]

    def save(self, step: Step) -> int:
        """Save a step whole, or nothing of it (StoreError).

        Returns how many of its late readings were repeats: equal to an accepted one, and so not stored.
        """
        accepted, flagged = self._series.columns(step)
        letters = [dead_letter_row(reject) for reject in step.rejects]
        found = [book_of(told) for told in step.moves]
        with self._transaction(StoreError) as connection:
            self._hold(connection)
            self._save_checkpoint(connection, step)
            save_origins(connection, step.origins)
            self._series.save(connection)
            sqlite.insert_readings(connection, accepted)
            stored = sqlite.insert_flagged(connection, flagged)
            put_dead_letters(connection, letters)
            save_alerts(connection, found, self._open)
        return len(flagged) - stored

    def close(self) -> None:
        """Let go of the pipeline and the database; others need not wait for the lease to end."""
        if self._epoch:
            with suppress(TocsinError), self._transaction(StoreError) as connection:
                owner.hold(connection, self._pipeline, self._epoch, lease=0)
        self._connection.close()

    @contextmanager
    def _transaction(self, kind: type[TocsinError]) -> Iterator[Connection]:
        with sqlite.explained(self._url, kind), self._connection.begin():
            yield self._connection

    def _save_checkpoint(self, connection: Connection, step: Step) -> None:
        names = [column.name for column in checkpoints.c][1:]
        values = dict(zip(names, checkpoint_row(step.checkpoint), strict=True))
        connection.execute(update(checkpoints).where(checkpoints.c.pipeline == self._pipeline).values(values))
        if step.idle:
            newest = step.checkpoint.newest
            connection.execute(delete(idle_advances).where(idle_advances.c.newest == newest))
            connection.execute(insert(idle_advances).values(newest=newest, watermark=step.checkpoint.watermark))

    def _hold(self, connection: Connection) -> None:
        """The fence: nothing is saved by a process that does not own the pipeline."""
        self._renewed = time.monotonic()
        if not owner.hold(connection, self._pipeline, self._epoch):
            raise TakenOver(
                f"store '{self._url}': another process has taken over the pipeline '{self._pipeline}', so this one stops. "
                "What it had saved is kept, and the other goes on from there"
            )


def save_origins(connection: Connection, changed: Sequence[Origin]) -> None:
    """How far what was published by each of these has been taken."""
    if changed:
        statement = insert(origins).values({column.name: None for column in origins.c})
        rows = [(one.partition, one.producer, one.next, one.mark, one.newest, int(one.standing)) for one in changed]
        execute_many(connection, statement.prefix_with("OR REPLACE", dialect="sqlite"), rows)
