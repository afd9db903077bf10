"""Toxiproxy: a proxy in front of another server that breaks connections when it is told to."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services import CACHE, Server, free_port, listens, program


class Toxiproxy(Server):
    """The server that keeps proxies; `proxy` makes one."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        command = [program("toxiproxy-server", str(CACHE / "toxiproxy-server"))]
        super().__init__([*command, "-host", "127.0.0.1", "-port", str(self.port)], folder, lambda: listens(self.port))

    def proxy(self, name: str, upstream: int) -> Proxy:
        """A new proxy in front of a port of this machine."""
        proxy = Proxy(self, name, free_port())
        listen, target = f"127.0.0.1:{proxy.port}", f"127.0.0.1:{upstream}"
        self.ask("/proxies", {"name": name, "listen": listen, "upstream": target, "enabled": True})
        return proxy

    def ask(self, path: str, body: Mapping[str, Any] | None = None, method: str = "POST") -> None:
        """One request to its HTTP interface."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 (http, to ourselves)


class Proxy:
    """One proxy, and what is wrong with its connections."""

    def __init__(self, server: Toxiproxy, name: str, port: int) -> None:
        self.port = port
        self._server = server
        self._path = f"/proxies/{name}"
        self._toxics: list[str] = []

    def add(self, kind: str, stream: str = "downstream", **attributes: int) -> None:
        """Something goes wrong from now on: latency, bandwidth, timeout, reset_peer, limit_data, slicer."""
        name = f"{kind}-{stream}-{len(self._toxics)}"
        body = {"name": name, "type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes}
        self._server.ask(f"{self._path}/toxics", body)
        self._toxics.append(name)

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        for name in self._toxics:
            self._server.ask(f"{self._path}/toxics/{name}", method="DELETE")
        self._toxics.clear()
        self._server.ask(self._path, {"enabled": True})

    def cut(self) -> None:
        """End all connections and refuse new ones until `heal`."""
        self._server.ask(self._path, {"enabled": False})
