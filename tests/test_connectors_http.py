"""The server that takes readings in over HTTP, by real requests and by InfluxDB's own client."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tocsin.address import parse_address
from tocsin.connectors._http_protocol import Patient
from tocsin.connectors.http import HttpSettings, Post, Server, settings_of
from tocsin.errors import RetryLater, SetupError, StoreError
from tocsin.ingest import Ingest, Posted, post_of
from tocsin.instant import SECOND
from tocsin.message import LINE_PROTOCOL
from tocsin.reading import Batch, Labels, Series
from tocsin.record import Reject

influxdb: Any = import_module("influxdb_client")

WORD = "secret"
T = 1_706_702_400 * SECOND
GOOD = {"device": "smoker", "metric": "temp_f", "time": "2024-01-31T12:00:00Z", "value": 225.5}
ONE = json.dumps(GOOD).encode()
Row = tuple[str, str, Labels, int, float]


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


class Reply(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]


class Spool:
    """Keeps what it is given; `fault` is raised instead."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.keys: list[str | None] = []
        self.rejects: list[Reject] = []
        self.threads: set[int] = set()
        self.groups: list[int] = []
        self.fault: Exception | None = None

    def take(self, posts: Sequence[Posted]) -> None:
        self.threads.add(threading.get_ident())
        if self.fault:
            raise self.fault
        self.groups.append(len(posts))
        for batch, rejects, key in posts:
            self._keep(batch, key)
            self.rejects += rejects

    def _keep(self, batch: Batch, key: str | None) -> None:
        named = [batch.series.describe(code) for code in batch.code.tolist()]
        columns = zip(named, batch.time.tolist(), batch.value.tolist(), strict=True)
        self.rows += [(*name, when, value) for name, when, value in columns]
        self.keys.append(key)


class Running(NamedTuple):
    server: Server
    spool: Spool

    def post(
        self, body: Any, kind: str | None = "application/json", path: str = "/api/v1/readings", **headers: str
    ) -> Reply:
        told = {"content-type": kind} if kind else {}
        return self.send(
            "POST", path, body, {**told, **{name.replace("_", "-"): text for name, text in headers.items()}}
        )

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request(method, path, body, headers or {}, encode_chunked=not isinstance(body, bytes | None))
            answer = connection.getresponse()
            text = answer.read()
            return Reply(
                answer.status,
                json.loads(text) if text.startswith(b"{") else text,
                {k.lower(): v for k, v in answer.getheaders()},
            )
        finally:
            connection.close()


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    opened: list[Server] = []

    def begin(**settings: Any) -> Running:
        spool = Spool()
        made = HttpSettings(port=0, **settings)
        server = Server(made, Ingest(Series(), spool.take, made.device_tag).receive)
        server.open()
        opened.append(server)
        return Running(server, spool)

    yield begin
    for server in opened:
        server.close()
        server.close()


@pytest.fixture
def running(start: Start) -> Running:
    return start()


FIRST: Row = ("smoker", "temp_f", (), T, 225.5)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (ONE, "application/json"),
        (b"[" + ONE + b"]", "application/json; charset=utf-8"),
        (ONE + b"\n", "application/x-ndjson"),
        (ONE, "application/x-www-form-urlencoded"),
        (ONE, None),
        (b"device,metric,time,value\nsmoker,temp_f,2024-01-31T12:00:00Z,225.5\n", "text/csv"),
        (b"\xef\xbb\xbfvalue,time,metric,device\r\n225.5,2024-01-31T12:00:00Z,temp_f,smoker", "text/csv"),
        (b"device,metric,time,value\n\nsmoker,temp_f,%d,225.5\n" % T, "text/csv"),
    ],
)
def test_readings_are_taken_in_every_form(running: Running, body: bytes, kind: str | None) -> None:
    reply = running.post(body, kind)
    assert (reply.status, reply.body) == (204, b"")
    assert running.spool.rows == [FIRST]


def test_further_columns_of_csv_are_labels(running: Running) -> None:
    body = b"device,site,metric,time,value,kind\na,x,m,2024-01-31T12:00:00Z,1,\na,y,m,2024-01-31T12:00:00Z,2,k\n"
    assert running.post(body, "text/csv").status == 204
    assert [row[2] for row in running.spool.rows] == [(("site", "x"),), (("kind", "k"), ("site", "y"))]


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"device,metric,time,value\na,m,1,2\n", None, "set the content type to application/json, application/x-ndjson, text/csv or"),
        (b"a", "text/html", "content type 'text/html' is not known: expected application/json, application/x-ndjson, text/csv or"),
        (b"device;metric;time;value\na;m;1;2\n", "text/csv", "Its columns seem to be separated by ';': over HTTP commas separate them."),
        (b"device,metric,time,value\na\n", "text/csv", "1 field where the header has 4"),
    ],
)  # fmt: skip
def test_what_is_expected_is_said_as_a_post_can_mend_it(
    running: Running, body: bytes, kind: str | None, reason: str
) -> None:
    reply = running.post(body, kind)
    assert reply.status == 400
    assert reason in reply.body["errors"][0]["reason"]
    assert "delimiter" not in reply.body["message"]


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/api/v2/write?bucket=b&org=o", 1),
        ("/api/v2/write?precision=s", SECOND),
        ("/write?db=d&precision=ms", 1_000_000),
        ("/write?precision=n", 1),
        ("/write?precision=u", 1_000),
        ("/write?precision=m", 60 * SECOND),
        ("/api/v2/write?precision=h", 3600 * SECOND),
    ],
)
def test_line_protocol_is_taken(running: Running, path: str, unit: int) -> None:
    assert running.post(f"m,host=h f=1 {T // unit}".encode(), path=path).status == 204
    assert running.spool.rows == [("h", "m_f", (), T, 1.0)]


def test_a_line_without_a_time_is_of_now(running: Running) -> None:
    before = time.time_ns()
    running.post(b"m,host=h value=1", path="/write")
    assert before <= running.spool.rows[0][3] <= time.time_ns()


def test_an_unknown_precision_is_refused(running: Running) -> None:
    reply = running.post(b"m,host=h value=1 1", path="/write?precision=years")
    assert reply.status == 400
    assert "precision 'years' is not known: expected ns" in reply.body["error"]


def test_influxdbs_client_writes_here(start: Start) -> None:
    """With a token, gzipped, points with and without labels; and a bad one among them is told."""
    running = start(token=WORD, device_tag="sensor")
    url = f"http://127.0.0.1:{running.server.port}"
    synchronous = import_module("influxdb_client.client.write_api").SYNCHRONOUS
    refused = import_module("influxdb_client.rest").ApiException
    with influxdb.InfluxDBClient(url=url, token=WORD, org="o", enable_gzip=True) as client:
        assert client.ping()
        write = client.write_api(write_options=synchronous)
        point = influxdb.Point("air").tag("sensor", "a 1").tag("site", "x,y").field("temp", 21.5).time(T)
        write.write(bucket="b", record=[point, influxdb.Point("air").tag("sensor", "b").field("value", 3).time(T)])
        assert running.spool.rows == [("a 1", "air_temp", (("site", "x,y"),), T, 21.5), ("b", "air", (), T, 3.0)]
        with pytest.raises(refused) as error:
            write.write(bucket="b", record=[point, "air temp=1 1"])
        assert error.value.status == 400
        assert "partial write: 1 reading taken, 1 rejected; line 2: no tag says the device" in error.value.message
    with influxdb.InfluxDBClient(url=url, token=WORD[1:], org="o") as client, pytest.raises(refused) as error:
        client.write_api(write_options=synchronous).write(bucket="b", record=point)
    assert error.value.status == 401


@pytest.mark.parametrize(
    ("body", "kind", "errors"),
    [
        (
            b"[" + ONE + b', {"device": 3}]',
            "application/json",
            [{"element": 2, "reason": "'device' 3 is not a text: put it in quotes"}],
        ),
        (ONE + b"\nbad\n", "application/x-ndjson", [{"line": 2, "reason": "not JSON: Expecting value at character 1"}]),
        (
            b"device,metric,time,value\nsmoker,temp_f,2024-01-31T12:00:00Z,225.5\na,m,2024-01-31T12:00:00Z,warm\n",
            "text/csv",
            [{"line": 3, "reason": "value: 'warm' is not a number"}],
        ),
    ],
)
def test_good_readings_are_taken_and_bad_ones_named(
    running: Running, body: bytes, kind: str, errors: list[Any]
) -> None:
    reply = running.post(body, kind)
    assert reply.status == 400
    assert (reply.body["taken"], reply.body["rejected"], reply.body["errors"]) == (1, 1, errors)
    assert reply.body["message"] == reply.body["error"]
    assert reply.body["message"].startswith("partial write: 1 reading taken, 1 rejected; ")
    assert running.spool.rows == [FIRST]
    (kept,) = running.spool.rejects
    assert (kept.place["source"], kept.reason) == ("http", errors[0]["reason"])
    again = Ingest(Series(), lambda _: None).read(post_of(kept.data, kept.place))
    assert [reject.reason for reject in again.rejects] == [kept.reason]


@pytest.mark.parametrize(
    ("path", "kind", "head", "line"),
    [
        ("/write", None, b"", b"bad\n"),
        ("/api/v1/readings", "text/csv", b"device,metric,time,value\n", b"a,m,now,5\n"),
        ("/api/v1/readings", "application/x-ndjson", b"", b'{"device":1}\n'),
    ],
)
def test_a_post_with_nothing_but_bad_lines_stays_small(
    running: Running, path: str, kind: str | None, head: bytes, line: bytes
) -> None:
    """A thousand are kept each by itself; the others are one, and nothing of them is left out."""
    reply = running.post(head + line * 5_000, kind, path)
    assert (reply.status, reply.body["taken"], reply.body["rejected"]) == (400, 0, 1_001)
    kept = [reject.data for reject in running.spool.rejects]
    assert kept[:1_000] == [(head + line).rstrip()] * 1_000
    assert kept[1_000].count(line.rstrip()) == 4_000
    assert len(kept[1_000]) < len(head) + 4_000 * len(line) + 1


def test_at_most_a_hundred_bad_lines_are_named_and_all_are_counted(running: Running) -> None:
    reply = running.post(b"bad\n" * 1_000, path="/write")
    assert (reply.status, reply.body["taken"], reply.body["rejected"]) == (400, 0, 1_000)
    assert [error["line"] for error in reply.body["errors"]] == list(range(1, 101))


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"", "application/json", "the message is empty"),
        (b"<xml/>", "application/xml", "content type 'application/xml' is not known"),
        (b"\xff\xff\xff\xffrubbish", None, "not an Arrow stream"),
        (b"1,2,3\n", "text/csv", "there is no column 'time'. The post has: 1, 2, 3"),
        (b"device,metric,time,temp\n", "text/csv", "there is no column 'value'"),
        (b"device,metric,time,value\ra,m,2024-01-01T00:00:00Z,5\r", "text/csv", "its first line is no header of a CSV"),
        (b"device,metric,time,value," + b"x" * 200_000, "text/csv", "its first line is no header of a CSV"),
        (b"device,metric,time,value," + b"x" * 9_000, "text/csv", "its header has 5 columns and 9,025 bytes: expected"),
        (b",".join(b"l%d" % n for n in range(5_000)), "text/csv", "its header has 5000 columns"),
    ],
)
def test_what_is_no_readings_at_all_is_refused(running: Running, body: bytes, kind: str | None, reason: str) -> None:
    reply = running.post(body, kind)
    assert reply.status == 400
    assert reason in reply.body["message"]
    assert running.spool.rows == []


def test_a_body_that_nobody_thought_of_is_kept_and_others_go_on(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> Any:
        raise KeyError("a mistake of ours")

    with monkeypatch.context() as patch:
        patch.setattr(Ingest, "_decoded", mistaken)
        reply = running.post(ONE)
    assert (reply.status, reply.body["taken"], reply.body["rejected"]) == (400, 0, 1)
    assert "a mistake in Tocsin itself, please report it: KeyError" in reply.body["message"]
    assert [reject.data for reject in running.spool.rejects] == [ONE]
    assert running.post(ONE).status == 204
    assert running.server.fault is None


def test_what_is_not_taken_is_counted_once() -> None:
    """Two lines are no readings; a post that could not be made durable comes again, and is counted then."""
    full = [False, True]

    def take(_: object) -> None:
        if full.pop():
            raise RetryLater("the spool is full")

    ingest = Ingest(Series(), take)
    post = Post(b"m,host=h value=1 1\nbad\nworse", LINE_PROTOCOL)
    with pytest.raises(RetryLater):
        ingest.receive([post])
    assert ingest.rejected == 0
    assert len(ingest.receive([post])[0].bad) == ingest.rejected == 2


def test_the_key_of_a_post_is_handed_on_and_one_thread_takes_them(running: Running) -> None:
    """Once a post was mended it is another one, though its sender gives it the same key."""
    for body in (ONE, ONE, b"[" + ONE + b"]"):
        running.post(body, idempotency_key="k-1")
    running.post(ONE)
    first, again, mended, unsaid = running.spool.keys
    assert first is not None
    assert mended is not None
    assert first == again != mended
    assert first.startswith("k-1/")
    assert unsaid is None
    assert len(running.spool.threads) == 1
    assert threading.get_ident() not in running.spool.threads


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer secret", 204),
        ("Token secret", 204),
        ("token secret", 204),
        ("Bearer secre", 401),
        ("Bearer é", 401),
        ("Basic secret", 401),
        (basic("a", WORD), 401),
        ("secret", 401),
        ("", 401),
    ],
)
def test_a_token_lets_in(start: Start, authorization: str, status: int) -> None:
    running = start(token=WORD)
    assert running.post(ONE, authorization=authorization).status == status
    assert len(running.spool.rows) == (status == 204)


@pytest.mark.parametrize("path", ["/write", "/api/v2/write"])
@pytest.mark.parametrize(
    ("query", "authorization", "status"),
    [
        ("?u=a&p=secret", "", 204),
        ("?p=secret", "", 204),
        ("?u=a&p=secre", "", 401),
        ("?u=secret&p=", "", 401),
        ("?p=%C3%A9", "", 401),
        ("", basic("a", WORD), 204),
        ("", basic("", WORD), 204),
        ("", basic("a", "secre"), 401),
        ("", basic(WORD, "a"), 401),
        ("", f"Basic {base64.b64encode(WORD.encode()).decode()}", 401),
        ("", "Basic ???", 401),
        ("", "Basic é", 401),
        ("", "Bearer secret", 204),
    ],
)
def test_clients_of_influxdbs_first_api_give_the_token_as_their_password(
    start: Start, path: str, query: str, authorization: str, status: int
) -> None:
    running = start(token=WORD)
    told = {"authorization": authorization} if authorization else {}
    reply = running.post(b"m,host=h value=1 1", path=path + query, **told)
    assert reply.status == status
    assert len(running.spool.rows) == (status == 204)
    assert "HTTP Basic" in reply.body["message"] if status == 401 else reply.body == b""
    assert WORD not in str(reply)


def test_readings_in_our_own_form_need_the_header(start: Start) -> None:
    running = start(token=WORD)
    assert running.post(ONE, path="/api/v1/readings?u=a&p=secret").status == 401
    assert running.spool.rows == []


def test_without_a_token_web_pages_are_not_let_in(running: Running) -> None:
    assert running.post(ONE, origin="http://evil.example").status == 403
    assert running.spool.rows == []


@pytest.mark.parametrize(
    ("fault", "status"),
    [(RetryLater("the spool is full"), 429), (StoreError("the disk is full"), 503), (KeyError("bug"), 500)],
)
def test_what_is_not_durable_is_not_acknowledged(running: Running, fault: Exception, status: int) -> None:
    running.spool.fault = fault
    reply = running.post(ONE)
    assert reply.status == status
    if status == 500:
        assert running.server.fault is fault
        assert "bug" not in reply.body["message"]
    else:
        assert int(reply.headers["retry-after"]) > 0
        assert reply.body["message"] == str(fault)
    running.spool.fault = None
    assert running.post(ONE).status == 204


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 1_000):
        yield b" " * 1_000


def test_large_bodies_are_refused_however_they_come(start: Start) -> None:
    """By their length, in chunks, and unpacked from very few bytes."""
    running = start(max_bytes=20_000)
    bomb = gzip.compress(b" " * 5_000_000)
    assert len(bomb) < 20_000
    assert running.post(b" " * 20_001).status == 413
    assert running.post(chunks(30_000), transfer_encoding="chunked").status == 413
    assert running.post(bomb, content_encoding="gzip").status == 413
    assert running.post(bomb[:-8], content_encoding="gzip").status == 413
    assert running.post(ONE + b" " * (20_000 - len(ONE))).status == 204
    assert running.spool.rows == [FIRST]


def test_packed_bodies_are_unpacked(running: Running) -> None:
    assert running.post(gzip.compress(ONE), content_encoding="gzip").status == 204
    assert running.post(gzip.compress(ONE + b"\n") + gzip.compress(ONE), content_encoding="gzip").status == 204
    assert len(running.spool.rows) == 3
    for body, encoding, status in [(b"rubbish", "gzip", 400), (gzip.compress(ONE)[:-4], "gzip", 400), (ONE, "br", 415)]:
        assert running.post(body, content_encoding=encoding).status == status


def connect(running: Running, data: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", running.server.port), timeout=10)
    client.sendall(data)
    return client


HEAD = b"POST /api/v1/readings HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"


@pytest.mark.parametrize("begun", [b"", b"POST /api", HEAD[:-2]])
def test_who_never_finishes_a_request_is_hung_up_on(start: Start, begun: bytes) -> None:
    running = start(patience=0.4)
    with connect(running, begun) as client:
        assert running.post(ONE).status == 204
        assert client.recv(100) == b""


def test_a_body_that_never_ends_is_given_up_and_others_go_on(start: Start) -> None:
    running = start(patience=0.4)
    clients = [connect(running, HEAD + b"{") for _ in range(30)]
    assert running.post(ONE).status == 204
    for client in clients:
        with client:
            assert client.recv(20).startswith(b"HTTP/1.1 408")


def test_many_bodies_at_once_do_not_fill_the_memory(start: Start) -> None:
    running = start(max_bytes=1_000, patience=10.0)
    head = HEAD.replace(b"100", b"1000")
    clients = [connect(running, head + b" " * 999) for _ in range(9)]
    answers = []
    for client in clients[::-1]:
        with client:
            client.settimeout(0.1)
            try:
                answers.append(client.recv(12))
            except TimeoutError:
                client.sendall(b" ")
                client.settimeout(10)
                answers.append(client.recv(12))
    assert sorted(answers) == [b"HTTP/1.1 400"] * 8 + [b"HTTP/1.1 503"]
    assert running.post(ONE).status == 204


def test_a_body_that_is_answered_early_is_not_read_for_ever(start: Start) -> None:
    running = start(patience=0.4, max_bytes=50)
    with connect(running, HEAD) as client:
        assert client.recv(20).startswith(b"HTTP/1.1 413")
        client.sendall(b"{")
        assert b"".join(iter(lambda: client.recv(4_000), b"")).endswith(b"}")


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x16\x03\x01\x02rubbish\r\n\r\n",
        b"GET\r\n\r\n",
        HEAD.replace(b"100", b"-1"),
        HEAD.replace(b"100", b"x"),
        b"G" * 100_000,
    ],
)
def test_what_is_no_http_does_not_break_it(running: Running, rubbish: bytes) -> None:
    with connect(running, rubbish) as client:
        assert client.recv(100)[:12] in (b"", b"HTTP/1.1 400")
    assert running.post(ONE).status == 204


def test_who_hangs_up_in_the_middle_leaves_nothing(running: Running) -> None:
    connect(running, HEAD + b"{").close()
    assert running.post(ONE).status == 204
    assert running.spool.rows == [FIRST]


def test_several_clients_at_once_lose_nothing(running: Running) -> None:
    def send(number: int) -> None:
        for place in range(10):
            body = json.dumps([{**GOOD, "device": f"d{number}", "value": place}] * 3).encode()
            assert running.post(body).status == 204

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(running.spool.rows) == 240
    for number in range(8):
        values = [row[4] for row in running.spool.rows if row[0] == f"d{number}"]
        assert values == [float(place) for place in range(10) for _ in range(3)]


def test_an_answer_of_two_parts_does_not_wait_between_them(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Nagle's algorithm the second would, for the client's delayed acknowledgement of the first."""
    options: list[int] = []
    made = Patient.connection_made

    def watched(self: Patient, transport: Any) -> None:
        sock = transport.get_extra_info("socket")
        made(self, transport)
        options.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(Patient, "connection_made", watched)
    assert start().post(b"{}").status == 400
    assert options
    assert all(options)


def test_it_says_that_it_is_well(running: Running) -> None:
    assert running.send("GET", "/health").body["status"] == "pass"
    assert running.send("GET", "/ping").status == 204


def test_a_wrong_path_or_method_is_told_as_other_mistakes_are(running: Running) -> None:
    wrong = running.send("GET", "/write")
    assert (wrong.status, wrong.body["code"], wrong.headers["allow"]) == (405, "method not allowed", "POST")
    assert wrong.body["message"] == wrong.body["error"] == "GET is not for /write: expected POST"
    nowhere = running.send("POST", "/query", b"")
    assert (nowhere.status, nowhere.body["code"]) == (404, "not found")
    expected = "there is no /query here: expected /api/v1/readings, /api/v2/write, /write or /health"
    assert nowhere.body["message"] == expected


def test_a_line_without_a_device_says_where_another_tag_is_named(running: Running) -> None:
    reply = running.post(b"m,sensor=s value=1 1", path="/write")
    assert "name another in this server's address: `?device=TAG`" in reply.body["errors"][0]["reason"]


def test_a_port_in_use_is_said_before_anything_runs(running: Running) -> None:
    taken = Server(HttpSettings(port=running.server.port), running.server._receive)
    with pytest.raises(SetupError, match=r"cannot listen here: .* or choose another port"):
        taken.open()
    taken.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])  # noqa: S104
def test_without_a_token_it_listens_here_alone(running: Running, host: str) -> None:
    with pytest.raises(SetupError, match="set a token"):
        Server(HttpSettings(host, 0), running.server._receive).open()


def test_an_address_that_is_not_here_is_a_mistake(running: Running) -> None:
    with pytest.raises(SetupError, match=r"there is no such|cannot listen here"):
        Server(HttpSettings("192.0.2.1", 0, "t"), running.server._receive).open()


def test_it_can_be_opened_again_on_its_port(start: Start) -> None:
    first = start()
    port = first.server.port
    assert first.post(ONE).status == 204
    first.server.close()
    again = Server(HttpSettings(port=port), first.server._receive)
    again.open()
    assert Running(again, first.spool).post(ONE).status == 204
    again.close()


def test_settings_stand_in_the_address(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")
    address = parse_address("http://0.0.0.0:9000?token_file=token&max_bytes=5000&device=sensor", {})
    settings = settings_of(address, tmp_path)
    assert settings == HttpSettings("0.0.0.0", 9000, "secret", 5_000, "sensor")  # noqa: S104
    assert "secret" not in repr(settings)
    assert settings_of(parse_address("http://127.0.0.1", {})) == HttpSettings()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (
            "tokenfile=x",
            "there is no option 'tokenfile'. Did you mean 'token_file'? Expected one of token_file, max_bytes, device",
        ),
        ("max_bytes=10MB", "http://127.0.0.1: ?max_bytes=10MB: expected bytes, a whole number such as 10000000"),
        (
            "token_file=none",
            "http://127.0.0.1: ?token_file=none: {folder}/none cannot be read: No such file or directory: write a token",
        ),
        ("token_file=bytes", "{folder}/bytes is not text: write a token into it"),
        ("token_file=empty", "http://127.0.0.1: ?token_file=empty: {folder}/empty is empty: write a token into it"),
    ],
)
def test_mistakes_in_the_address_are_said(tmp_path: Path, query: str, reason: str) -> None:
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "bytes").write_bytes(b"\xff")
    with pytest.raises(SetupError) as error:
        settings_of(parse_address(f"http://127.0.0.1?{query}", {}), tmp_path)
    assert reason.format(folder=tmp_path) in str(error.value)


class Gate(Spool):
    """Lets nothing through until it is opened; a reading of the device `poison` is a mistake of our own."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()

    def take(self, posts: Sequence[Posted]) -> None:
        assert self.open.wait(30)
        if any(batch.series.describe(code)[0] == "poison" for batch, _, _ in posts for code in batch.code.tolist()):
            raise ValueError("poison")
        super().take(posts)


def test_posts_that_come_while_others_are_made_durable_share_a_commit_and_each_has_its_own_answer() -> None:
    gate = Gate()
    server = Server(HttpSettings(port=0), Ingest(Series(), gate.take).receive)
    server.open()
    running = Running(server, gate)
    replies: dict[str, Reply] = {}

    def post(name: str, body: bytes) -> threading.Thread:
        thread = threading.Thread(target=lambda: replies.__setitem__(name, running.post(body)))
        thread.start()
        return thread

    try:
        threads = [post("first", ONE)]
        groups = server._app._groups  # type: ignore[union-attr]
        wait_until(lambda: groups._busy)
        bodies = {f"good {number}": json.dumps({**GOOD, "device": f"d{number}"}).encode() for number in range(5)}
        bodies |= {"bad": b"{", "partly": b"[" + ONE + b", 3]"}
        threads += [post(name, body) for name, body in bodies.items()]
        wait_until(lambda: len(groups._waiting) == len(bodies))
        gate.open.set()
        for thread in threads:
            thread.join(60)
        assert gate.groups == [1, 7]
        assert {name: reply.status for name, reply in replies.items()} == {
            **dict.fromkeys(("first", *(f"good {number}" for number in range(5))), 204),
            "bad": 400,
            "partly": 400,
        }
        assert sorted(row[0] for row in gate.rows) == ["d0", "d1", "d2", "d3", "d4", "smoker", "smoker"]
    finally:
        gate.open.set()
        server.close()


def test_a_post_that_brings_a_mistake_of_our_own_to_light_does_not_take_the_others_with_it() -> None:
    gate = Gate()
    server = Server(HttpSettings(port=0), Ingest(Series(), gate.take).receive)
    posts = [Post(json.dumps({**GOOD, "device": name}).encode(), "application/json") for name in ("a", "poison", "b")]
    gate.open.set()
    server.open()
    try:
        app = server._app
        assert app is not None
        assert [answer.status_code for answer in app._take([(post, "") for post in posts])] == [204, 500, 204]
        assert isinstance(server.fault, ValueError)
        assert [row[0] for row in gate.rows] == ["a", "b"]
    finally:
        server.close()


def wait_until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.01)
