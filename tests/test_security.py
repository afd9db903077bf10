"""What strangers send harms nobody else, and secrets are shown nowhere: whole commands, against real servers."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import quote

import pytest

from commands import edit, process, tocsin
from faults import command, ended
from services import free_port, mosquitto, or_skip, rabbitmq
from services.kafka import Kafka
from services.mosquitto import Mosquitto
from services.rabbitmq import RabbitMQ
from slowed import resident
from tocsin.connectors import _http_app
from tocsin.connectors.http import HttpSettings, Server
from tocsin.ingest import Ingest
from tocsin.reading import Series

PATIENCE = 120.0
WRONG = "hidden-wr0ng/1"

Url = Callable[[str | None], str]
"""A broker's address with this password, None for the right one; quoted."""


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.1)


# Passwords of brokers


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Url]:
    server = or_skip(lambda: RabbitMQ(tmp_path_factory.mktemp("rabbitmq")))
    server.start()
    yield lambda word: f"amqp://{rabbitmq.USER}:{quote(word or rabbitmq.PASSWORD, safe='')}@127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture(scope="module")
def mqtt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Url]:
    server = or_skip(lambda: Mosquitto(tmp_path_factory.mktemp("mosquitto")))
    server.start()
    yield lambda word: f"mqtt://{mosquitto.USER}:{quote(word or mosquitto.PASSWORD, safe='')}@127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Url]:
    server = or_skip(lambda: Kafka(tmp_path_factory.mktemp("kafka")))
    server.start()
    server.add_user("you", "k4fka/right")
    user = "?mechanism=SCRAM-SHA-256"
    yield lambda word: f"kafka://you:{quote(word or 'k4fka/right', safe='')}@127.0.0.1:{server.asks}{user}"
    server.stop()


RIGHT = {"rabbit": rabbitmq.PASSWORD, "mqtt": mosquitto.PASSWORD, "kafka": "k4fka/right"}
GROUPS = {"rabbit": "rabbitmq", "mqtt": "mosquitto", "kafka": "kafka"}
BROKERS = [pytest.param(name, marks=pytest.mark.xdist_group(group)) for name, group in GROUPS.items()]


@pytest.fixture
def url(request: pytest.FixtureRequest, broker: str) -> Url:
    found: Url = request.getfixturevalue(broker)
    return found


def pipeline(here: Path, url: str) -> Path:
    edit(here / "p.yaml", "rules:", f"broker: {{url: '{url}', name: {here.name}}}\nrules:")
    return here / "p.yaml"


def told(process: subprocess.Popen[str]) -> str:
    """All that a command has said that was refused."""
    text = "".join(process.communicate(timeout=PATIENCE))
    assert process.returncode == 78, text
    return text


def looked(*words: str) -> str:
    """All that a command says which only looks."""
    found = tocsin(*words)
    return found.stdout + found.stderr


def assert_hidden(secret: str, here: Path, *texts: str) -> None:
    """Neither it nor its quoted form is in what was said, nor in any file but the user's own."""
    for shown in {secret, quote(secret, safe=""), secret.partition("/")[0]}:
        assert not any(shown in text for text in texts)
        for file in here.rglob("*"):
            assert file.name == "p.yaml" or not file.is_file() or shown.encode() not in file.read_bytes(), file


@pytest.mark.parametrize("broker", BROKERS)
def test_a_wrong_password_is_refused_and_shown_nowhere(here: Path, url: Url) -> None:
    pipeline(here, url(WRONG))
    assert tocsin("check", "p.yaml").exit_code == 0
    refused = [process("publish", "p.yaml"), process("watch", "p.yaml", "--log", "json")]
    texts = [told(one) for one in refused]
    for text in texts:
        assert "password" in text
        assert "Traceback" not in text
    assert_hidden(WRONG, here, *texts, looked("check", "p.yaml"), looked("top", "p.yaml"))


@pytest.mark.parametrize("broker", BROKERS)
def test_the_right_password_is_shown_nowhere_either(
    here: Path, broker: str, url: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given by the environment, as services have it, to a producer and a consumer that do their work."""
    address = url(None)
    user, _, rest = address.removeprefix(scheme := address.partition("//")[0] + "//").partition("@")
    file = pipeline(here, scheme + rest)
    given = {"TOCSIN_BROKER_USER": user.partition(":")[0], "TOCSIN_BROKER_PASSWORD": RIGHT[broker]}
    watch = command("watch", file, environment=given)
    try:
        wait_for(lambda: "connected" in file.with_name("watch.log").read_text())
        assert command("publish", file, environment=given).wait(PATIENCE) == 0
        wait_for(lambda: ended(file, "p", "p.db"))
    finally:
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(PATIENCE) == 143
    for name, word in given.items():
        monkeypatch.setenv(name, word)
    looks = (("check",), ("top",), ("top", "--json"), ("alerts", "list"))
    assert_hidden(RIGHT[broker], here, *(looked(*words, "p.yaml") for words in looks))


@pytest.mark.parametrize("secret", ["hidden/1", "1/hidden", "1?hidden", "hid[den"])
def test_a_password_that_breaks_the_address_is_not_shown(here: Path, secret: str) -> None:
    pipeline(here, f"amqp://u:{secret}@127.0.0.1")
    for name in ("check", "publish", "watch", "run", "top"):
        found = tocsin(name, "p.yaml")
        assert "hid" not in found.stdout + found.stderr
        assert name in ("check", "top") or (found.exit_code == 78 and "write @ as %40" in found.stderr)


# Readings over HTTP

READING = {"device": "a", "metric": "temp_c", "value": 81.0}


class Posting:
    """`tocsin publish` that takes posts, as a process."""

    def __init__(self, here: Path, options: str = "") -> None:
        self.port = free_port()
        self.file = here / "p.yaml"
        source = f"source: {{http: 'http://127.0.0.1:{self.port}{options}'}}"
        self.file.write_text(f"pipeline: p\n{source}\nbroker: journal\nrules: [{{alert: A, expr: temp_c > 80}}]\n")
        self.process = command("publish", self.file)
        wait_for(lambda: self.answers("GET", "/health") == 200)

    def answers(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> int:
        """The status of an answer; 0 if there is none."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            return connection.getresponse().status
        except (OSError, HTTPException):
            return 0
        finally:
            connection.close()

    def post(self, second: int, **headers: str) -> int:
        body = json.dumps({**READING, "time": 1_700_000_000_000_000_000 + second * 10**9}).encode()
        return self.answers("POST", "/api/v1/readings", body, headers)

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        client.sendall(data)
        return client

    def end(self) -> str:
        """Stop it; what it has said."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 143
        return self.file.with_name("publish.log").read_text()


@pytest.fixture
def posting(here: Path) -> Iterator[Callable[[str], Posting]]:
    begun: list[Posting] = []

    def begin(options: str = "") -> Posting:
        begun.append(Posting(here, options))
        return begun[-1]

    yield begin
    for one in begun:
        one.process.kill()
        one.process.wait()


HEAD = b"POST /api/v1/readings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LARGE = 100_000_000
MEMORY = 200_000_000
"""What the bodies that it holds at a time may take, and what the system gives out around them."""


def trickle(clients: Sequence[socket.socket], over: threading.Event) -> None:
    """A byte now and then."""
    while not over.wait(0.5):
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(b" ")


def overflow(server: Posting) -> None:
    """A body in chunks, as much of it as is taken."""
    with contextlib.suppress(OSError), server.connect(HEAD + b"Transfer-Encoding: chunked\r\n\r\n") as client:
        for _ in range(LARGE // 100_000):
            client.sendall(b"186a0\r\n" + b" " * 100_000 + b"\r\n")


@contextlib.contextmanager
def harassed(server: Posting) -> Iterator[None]:
    """Meanwhile fifty clients never finish a head, fifty never finish a body, and three send far too much."""
    slow = [server.connect(HEAD[: 5 + number]) for number in range(50)]
    slow += [server.connect(HEAD + b"Content-Length: 1000\r\n\r\n[") for _ in range(50)]
    over = threading.Event()
    threads = [threading.Thread(target=trickle, args=(slow, over))]
    threads += [threading.Thread(target=overflow, args=(server,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for client in slow:
            client.close()


def test_strangers_do_not_hurt_those_who_post(posting: Callable[[str], Posting]) -> None:
    server = posting("")
    assert server.post(0) == 204
    before = resident(server.process.pid)
    with harassed(server):
        for second in range(1, 101):
            server.connect(os.urandom(3_000)).close()
            if second % 20 == 0:  # before a byte of it is sent
                with server.connect(HEAD + b"Content-Length: %d\r\n\r\n" % LARGE) as client:
                    assert client.recv(12) == b"HTTP/1.1 413"
            assert server.post(second) == 204
            assert resident(server.process.pid) < before + MEMORY
    said = server.end()
    assert "101 readings published" in said
    assert "Traceback" not in said


def test_more_connections_than_it_takes_are_only_for_a_while(posting: Callable[[str], Posting]) -> None:
    """Who posts meanwhile is told to come again; who says nothing is hung up on."""
    server = posting("")
    idle = [server.connect() for _ in range(550)]
    wait_for(lambda: server.post(0) == 204)
    for client in idle:
        client.close()


def test_a_token_is_shown_nowhere(here: Path, posting: Callable[[str], Posting]) -> None:
    (here / "token").write_text("right-hidden-1\n")
    server = posting("?token_file=token")
    assert server.post(0) == server.post(0, Authorization="Bearer wrong-hidden-1") == 401
    assert server.post(0, Authorization="Bearer right-hidden-1") == 204
    texts = [server.end(), looked("check", "p.yaml"), looked("top", "p.yaml")]
    (here / "token").unlink()
    for secret in ("right-hidden-1", "wrong-hidden-1"):
        assert_hidden(secret, here, *texts)


def test_others_reach_it_only_where_it_is_told_to_listen(posting: Callable[[str], Posting]) -> None:
    """127.0.0.2 is this machine as well, and another address."""
    assert HttpSettings().host == "127.0.0.1"
    server = posting("")
    if sys.platform.startswith("linux"):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", server.port), timeout=PATIENCE)


def test_a_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the function that takes as long for a token that is nearly right."""
    compared = []

    def compare_digest(given: bytes, right: bytes) -> bool:
        compared.append((given, right))
        return hmac.compare_digest(given, right)

    monkeypatch.setattr(_http_app, "hmac", type("Watched", (), {"compare_digest": staticmethod(compare_digest)}))
    server = Server(HttpSettings(port=0, token="right"), Ingest(Series(), lambda *_: None).receive)  # noqa: S106
    server.open()
    try:
        for given in ("wrong", "right"):
            connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
            connection.request("POST", "/write", b"m,host=h value=1 1", {"Authorization": f"Token {given}"})
            assert connection.getresponse().status == (204 if given == "right" else 401)
            connection.close()
    finally:
        server.close()
    assert compared == [(b"wrong", b"right"), (b"right", b"right")]
