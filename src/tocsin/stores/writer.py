"""How a run's steps get into the database: each in one transaction, by the one process that owns the pipeline.

    BEGIN IMMEDIATE
      the checkpoint, if the epoch is still ours     otherwise another process has taken over
      new series, readings, flagged readings
      dead letters
      alerts, transitions, open alerts with what their holds remember
    COMMIT

What can be worked out before the transaction is, so that it is short.  After a StoreError the writer
is of no more use, as the engine is: both have moved on.  A new run goes on from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, delete, insert, select, update

from tocsin.alert import Alert
from tocsin.errors import SetupError, StoreError, TocsinError
from tocsin.instant import LONG_AGO
from tocsin.reading import Batch, Series
from tocsin.stores import Checkpoint, Step, sqlite
from tocsin.stores.alert_rows import Held, load_held, save_alerts
from tocsin.stores.book import Owner, entries
from tocsin.stores.rows import checkpoint_of, checkpoint_row, dead_letter_row, execute_many
from tocsin.stores.series_rows import SeriesRows
from tocsin.stores.sql import put_dead_letters
from tocsin.stores.tables import checkpoints, idle_advances


class Writer:
    """Saves the steps of one run, and gives back what the next one goes on from."""

    def __init__(self, url: str, engine: Engine, pipeline: str, dictionary: Series) -> None:
        self._url = url
        self._pipeline = pipeline
        self._series = SeriesRows(dictionary)
        self._open: dict[Owner, Held] = {}
        self._epoch = 0
        with sqlite.explained(url, SetupError):
            self._connection = engine.connect()

    def take_over(self) -> tuple[Checkpoint | None, list[Alert]]:
        """Own the pipeline from now on: its checkpoint, None if nothing was saved yet, and its open alerts.

        Call it once, before anything else.  Whoever owned it before can save no more.
        """
        own = checkpoints.c.pipeline == self._pipeline
        with self._transaction(SetupError) as connection:
            self._series.load(connection)
            self._open, held = load_held(connection)
            row = connection.execute(select(checkpoints).where(own)).one_or_none()
            self._epoch = row.epoch + 1 if row else 1
            if row:
                connection.execute(update(checkpoints).where(own).values(epoch=self._epoch))
            else:
                nothing = (self._pipeline, self._epoch, *checkpoint_row(Checkpoint()))
                execute_many(connection, insert(checkpoints), [nothing])
        checkpoint = checkpoint_of(row) if row else Checkpoint()
        return (None if checkpoint.position is None else checkpoint), held

    def readings(self, since: int = LONG_AGO) -> Batch:
        """Accepted readings: of each series those from `since` on, and the newest before."""
        with self._transaction(SetupError) as connection:
            found = sqlite.read_readings(connection, since)
        return self._series.batch(found["series"], found["time"], found["value"])

    def save(self, step: Step) -> int:
        """Save a step whole, or nothing of it (StoreError).

        Returns how many of its late readings were repeats: equal to an accepted one, and so not stored.
        """
        accepted, flagged = self._series.columns(step)
        letters = [dead_letter_row(reject) for reject in step.rejects]
        found = entries(step.transitions, step.alerts)
        with self._transaction(StoreError) as connection:
            self._save_checkpoint(connection, step)
            self._series.save(connection)
            sqlite.insert_readings(connection, accepted)
            stored = sqlite.insert_flagged(connection, flagged)
            put_dead_letters(connection, letters)
            save_alerts(connection, found, self._open)
        return len(flagged) - stored

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    @contextmanager
    def _transaction(self, kind: type[TocsinError]) -> Iterator[Connection]:
        with sqlite.explained(self._url, kind), self._connection.begin():
            yield self._connection

    def _save_checkpoint(self, connection: Connection, step: Step) -> None:
        own = (checkpoints.c.pipeline == self._pipeline) & (checkpoints.c.epoch == self._epoch)
        names = [column.name for column in checkpoints.c][2:]
        values = dict(zip(names, checkpoint_row(step.checkpoint), strict=True))
        if connection.execute(update(checkpoints).where(own).values(values)).rowcount == 0:
            raise StoreError(
                f"store '{self._url}': another process has taken over the pipeline '{self._pipeline}', so this one stops. "
                "What it had saved is kept, and the other goes on from there"
            )
        if step.idle:
            newest = step.checkpoint.newest
            connection.execute(delete(idle_advances).where(idle_advances.c.newest == newest))
            connection.execute(insert(idle_advances).values(newest=newest, watermark=step.checkpoint.watermark))
