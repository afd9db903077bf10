"""HTTP: a server that takes readings in, as JSON, CSV, Arrow or line protocol, and answers when they are durable.

    POST /api/v1/readings      readings in Tocsin's own form, told by the content type
    POST /api/v2/write         InfluxDB line protocol; `/write` is the same for its first API
    GET  /health, /ping

    204  all of them are durable
    400  the good ones are, the others are named; so do not send it again as it is
    401  wrong token    403  a web page, and no token is set    408  too slow    413  too large
    429  the spool is full, 503  it cannot be written: nothing was taken, send it again after `Retry-After`

What is posted is handed to `receive`, by one thread only; it returns once the readings are durable.  Posts that come
while it works on others are its next ones, all together.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from tocsin.address import Address
from tocsin.connectors._http_app import App, Bad, Post, Receive, Taken
from tocsin.connectors._http_protocol import protocol
from tocsin.connectors._options import check_options, is_here, unguarded
from tocsin.errors import SetupError

__all__ = ["Bad", "HttpSettings", "Post", "Receive", "Server", "Taken", "settings_of"]

PORT = 8086
"""InfluxDB's, where its clients look."""
MAX_BYTES = 10_000_000
"""Some 100,000 readings in JSON."""
CONNECTIONS = 500
"""So many at once; the next ones are told to come again. Half of what a process may usually have open."""

_REMEDY = "write a token into it, as `openssl rand -hex 32` makes one"
_HEAD_PATIENCE = 10.0
_STOP_PATIENCE = 5


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where the server listens, who may post, and how much at once.

    `device_tag` is the tag that names the device in line protocol, `device` or `host` by itself.  A body must
    have come within `patience` seconds.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    token: str = field(default="", repr=False)
    max_bytes: int = MAX_BYTES
    device_tag: str | None = None
    patience: float = 30.0


def settings_of(address: Address, base: Path = Path()) -> HttpSettings:
    """The settings in an address such as `http://0.0.0.0:8086?token_file=token`; SetupError says what is wrong."""
    check_options(address)
    options = address.options
    token = _token(address, base / options["token_file"]) if "token_file" in options else ""
    port = PORT if address.port is None else address.port
    return HttpSettings(address.host, port, token, int(options.get("max_bytes", MAX_BYTES)), options.get("device"))


class Server:
    """Listens from `open` to `close`; `fault` is a mistake of our own that a post has brought to light."""

    def __init__(self, settings: HttpSettings, receive: Receive) -> None:
        self._settings = settings
        self._receive = receive
        self._listening: socket.socket | None = None
        self._running: tuple[_Uvicorn, threading.Thread, ThreadPoolExecutor] | None = None
        self._app: App | None = None
        self.host, self.port = settings.host, settings.port
        """Where it listens, once it is open: of port 0 the one that was free."""

    @property
    def fault(self) -> Exception | None:
        """What broke in `receive` other than by an error that says what to do; the client was answered with 500."""
        return self._app.fault if self._app else None

    @property
    def refused(self) -> tuple[Mapping[str, int], str]:
        """How many requests were not let in, by status and why; and where the last of them came from."""
        return (dict(self._app.refused), self._app.refused_last) if self._app else ({}, "")

    def bind(self) -> None:
        """Have the port, and let clients wait; raises SetupError if that is not possible, or not safe."""
        settings = self._settings
        if not settings.token and not is_here(settings.host):
            raise SetupError(unguarded(settings.host, settings.port))
        self._listening = _listen(settings)
        self.port = self._listening.getsockname()[1]

    def open(self) -> None:
        """Listen, on the port that it has or is given now."""
        settings = self._settings
        if self._listening is None:
            self.bind()
        listening, self._listening = self._listening, None
        assert listening is not None
        worker = ThreadPoolExecutor(1, "tocsin-http-worker")
        self._app = App(self._receive, settings.token, settings.max_bytes, settings.patience, worker)
        server = _Uvicorn(self._app, settings)
        thread = threading.Thread(target=server.listen, args=(listening,), name="tocsin-http", daemon=True)
        self._running = server, thread, worker
        thread.start()
        server.ready.wait()

    def close(self) -> None:
        """Answer what is under way, and stop. Never raises, may be called twice."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self._running is not None:
            server, thread, worker = self._running
            self._running = None
            server.should_exit = True
            thread.join()
            worker.shutdown()


class _Uvicorn(uvicorn.Server):
    """uvicorn in a thread of its own, without a word on the terminal."""

    def __init__(self, app: App, settings: HttpSettings) -> None:
        self.ready = threading.Event()
        super().__init__(
            uvicorn.Config(
                app.routes,
                http=protocol(min(_HEAD_PATIENCE, settings.patience)),
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=_STOP_PATIENCE,
            )
        )

    def listen(self, listening: socket.socket) -> None:
        """Serve until `should_exit`."""
        try:
            asyncio.run(self.serve([listening]))
        finally:
            listening.close()
            self.ready.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.ready.set()


def _listen(settings: HttpSettings) -> socket.socket:
    where = f"http://{settings.host}:{settings.port}"
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        # asyncio sends at once only what it knows to be TCP; else an answer of two parts waits 40 ms for its second.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as fault:
        raise SetupError(f"{where}: there is no such address here: {fault.strerror}") from fault
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen()
    except PermissionError as fault:
        listening.close()
        raise SetupError(f"{where}: this port is not for everybody: choose one from 1024 on") from fault
    except OSError as fault:
        listening.close()
        raise SetupError(
            f"{where}: cannot listen here: {fault.strerror}: stop the program that does, or choose another port"
        ) from fault
    return listening


def _token(address: Address, file: Path) -> str:
    named = f"{address}: ?token_file={address.options['token_file']}: {file}"
    try:
        token = file.read_text(encoding="utf-8").strip()
    except OSError as fault:
        raise SetupError(f"{named} cannot be read: {fault.strerror}: {_REMEDY}, or correct the name") from fault
    except UnicodeDecodeError:
        raise SetupError(f"{named} is not text: {_REMEDY}") from None
    if not token:
        raise SetupError(f"{named} is empty: {_REMEDY}")
    return token
