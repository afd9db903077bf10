"""What the user's file says about its broker."""

from __future__ import annotations

import json
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from commands import LEDGER, READINGS, edit, process, tocsin
from faults import ask
from services import free_port
from tocsin.config import load
from tocsin.connectors import Polled
from tocsin.connectors.journal import Journal, Source
from tocsin.message import Kind, Message

SMOKER = (
    "{pipeline: p, source: {file: a.csv, time: t, readings: {x: {metric: m, device: a}, y: {metric: m, device: b}}}, "
)
RULES = "rules: [{alert: A, expr: m > 1}]"


def written(folder: Path, broker: str, more: str = "") -> Path:
    file = folder / "p.yaml"
    file.write_text(f"{SMOKER}broker: {broker}, {more}{RULES}}}")
    return file


def test_a_bare_text_is_the_address(tmp_path: Path) -> None:
    transport = load(written(tmp_path, "'amqp://host'")).transport
    assert (transport.url, transport.name, transport.partitions) == ("amqp://host", "p", ("0",))
    assert transport.journal == tmp_path / "p.spool"


def test_the_journal_lies_beside_the_file(tmp_path: Path) -> None:
    transport = load(written(tmp_path, "journal")).transport
    assert (transport.embedded, transport.journal) == (True, tmp_path / "p.journal")
    assert transport.retention.size == 10 * 10**9


def test_queues_are_named_after_the_devices_that_are_known(tmp_path: Path) -> None:
    assert load(written(tmp_path, "{url: 'amqp://h', queue: 'q-{device}'}")).transport.partitions == ("q-a", "q-b")
    more = "devices: {a: {queue: 01-a}, b: {queue: 02-b}, c: {queue: 02-b}}, "
    file = written(tmp_path, "{url: 'amqp://h', queue: '{queue}'}", more)
    assert load(file).transport.partitions == ("01-a", "02-b")


@pytest.mark.parametrize(
    ("broker", "told"),
    [
        ("journal", ""),
        (
            "{url: 'kafka://h', partitions: 3}",
            "3 partitions, each decided by itself: several `tocsin watch` share them",
        ),
        (
            "{url: 'amqp://h', queue: 'q-{device}'}",
            "2 queues, each decided by itself: several `tocsin watch` share them",
        ),
        (
            "{url: 'amqp://h', queue: '{queue}'}",
            "2 queues, decided together by one process, because not all words of `queue: {queue}` are in the partition key",
        ),
    ],
)
def test_whether_consumers_share_the_work_is_told(tmp_path: Path, broker: str, told: str) -> None:
    config = load(written(tmp_path, broker, "devices: {a: {queue: 01-a}, b: {queue: 02-b}}, "))
    assert config.transport.shared(config.rules) == told


def test_partitions_are_numbered(tmp_path: Path) -> None:
    transport = load(written(tmp_path, "{url: 'kafka://h', partitions: 3, name: '{pipeline}-readings'}")).transport
    assert (transport.partitions, transport.name) == (("0", "1", "2"), "p-readings")


@pytest.mark.parametrize(
    ("broker", "mistake"),
    [
        ("'kafak://h'", "there is no broker 'kafak'. Did you mean 'kafka'?"),
        ("'u:secret@h'", "this is not an address. Expected one of journal, amqp://"),
        ("{url: journal, partitions: 2}", "`broker.partitions`: journal has one partition"),
        ("{url: 'mqtt://h', queue: '{device}'}", "`broker.queue`: mqtt has no queues"),
        ("{url: 'amqp://h', queue: '{device}', partitions: 2}", "each queue is a partition already"),
        ("{url: 'amqp://h', queue: '{site}'}", "nothing is known to put in for {site}. Expected one of {device}"),
        (
            "{url: 'amqp://h', queue: '{devise}'}",
            "`broker.queue`: nothing is known to put in for {devise}. Did you mean '{device}'? Expected one of {device}",
        ),
        (
            "{url: 'kafka://h', name: '{pipline}-x'}",
            "`broker.name`: nothing is known to put in for {pipline}. Did you mean '{pipeline}'? Expected one of {pipeline}",
        ),
        ("{url: 'amqp://h', queue: '{device'}", "'{device' is no template"),
        ("{url: journal, retention: {size: 10}}", "expected a size with its unit, as in 500MB or 10GB, not 10"),
        (
            "'amqp://u:secret@h?prefech=3'",
            "`broker.url`: amqp://h: there is no option 'prefech'. Did you mean 'prefetch'?",
        ),
        ("{url: 'amqp://h?prefetch=many'}", "?prefetch=many: expected a whole number from 1 to 65535"),
        ("'kafka://h?mechanism=PLANE'", "expected PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. Did you mean 'PLAIN'?"),
        ("'kafka://h?ca=ca.pem'", "?ca= is for TLS, which kafka:// does without: write kafkas://"),
        ("'mqtt://h?version=4'", "?version=4: expected 5 or 3.1.1"),
        ("'pubsub://project?orderin=true'", "there is no option 'orderin'. Did you mean 'ordering'?"),
        ("'amqp://u:secret@h:99999'", "`broker.url`: this is not an address"),
        ("{url: 'amqp://h', partitions: 0}", "`broker.partitions`: expected 1 or more, not 0"),
        ("{url: 'amqp://h', partitions: 10001}", "`broker.partitions`: expected 10,000 or less, not 10001"),
        ("{url: 'amqp://h', partitions: some}", "`broker.partitions`: expected a whole number, not 'some'"),
        ("{url: journal, zzz: 3}", "there is no key 'zzz' here. Expected one of url, name"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, broker: str, mistake: str) -> None:
    found = tocsin("check", str(written(tmp_path, broker)))
    assert found.exit_code == 78
    assert mistake in found.stderr
    assert "secret" not in found.stderr
    assert found.stderr.startswith(f"{tmp_path}/p.yaml:1:")


def test_a_broker_that_is_not_there_to_connect_to_is_no_mistake_of_the_file(tmp_path: Path) -> None:
    assert tocsin("check", str(written(tmp_path, "'amqp://nowhere.invalid'"))).exit_code == 0


def test_publish_and_watch_of_a_pipeline_without_broker_use_the_journal(here: Path) -> None:
    assert tocsin("publish", "p.yaml").exit_code == 0
    assert (here / "p.journal").exists()


def test_a_producer_without_its_file_ends_with_78(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    (here / "readings.csv").unlink()
    for command in ("publish", "run"):
        found = tocsin(command, "p.yaml")
        assert found.exit_code == 78, command
        assert "there is no such file" in found.stderr


def test_a_store_that_was_filled_through_a_broker_is_not_filled_directly(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    assert tocsin("run", "p.yaml").exit_code == 0
    edit(here / "p.yaml", "broker: journal\n", "")
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 78
    assert "this store was filled from journal:p" in found.stderr
    assert "Put the old `broker:` back. Or begin anew" in found.stderr


def test_a_pipeline_begins_anew_with_another_store_and_keeps_its_history(here: Path) -> None:
    """From the file alone to the journal, and from there to the journal under another name."""
    assert tocsin("run", "p.yaml").exit_code == 0
    for place, broker in enumerate(("journal", "{url: journal, name: other}")):
        old = (here / "p.yaml").read_text()
        (here / "old.yaml").write_text(old)
        text = "".join(line for line in old.splitlines(True) if not line.startswith(("broker:", "store:")))
        (here / "p.yaml").write_text(f"broker: {broker}\nstore: sqlite:///another-{place}.db\n{text}")
        for file in here.glob("p.journal*"):
            file.unlink()
        found = tocsin("run", "p.yaml")
        assert found.exit_code == 0, found.stderr
        for name in ("old.yaml", "p.yaml"):
            assert tocsin("alerts", "ledger", name).stdout == LEDGER


def test_a_journal_that_was_made_anew_is_told_from_the_one_that_the_store_remembers(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    assert tocsin("run", "p.yaml").exit_code == 0
    for file in here.glob("p.journal*"):
        file.unlink()
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 78
    assert (
        "the journal p.journal was made anew: the store 'sqlite:///p.db' remembers the messages up to " in found.stderr
    )
    assert "Put that file back, or take a new store" in found.stderr


def test_an_older_copy_of_a_spool_is_noticed_and_its_readings_are_not_dropped(here: Path) -> None:
    """The store has taken numbers that the copy gives out again; nothing of what was appended since may be missing."""
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    rows = (here / "readings.csv").read_text().splitlines(keepends=True)
    for count in (3, 6):
        (here / "readings.csv").write_text("".join(rows[:count]))
        if count == 6:
            copy = (here / "p.journal").read_bytes()
        assert tocsin("run", "p.yaml").exit_code == 0
    (here / "p.journal").write_bytes(copy)
    (here / "readings.csv").write_text("".join(rows))
    found = tocsin("run", "p.yaml", "--log", "json")
    assert found.exit_code == 0, found.stderr
    assert '"event": "older copy"' in found.stderr
    assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER


def test_several_producers_of_one_pipeline_publish_side_by_side(here: Path) -> None:
    """Two files of one pipeline, each with one device's readings: one journal, two names, one ledger."""
    edit(here / "p.yaml", "rules:", "broker: journal\nlateness: 1h\nidle_after: 1d\nrules:")
    rows = READINGS.splitlines(keepends=True)
    for name, device in (("readings", "a"), ("others", "b")):
        (here / f"{name}.csv").write_text(rows[0] + "".join(row for row in rows[1:] if f",{device}," in row))
    (here / "others.yaml").write_text((here / "p.yaml").read_text().replace("readings.csv", "others.csv"))
    edit(here / "others.yaml", "file:", "follow: true, file:")
    other = process("publish", "others.yaml", "--producer", "other")
    deadline = time.monotonic() + 60
    while not ((here / "p.journal").exists() and ask(here / "p.journal", "SELECT 1 FROM messages WHERE seq = 1")):
        assert time.monotonic() < deadline, "it does not publish"
        time.sleep(0.05)
    assert tocsin("publish", "p.yaml").exit_code == 0
    other.send_signal(signal.SIGTERM)
    other.communicate(timeout=60)
    edit(here / "others.yaml", "follow: true, ", "")
    assert tocsin("publish", "others.yaml", "--producer", "other").exit_code == 0
    assert tocsin("run", "p.yaml").exit_code == 0
    producers = json.loads(tocsin("top", "p.yaml", "--json").stdout)["producers"]
    assert sorted(one["producer"].rpartition("-")[0] for one in producers) == ["other", "p"]
    assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER


def test_publish_tells_what_it_could_not_read_and_what_had_waited(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    told = tocsin("publish", "p.yaml").stderr
    assert "p: 7 readings published" in told
    assert "warning: 1 line could not be read: the consumer puts them among the dead letters" in told
    assert "could not be read" not in tocsin("publish", "p.yaml").stderr


def test_a_producers_name_is_made_of_letters(here: Path) -> None:
    found = tocsin("publish", "p.yaml", "--producer", "../x")
    assert found.exit_code == 2
    assert "is no name of a producer" in found.stderr
    assert here.exists()


def test_each_producer_has_a_spool_of_its_own_that_no_other_pipeline_can_have(tmp_path: Path) -> None:
    """A plus is in no name: `p.roof` may be a pipeline."""
    transport = load(written(tmp_path, "'amqp://h'")).transport
    assert transport.journal_of("roof") == tmp_path / "p+roof.spool"
    assert transport.journal_of(None) == tmp_path / "p.spool"
    assert load(written(tmp_path, "journal")).transport.journal_of("roof") == tmp_path / "p.journal"


def test_a_producer_that_is_stopped_says_what_still_waits_for_its_broker(here: Path) -> None:
    """Nobody listens there: a word that it is there, seven readings, a dead letter and the end stay in the spool."""
    edit(here / "p.yaml", "rules:", f"broker: 'amqp://127.0.0.1:{free_port()}'\nrules:")
    command = process("publish", "p.yaml", "--producer", "roof")
    deadline = time.monotonic() + 60
    spool = here / "p+roof.spool"
    while not (spool.exists() and ask(spool, "SELECT count(*) FROM messages WHERE kind = 'end'") == [(1,)]):
        assert time.monotonic() < deadline, "it does not publish"
        time.sleep(0.05)
    command.send_signal(signal.SIGTERM)
    _, told = command.communicate(timeout=60)
    assert command.returncode == 143
    (count,) = ask(spool, "SELECT count(*) FROM messages")[0]
    assert f"Stopped. {count} messages still wait in the spool p+roof.spool" in told


@pytest.mark.parametrize(("spool", "code"), [("p.spool", 78), ("p+roof.spool", 78), ("p-2.spool", 0), ("p.2.spool", 0)])
def test_what_waits_in_a_spool_of_its_own_is_not_left_behind_for_the_journal(here: Path, spool: str, code: int) -> None:
    with closing(Journal(here / spool)) as left:
        left.producer("p").append([Message(b"[]")], {})
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    checked = tocsin("check", "p.yaml")
    assert (checked.exit_code, f"{spool} holds messages" in checked.stdout) == (0, code == 78)
    found = tocsin("publish", "p.yaml")
    assert (found.exit_code, f"{spool} holds messages" in found.stderr) == (code, code == 78)


def test_a_run_that_ends_while_another_producer_is_waited_for_says_so(here: Path) -> None:
    """The other has published one reading of midnight, and was killed before it said its end."""
    edit(here / "p.yaml", "rules:", "broker: journal\nlateness: 1h\nidle_after: 1d\nrules:")
    (here / "others.csv").write_text("time,device,temp\n2024-01-01T00:00:00Z,c,20\n2024-01-01T00:00:00Z,d,20\n")
    (here / "others.yaml").write_text((here / "p.yaml").read_text().replace("readings.csv", "others.csv"))
    edit(here / "others.yaml", "file:", "follow: true, file:")
    other = process("publish", "others.yaml", "--producer", "other")
    deadline = time.monotonic() + 60
    while not (
        (here / "p.journal").exists() and ask(here / "p.journal", "SELECT 1 FROM messages WHERE kind = 'readings'")
    ):
        assert time.monotonic() < deadline, "it does not publish"
        time.sleep(0.05)
    other.kill()
    other.communicate()
    found = tocsin("run", "p.yaml", "--log", "json")
    assert found.exit_code == 0, found.stderr
    events = [json.loads(line) for line in found.stderr.splitlines() if line.startswith("{")]
    (told,) = [event for event in events if event.get("event") == "undecided"]
    assert told["producer"].startswith("other-")
    assert told["watermark"] == "2023-12-31T23:00:00Z"
    assert "readings from 2023-12-31T23:00:00Z on are stored and not decided yet" in told["message"]


def test_a_run_does_not_end_while_another_producers_messages_wait_for_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own producer has ended before, and the broker is slow to give anything, as Kafka is after one has joined."""
    edit(here / "p.yaml", "rules:", "broker: journal\nlateness: 1h\nidle_after: 1d\nrules:")
    rows = READINGS.splitlines(keepends=True)
    for name, device in (("readings", "a"), ("others", "b")):
        (here / f"{name}.csv").write_text(rows[0] + "".join(row for row in rows[1:] if f",{device}," in row))
    (here / "others.yaml").write_text((here / "p.yaml").read_text().replace("readings.csv", "others.csv"))
    with closing(Journal(here / "p.journal")) as journal:
        journal.producer("other").append([Message(b"", kind=Kind.WATERMARK)], {})
    assert '"undecided"' in tocsin("run", "p.yaml", "--log", "json").stderr
    assert tocsin("publish", "others.yaml", "--producer", "other").exit_code == 0
    poll, slow = Source.poll, iter(range(60))

    def slowly(*given: Any) -> Polled:
        if next(slow, None) is None:
            return poll(*given)
        time.sleep(0.05)
        return Polled([])

    monkeypatch.setattr(Source, "poll", slowly)
    assert '"undecided"' not in tocsin("run", "p.yaml", "--log", "json").stderr
    assert next(slow, None) is None
    assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER


def test_a_run_that_has_decided_everything_waits_for_nobody(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    assert '"undecided"' not in tocsin("run", "p.yaml", "--log", "json").stderr
