"""The way changed at random, journal and RabbitMQ, while the run is killed now and then: no reading is lost, no ledger moves."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import PATIENCE, ROUNDS, SEED, Undisturbed, assert_as_undisturbed, command, write_pipeline
from services import running
from services.rabbitmq import RabbitMQ

pytestmark = pytest.mark.xdist_group("rabbitmq")

CHANGES = 6
STOPPED = (143, -signal.SIGTERM)
"""How a run ends that is told to; the latter where it was just starting."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    yield from running(lambda: RabbitMQ(tmp_path_factory.mktemp("rabbitmq")))


def run(file: Path, seconds: float, *, kill: bool = False) -> int:
    """Run for some seconds; its exit code."""
    process = command("run", file)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        return process.wait(PATIENCE)
    finally:
        process.kill()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_way_is_changed_at_random_while_the_run_is_killed(tmp_path: Path, server: RabbitMQ, number: int) -> None:
    """A change is refused until the way before has run dry; then that goes on for a while, and the change comes again."""
    seed = SEED + number
    chance = random.Random(seed)
    file = write_pipeline(tmp_path, "journal", seed, "idle_after: 1h\n")
    expected, text, source = Undisturbed(file), file.read_text(), tmp_path / "readings.csv"
    head, *rows = source.read_text().splitlines(keepends=True)
    source.write_text(head)
    ways = ["journal", *(f"{{url: '{server.url}', name: ways{seed}{part}}}" for part in "ab")]

    def go_by(way: str, *, live: bool = True) -> None:
        follow = text.replace(
            "{file: readings.csv", "{file: readings.csv, follow: true" if live else "{file: readings.csv"
        )
        file.write_text(follow.replace("broker: journal\n", f"broker: {way}\n" if way else ""))

    way, kills, refused = chance.choice(["", *ways]), 0, 0
    deadline = time.monotonic() + PATIENCE
    for part in range(CHANGES):
        with source.open("a") as growing:
            growing.writelines(rows[part * len(rows) // CHANGES : (part + 1) * len(rows) // CHANGES])
        kill = chance.random() < 0.6
        kills += kill
        go_by(way)
        assert run(file, chance.uniform(1.5, 5), kill=kill) in (*STOPPED, -signal.SIGKILL)
        another = chance.choice([one for one in ways if one != way])
        go_by(another)
        while (code := run(file, chance.uniform(3, 5))) == 78:
            assert time.monotonic() < deadline, "it does not run dry"
            refused += 1
            go_by(way)
            assert run(file, 6) in STOPPED
            go_by(another)
        assert code in STOPPED
        way = another
    go_by(way, live=False)
    assert run(file, PATIENCE) == 0
    print(f"seed {seed}: {kills} kills, {CHANGES} changes, {refused} refused at first")  # noqa: T201
    assert_as_undisturbed(file, expected)
