"""Producer and consumer as processes of their own under one command: they end together, and one that dies comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from commands import LEDGER, READINGS, edit, process, tocsin

PATIENCE = 120.0


@pytest.fixture
def journal(here: Path) -> Path:
    """The pipeline over a journal, its source a file that ends."""
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    return here


@pytest.fixture
def started(journal: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command; whatever a test leaves running is ended."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        assert journal.exists()
        running.append(process("run", "p.yaml", "--separate", *options))
        return running[-1]

    yield start
    for command in running:
        command.kill()  # which ends its parts too
        command.communicate()


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)


def parts_of(command: subprocess.Popen[str]) -> dict[str, int]:
    """The processes that it has started, by their command."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == command.pid and b"tocsin" in words:
            found[words[words.index(b"tocsin") + 1].decode()] = int(folder.name)
    return found


def is_gone(number: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True


def follow(folder: Path) -> None:
    """The source has no end, and no clock but its own."""
    edit(folder / "p.yaml", "{file: readings.csv,", "{file: readings.csv, follow: true,")
    edit(folder / "p.yaml", "rules:", "idle_after: 1d\nrules:")


def ledger() -> str:
    return tocsin("alerts", "ledger", "p.yaml").stdout if Path("p.db").exists() else ""


def test_a_source_that_ends_lets_both_end_and_the_ledger_is_that_of_a_run(started: Callable[..., subprocess.Popen[str]]) -> None:  # fmt: skip
    command = started()
    _, told = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, told
    assert ledger() == LEDGER
    assert "publish | p: 7 readings published" in told
    assert "watch   | p: 7 readings in" in told


def test_again_it_goes_on_from_there(journal: Path, started: Callable[..., subprocess.Popen[str]]) -> None:
    assert started().wait(PATIENCE) == 0
    with (journal / "readings.csv").open("a") as file:
        file.write("2024-01-01T00:07:00Z,a,70\n")
    command = started()
    _, told = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, told
    assert "watch   | p: 1 reading in" in told
    assert ledger().startswith(LEDGER)


@pytest.mark.parametrize("name", ["publish", "watch"])
def test_one_that_is_killed_is_started_again_and_nothing_is_lost(
    journal: Path, started: Callable[..., subprocess.Popen[str]], name: str
) -> None:
    follow(journal)
    (journal / "readings.csv").write_text(READINGS.partition("2024-01-01T00:04")[0])
    command = started()
    wait_for(ledger)
    victim = parts_of(command)[name]
    os.kill(victim, signal.SIGKILL)
    with (journal / "readings.csv").open("a") as file:
        file.write("".join(READINGS.partition("2024-01-01T00:04")[1:]) + "2024-01-01T00:07:00Z,b,60\n")
    wait_for(lambda: ledger() == LEDGER)
    assert parts_of(command)[name] != victim
    command.send_signal(signal.SIGTERM)
    _, told = command.communicate(timeout=PATIENCE)
    assert command.returncode == 143
    assert f"`tocsin {name}` was ended by signal 9. Beginning again" in told


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_ends_with_both_when_it_is_told_to(
    journal: Path, started: Callable[..., subprocess.Popen[str]], number: int, code: int
) -> None:
    follow(journal)
    command = started()
    wait_for(lambda: len(parts_of(command)) == 2 and ledger())
    parts = parts_of(command)
    command.send_signal(number)
    _, told = command.communicate(timeout=PATIENCE)
    assert command.returncode == code
    assert all(is_gone(part) for part in parts.values())
    assert "publish | Stopped." in told
    assert "watch   | Stopped." in told


def test_both_end_when_it_is_killed_at_once(journal: Path, started: Callable[..., subprocess.Popen[str]]) -> None:
    follow(journal)
    command = started()
    wait_for(lambda: len(parts_of(command)) == 2 and ledger())
    parts = parts_of(command)
    command.kill()
    wait_for(lambda: all(is_gone(part) for part in parts.values()))


def test_one_that_cannot_work_ends_all_with_its_words_and_its_code(
    journal: Path, started: Callable[..., subprocess.Popen[str]]
) -> None:
    (journal / "p.db").write_text("these are notes, and long enough to be looked at " * 40)
    command = started()
    _, told = command.communicate(timeout=PATIENCE)
    assert command.returncode == 78
    assert "watch   | store 'sqlite:///p.db': the file is no SQLite database" in told
    assert told.count("is no SQLite database") == 1


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_error_that_stays_the_same_ends_all(
    journal: Path, started: Callable[..., subprocess.Popen[str]], form: str
) -> None:
    """Times go backwards in the source: exit code 1, and it is tried again once."""
    edit(journal / "readings.csv", "2024-01-01T00:06:00Z,b,70", "2024-01-01T00:00:30Z,b,70")
    command = started("--log", form)
    _, told = command.communicate(timeout=PATIENCE)
    assert command.returncode == 1
    assert told.count("readings.csv:9: time goes backwards") == 2


def test_its_log_is_json_whatever_says_it(started: Callable[..., subprocess.Popen[str]]) -> None:
    command = started("--log", "json")
    _, told = command.communicate(timeout=PATIENCE)
    assert command.returncode == 0, told
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert {"publish", "watch"} <= {line.get("command") for line in lines}
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
