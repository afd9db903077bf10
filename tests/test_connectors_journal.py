"""The journal: messages become durable in order, are numbered once, and are let go only when they were consumed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tocsin.address import Address
from tocsin.connectors import Broker
from tocsin.connectors.journal import Journal, Retention, Source
from tocsin.errors import RunError, SetupError, StoreError, TakenOver
from tocsin.message import JSON, Kind, Message


def messages(count: int, partition: str = "0", body: bytes = b"x") -> list[Message]:
    return [Message(body + str(number).encode(), partition, JSON) for number in range(count)]


def source(path: Path) -> Source:
    return Source(Broker(Address("journal", "", path=str(path)), "p"), "g")


def bodies(found: Sequence[Message]) -> list[bytes]:
    return [message.body for message in found]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "p.journal")


class TestProducers:
    def test_messages_are_numbered_in_each_partition_and_come_back_whole(self, journal: Journal) -> None:
        producer = journal.producer("file")
        sent = Message(b"1", "1", JSON, kind=Kind.WATERMARK, watermark=-7, key="a", arrival=9)
        producer.append([*messages(2), sent, *messages(1)], {"line": 3})
        found = journal.read(0, 10)
        assert [(message.partition, message.seq) for message in found] == [("0", 0), ("0", 1), ("1", 0), ("0", 2)]
        assert found[2] == sent._replace(producer=producer.id, seq=0, position=3)

    def test_a_producer_goes_on_with_its_state_and_numbers(self, journal: Journal) -> None:
        journal.producer("file").append(messages(2), {"line": 3})
        journal.close()
        again = Journal(journal.path).producer("file")
        assert again.state == {"line": 3}
        again.append(messages(1), {"line": 4})
        assert [message.seq for message in again.journal.read(0, 10)] == [0, 1, 2]

    def test_several_producers_write_into_one_journal(self, journal: Journal) -> None:
        others = [Journal(journal.path).producer(name) for name in ("a", "b")]
        threads = [
            threading.Thread(target=lambda one=one: [one.append(messages(1), {"at": at}) for at in range(50)])
            for one in others
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = journal.read(0, 1000)
        for one in others:
            assert [message.seq for message in found if message.producer == one.id] == list(range(50))

    def test_what_several_append_together_is_there_together_or_not_at_all(self, journal: Journal) -> None:
        one, other = journal.producer("a"), journal.producer("b")

        def begin_and_fail() -> None:
            with journal.together():
                one.append(messages(2), {"at": 1}, ["key"])
                raise OSError("in between")

        with pytest.raises(OSError, match="in between"):
            begin_and_fail()
        journal.close()
        again = Journal(journal.path)
        assert again.read(0, 10) == []
        one, other = again.producer("a"), again.producer("b")
        # It is no older copy of what it never was.
        assert (one.missing, one.state, one.known(["key"])) == (0, {}, set())
        with again.together():
            one.append(messages(2), {"at": 1}, ["key"])
            other.append(messages(1), {"at": 2})
        assert len(again.read(0, 10)) == 3
        assert (one.known(["key"]), other.known(["key"])) == ({"key"}, set())

    def test_only_the_latest_of_one_name_may_append(self, journal: Journal) -> None:
        first = journal.producer("file")
        second = Journal(journal.path).producer("file")
        second.append(messages(1), {"line": 1})
        with pytest.raises(RunError, match="another process publishes 'file' now"):
            first.append(messages(1), {"line": 1})
        assert len(journal.read(0, 10)) == 1
        assert second.id == first.id

    def test_messages_and_state_are_one(self, journal: Journal) -> None:
        """A message that cannot be stored takes the whole append with it, the numbers too."""
        producer = journal.producer("file")
        with pytest.raises((RunError, sqlite3.Error)):
            producer.append([*messages(3), Message(object(), "0")], {"line": 9})  # type: ignore[arg-type]
        assert producer.state == {}
        producer.append(messages(1), {"line": 1})
        assert [message.seq for message in journal.read(0, 10)] == [0]


class TestSource:
    def test_it_gives_what_comes_after_a_position(self, journal: Journal) -> None:
        journal.producer("file").append(messages(5), {})
        reader = source(journal.path)
        reader.open()
        reader.begin("0", 3)
        assert bodies(reader.poll(10, 0.0).messages) == [b"x3", b"x4"]
        assert reader.poll(10, 0.0).messages == []

    def test_it_gives_no_more_than_asked_for_and_then_the_rest(self, journal: Journal) -> None:
        journal.producer("file").append(messages(5), {})
        reader = source(journal.path)
        reader.open()
        reader.begin("0")
        assert [bodies(reader.poll(2, 0.0).messages) for _ in range(4)] == [[b"x0", b"x1"], [b"x2", b"x3"], [b"x4"], []]

    def test_it_waits_for_the_first_message_and_not_for_more(self, journal: Journal) -> None:
        reader = source(journal.path)
        reader.open()
        reader.begin("0")
        producer = Journal(journal.path).producer("file")
        timer = threading.Timer(0.1, lambda: producer.append(messages(1), {}))
        timer.start()
        assert bodies(reader.poll(10, 20.0).messages) == [b"x0"]
        timer.join()

    def test_paused_it_gives_nothing(self, journal: Journal) -> None:
        journal.producer("file").append(messages(1), {})
        reader = source(journal.path)
        reader.open()
        reader.begin("0")
        reader.pause()
        assert reader.poll(10, 0.01).messages == []
        reader.resume()
        assert bodies(reader.poll(10, 0.0).messages) == [b"x0"]

    @pytest.mark.parametrize("position", [1, 99])
    def test_a_position_that_is_not_there_is_told_never_skipped(self, journal: Journal, position: int) -> None:
        """1 was let go, and 99 has never been there."""
        journal.producer("file").append(messages(5), {})
        journal.remove(3)
        reader = source(journal.path)
        reader.open()
        with pytest.raises(SetupError, match=f"from {position + 1} on are wanted, and it has 4 to 5"):
            reader.begin("0", position)

    def test_a_removal_that_may_not_wait_leaves_a_journal_in_which_another_writes_alone(self, journal: Journal) -> None:
        journal.producer("file").append(messages(5), {})
        with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert not journal.remove_if_free(3)
            assert len(journal.read(0, 10)) == 5
            other.execute("ROLLBACK")
        assert journal.remove_if_free(3)
        assert bodies(journal.read(0, 10)) == [b"x3", b"x4"]

    def test_numbers_go_on_where_they_were_when_all_has_been_let_go(self, journal: Journal) -> None:
        producer = journal.producer("file")
        producer.append(messages(3), {})
        journal.remove(3)
        assert journal.span() == (3, 3)
        producer.append(messages(1), {})
        assert [message.position for message in journal.read(0, 10)] == [4]


class TestRetention:
    def test_only_what_every_consumer_has_had_goes_and_only_when_it_is_old(self, journal: Journal) -> None:
        journal.producer("file").append(messages(4), {})
        journal.consumed("a", 3)
        journal.consumed("b", 2)
        assert journal.tidy(Retention(age=3_600 * 10**9, size=1 << 30))
        assert len(journal.read(0, 10)) == 4
        time.sleep(0.01)
        journal.tidy(Retention(age=0, size=1 << 30))
        assert bodies(journal.read(0, 10)) == [b"x2", b"x3"]

    def test_what_nobody_has_had_stays_and_a_full_journal_says_so(self, journal: Journal) -> None:
        journal.producer("file").append(messages(50, body=b"x" * 10_000), {})
        assert not journal.tidy(Retention(age=0, size=100_000))
        assert len(journal.read(0, 100)) == 50
        journal.consumed("a", 50)
        assert journal.tidy(Retention(age=3_600 * 10**9, size=100_000))
        assert journal.read(0, 100) == []

    def test_a_note_of_another_file_of_that_name_counts_for_nothing(self, journal: Journal) -> None:
        journal.consumed("a", 1_000)
        journal.close()
        journal.path.unlink()
        again = Journal(journal.path)
        again.producer("file").append(messages(4), {})
        assert again.waiting() == 4
        again.tidy(Retention(age=0, size=1))
        assert len(again.read(0, 10)) == 4

    def test_a_note_that_cannot_be_read_holds_everything_back(self, journal: Journal) -> None:
        journal.producer("file").append(messages(4), {})
        journal.consumed("a", 4)
        journal.consumed("b", 4)
        assert journal.waiting() == 0
        journal.path.with_name("p.journal.b.consumed").write_bytes(b"\0\0\0")
        assert journal.waiting() == 4

    def test_a_consumer_notes_its_progress_while_somebody_holds_the_journals_lock(self, journal: Journal) -> None:
        """And the other way round: one that is frozen at any moment holds nobody up, as it never takes that lock."""
        journal.producer("file").append(messages(5), {})
        with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            reader = source(journal.path)
            reader.open()
            reader.begin("0")
            reader.ack(reader.poll(10, 0.0).messages)
            reader.close()
            other.execute("ROLLBACK")
        assert journal.waiting() == 0


class TestOlderCopies:
    def test_a_copy_that_was_put_back_is_a_new_producer_and_goes_on_behind_what_there_was(
        self, journal: Journal
    ) -> None:
        """It would give the numbers 2 and 3 a second time, and whoever has taken these would drop the new ones."""
        producer = journal.producer("file")
        producer.append(messages(2), {"line": 2})
        first = producer.id
        producer.close()
        copy = journal.path.read_bytes()
        later = Journal(journal.path).producer("file")
        later.append(messages(2), {"line": 4})
        assert (later.id, later.missing) == (first, 0)
        later.close()
        journal.path.write_bytes(copy)

        restored = Journal(journal.path).producer("file")
        assert restored.missing == 2
        assert restored.id != first
        assert restored.id.startswith("file-")
        assert (restored.state, restored.numbers) == ({"line": 2}, {})
        restored.append(messages(1), {"line": 3})
        found = restored.journal.read(0, 10)
        assert [(message.producer, message.seq, message.position) for message in found] == [
            (first, 0, 1),
            (first, 1, 2),
            (restored.id, 0, 5),
        ]
        restored.close()
        again = Journal(journal.path).producer("file")
        assert (again.id, again.missing, again.numbers) == (restored.id, 0, {"0": 1})

    def test_one_that_was_killed_or_whose_guard_is_gone_is_no_copy(self, journal: Journal) -> None:
        producer = journal.producer("file")
        producer.append(messages(2), {})
        guard = journal.path.with_name("p.journal.guard")
        again = Journal(journal.path).producer("file")  # as after a kill: nothing was closed
        assert (again.id, again.missing) == (producer.id, 0)
        guard.unlink()
        assert Journal(journal.path).producer("file").missing == 0
        guard.write_bytes(b"nonsense")
        assert Journal(journal.path).producer("file").missing == 0

    def test_a_file_that_is_made_anew_has_another_mark(self, journal: Journal) -> None:
        journal.producer("file").append(messages(2), {})
        journal.close()
        assert Journal(journal.path).mark == journal.mark
        journal.path.unlink()
        again = Journal(journal.path)
        assert again.mark != journal.mark
        assert again.producer("file").missing == 0


class TestWays:
    """A spool in front of one broker, and then of another."""

    def test_what_has_not_left_goes_the_new_way_under_a_new_name_whose_numbers_have_no_gap(
        self, journal: Journal
    ) -> None:
        assert journal.goes_to("amqp:p") == ""
        old = journal.producer("file")
        old.append([*messages(4), *messages(3, "1"), *messages(1, "2")], {"line": 8, "first": 5}, ["key"])
        journal.remove(6)
        assert journal.goes_to("kafka:p") == "amqp:p"
        new = journal.producer("file")
        assert new.id != old.id
        assert (new.state, new.known(["key"])) == ({"line": 8, "first": 5}, {"key"})
        found = journal.read(-100, 10)
        assert {message.producer for message in found} == {new.id}
        # First a word to every partition, and then what was left, in its order.
        assert [(message.kind, message.partition, message.seq, message.body) for message in found[3:]] == [
            (Kind.READINGS, "1", 1, b"x2"), (Kind.READINGS, "2", 1, b"x0"),
        ]  # fmt: skip
        assert sorted((message.kind, message.partition, message.seq, message.body) for message in found[:3]) == [
            (Kind.WATERMARK, "0", 0, b"5"), (Kind.WATERMARK, "1", 0, b"5"), (Kind.WATERMARK, "2", 0, b"5"),
        ]  # fmt: skip
        new.append([*messages(1), *messages(1, "1")], {})
        assert [(message.partition, message.seq) for message in journal.read(found[-1].position, 10)] == [
            ("0", 1),
            ("1", 2),
        ]
        assert journal.handed_elsewhere("kafka:p", is_spool=True) == {"amqp:p": {(old.id, "0"): 4, (old.id, "1"): 2}}
        with pytest.raises(TakenOver):
            old.append(messages(1), {})

    def test_what_went_by_each_way_is_known_however_often_it_is_changed(self, journal: Journal) -> None:
        names: list[str] = []
        for way, count in (("a", 2), ("b", 3), ("a", 4), ("c", 5)):
            journal.goes_to(way)
            producer = journal.producer("file")
            producer.append(messages(count), {})
            names.append(producer.id)
            journal.remove(journal.span()[1])
        assert len(set(names)) == 4
        of = dict(zip(names, (2, 3, 4, 5), strict=True))
        expected = {"a": (names[0], names[2]), "b": (names[1],), "c": (names[3],)}
        for way in ("a", "b", "c", "d"):
            assert journal.handed_elsewhere(way, is_spool=True) == {
                other: {(name, "0"): of[name] for name in own} for other, own in expected.items() if other != way
            }
        journal.is_taken("a")
        assert "a" not in journal.handed_elsewhere("d", is_spool=True)
        assert journal.those_that_go_on() == {names[3]}

    def test_the_same_way_again_changes_nothing(self, journal: Journal) -> None:
        journal.goes_to("a")
        own = journal.producer("file")
        own.append(messages(2), {})
        assert journal.goes_to("a") == ""
        own.append(messages(1), {})
        assert [message.seq for message in journal.read(0, 10)] == [0, 1, 2]


class TestErrors:
    def test_a_file_that_two_make_at_once_is_waited_for(self, tmp_path: Path) -> None:
        """While one of them writes its first tables, SQLite tells the other at once that it may not switch to WAL."""
        path = tmp_path / "p.journal"
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            other.execute("CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            other.execute("BEGIN IMMEDIATE")
            timer = threading.Timer(0.5, lambda: other.execute("ROLLBACK"))
            timer.start()
            assert Journal(path).mark
            timer.join()

    def test_a_file_that_is_deleted_in_use_takes_nothing_more(self, journal: Journal) -> None:
        producer = journal.producer("file")
        producer.append(messages(1), {})
        journal.path.unlink()
        with pytest.raises(StoreError, match="was deleted or replaced while it was in use"):
            producer.append(messages(1), {})
        Journal(journal.path)
        with pytest.raises(StoreError, match="was deleted or replaced while it was in use"):
            producer.append(messages(1), {})

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(SetupError, match="there is no directory"):
            Journal(tmp_path / "none" / "p.journal")

    def test_a_file_that_is_not_there_for_whom_must_not_make_it(self, tmp_path: Path) -> None:
        with pytest.raises(SetupError, match="`tocsin publish` or `tocsin run` makes it"):
            Journal(tmp_path / "p.journal", create=False)

    def test_a_file_that_is_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "p.journal").write_text("these are notes, and long enough to be looked at " * 40)
        with pytest.raises(SetupError, match="is no SQLite database"):
            Journal(tmp_path / "p.journal")

    @pytest.mark.parametrize(
        ("damage", "use"),
        [
            ("UPDATE producers SET state = CAST(x'7bff7d' AS TEXT)", lambda journal: journal.producer("p")),
            ("UPDATE producers SET state = '{'", lambda journal: journal.producer("p")),
            ("UPDATE producers SET state = '{'", lambda journal: journal.state_of("p")),
            ("UPDATE producers SET state = '{'", lambda journal: journal.sent(is_spool=False)),
            ("UPDATE messages SET kind = CAST(x'ff' AS TEXT)", lambda journal: journal.read(0, 9)),
        ],
    )
    def test_a_row_that_cannot_be_read(self, journal: Journal, damage: str, use: Callable[[Journal], object]) -> None:
        journal.producer("p").append(messages(1), {})
        with closing(sqlite3.connect(journal.path, isolation_level=None)) as other:
            other.execute(damage)
        with pytest.raises((SetupError, StoreError), match=r"the database is corrupt.*name another `store:`"):
            use(journal)

    @pytest.mark.parametrize(
        ("suffix", "remedy"),
        [("journal", "name another `store:`"), ("spool", "not sent yet"), ("requeue", "not left it yet")],
    )
    def test_a_description_of_tables_that_cannot_be_read(self, tmp_path: Path, suffix: str, remedy: str) -> None:
        path = tmp_path / f"p.{suffix}"
        Journal(path).close()
        path.write_bytes(path.read_bytes().replace(b"CREATE TABLE", b"CREATE\xff\xfe\xfdBLE"))
        with pytest.raises(SetupError, match=f"the database is corrupt.*{remedy}.*is in this file alone"):
            Journal(path)

    def test_a_format_of_another_version(self, journal: Journal) -> None:
        with sqlite3.connect(journal.path) as connection:
            connection.execute("UPDATE about SET value = '9' WHERE name = 'format'")
        with pytest.raises(SetupError, match="of format 9, this program knows format 1"):
            Journal(journal.path)


PUBLISH = """
import sys
from pathlib import Path
from tocsin.connectors.journal import Journal
from tocsin.message import Message
producer = Journal(Path(sys.argv[1])).producer("file")
at = producer.state.get("at", 0)
print("ready", flush=True)
while True:
    producer.append([Message(str(number).encode()) for number in range(at, at + 7)], {"at": at + 7})
    at += 7
    print(at, flush=True)
"""


def test_killed_at_any_moment_it_has_every_message_once_and_all_that_was_told(tmp_path: Path) -> None:
    path, chance, told = tmp_path / "p.journal", random.Random(5), 0
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", PUBLISH, str(path)], stdout=subprocess.PIPE, text=True, env=os.environ
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
            told = max([told, *(int(line) for line in process.stdout.read().splitlines() if line.isdecimal())])
    found = Journal(path).read(0, 10_000_000)
    assert [int(message.body) for message in found] == list(range(len(found)))
    assert [message.seq for message in found] == list(range(len(found)))
    assert len(found) >= told > 0
