"""Readings that are posted: durable when the answer comes, decided like all others."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands import process, tocsin
from services import free_port

PIPELINE = """\
pipeline: p
source: {{http: "http://127.0.0.1:{port}"}}
lateness: 0s
idle_after: 300ms
rules:
  - alert: TooHot
    expr: temp_c > 80
"""


@pytest.fixture
def port(here: Path) -> int:
    port = free_port()
    (here / "p.yaml").write_text(PIPELINE.format(port=port))
    return port


@pytest.fixture
def running(port: int) -> Iterator[subprocess.Popen[str]]:
    command = process("run", "p.yaml")
    wait_for(lambda: answers(port))
    yield command
    command.kill()
    command.communicate()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wait_for(what: object) -> None:
    deadline = time.monotonic() + 60
    while not what():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.05)


def post(port: int, *readings: tuple[str, float], **headers: str) -> int:
    body = [{"device": "a", "metric": "temp_c", "time": time_, "value": value} for time_, value in readings]
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/readings",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", **named},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 (our own server)
        return int(answer.status)


def ledger() -> list[dict[str, object]]:
    if not Path("p.db").exists():
        return []
    return [json.loads(line) for line in tocsin("alerts", "ledger", "p.yaml").stdout.splitlines()]


def test_what_is_posted_is_decided(port: int, running: subprocess.Popen[str]) -> None:
    assert post(port, ("2024-01-01T00:00:00Z", 81), ("2024-01-01T00:01:00Z", 70)) == 204
    wait_for(lambda: len(ledger()) == 2)
    assert [(move["time"], move["to"]) for move in ledger()] == [
        ("2024-01-01T00:00:00Z", "firing"),
        ("2024-01-01T00:01:00Z", "resolved"),
    ]
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 143
    assert "Traceback" not in told


def test_what_was_answered_survives_being_killed_at_once(port: int, running: subprocess.Popen[str]) -> None:
    assert post(port, ("2024-01-01T00:00:00Z", 81), ("2024-01-01T00:01:00Z", 70)) == 204
    running.kill()
    running.communicate()
    again = process("run", "p.yaml")
    wait_for(lambda: len(ledger()) == 2)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=60)


def test_a_post_that_is_repeated_counts_once_and_one_from_the_future_is_flagged(
    port: int, running: subprocess.Popen[str]
) -> None:
    for _ in range(2):
        assert post(port, ("2024-01-01T00:00:00Z", 81), Idempotency_Key="one") == 204
    assert post(port, ("2199-01-01T00:00:00Z", 99)) == 204
    wait_for(lambda: len(ledger()) == 1)
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=60)
    assert "2 readings in" in told
    assert "0 repeats, 1 future" in told


def test_there_is_nothing_to_replay_but_what_was_admitted(port: int) -> None:
    found = tocsin("replay", "p.yaml", "--no-store")
    assert found.exit_code == 78
    assert "`tocsin replay --from store`" in found.stderr
    assert port


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("{}", "expected `file:` or `http:`"),
        ("{http: 'http://127.0.0.1:1', file: a.csv}", "`source.file`: posted readings say themselves what they are"),
    ],
)
def test_a_source_is_a_file_or_a_server(here: Path, source: str, mistake: str) -> None:
    (here / "p.yaml").write_text(f"pipeline: p\nsource: {source}\nrules: [{{alert: A, expr: m > 1}}]\n")
    found = tocsin("check", "p.yaml")
    assert found.exit_code == 78
    assert mistake in found.stderr
