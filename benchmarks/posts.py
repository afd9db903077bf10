"""Posts a second that become durable, one reading each, and how long a lone post waits for its answer.

`tocsin publish` with `source: {http: …}` runs as a process of its own, over a journal on this disk.  One client holds
so many connections open and posts on each again as soon as it has been answered; then it posts on one alone.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 5.0
CONNECTIONS = (1, 10, 50, 200)
PIPELINE = """\
pipeline: posted
source: {{http: "http://127.0.0.1:{port}"}}
rules: [{{alert: Hot, expr: temp > 80}}]
"""


def request(number: int, keyed: bool) -> bytes:
    """One reading, as a device would post it."""
    body = f'{{"device":"d{number % 100}","metric":"temp","time":{1_700_000_000_000_000_000 + number},"value":70.5}}'
    key = f"Idempotency-Key: {os.getpid()}-{number}\r\n" if keyed else ""
    return (
        f"POST /api/v1/readings HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{key}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> None:
    """Send one, and wait for its answer."""
    writer.write(message)
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 204 " in head.split(b"\r\n")[0], head


async def crowd(port: int, connections: int, keyed: bool) -> tuple[float, list[float]]:
    """Posts a second over so many connections, and how long each took."""
    until, took, numbers = time.perf_counter() + SECONDS, [], iter(range(1 << 40))

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < until:
            await post(reader, writer, request(next(numbers) + connections * (1 << 20), keyed))
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return len(took) / SECONDS, took


def told(took: list[float]) -> str:
    """For people."""
    ordered = sorted(took)
    return (
        f"median {statistics.median(ordered) * 1e3:.1f} ms, 99 % under {ordered[int(len(ordered) * 0.99)] * 1e3:.1f} ms"
    )


def main() -> None:
    """Start the server, and post at it."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        file = Path(folder) / "posted.yaml"
        file.write_text(PIPELINE.format(port=port))
        server = subprocess.Popen(  # noqa: S603 (our own command)
            [sys.executable, "-m", "tocsin", "publish", str(file)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            wait_for(port)
            asyncio.run(crowd(port, 1, keyed=False))  # what happens once
            for keyed in (False, True):
                for connections in CONNECTIONS:
                    rate, took = asyncio.run(crowd(port, connections, keyed))
                    print(
                        f"{connections:>4} connections{', keyed' if keyed else ''}: {rate:,.0f} posts/s, {told(took)}"
                    )
        finally:
            server.terminate()
            server.wait()


def wait_for(port: int) -> None:
    """Until it listens."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server does not listen")


if __name__ == "__main__":
    main()
