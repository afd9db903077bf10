"""What could not be read: listed, shown, sent once more, dropped."""

from __future__ import annotations

import json
import signal
import sqlite3
from pathlib import Path

import pytest

from commands import edit, process, tocsin
from services import free_port
from tocsin.codecs.readings import Decoder
from tocsin.message import Message
from tocsin.reading import Series
from tocsin.runners.requeue import read_again
from tocsin.stores import DeadLetter

HOT = "2024-01-01T00:02:00Z,b,hot"


@pytest.fixture(params=["", "broker: journal\n"], ids=["direct", "journal"])
def carried(here: Path, request: pytest.FixtureRequest) -> Path:
    """The pipeline after a run, with and without a broker: one line could not be read."""
    edit(here / "p.yaml", "rules:", f"{request.param}rules:")
    assert tocsin("run", "p.yaml").exit_code == 0
    return here


def listed() -> list[dict[str, object]]:
    return [json.loads(line) for line in tocsin("dead-letters", "list", "p.yaml", "--json").stdout.splitlines()]


@pytest.mark.usefixtures("carried")
def test_a_line_that_could_not_be_read_has_its_place_also_behind_a_broker() -> None:
    (letter,) = listed()
    assert (letter["number"], letter["file"], letter["line"]) == (1, "readings.csv", 5)
    assert "id" not in letter
    assert tocsin("dead-letters", "show", "p.yaml", "1").stdout == HOT + "\n"


def test_the_times_beside_a_message_are_written_as_everywhere(carried: Path) -> None:
    """1.7e9 seconds of Unix are 22:13:20 on 14 November 2023; a millisecond and a nanosecond later."""
    place = {"source": "kafka://h", "topic": "t", "offset": 7, "time": 1_700_000_000_001_000_000, "arrival": 1_700_000_000_000_000_001}  # fmt: skip
    with sqlite3.connect(carried / "p.db") as connection:
        connection.execute("UPDATE dead_letters SET place = ?", (json.dumps(place),))
    (letter,) = listed()
    assert (letter["time"], letter["arrival"]) == ("2023-11-14T22:13:20.001Z", "2023-11-14T22:13:20.000000001Z")
    assert (letter["topic"], letter["offset"]) == ("t", 7)


@pytest.mark.usefixtures("carried")
def test_what_still_cannot_be_read_stays() -> None:
    found = tocsin("dead-letters", "requeue", "p.yaml", "--all")
    assert found.exit_code == 0
    assert "0 dead letters requeued" in found.stderr
    assert "1 still cannot be read and stays:\n  dead letter 1: " in found.stderr
    assert found.stderr.rstrip().endswith(str(listed()[0]["reason"]))
    assert len(listed()) == 1


def test_once_the_file_is_mended_it_is_sent_and_gone(carried: Path) -> None:
    """The watermark is past 00:02 by then, so the reading is stored as late."""
    edit(carried / "p.yaml", "device: device,", "device: device, missing: [warm],")
    store_line(carried, b"2024-01-01T00:02:00Z,b,55")
    ledger = tocsin("alerts", "ledger", "p.yaml").stdout
    found = tocsin("dead-letters", "requeue", "p.yaml", "1")
    assert found.exit_code == 0, found.stderr
    assert "1 dead letter requeued, 1 reading" in found.stderr
    assert listed() == []
    told = found.stderr if "broker" not in (carried / "p.yaml").read_text() else tocsin("run", "p.yaml").stderr
    assert "1 reading lay behind the watermark" in told or "1 late" in told
    assert tocsin("alerts", "ledger", "p.yaml").stdout == ledger


def test_what_is_late_by_then_is_not_kept_where_readings_are_not(here: Path) -> None:
    edit(here / "p.yaml", "device: device,", "device: device, missing: [warm],")
    edit(here / "p.yaml", "rules:", "store: {url: 'sqlite:///p.db', readings: none}\nrules:")
    assert tocsin("run", "p.yaml").exit_code == 0
    store_line(here, b"2024-01-01T00:02:00Z,b,55")
    found = tocsin("dead-letters", "requeue", "p.yaml", "1")
    assert "1 reading lay behind the watermark: counted as late and, with `readings: none`, not kept" in found.stderr


def store_line(folder: Path, data: bytes) -> None:
    """As if the line had been this one, and the reader of then had not known how to read it."""
    with sqlite3.connect(folder / "p.db") as connection:
        connection.execute("UPDATE dead_letters SET data = ?", (data,))


@pytest.mark.usefixtures("carried")
def test_dropped_it_is_gone_for_good() -> None:
    assert tocsin("dead-letters", "drop", "p.yaml", "1").exit_code == 0
    assert listed() == []


def test_letters_are_sent_in_any_order(here: Path) -> None:
    """The older one after the newer, over a file in which time never goes back."""
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    with (here / "readings.csv").open("a") as file:
        file.write("2024-01-01T00:07:00Z,b,hot\n")
    assert tocsin("run", "p.yaml").exit_code == 0
    assert [letter["line"] for letter in listed()] == [5, 10]
    with sqlite3.connect(here / "p.db") as connection:
        connection.execute("UPDATE dead_letters SET data = CAST(replace(CAST(data AS TEXT), 'hot', '55') AS BLOB)")
    for number in ("2", "1"):
        found = tocsin("dead-letters", "requeue", "p.yaml", number)
        assert (found.exit_code, found.stderr.count("1 dead letter requeued")) == (0, 1), found.stderr
    assert listed() == []


def test_letters_stay_where_a_requeue_is_stopped_before_the_broker_has_confirmed(here: Path) -> None:
    """The broker is nowhere; Ctrl-C ends the waiting."""
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    assert tocsin("run", "p.yaml").exit_code == 0
    store_line(here, b"2024-01-01T00:02:00Z,b,55")
    edit(here / "p.yaml", "broker: journal", f"broker: amqp://127.0.0.1:{free_port()}")
    waiting = process("dead-letters", "requeue", "p.yaml", "--all")
    assert waiting.stderr is not None
    while "trying again" not in (line := waiting.stderr.readline()):
        assert line, "it ended by itself"
    waiting.send_signal(signal.SIGINT)
    _, told = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert "the dead letters stay" in told
    assert len(listed()) == 1


@pytest.mark.usefixtures("carried")
@pytest.mark.parametrize("command", ["requeue", "drop"])
def test_which_ones_must_be_said(command: str) -> None:
    assert tocsin("dead-letters", command, "p.yaml").exit_code == 2
    assert tocsin("dead-letters", command, "p.yaml", "1", "--all").exit_code == 2
    assert tocsin("dead-letters", command, "p.yaml", "7").exit_code == 78
    assert len(listed()) == 1


def test_readings_for_which_there_was_no_queue_are_in_our_own_form() -> None:
    """They were on their way into the broker: no line of a file, and no message out of it."""
    body = b'[{"device":"patient-5","metric":"bpm","time":1700000000000000000,"value":70.0}]'
    letter = DeadLetter(7, body, {"device": "patient-5"}, "no queue of `broker:` is for this device")
    numbers, (found,), failed = read_again([letter], None, Series())
    assert (numbers, found.batch.value.tolist(), failed) == ([7], [70.0], {})


def test_an_element_that_cannot_be_read_again_is_told_as_before() -> None:
    """Alone it does not begin as messages do."""
    time = "2024-01-01T00:00:00Z"
    body = json.dumps([{"device": "a", "metric": "m", "time": time, "value": 2}, 5]).encode()
    ((_, reject),) = Decoder(Series()).decode([Message(body)]).rejects
    assert (reject.data, reject.place) == (b"5", {"element": 2})
    letter = DeadLetter(7, reject.data, {"broker": "amqp:p", "partition": "0", **reject.place}, reject.reason)
    assert read_again([letter], None, Series()) == ([], [], {7: reject.reason})


def test_a_line_of_a_file_is_not_read_as_anything_else_where_there_is_no_file_now() -> None:
    letter = DeadLetter(7, b"1,2", {"file": "old.csv", "line": 3}, "2 fields where the header has 3")
    numbers, found, failed = read_again([letter], None, Series())
    assert (numbers, found) == ([], [])
    assert failed[7].startswith("it came from another source")
