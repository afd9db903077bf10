"""Real servers for tests: started on free ports with their data in a folder of the test run, and stopped after it.

Each file here starts one server.  Where it cannot be had, its tests are skipped with the reason; with
TOCSIN_SERVICES=required, as in `.ci/run`, they fail instead.  `make services` fetches what is missing.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
S = TypeVar("S", bound="Server")

CACHE = Path(os.environ.get("TOCSIN_SERVICES_CACHE", Path.home() / ".cache" / "tocsin-services"))
"""Where `make services` puts what it builds."""
PATIENCE = 60.0
"""Seconds that a server may take until it answers."""


class Missing(Exception):
    """A server cannot be had here; says what is missing and how to get it."""


def or_skip(start: Callable[[], T]) -> T:
    """What `start` gives; where the server cannot be had the test is skipped, or fails if it is required."""
    try:
        return start()
    except Missing as missing:
        if os.environ.get("TOCSIN_SERVICES") == "required":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


def running(make: Callable[[], S]) -> Iterator[S]:
    """A server for as long as a fixture lasts."""
    server = or_skip(make)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def program(name: str, *places: str) -> str:
    """The path of a program, looked for on the path and at some usual places; Missing if it is not there."""
    found = shutil.which(name) or next((place for place in places if os.access(place, os.X_OK)), None)
    if found is None:
        raise Missing(f"{name} is not installed here: `make services` fetches it")
    return found


_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 below those that the system hands out, which nobody listens on."""
    while True:
        port = random.randrange(15_000, 32_000)
        if port in _given:
            continue
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


class Server:
    """A server's process, in a session of its own, so that all of it can be ended."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        ready: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self.folder = folder
        self._command = list(command)
        self._ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self.folder / "log"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        as_user = {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self._environment,
                start_new_session=True,
                **as_user,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._command[0]} did not start: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it at once, all of it."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        if self._process is not None:
            try:
                os.killpg(self._process.pid, signal.SIGTERM)
                self._process.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        self.kill()

    def send(self, number: int) -> None:
        """Send all of it a signal, such as SIGSTOP and SIGCONT."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def restart(self) -> None:
        """After `kill`: start it with the same data and ports."""
        self.kill()
        self.start()

    def _answers(self) -> bool:
        try:
            return self._ready()
        except Exception:  # noqa: BLE001 - whatever a client raises while the server is not there yet
            return False


def listens(port: int) -> bool:
    """Whether somebody accepts connections; for servers whose client takes long to fail."""
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
