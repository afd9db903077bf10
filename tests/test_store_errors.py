"""What goes wrong with a store has its sentence: what happened, to what, how to mend it; and nothing is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from listed import LEDGER, ROWS, Row, ask, batch_of, ledger_of, owner, parts_of, step_of, store_in
from tocsin.errors import SetupError, StoreError
from tocsin.instant import SECOND
from tocsin.reading import Series
from tocsin.runners.local import replay, run
from tocsin.stores import open_store
from tocsin.stores.sql import SqlStore
from tocsin.stores.tables import VERSION


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = store_in(tmp_path)
    yield store
    store.close()


def test_no_such_store() -> None:
    with pytest.raises(SetupError, match=r"there is no store 'sqlit'\. Did you mean 'sqlite'\?"):
        open_store("sqlit:///x.db", "test")
    with pytest.raises(SetupError, match=r"there is no store 'postgresql'.*Expected sqlite:///FILE"):
        open_store("postgresql+psycopg://host/db", "test")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:x.db"])
def test_a_url_without_a_file(url: str) -> None:
    with pytest.raises(SetupError, match=r"it names no file\. Expected sqlite:///FILE"):
        open_store(url, "test")


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"there is no directory '.*nowhere': make it"):
        open_store(f"sqlite:///{tmp_path}/nowhere/x.db", "test")


def test_a_directory_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"is a directory: expected the name of a database file"):
        open_store(f"sqlite:///{tmp_path}", "test")


def test_nothing_there_yet_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"there is no '.*x.db' yet: `tocsin run` or `tocsin replay` makes it"):
        open_store(f"sqlite:///{tmp_path}/x.db", "test", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(SetupError, match=r"cannot be opened.*write permission on the file and its directory"):
            store_in(tmp_path)
    finally:
        tmp_path.chmod(stat.S_IRWXU)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_directory_that_belongs_to_somebody_else(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:  # somebody who may look in there and not write
        code = 1
        try:
            tmp_path.chmod(0o755)
            os.chdir(tmp_path)
            os.setuid(65534)
            open_store("sqlite:///x.db", "test")
        except SetupError as error:
            code = 0 if "write permission on the file and its directory" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "readings.db").write_text("Time,Value\n" * 100)
    with pytest.raises(SetupError, match=r"is no SQLite database.*name another file in `store:`"):
        store_in(tmp_path)
    assert (tmp_path / "readings.db").read_text() == "Time,Value\n" * 100


def test_a_corrupt_database(store: SqlStore, tmp_path: Path) -> None:
    """Everything behind the first page is overwritten."""
    run(parts_of(ROWS), store, idle_after=SECOND)
    store.close()
    path = tmp_path / "readings.db"
    good = path.read_bytes()
    path.write_bytes(good[:4096] + b"\x5a" * (len(good) - 4096))
    with pytest.raises(SetupError, match=r"the database is corrupt.*put a copy back"):
        run(parts_of(ROWS), store_in(tmp_path), idle_after=SECOND)


@pytest.mark.usefixtures("store")
def test_a_database_that_another_program_has_locked(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "readings.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    impatient = open_store(f"sqlite:///{tmp_path}/readings.db?timeout=0.1", "test")
    assert impatient.alerts() == []
    with pytest.raises(SetupError, match=r"the database is locked.*end that, and run again"):
        run(parts_of(ROWS), impatient, idle_after=SECOND)
    other.execute("ROLLBACK")
    other.close()


def test_a_lock_in_the_middle_loses_nothing(store: SqlStore, tmp_path: Path) -> None:
    series = Series()
    impatient = open_store(f"sqlite:///{tmp_path}/readings.db?timeout=0.1", "test")
    writer = owner(impatient, series)
    writer.save(step_of(batch_of([("a", 0, 1)], series), line=2))
    other = sqlite3.connect(tmp_path / "readings.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"the database is locked.*nothing that was saved is lost"):
        writer.save(step_of(batch_of([("a", 1, 1)], series), line=3))
    other.execute("ROLLBACK")
    other.close()
    writer.close()
    again = store.writer(Series())
    checkpoint, *_ = again.take_over()
    assert checkpoint is not None
    assert checkpoint.position == {"file": "rows", "line": 2}
    assert len(again.readings()) == 1
    again.close()
    impatient.close()


def test_looking_does_not_wait_for_a_lock(store: SqlStore, tmp_path: Path) -> None:
    run(parts_of(ROWS), store, idle_after=SECOND)
    other = sqlite3.connect(tmp_path / "readings.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    looking = open_store(f"sqlite:///{tmp_path}/readings.db?timeout=0.1", "test", create=False)
    assert ledger_of(looking) == LEDGER
    looking.close()
    other.close()


def test_a_full_disk_stops_the_run_and_loses_nothing(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database may grow by some pages and no more; then there is room again."""
    monkeypatch.setattr("tocsin.runners.ahead.GROUP", 1)  # a commit for each block
    rows: list[Row] = [(f"d{number % 7}", number, 60 + number % 40) for number in range(3000)]

    def narrow(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 30")

    event.listen(store._engine, "connect", narrow)
    with pytest.raises(StoreError, match=r"the disk is full.*make room, and run again"):
        run(parts_of(rows, block=100), store, idle_after=SECOND)
    event.remove(store._engine, "connect", narrow)
    assert 0 < store.counts()["readings"] < 3000
    run(parts_of(rows, block=100), store, idle_after=SECOND)
    assert store.counts()["readings"] == 3000
    assert ledger_of(store) == ledger_of(replay(parts_of(rows))[1])


@pytest.mark.usefixtures("store")
def test_the_store_of_another_pipeline(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"it belongs to the pipeline 'test', not to 'other'"):
        store_in(tmp_path, pipeline="other")


def test_the_database_of_another_program(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "readings.db")
    connection.execute("CREATE TABLE readings (x)")
    connection.close()
    with pytest.raises(SetupError, match=r"tables that are not Tocsin's \(readings\)"):
        store_in(tmp_path)
    assert ask(tmp_path, "SELECT name FROM sqlite_master") == [("readings",)]


def test_an_empty_database_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "readings.db").touch()
    with pytest.raises(SetupError, match=r"the database is empty"):
        open_store(f"sqlite:///{tmp_path}/readings.db", "test", create=False)


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_file_that_goes_away_while_it_is_used_is_noticed_before_anything_is_acknowledged(
    tmp_path: Path, how: str
) -> None:
    """SQLite itself would go on writing into a file that nobody finds any more."""
    series = Series()
    writer = owner(store_in(tmp_path), series)
    writer.save(step_of(batch_of([("a", 0, 1)], series)))
    (tmp_path / "readings.db").rename(tmp_path / "away.db")
    if how == "replaced":
        shutil.copy(tmp_path / "away.db", tmp_path / "readings.db")
    with pytest.raises(SetupError, match="its file was deleted, moved or replaced while it was in use"):
        writer.save(step_of(batch_of([("a", 1, 2)], series)))
    writer.close()


@pytest.mark.usefixtures("store")
def test_tables_of_another_version(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "readings.db")
    connection.execute("UPDATE about SET value = '1' WHERE name = 'tables'")
    connection.commit()
    connection.close()
    with pytest.raises(SetupError, match=rf"its tables are of version 1, this program knows version {VERSION}"):
        store_in(tmp_path)
