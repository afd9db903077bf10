"""What the user's file says about its broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import LEDGER, edit, tocsin
from tocsin.config import load

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
        ("{url: 'amqp://h', queue: '{site}'}", "there is no 'site' to put in: expected device"),
        ("{url: 'amqp://h', queue: '{device'}", "'{device' is no template"),
        ("{url: journal, retention: {size: 10}}", "expected a size with its unit, as in 500MB or 10GB, not 10"),
        ("{url: journal, zzz: 3}", "there is no key 'zzz' here. Expected one of url, name"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, broker: str, mistake: str) -> None:
    found = tocsin("check", str(written(tmp_path, broker)))
    assert found.exit_code == 78
    assert mistake in found.stderr
    assert "secret" not in found.stderr


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


def test_a_store_that_was_filled_directly_is_not_filled_through_a_broker(here: Path) -> None:
    assert tocsin("run", "p.yaml").exit_code == 0
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 78
    assert "this store was filled from" in found.stderr


def test_and_the_other_way_round(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    assert tocsin("run", "p.yaml").exit_code == 0
    edit(here / "p.yaml", "broker: journal\n", "")
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 78
    assert "this store was filled from journal:p" in found.stderr


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
