"""Killed, again and again: what is stored and decided in the end is what an undisturbed run gives."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults import (
    ROUNDS,
    SEED,
    Undisturbed,
    ask,
    assert_as_undisturbed,
    carry_under_fault,
    command,
    ended,
    freeze,
    output,
    stored,
    write_pipeline,
)  # fmt: skip


@pytest.mark.parametrize("number", range(ROUNDS))
def test_producer_and_consumer_killed_over_the_journal(tmp_path: Path, number: int) -> None:
    seed = SEED + number
    file = write_pipeline(tmp_path, "journal", seed)
    expected = Undisturbed(file)
    assert expected.ledger.count("\n") > 100
    faults = carry_under_fault(file, random.Random(seed))
    print(f"seed {seed}: {faults} faults")  # noqa: T201 (shown with -rP, and when it fails)
    assert_as_undisturbed(file, expected)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_killed_where_only_what_windows_need_is_kept(tmp_path: Path, number: int) -> None:
    """Without the readings nobody can decide once more, but all is decided as ever."""
    seed = SEED + number
    file = write_pipeline(tmp_path, "journal", seed, "store: {readings: none}\n")
    expected = Undisturbed(file)
    faults = carry_under_fault(file, random.Random(seed))
    print(f"seed {seed}: {faults} faults")  # noqa: T201 (shown with -rP, and when it fails)
    assert stored(file) == 0
    assert output("alerts", "ledger", str(file)) == expected.ledger
    (packed,) = ask(tmp_path / "faulty.db", "SELECT sum(length(body)) / 24 FROM recent_readings")[0]
    assert 0 < int(str(packed)) < expected.readings / 2, "what windows need no more was not let go of"


def wait_for(what: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)


@pytest.fixture
def second(tmp_path: Path) -> Iterator[tuple[Path, Undisturbed, list[subprocess.Popen[bytes]]]]:
    """A pipeline whose readings were published up to some time, and a first consumer that has taken these."""
    file = write_pipeline(tmp_path, "journal", SEED)
    header, *rows = (tmp_path / "readings.csv").read_text().splitlines(keepends=True)
    # What comes before an end is decided there, so nothing of before may come after it.
    early = [row for row in rows if int(row.partition(",")[0]) < 1_700_000_000 + 30_000]
    whole = [header, *early, *(row for row in rows if int(row.partition(",")[0]) >= 1_700_000_000 + 30_000)]
    (tmp_path / "readings.csv").write_text("".join(whole))
    expected, processes = Undisturbed(file), [command("watch", file)]
    (tmp_path / "readings.csv").write_text("".join([header, *early]))
    assert command("publish", file).wait() == 0
    wait_for(lambda: (tmp_path / "faulty.db").exists() and ended(file))
    (tmp_path / "readings.csv").write_text("".join(whole))
    yield file, expected, processes
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


Second = tuple[Path, Undisturbed, list[subprocess.Popen[bytes]]]


def log_of(file: Path, name: str) -> str:
    return (file.parent / f"{name}.log").read_text()


def test_a_consumer_that_stands_by_takes_over_when_the_owner_is_killed(second: Second) -> None:
    file, expected, processes = second
    processes.append(command("watch", file))
    wait_for(lambda: "owns the pipeline: standing by" in log_of(file, "watch"))
    processes[0].kill()
    assert command("publish", file).wait() == 0
    wait_for(lambda: stored(file) == expected.readings and ended(file))
    processes[1].send_signal(signal.SIGTERM)
    assert processes[1].wait() == 143
    assert_as_undisturbed(file, expected)


def test_an_owner_that_was_frozen_past_its_lease_is_fenced_off_when_it_wakes(second: Second) -> None:
    file, expected, processes = second
    processes.append(command("watch", file))
    wait_for(lambda: "standing by" in log_of(file, "watch"))
    freeze(processes[0], file)
    assert command("publish", file).wait() == 0
    wait_for(lambda: stored(file) == expected.readings and ended(file))
    processes[0].send_signal(signal.SIGCONT)
    wait_for(lambda: "another process has taken over the pipeline 'faulty'" in log_of(file, "watch"))
    wait_for(lambda: log_of(file, "watch").count("standing by") == 2)
    for process in reversed(processes):
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
    assert_as_undisturbed(file, expected)


def test_a_second_run_is_refused_while_the_first_goes_on(second: Second) -> None:
    file, _, _ = second
    direct = file.with_name("direct.yaml")
    direct.write_text(file.read_text().replace("broker: journal\n", ""))
    run = command("run", direct)
    assert run.wait() == 78
    assert "runs this pipeline already" in log_of(direct, "run")
