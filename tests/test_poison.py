"""Processes that die at a message: which one it is is found, and it is set aside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from listed import batch_of, step_of, store_in
from tocsin.connectors.journal import Journal
from tocsin.message import JSON, Kind, Message
from tocsin.reading import Series
from tocsin.runners.poison import Poison
from tocsin.stores.sql import SqlStore

NOON = 1_700_000_000

DEADLY = """
import os, signal
from tocsin.codecs.readings import Decoder
whole = Decoder.decode
def decode(self, messages):
    if any(b"deadly" in message.body for message in messages):
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, messages)
Decoder.decode = decode
from tocsin.cli import main
main()
"""
"""Tocsin with a decoder that ends the process at some message, as a fault in a library might."""


def message(seq: int, device: str = "a") -> Message:
    body = json.dumps({"device": device, "metric": "temp", "time": (NOON + seq) * 10**9, "value": 81}).encode()
    return Message(body, "0", JSON, "p", seq)


def died(store: SqlStore, times: int, suspect: str = "", *, busy: bool = True) -> None:
    """So many owners end without giving back what they own, after they were given messages or before."""
    for _ in range(times):
        desk = store.desk()
        writer = desk.writer(Series())
        writer.take_over()
        if suspect:
            desk.suspect(writer, suspect)
        elif busy:
            desk.take([writer])
        desk.close(in_order=False)


def kill(_: Message) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(_: Message) -> None:
    raise ValueError("this is no death")


def poison(store: SqlStore, take: Callable[[Message], None] = kill) -> Poison:
    """What the next owner does, which ends without giving back either."""
    desk = store.desk()
    writer = desk.writer(Series())
    writer.take_over()
    desk.take([writer])
    return Poison(desk, writer, take, rereadable=False)


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    return store_in(tmp_path)


def test_who_ended_in_order_is_no_death(store: SqlStore) -> None:
    for _ in range(5):
        desk = store.desk()
        desk.writer(Series()).take_over()
        desk.close()
    assert poison(store).is_over


def test_two_deaths_may_have_any_reason_and_after_three_messages_are_taken_one_by_one(store: SqlStore) -> None:
    died(store, 2)
    assert poison(store).is_over
    search = poison(store)
    assert not search.is_over
    assert [found.kind for found in search.one_by_one([message(0), message(1)])] == [Kind.READINGS] * 2
    assert search.is_over


def test_who_was_killed_before_there_were_messages_has_not_died_of_one(store: SqlStore) -> None:
    died(store, 5, busy=False)
    assert poison(store).is_over
    died(store, 1, "0/p/1")
    died(store, 5, busy=False)
    assert [found.kind for found in poison(store).one_by_one([message(1)])] == [Kind.READINGS]


def test_deaths_before_the_search_are_not_counted_against_its_first_message(store: SqlStore) -> None:
    """Three died at whatever there was, so messages are taken one by one: three more have to die at the first of them."""
    died(store, 3)
    for _ in range(3):
        assert [found.kind for found in poison(store).one_by_one([message(0)])] == [Kind.READINGS]
    assert [found.kind for found in poison(store).one_by_one([message(0)])] == [Kind.POISON]


def test_a_message_at_which_three_died_is_poison_and_no_other(store: SqlStore) -> None:
    died(store, 2, "0/p/1")
    assert [found.kind for found in poison(store).one_by_one([message(1)])] == [Kind.READINGS]
    found = list(poison(store).one_by_one([message(0), message(1), message(2)]))
    assert [each.kind for each in found] == [Kind.READINGS, Kind.POISON, Kind.READINGS]


@pytest.mark.parametrize("take", [fail, lambda _: None])
def test_a_message_at_which_a_child_does_not_die_is_none(store: SqlStore, take: Callable[[Message], None]) -> None:
    """Three were killed at it from outside, as where each start takes longer than somebody has patience."""
    died(store, 3, "0/p/1")
    assert [found.kind for found in poison(store, take).one_by_one([message(1)])] == [Kind.READINGS]


def test_whatever_is_saved_ends_a_row_of_deaths(store: SqlStore) -> None:
    died(store, 3)
    desk, series = store.desk(), Series()
    writer = desk.writer(series)
    writer.take_over()
    writer.save(step_of(batch_of([("a", 0, 1)], series)))
    desk.close(in_order=False)
    assert poison(store).is_over


def test_a_message_that_kills_the_consumer_becomes_a_dead_letter(tmp_path: Path) -> None:
    """The first three deaths have it searched for, and at the search three more die."""
    file = tmp_path / "p.yaml"
    file.write_text(
        "pipeline: p\nsource: {file: none.csv, time: time, device: device, metric: temp, value: value}\n"
        "broker: journal\nrules:\n  - {alert: Hot, expr: temp > 80}\n"
    )
    journal = Journal(tmp_path / "p.journal")
    sent = [message(0), message(1), message(2, "deadly"), message(3), message(4)]
    journal.producer("p").append([*sent, Message(b"", kind=Kind.END, watermark=(NOON + 9) * 10**9)], {})
    journal.close()
    ends = []
    for _ in range(7):
        watch = subprocess.Popen([sys.executable, "-c", DEADLY, "watch", str(file)], stderr=subprocess.DEVNULL)
        while watch.poll() is None and not has_all(tmp_path):
            time.sleep(0.1)
        watch.terminate()
        ends.append(watch.wait())
    assert ends == [-signal.SIGKILL] * 6 + [143]
    (letter,) = store_in(tmp_path, "p.db", "p").dead_letters()
    assert letter.data == sent[2].body
    assert "the process ended each time" in letter.reason


def has_all(folder: Path) -> bool:
    """Whether the four good readings are stored."""
    return (folder / "p.db").exists() and store_in(folder, "p.db", "p").counts()["readings"] == 4
