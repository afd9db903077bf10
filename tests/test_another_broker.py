"""A pipeline goes on behind another broker, with the same store, once the old way has run dry."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pika
import pytest

from commands import LEDGER, READINGS, edit, process, tocsin
from faults import ask
from services import free_port, running
from services.rabbitmq import RabbitMQ
from tocsin.connectors.journal import Journal

pytestmark = pytest.mark.xdist_group("rabbitmq")

PATIENCE = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    yield from running(lambda: RabbitMQ(tmp_path_factory.mktemp("rabbitmq")))


def go_by(here: Path, broker: str) -> None:
    """Change one line of the file."""
    lines = [line for line in (here / "p.yaml").read_text().splitlines(True) if not line.startswith("broker:")]
    (here / "p.yaml").write_text("".join([f"broker: {broker}\n" if broker else "", *lines]))


def grow(here: Path, lines: list[str], upto: int) -> None:
    (here / "readings.csv").write_text("".join(lines[:upto]))


def stored(here: Path) -> int:
    """How many readings; 0 while the store is being made."""
    store = here / "p.db"
    found = ask(store, "SELECT count(*) FROM readings") if store.exists() else []
    return found[0][0] if found else 0  # type: ignore[return-value]


def run_live(here: Path, readings: int) -> None:
    """Run until so many readings are stored, and then as for a stop by its user."""
    command = process("run", "p.yaml", cwd=here)  # type: ignore[arg-type]
    deadline = time.monotonic() + PATIENCE
    while stored(here) < readings and command.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    command.send_signal(signal.SIGTERM)
    _, told = command.communicate(timeout=PATIENCE)
    assert (command.returncode, stored(here)) == (143, readings), told


def ways_of(server: RabbitMQ) -> list[str]:
    """Straight from the file, by the journal, by RabbitMQ, by RabbitMQ under another name, and by the journal again."""
    url = f"'{server.url}'"
    return ["", "journal", url, f"{{url: {url}, name: other}}", "journal"]


@pytest.mark.parametrize("live", [False, True])
def test_the_ledger_is_that_of_one_run_however_often_the_way_is_changed(
    here: Path, server: RabbitMQ, live: bool
) -> None:
    """Live, nobody has ended where the way is changed, and an alert is open there."""
    lines = READINGS.splitlines(keepends=True)
    edit(here / "p.yaml", "rules:", "lateness: 0s\nidle_after: 300d\nrules:")
    name = f"moved{live:d}"
    edit(here / "p.yaml", "pipeline: p", f"pipeline: {name}\nstore: sqlite:///p.db")
    for broker, upto, readings in zip(ways_of(server), (3, 4, 6, 7, 9), (2, 3, 4, 5, 7), strict=True):
        go_by(here, broker)
        grow(here, lines, upto)
        if live and upto < len(lines):
            edit(here / "p.yaml", "readings: {temp", "follow: true, readings: {temp")
            run_live(here, readings)
            edit(here / "p.yaml", "follow: true, ", "")
        else:
            found = tocsin("run", "p.yaml")
            assert found.exit_code == 0, found.stderr
        assert stored(here) == readings
    assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER
    assert tocsin("replay", "p.yaml", "--from", "store", "--ledger").stdout == LEDGER
    assert ask(here / "p.db", "SELECT count(*) FROM dead_letters") == [(1,)]


def test_what_waits_in_the_spool_goes_to_the_broker_of_now(here: Path, server: RabbitMQ) -> None:
    edit(here / "p.yaml", "rules:", "lateness: 0s\nidle_after: 300d\nrules:")
    edit(here / "p.yaml", "pipeline: p", "pipeline: waits\nstore: sqlite:///p.db")
    lines = READINGS.splitlines(keepends=True)
    grow(here, lines, 3)
    go_by(here, f"'{server.url}'")
    edit(here / "p.yaml", "readings: {temp", "follow: true, readings: {temp")
    run_live(here, 2)
    edit(here / "p.yaml", "follow: true, ", "")
    grow(here, lines, len(lines))
    go_by(here, f"'amqp://127.0.0.1:{free_port()}'")
    publishing = process("publish", "p.yaml")
    wait_for(lambda: ask(here / "waits.spool", "SELECT 1 FROM messages WHERE kind = 'end'"), publishing)
    publishing.kill()
    publishing.communicate()
    go_by(here, f"{{url: '{server.url}', name: elsewhere}}")
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 0, found.stderr
    assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER


def test_publish_tells_what_had_waited_and_a_consumer_does_without_a_spool_that_it_cannot_read(
    here: Path, server: RabbitMQ
) -> None:
    edit(here / "p.yaml", "pipeline: p", "pipeline: told\nstore: sqlite:///p.db")
    go_by(here, f"'amqp://127.0.0.1:{free_port()}'")
    publishing = process("publish", "p.yaml")
    spool, end = here / "told.spool", "SELECT 1 FROM messages WHERE kind = 'end'"
    wait_for(lambda: spool.exists() and ask(spool, end), publishing)
    publishing.kill()
    publishing.communicate()
    ((waited,),) = ask(spool, "SELECT count(*) FROM messages")
    go_by(here, f"'{server.url}'")
    assert (
        f"told: 0 readings read, and {waited} messages sent that waited in the spool"
        in tocsin("publish", "p.yaml").stderr
    )
    with watching() as watch:
        wait_for(lambda: stored(here) == 7, watch)
    for file in here.glob("told.spool*"):
        file.unlink()
    spool.write_bytes(b"\x5a" * 40960)
    before = ask(here / "p.db", "SELECT epoch FROM units")
    again = process("watch", "p.yaml")
    try:
        wait_for(lambda: ask(here / "p.db", "SELECT epoch FROM units") != before, again)
    finally:
        again.send_signal(signal.SIGTERM)
    _, told = again.communicate(timeout=PATIENCE)
    assert (again.returncode, "told.spool': the file is no SQLite database" in told) == (143, True)


def test_who_still_goes_by_the_old_way_is_named_and_who_dies_at_the_beginning_of_the_new_one_does_not_matter(
    here: Path, server: RabbitMQ
) -> None:
    """What was published behind the new broker by then is no reason to doubt the old one."""
    edit(here / "p.yaml", "rules:", "lateness: 0s\nidle_after: 300d\nrules:")
    edit(here / "p.yaml", "pipeline: p", "pipeline: dies\nstore: sqlite:///p.db")
    lines = READINGS.splitlines(keepends=True)
    go_by(here, f"'{server.url}'")
    grow(here, lines, 4)
    edit(here / "p.yaml", "readings: {temp", "follow: true, readings: {temp")
    run_live(here, 3)
    with watching() as old:
        wait_for(lambda: ask(here / "p.db", "SELECT 1 FROM units WHERE lease > 0"), old)
        go_by(here, f"{{url: '{server.url}', name: elsewhere-2}}")
        found = tocsin("watch", "p.yaml")
        assert found.exit_code == 78
        assert f"but process {old.pid} on " in found.stderr
        assert "still goes by what was before: stop it first" in found.stderr
    with watching() as new:
        wait_for(lambda: "elsewhere-2" in str(ask(here / "p.db", "SELECT position FROM checkpoints")), new)
    edit(here / "p.yaml", "follow: true, ", "")
    grow(here, lines, len(lines))
    assert tocsin("publish", "p.yaml").exit_code == 0
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 0, found.stderr
    assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER


@pytest.mark.parametrize("back", ["watch", "run"])
def test_who_publishes_behind_the_new_broker_before_the_old_one_has_run_dry_loses_nothing(
    here: Path, server: RabbitMQ, back: str
) -> None:
    """What went to either waits there, and each is taken by itself: the old one first, as the error says.

    With `run` the old one is published into once more, and what the other has from before that may be late.
    """
    edit(here / "p.yaml", "rules:", "lateness: 0s\nidle_after: 300d\nrules:")
    edit(here / "p.yaml", "pipeline: p", f"pipeline: early{back}\nstore: sqlite:///p.db")
    lines = READINGS.splitlines(keepends=True)
    old, new = f"'{server.url}'", f"{{url: '{server.url}', name: early{back}-2}}"
    go_by(here, old)
    grow(here, lines, 3)
    edit(here / "p.yaml", "readings: {temp", "follow: true, readings: {temp")
    run_live(here, 2)
    edit(here / "p.yaml", "follow: true, ", "")
    grow(here, lines, 6)
    assert tocsin("publish", "p.yaml").exit_code == 0
    go_by(here, new)
    grow(here, lines, len(lines))
    told = tocsin("publish", "p.yaml").stderr
    assert f"readings go to amqp:early{back}-2 from now on; those that went to amqp:early{back} wait there" in told
    refused = tocsin("watch", "p.yaml")
    assert refused.exit_code == 78
    assert f"that went to amqp:early{back} are not taken yet. Put the old `broker:` back" in refused.stderr

    go_by(here, old)
    if back == "run":
        found = tocsin("run", "p.yaml")
        assert (found.exit_code, f"went to amqp:early{back}-2 are not taken yet" in found.stderr) == (0, True)
    else:
        with watching() as watch:
            wait_for(lambda: stored(here) == 4, watch)
    go_by(here, new)
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 0, found.stderr
    assert "gap given up" not in found.stderr
    everything = "SELECT count(*) FROM (SELECT time FROM readings UNION ALL SELECT time FROM flagged_readings)"
    assert ask(here / "p.db", everything) == [(7,)]
    if back == "watch":
        assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER
    assert ask(here / "p.db", "SELECT count(*) FROM dead_letters") == [(1,)]


@contextmanager
def watching() -> Iterator[subprocess.Popen[str]]:
    """The consumer alone, which is killed in the end."""
    command = process("watch", "p.yaml")
    try:
        yield command
    finally:
        command.kill()
        command.communicate()


def wait_for(what: Callable[[], object], command: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert command.poll() is None, "it has ended"
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.02)


@pytest.mark.parametrize("damaged", ["journal", "spool"])
def test_a_damaged_journal_or_spool_is_gone_on_without_as_its_error_says(
    here: Path, server: RabbitMQ, damaged: str
) -> None:
    edit(here / "p.yaml", "rules:", "lateness: 0s\nidle_after: 300d\nrules:")
    edit(here / "p.yaml", "pipeline: p", "pipeline: damaged\nstore: sqlite:///p.db")
    lines = READINGS.splitlines(keepends=True)
    grow(here, lines, 4)
    go_by(here, "journal" if damaged == "journal" else f"'{server.url}'")
    assert tocsin("run", "p.yaml").exit_code == 0
    (here / f"damaged.{damaged}").write_bytes(b"\x5a" * 40960)
    for command in ("publish", "run", "top"):
        found = tocsin(command, "p.yaml")
        assert found.exit_code == 78
        assert f"damaged.{damaged}': the file is no SQLite database" in found.stderr
        assert ("name another `store:`" in found.stderr) == (damaged == "journal")
    (here / "away").mkdir()
    for file in here.glob(f"damaged.{damaged}*"):
        file.rename(here / "away" / file.name)
    if damaged == "journal":
        edit(here / "p.yaml", "sqlite:///p.db", "sqlite:///another.db")
    grow(here, lines, len(lines))
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 0, found.stderr
    assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (1, "this store was filled from the partitions 0, 1, and `broker:` has 0: "),
        (3, "this store was filled from 2 partitions, each decided by itself, and `broker:` has 3: "),
    ],
)
@pytest.mark.parametrize("name", ["again", "another"])
def test_a_store_knows_from_how_many_partitions_it_was_filled(
    here: Path, server: RabbitMQ, number: int, told: str, name: str
) -> None:
    """Everything is taken, the queues are deleted or others, and the spool is moved away; then all of it is put back."""
    edit(here / "p.yaml", "rules:", "lateness: 0s\nidle_after: 300d\nrules:")
    edit(here / "p.yaml", "pipeline: p", f"pipeline: number{number}{name}\nstore: sqlite:///p.db")
    lines = READINGS.splitlines(keepends=True)
    queue = f"{number}{name}"
    go_by(here, f"{{url: '{server.url}', name: {queue}, partitions: 2}}")
    grow(here, lines, 4)
    edit(here / "p.yaml", "readings: {temp", "follow: true, readings: {temp")
    run_live(here, 3)
    edit(here / "p.yaml", "follow: true, ", "")
    with closing(server.client()) as client:
        for part in range(2):
            client.channel().queue_delete(f"{queue}.{part}")
    for file in here.glob("*.spool*"):
        file.rename(here / f"away-{file.name}")
    grow(here, lines, len(lines))
    after = queue if name == "again" else f"{queue}-2"
    go_by(here, f"{{url: '{server.url}', name: {after}, partitions: {number}}}")
    found = tocsin("watch", "p.yaml")
    assert (found.exit_code, stored(here)) == (78, 3)
    assert told in found.stderr
    with closing(server.client()) as client, pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
        client.channel().queue_declare(f"{after}.0", passive=True)
    for file in here.glob("away-*"):
        file.rename(here / file.name.removeprefix("away-"))
    go_by(here, f"{{url: '{server.url}', name: {queue}, partitions: 2}}")
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 0, found.stderr
    assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER


@pytest.mark.parametrize("separate", [False, True])
def test_a_journal_whose_hint_was_lost_with_the_consumer_keeps_no_producer(
    here: Path, server: RabbitMQ, separate: bool
) -> None:
    """What was taken stands in the store; the journal has but a hint, which is behind after a kill."""
    go_by(here, "journal")
    edit(here / "p.yaml", "pipeline: p", f"pipeline: hint{separate:d}\nstore: sqlite:///p.db")
    assert tocsin("run", "p.yaml").exit_code == 0
    for hint in here.glob("*.consumed"):
        hint.unlink()
    go_by(here, f"'{server.url}'")
    refused = tocsin("publish", "p.yaml")
    assert (refused.exit_code, "that a consumer has not taken" in refused.stderr) == (78, True)
    found = process("run", "p.yaml", *(["--separate"] if separate else []))
    _, told = found.communicate(timeout=PATIENCE)
    assert found.returncode == 0, told
    assert tocsin("publish", "p.yaml").exit_code == 0
    assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER


def test_what_was_published_and_not_taken_is_not_left_behind(here: Path) -> None:
    go_by(here, "journal")
    edit(here / "p.yaml", "readings: {temp", "follow: true, readings: {temp")
    run_live(here, 7)
    with closing(Journal(here / "p.journal")) as journal:
        producer = journal.producer("p")
        producer.append(journal.read(0, 1), producer.state)
    go_by(here, "{url: journal, name: other}")
    for command in ("run", "watch"):
        found = tocsin(command, "p.yaml")
        assert found.exit_code == 78
        assert (
            "this store was filled from journal:p, and is to be filled from journal:other now: of the producer p-"
            in found.stderr
        )


def test_where_nobody_can_tell_what_waits_the_way_is_not_changed(here: Path) -> None:
    """The producer has not ended, and what it has published is known to a file that is somewhere else."""
    go_by(here, "journal")
    edit(here / "p.yaml", "readings: {temp", "follow: true, readings: {temp")
    run_live(here, 7)
    for file in here.glob("p.journal*"):
        file.unlink()
    go_by(here, "{url: journal, name: other}")
    found = tocsin("watch", "p.yaml")
    assert found.exit_code == 78
    assert "has not ended, and neither a journal nor a spool of it is here" in found.stderr
