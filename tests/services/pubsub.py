"""Google's in-memory Pub/Sub, and a relay in front of it whose connections can be cut.

It keeps everything in memory: nothing survives its end, and what stays unacknowledged for ten minutes is dropped.  So
tests of lost connections cut them at the relay.  Without ordering it hands messages out in any order.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path

from services import CACHE, Missing, Server, free_port, listens


class PubSub(Server):
    """A server that listens on `address`, for PUBSUB_EMULATOR_HOST."""

    def __init__(self, folder: Path) -> None:
        program = CACHE / "pubsub"
        if not os.access(program, os.X_OK):
            raise Missing(f"{program} is not there: `make services` builds it")
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        super().__init__([str(program), self.address], folder, lambda: listens(self.port))


class Relay:
    """Passes connections on to a port, until it is cut; `mend` lets new ones in again."""

    def __init__(self, port: int) -> None:
        self._to, self.port = port, free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self.mend()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def cut(self) -> None:
        """End all connections, and let nobody in."""
        assert self._listener is not None
        for each in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=[one, other], daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
