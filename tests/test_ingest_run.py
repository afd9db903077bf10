"""Readings that are posted: durable when the answer comes, decided like all others."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from commands import edit, process, tocsin
from faults import ask
from services import free_port
from tocsin.config import load
from tocsin.errors import SetupError
from tocsin.runners.publish import publish

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
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 (our own server)
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
    assert "1 reading from the future, which no rule sees, such as temp_c of" in told


def test_a_post_that_was_durable_but_not_answered_counts_once_when_it_is_repeated(port: int) -> None:
    """Killed between the commit and the answer, begun again, and asked again with the same key."""
    killed = subprocess.Popen([sys.executable, Path(__file__).with_name("killed.py"), "run", "p.yaml"])
    wait_for(lambda: answers(port))
    with pytest.raises(OSError, match=r"(?i)closed|reset"):
        post(port, ("2024-01-01T00:00:00Z", 81), Idempotency_Key="one")
    assert killed.wait(60) == -signal.SIGKILL
    messages = "SELECT count(*) FROM messages WHERE kind = 'readings'"
    assert ask(Path("p.journal"), messages) == [(1,)]

    again = process("run", "p.yaml")
    wait_for(lambda: answers(port))
    assert post(port, ("2024-01-01T00:00:00Z", 81), Idempotency_Key="one") == 204
    assert post(port, ("2024-01-01T00:01:00Z", 70), Idempotency_Key="two") == 204
    wait_for(lambda: len(ledger()) == 2)
    assert ask(Path("p.journal"), messages) == [(2,)]
    again.send_signal(signal.SIGTERM)
    _, told = again.communicate(timeout=60)
    assert "0 repeats" in told
    assert ask(Path("p.db"), "SELECT count(*) FROM readings") == [(2,)]


def test_influxdbs_client_goes_on_after_a_kill_and_nothing_is_lost_or_counted_twice(port: int) -> None:
    """Its batches are sent again, by itself, until they are answered, in whatever order."""
    edit(Path("p.yaml"), "lateness: 0s\nidle_after: 300ms", "lateness: 1h\nidle_after: 1h")
    running = process("run", "p.yaml")
    wait_for(lambda: answers(port))
    api = import_module("influxdb_client.client.write_api")
    options = api.WriteOptions(
        batch_size=50,
        flush_interval=100,
        retry_interval=200,
        max_retries=100,
        max_retry_delay=1_000,
        max_retry_time=170_000,
    )
    failed: list[object] = []
    with (
        import_module("influxdb_client").InfluxDBClient(url=f"http://127.0.0.1:{port}", token="t", org="o") as client,  # noqa: S106
        client.write_api(options, error_callback=lambda *told: failed.append(told)) as write,
    ):
        for number in range(1_000):
            if number == 300:
                wait_for(lambda: ask(Path("p.journal"), "SELECT 1 FROM messages WHERE kind = 'readings' LIMIT 1"))
                running.kill()
                running.communicate()
            if number == 700:
                running = process("run", "p.yaml")
            write.write("b", record=f"temp_c,device=d{number % 10} value={number} {1_700_000_000_000_000_000 + number}")
    assert failed == []
    wait_for(lambda: ask(Path("p.db"), "SELECT count(*) FROM readings") == [(1_000,)])
    assert ask(Path("p.db"), "SELECT count(*), sum(value) FROM readings") == [(1_000, 499_500.0)]
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=60)
    assert "0 late" in told


def test_a_second_publish_that_cannot_listen_leaves_the_first_alone(port: int) -> None:
    first = process("publish", "p.yaml")
    wait_for(lambda: answers(port))
    second = tocsin("publish", "p.yaml")
    assert second.exit_code == 78
    assert "cannot listen here" in second.stderr
    assert post(port, ("2024-01-01T00:00:00Z", 81)) == 204
    time.sleep(1.5)  # a producer looks once a second whether it is still the one
    assert first.poll() is None
    assert post(port, ("2024-01-01T00:00:01Z", 81)) == 204
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)


def test_who_cannot_write_its_journal_gives_the_port_back(port: int) -> None:
    Path("p.journal").write_bytes(b"\x5a" * 40960)
    with pytest.raises(SetupError) as held:
        publish(load("p.yaml").publishing(), lambda: False)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
    assert "no SQLite database" in str(held.value)


@pytest.mark.parametrize("options", [[], ["--separate"]])
def test_what_is_posted_is_durable_though_the_broker_is_away_from_the_start(port: int, options: list[str]) -> None:
    edit(Path("p.yaml"), "lateness: 0s", f"broker: amqp://127.0.0.1:{free_port()}\nlateness: 0s")
    running = process("run", "p.yaml", *options)
    wait_for(lambda: answers(port))
    assert post(port, ("2024-01-01T00:00:00Z", 81)) == 204
    assert ask(Path("p.spool"), "SELECT count(*) FROM messages WHERE kind = 'readings'") == [(1,)]
    running.send_signal(signal.SIGTERM)
    _, told = running.communicate(timeout=60)
    assert "Traceback" not in told
    assert ask(Path("p.spool"), "SELECT count(*) FROM messages WHERE kind = 'readings'") == [(1,)]


@pytest.mark.parametrize(("options", "code"), [([], 1), (["--separate"], 78)])
def test_a_journal_that_is_deleted_ends_the_run(port: int, options: list[str], code: int) -> None:
    """Its consumer only reads, and would read on in what is gone.  One that is begun again finds the one that was made anew."""
    running = process("run", "p.yaml", *options)
    wait_for(lambda: answers(port))
    assert post(port, ("2024-01-01T00:00:00Z", 81)) == 204
    wait_for(lambda: len(ledger()) == 1)
    for file in Path().glob("p.journal*"):
        file.unlink()
    _, told = running.communicate(timeout=60)
    assert running.returncode == code
    assert ("was made anew" in told) is (code == 78)
    assert "the file was deleted or replaced while it was read. Put it back and run again" in told
    assert "Traceback" not in told


def test_posts_that_are_not_let_in_are_told_in_the_log(port: int) -> None:
    Path("token").write_text("secret")
    edit(Path("p.yaml"), f":{port}", f":{port}?token_file=token&max_bytes=1000")
    running = process("publish", "p.yaml", "--log", "json")
    wait_for(lambda: answers(port))
    for size, token, answer in ((10, "wrong", 401), (2_000, "secret", 413), (10, "", 401), (10, "wrong", 401)):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1/readings", b" " * size, {"Authorization": f"Bearer {token}"}
        )
        with pytest.raises(urllib.error.HTTPError, match=str(answer)):
            urllib.request.urlopen(request, timeout=60)  # noqa: S310 (our own server)
    running.send_signal(signal.SIGTERM)
    _, log = running.communicate(timeout=60)
    told = [event for line in log.splitlines() if (event := json.loads(line)).get("event") == "posts refused"]
    assert told[0]["message"].startswith("posts were not let in: ")
    assert "with 401 (no token, or a wrong one)" in told[0]["message"]
    assert told[-1]["message"].endswith("the last from 127.0.0.1")
    assert "1 with 413 (too large)" in log
    assert (sum(event["count"] for event in told), told[-1]["total"]) == (4, 4)
    assert "secret" not in log
    assert "wrong" not in log.replace("a wrong one", "")


def test_lines_that_were_refused_are_dead_letters_and_can_be_sent_once_more(
    port: int, running: subprocess.Popen[str]
) -> None:
    """The server named the device by another tag than its senders; once it is told, what it had refused is read.

    One of these is of the year 2191: it is from the future still.
    """
    assert post(port, ("2023-12-31T23:59:59Z", 70)) == 204
    bodies = {
        "/api/v2/write?precision=s": b"temp_c,sensor=a value=81 1704067200\nnonsense\ntemp_c,sensor=a value=99 7000000000\n",
        "/api/v1/readings": b"device,metric,time,value\nb,temp_c,2024-01-01T00:00:00Z,warm\n",
    }
    for path, body in bodies.items():
        kind = {"Content-Type": "text/csv"} if "v1" in path else {}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, kind)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request, timeout=60)  # noqa: S310 (our own server)
    wait_for(lambda: Path("p.db").exists() and ask(Path("p.db"), "SELECT count(*) FROM dead_letters") == [(4,)])
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)

    listed = tocsin("dead-letters", "list", "p.yaml").stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["1", "2", "3", "4"]
    assert all("posted 20" in line for line in listed[1:])
    assert [f" line {number} " in line for number, line in zip((1, 2, 3, 2), listed[1:], strict=True)] == [True] * 4
    edit(Path("p.yaml"), f":{port}", f":{port}?device=sensor")
    done = tocsin("dead-letters", "requeue", "p.yaml", "--all")
    assert "2 dead letters requeued, 2 readings" in done.stderr
    assert "2 still cannot be read and stay" in done.stderr
    again = process("run", "p.yaml")
    wait_for(lambda: len(ledger()) == 1)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=60)
    assert [(move["time"], move["key"], move["to"]) for move in ledger()] == [
        ("2024-01-01T00:00:00Z", {"device": "a"}, "firing")
    ]
    assert ask(Path("p.db"), "SELECT flag, value FROM flagged_readings") == [("future", 99.0)]


def test_a_producer_whose_source_is_quiet_goes_on_saying_that_it_is_there(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consumers give up whoever is silent for two minutes, and what it posts after that is late."""
    edit(Path("p.yaml"), "idle_after: 300ms", "idle_after: 1h")
    monkeypatch.setattr("tocsin.runners.publish.ALIVE", 1.0)
    ended = threading.Event()
    parts = load("p.yaml").publishing()
    thread = threading.Thread(target=publish, args=(parts, ended.is_set))
    thread.start()
    try:
        wait_for(lambda: answers(port))
        assert post(port, ("2024-01-01T00:00:00Z", 81)) == 204
        count = "SELECT count(*) FROM messages WHERE kind = 'watermark'"
        wait_for(lambda: ask(Path("p.journal"), count)[0][0] > 4)  # type: ignore[operator]
    finally:
        ended.set()
        thread.join()
    assert ask(Path("p.journal"), "SELECT count(*) FROM messages WHERE kind = 'readings'") == [(1,)]


def test_what_waits_in_the_journal_is_not_left_behind_for_another_broker(port: int) -> None:
    """It was answered for: a consumer has to take it before the pipeline goes another way."""
    publishing = process("publish", "p.yaml")
    wait_for(lambda: answers(port))
    assert post(port, ("2024-01-01T00:00:00Z", 81)) == 204
    publishing.send_signal(signal.SIGTERM)
    publishing.communicate(timeout=60)
    edit(Path("p.yaml"), "lateness: 0s", f"broker: amqp://127.0.0.1:{free_port()}\nlateness: 0s")
    found = tocsin("publish", "p.yaml")
    assert found.exit_code == 78
    assert "p.journal holds messages that a consumer has not taken" in found.stderr
    assert "Put the old `broker:` back until they are taken" in found.stderr


def test_there_is_nothing_to_replay_but_what_was_admitted(port: int) -> None:
    found = tocsin("replay", "p.yaml", "--no-store")
    assert found.exit_code == 78
    assert "`tocsin replay --from store`" in found.stderr
    assert port


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("{}", "expected `file:` or `http:`"),
        (
            "{http: 'http://0.0.0.0:8086'}",
            "p.yaml:2:17: `source.http`: http://0.0.0.0:8086: anyone who reaches this address",
        ),
        ("{http: 'http://0.0.0.0'}", "set a token with `?token_file=FILE`, or listen on 127.0.0.1"),
        ("{http: 'http://127.0.0.1?tokenfile=x'}", "there is no option 'tokenfile'. Did you mean 'token_file'?"),
        ("{http: 'ftp://127.0.0.1'}", "'ftp' is not listened for: expected http"),
        ("{http: '127.0.0.1:8086'}", "`source.http`: this is not an address"),
        ("{http: 'http://127.0.0.1:1', file: a.csv}", "`source.file`: posted readings say themselves what they are"),
    ],
)
def test_a_source_is_a_file_or_a_server(here: Path, source: str, mistake: str) -> None:
    (here / "p.yaml").write_text(f"pipeline: p\nsource: {source}\nrules: [{{alert: A, expr: m > 1}}]\n")
    found = tocsin("check", "p.yaml")
    assert found.exit_code == 78
    assert mistake in found.stderr
