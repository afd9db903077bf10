"""How far a pipeline has come, for people and for programs."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from commands import edit, process, tocsin
from faults import ask
from services import free_port
from tocsin.cli.seen import Seen
from tocsin.cli.top import lines_of
from tocsin.instant import SECOND
from tocsin.message import Origin, Standing
from tocsin.reading import Flag
from tocsin.stores import Checkpoint
from tocsin.stores.owner import Owner, this_process
from tocsin.stores.sql import Progress, Reached


def test_it_tells_the_producers_and_what_waits(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    assert tocsin("publish", "p.yaml").exit_code == 0
    assert tocsin("run", "p.yaml").exit_code == 0
    told = json.loads(tocsin("top", "p.yaml", "--json").stdout)
    (producer,) = told["producers"]
    assert (producer["partition"], producer["standing"]) == ("0", "ended")
    assert producer["producer"].startswith("p-")
    assert producer["watermark"] == told["watermark"] == "2024-01-01T00:06:00.000000001Z"
    assert (told["owners"], told["waiting"], told["alerts"], told["dead_letters"]) == ([], 0, 1, 1)


def test_what_was_published_and_not_taken_waits(here: Path) -> None:
    """A first message says that the producer is there; readings, what could not be read, and the end follow."""
    assert tocsin("run", "p.yaml").exit_code == 0
    (here / "p.db").unlink()
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    assert tocsin("run", "p.yaml").exit_code == 0
    edit(here / "readings.csv", "00:06:00Z,b,70", "00:06:00Z,b,70\n2024-01-01T00:07:00Z,b,60")
    assert tocsin("publish", "p.yaml").exit_code == 0
    assert json.loads(tocsin("top", "p.yaml", "--json").stdout)["waiting"] == 2


def test_a_producer_that_had_no_reading_has_not_ended_for_good(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    (here / "readings.csv").write_text("time,device,temp\n2024-01-01T00:00:00Z,a,x\n")
    assert tocsin("run", "p.yaml").exit_code == 78
    told = [line for line in tocsin("top", "p.yaml").stdout.splitlines() if " p-" in f" {line}"]
    assert len(told) == 2
    assert all("no reading none yet" in line for line in told)


def test_it_is_readable(here: Path) -> None:
    assert tocsin("run", "p.yaml").exit_code == 0
    told = tocsin("top", "p.yaml").stdout
    assert "p: nobody runs it now" in told
    assert "newest reading 2024-01-01T00:06:00Z" in told
    assert "1 open alert; 1 dead letter" in told.splitlines()
    assert "behind the clock" not in told, "it does not try to keep up"
    assert here.exists()


def test_who_goes_on_and_says_nothing_is_told_from_nobody(here: Path) -> None:
    """This process, as if it owned the pipeline and its broker were away; then one that is no more."""
    assert tocsin("run", "p.yaml").exit_code == 0
    with closing(sqlite3.connect(here / "p.db", isolation_level=None)) as store:
        store.execute("UPDATE units SET process = ?, lease = 0", (this_process(),))
        told = json.loads(tocsin("top", "p.yaml", "--json").stdout)
        assert (told["owners"], told["silent"]) == ([], [f"process {os.getpid()} on {socket.gethostname()}"])
        said = tocsin("top", "p.yaml").stdout
        assert f"p: {told['silent'][0]} has it and says nothing: its broker is away, or it is frozen" in said
        store.execute("UPDATE units SET process = ?", (f"{socket.gethostname()}:{2**30}:1",))
    assert "p: nobody runs it now" in tocsin("top", "p.yaml").stdout


def test_it_tells_the_readings_that_no_rule_sees(here: Path) -> None:
    """Two that contradict others, by a run; and three as runs keep those that are late or from the future."""
    again = "00:06:00Z,b,70\n2024-01-01T00:06:00Z,b,71\n2024-01-01T00:06:00Z,b,72"
    edit(here / "readings.csv", "00:06:00Z,b,70", again)
    assert tocsin("run", "p.yaml").exit_code == 0
    told = json.loads(tocsin("top", "p.yaml", "--json").stdout)
    assert (told["late"], told["conflicts"], told["future"]) == (0, 2, 0)
    assert "1 open alert; 1 dead letter; readings that no rule sees: 2 conflicting" in tocsin("top", "p.yaml").stdout
    with closing(sqlite3.connect(here / "p.db", isolation_level=None)) as store:
        for time_, flag in ((1, Flag.LATE), (2, Flag.LATE), (3, Flag.FUTURE)):
            row = (time_, flag.name.lower(), 20.0)
            store.execute("INSERT INTO flagged_readings SELECT min(id), ?, ?, ? FROM series", row)
    told = json.loads(tocsin("top", "p.yaml", "--json").stdout)
    assert (told["late"], told["conflicts"], told["future"]) == (2, 2, 1)
    assert "no rule sees: 2 late, 2 conflicting, 1 from the future" in tocsin("top", "p.yaml").stdout


def test_where_readings_are_not_kept_it_does_not_say_how_many_no_rule_sees(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "store: {readings: none}\nrules:")
    assert tocsin("run", "p.yaml").exit_code == 0
    told = json.loads(tocsin("top", "p.yaml", "--json").stdout)
    assert (told["late"], told["conflicts"], told["future"]) == (None, None, None)


NEWEST = 1_700_000_000 * SECOND
RUN_BY = Owner("", "host:1:0", 2**62)


@pytest.mark.parametrize(
    ("owners", "standings", "has_lag"),
    [
        ([RUN_BY], [Standing.LIVE, Standing.ENDED], True),
        ([RUN_BY], [], True),
        ([RUN_BY], [Standing.ENDED, Standing.ENDED], False),
        ([], [Standing.LIVE], False),
    ],
)
def test_how_far_it_is_behind_is_told_while_it_keeps_up(
    owners: list[Owner], standings: list[Standing], has_lag: bool
) -> None:
    """Of a producer that has ended there is nothing to keep up with."""
    origins = [Origin("0", f"p-{number}", mark=NEWEST, standing=one) for number, one in enumerate(standings)]
    progress = Progress(owners, [Reached(1, "", Checkpoint(watermark=NEWEST, newest=NEWEST))], origins, 2, 0, None)
    seen = Seen("p", progress, [], {"0": 1}, "", 0.0, 0.0)
    told = seen.to_json()
    assert (told["lag_seconds"] is not None) == has_lag
    lags = [producer["lag_seconds"] is not None for producer in told["producers"]]
    assert lags == [has_lag and standing is Standing.LIVE for standing in standings]
    lines = list(lines_of(seen))
    assert ("behind the clock" in lines[1]) == has_lag
    assert lines[2] == "1 message waits; 2 open alerts; 0 dead letters"


def test_beside_a_producer_alone_it_tells_what_was_published(here: Path) -> None:
    """Words that it is there and when its source began, seven readings, a dead letter, and the end; nothing was decided."""
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    assert tocsin("publish", "p.yaml").exit_code == 0
    told = json.loads(tocsin("top", "p.yaml", "--json").stdout)
    (sent,) = told["published"]
    assert (sent["messages"], sent["ended"], sent["waiting"]) == (5, True, None)
    assert (told["waiting"], told["waiting_at_broker"]) == (5, {"0": 5})
    assert (told["watermark"], told["alerts"], told["producers"]) == (None, None, [])
    assert "no store yet" in tocsin("top", "p.yaml").stdout


def test_without_a_broker_it_sees_the_journal_of_a_producer_all_the_same(here: Path) -> None:
    assert tocsin("publish", "p.yaml").exit_code == 0
    told = json.loads(tocsin("top", "p.yaml", "--json").stdout)
    assert (told["waiting"], told["published"][0]["ended"]) == (5, True)
    assert here.exists()


def test_where_nothing_has_begun_it_says_so(here: Path) -> None:
    found = tocsin("top", "p.yaml")
    assert found.exit_code == 78
    assert "there is neither a store nor a journal yet" in found.stderr
    assert here.exists()


def test_a_broker_that_does_not_answer_is_told_beside_what_waits_in_the_spool(here: Path) -> None:
    edit(here / "p.yaml", "rules:", f"broker: 'amqp://127.0.0.1:{free_port()}'\nrules:")
    command = process("publish", "p.yaml")
    deadline = time.monotonic() + 60
    while not ((here / "p.spool").exists() and ask(here / "p.spool", "SELECT 1 FROM messages WHERE kind = 'end'")):
        assert time.monotonic() < deadline, "it does not publish"
        time.sleep(0.05)
    try:
        told = json.loads(tocsin("top", "p.yaml", "--json").stdout)
    finally:
        command.kill()
        command.communicate()
    assert (told["waiting"], told["published"][0]["waiting"], told["waiting_at_broker"]) == (5, 5, None)
    assert "nobody listens there" in told["broker_error"]
