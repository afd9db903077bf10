"""Commands that carry readings through a pipeline: what run and replay print where, and how they end."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from commands import ALERTS, LEDGER, edit, process, tocsin
from services import free_port
from tocsin.connectors.journal import Journal

pytestmark = pytest.mark.usefixtures("here")


def test_replay_prints_one_object_an_alert_and_line_in_order_of_since() -> None:
    found = tocsin("replay", "p.yaml", "--no-store", "--json")
    assert found.exit_code == 0
    assert [json.loads(line) for line in found.stdout.splitlines()] == ALERTS


def test_replay_prints_the_ledger(here: Path) -> None:
    assert tocsin("replay", "p.yaml", "--no-store", "--ledger").stdout == LEDGER
    assert sorted(path.name for path in here.iterdir()) == ["p.yaml", "readings.csv"]


def test_replay_ends_with_a_summary_and_what_could_not_be_read() -> None:
    found = tocsin("replay", "p.yaml", "--no-store")
    assert "p: 7 readings in " in found.stderr
    for count in ("0 late", "0 conflicts", "0 repeats", "1 dead letter", "3 alerts fired", "2 resolved"):
        assert f", {count}" in found.stderr
    assert "warning: 1 line could not be read: " in found.stderr
    assert "readings.csv:5: " in found.stderr


def test_the_summary_counts_one_of_each_as_one_and_tells_no_rate_of_a_moment(here: Path) -> None:
    """A rate of the first step would tell how long starting takes."""
    (here / "readings.csv").write_text("time,device,temp\n2024-01-01T00:00:00Z,a,81\n")
    told = tocsin("replay", "p.yaml", "--no-store").stderr.splitlines()[-1]
    assert told.startswith("p: 1 reading in ")
    assert told.endswith(" s, 0 late, 0 conflicts, 0 repeats, 0 future, 0 dead letters, 1 alert fired, 0 resolved")


def test_a_table_is_for_people_and_has_no_colour_in_a_file() -> None:
    found = tocsin("replay", "p.yaml", "--no-store")
    assert found.stdout.splitlines() == [
        "rule    key  since                 lasted  state     value  peak",
        "TooHot  a    2024-01-01T00:00:00Z  3m      resolved  81     85.5",
        "TooHot  a    2024-01-01T00:04:00Z          firing    90     90",
        "TooHot  b    2024-01-01T00:05:00Z  1m      resolved  80.5   80.5",
    ]


def test_run_goes_on_from_where_it_stopped_and_replay_twice_is_once() -> None:
    assert tocsin("run", "p.yaml").exit_code == 0
    again = tocsin("run", "p.yaml")
    assert (again.exit_code, "p: 0 readings in " in again.stderr) == (0, True)
    for _ in range(2):
        assert tocsin("replay", "p.yaml").exit_code == 0
        listed = tocsin("alerts", "list", "p.yaml", "--json").stdout
        assert [json.loads(line) for line in listed.splitlines()] == ALERTS
        assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER


def test_another_recording_leaves_the_store_alone_unless_one_is_named(here: Path) -> None:
    (here / "other.csv").write_text("time,device,temp\n2024-01-01T00:00:00Z,c,99\n")
    replay = ("replay", "p.yaml", "--data", "other.csv", "--json")
    (line,) = tocsin(*replay).stdout.splitlines()
    assert json.loads(line)["key"] == {"device": "c"}
    assert not (here / "p.db").exists()
    assert tocsin(*replay, "--store", "sqlite:///other.db").exit_code == 0
    assert (here / "other.db").exists()
    assert not (here / "p.db").exists()


def test_a_rule_that_was_mostly_unknown_or_never_evaluated_is_warned_of(here: Path) -> None:
    edit(here / "p.yaml", "temp_c > 80", 'temp_c{device="c"} > 80\n  - {alert: Slow, expr: "avg(temp_c[1d]) > 80"}')
    found = tocsin("replay", "p.yaml", "--no-store")
    assert "warning: rule 'TooHot' was never evaluated" in found.stderr
    assert "warning: rule 'Slow' was unknown in 7 of its 7 evaluations" in found.stderr


@pytest.mark.parametrize("content", [b"", b"time,device,temp\n"])
def test_a_recording_without_readings_ends_with_78(here: Path, content: bytes) -> None:
    (here / "readings.csv").write_bytes(content)
    found = tocsin("replay", "p.yaml", "--no-store")
    assert (found.exit_code, "expected readings" in found.stderr) == (78, True)


def test_a_file_that_goes_backwards_breaks_after_the_first_reading_and_says_how_to_mend_it(here: Path) -> None:
    edit(here / "readings.csv", "2024-01-01T00:06:00Z", "2023-12-31T00:06:00Z")
    found = tocsin("replay", "p.yaml", "--no-store")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "sort: true" in found.stderr
    assert "readings.csv:9: time goes backwards: the reading of b, temp_c at 2023-12-31T00:06:00Z" in found.stderr
    edit(here / "p.yaml", "readings.csv,", "readings.csv, sort: true,")
    assert tocsin("replay", "p.yaml", "--no-store").exit_code == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_replay_that_is_stopped_ends_cleanly(here: Path, number: signal.Signals, code: int) -> None:
    edit(here / "p.yaml", "pipeline: p", "pipeline: p\nstore: sqlite:///p.db")
    command = process("replay", "p.yaml", "--speed", "1x")
    deadline = time.monotonic() + 60
    while not (here / "p.db").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    command.send_signal(number)
    _, told = command.communicate(timeout=60)
    assert command.returncode == code
    assert "Stopped before the end" in told
    assert "Traceback" not in told


def test_a_file_of_which_nothing_can_be_read_is_a_mistake(here: Path) -> None:
    """A wrong time format spoils every line; exit 0 would hide it."""
    (here / "readings.csv").write_text("time,device,temp\nnoon,a,1\nevening,a,2\n", encoding="utf-8")
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 78
    assert "error: nothing could be read. Mend what the dead letters name, which is mostly `source`" in found.stderr


def test_what_has_not_left_when_publish_is_stopped_is_kept_in_the_spool_and_not_called_published(here: Path) -> None:
    edit(here / "p.yaml", "rules:", f"broker: amqp://127.0.0.1:{free_port()}\nrules:")
    publishing = process("publish", "p.yaml")
    assert publishing.stderr is not None
    while "trying again" not in (line := publishing.stderr.readline()):
        assert line, "it ended by itself"
    while not waiting(here / "p.spool"):
        assert publishing.poll() is None
        time.sleep(0.05)
    publishing.send_signal(signal.SIGTERM)
    _, told = publishing.communicate(timeout=60)
    assert publishing.returncode == 143
    assert "p: 7 readings taken in: what the broker has not confirmed is kept in the spool" in told
    assert "still wait in the spool" in told


def waiting(path: Path) -> bool:
    """Whether the source's end is in a spool."""
    if not path.exists():
        return False
    with closing(Journal(path, create=False)) as spool:
        return any(sent.ended for sent in spool.sent(is_spool=True))


def test_watch_says_since_when_it_has_counted(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    assert tocsin("publish", "p.yaml").exit_code == 0
    watching = process("watch", "p.yaml")
    assert watching.stderr is not None
    while "TooHot is resolved: b" not in (line := watching.stderr.readline()):
        assert line, "it ended by itself"
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert re.search(r"p: 7 readings in [0-9.]+ s since this `watch` began", told)


def test_a_replay_is_not_put_beside_alerts_of_rules_as_they_once_were(here: Path) -> None:
    assert tocsin("run", "p.yaml").exit_code == 0
    edit(here / "p.yaml", "> 80", "> 79")
    found = tocsin("replay", "p.yaml")
    assert found.exit_code == 78
    assert "holds alerts of rules that have been edited since" in found.stderr
    assert tocsin("replay", "p.yaml", "--no-store").exit_code == 0
    assert tocsin("replay", "p.yaml", "--store", "sqlite:///other.db").exit_code == 0


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)


def ledger_lines() -> int:
    return tocsin("alerts", "ledger", "p.yaml").stdout.count("\n") if Path("p.db").exists() else 0


def test_a_live_run_can_be_decided_once_more_from_what_it_admitted(here: Path) -> None:
    """The clock moved on, and one reading came too late: the file alone does not tell, the store does."""
    edit(here / "p.yaml", "device: device,", "device: device, follow: true,")
    edit(here / "p.yaml", "pipeline: p", "pipeline: p\nidle_after: 200ms")
    readings = here / "readings.csv"
    readings.write_text("time,device,temp\n2024-01-01T00:00:00Z,a,79\n2024-01-01T00:01:00Z,a,81\n")
    command = process("run", "p.yaml")
    wait_until(lambda: ledger_lines() == 1)
    with readings.open("a") as file:
        file.write("2024-01-01T00:00:30Z,a,99\n2024-01-01T00:02:00Z,a,70\n")
    wait_until(lambda: ledger_lines() == 2)
    command.send_signal(signal.SIGTERM)
    _, told = command.communicate(timeout=60)
    assert "1 late" in told
    ledger = tocsin("alerts", "ledger", "p.yaml").stdout
    assert tocsin("replay", "p.yaml", "--from", "store", "--ledger").stdout == ledger
    edit(here / "p.yaml", "pipeline: p", "pipeline: p\nlateness: 1m")
    assert tocsin("replay", "p.yaml", "--no-store", "--ledger").stdout != ledger


@pytest.mark.parametrize("option", [["--no-store"], ["--data", "x.csv"], ["--speed", "1x"]])
def test_what_the_store_has_admitted_goes_with_no_other_option(here: Path, option: list[str]) -> None:
    assert tocsin("run", "p.yaml").exit_code == 0
    assert tocsin("replay", "p.yaml", "--from", "store", *option).exit_code == 2
    assert tocsin("replay", "p.yaml", "--from", "stone").exit_code == 2
    assert (here / "p.db").exists()


def test_a_file_that_grows_by_a_reading_of_the_time_at_which_it_ended_is_told_why(here: Path) -> None:
    assert tocsin("run", "p.yaml").exit_code == 0
    with (here / "readings.csv").open("a") as file:
        file.write("2024-01-01T00:06:00Z,c,90\n")
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 1
    assert "readings.csv:10: the reading of c, temp_c at 2024-01-01T00:06:00Z comes too late" in found.stderr
    assert "Put `follow: true`" in found.stderr
