"""What is answered to a request: who may post, how much, and what became of it.

Bodies are read by the event loop, which never waits for anything else; all that takes time (unpacking, decoding, making
durable) is done by one worker thread, for all the posts that have come while it did so for those before.
"""

from __future__ import annotations

import asyncio
import hmac
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import time_ns
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tocsin.connectors._http_groups import Groups
from tocsin.connectors._http_tokens import tokens
from tocsin.errors import RetryLater, RunError
from tocsin.message import LINE_PROTOCOL

SHOWN = 100
"""So many bad lines are named in an answer; the rest is counted."""
LONGEST = 500
"""So much of a reason is told: it may show what stands there, and that is the client's own."""
BODIES = 8
"""So many times the largest body may wait in memory altogether."""

WHY = {
    401: "no token, or a wrong one",
    403: "from a web page, and no token is set",
    408: "too slow",
    413: "too large",
    415: "packed in another way than gzip",
    429: "no room until the consumer has caught up",
    503: "too much at once, or it could not be written",
}
"""What is not let in, by the answer's status."""

WRITE = ("/api/v2/write", "/write")
"""Where clients of InfluxDB's second and first API write."""
PRECISIONS = {"ns": "ns", "n": "ns", "us": "us", "u": "us", "ms": "ms", "s": "s", "m": "m", "h": "h"}
"""How InfluxDB's second and first API call the units of time."""


class Post(NamedTuple):
    """Readings as they were posted."""

    body: bytes
    content_type: str
    precision: str = "ns"
    key: str | None = None
    arrival: int = 0


class Bad(NamedTuple):
    """What in a post could not be read: its place (`line` or `element`; empty for all of it) and why."""

    place: dict[str, int]
    reason: str


class Taken(NamedTuple):
    """What became of a post: how many readings are durable now, and what is not among them."""

    readings: int
    bad: list[Bad]


Receive = Callable[[Sequence[Post]], Sequence[Taken]]
"""Makes what is in several posts durable, all of it or, raising, nothing; what became of each."""


class Refused(Exception):
    """A request that is not let in; its answer."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.answer = _answer(status, code, message, headers=headers)


class App:
    """The routes and what stands behind them; `fault` is a mistake of our own that a post has brought to light."""

    def __init__(
        self, receive: Receive, token: str, max_bytes: int, patience: float, worker: ThreadPoolExecutor
    ) -> None:
        self._receive = receive
        self._token = token.encode()
        self._max_bytes = max_bytes
        self._patience = patience
        self._groups = Groups(self._take, worker)
        self._waiting = 0
        self.fault: Exception | None = None
        self.refused: Counter[str] = Counter()
        """Requests that were not let in, by status and why."""
        self.refused_last = ""
        """Where the last one of them came from."""
        self.routes = Starlette(
            routes=[
                Route("/api/v1/readings", self._route(self._readings), methods=["POST"]),
                *(Route(path, self._route(self._write), methods=["POST"]) for path in WRITE),
                Route("/health", _health),
                Route("/ping", _ping, methods=["GET", "HEAD"]),
            ],
            exception_handlers={404: _no_route, 405: _no_route},
        )

    def _route(self, work: Callable[[Request], Awaitable[Post]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._admit(request)
                post = await work(request)
                response = await self._groups.done((post, request.headers.get("content-encoding", "")))
            except Refused as refused:
                response = refused.answer
            except ClientDisconnect:
                return Response(status_code=400)
            finally:
                self._waiting -= request.scope.pop("waiting", 0)
            if response.status_code in WHY:
                self.refused[f"{response.status_code} ({WHY[response.status_code]})"] += 1
                self.refused_last = request.client.host if request.client else ""
            return response

        return answer

    async def _readings(self, request: Request) -> Post:
        return await self._post(request, request.headers.get("content-type", ""), "ns")

    async def _write(self, request: Request) -> Post:
        asked = request.query_params.get("precision", "ns")
        if asked not in PRECISIONS:
            raise Refused(400, "invalid", f"precision '{asked}' is not known: expected {', '.join(PRECISIONS)}")
        return await self._post(request, LINE_PROTOCOL, PRECISIONS[asked])

    async def _post(self, request: Request, content_type: str, precision: str) -> Post:
        body = await self._body(request)
        return Post(body, content_type, precision, request.headers.get("idempotency-key"), time_ns())

    def _admit(self, request: Request) -> None:
        """Refuse who may not post; without a token web pages may not, which any browser here could open."""
        if not self._token:
            if "origin" in request.headers:
                raise Refused(403, "forbidden", "a web page may post only with a token: give the server one")
            return
        influx = request.url.path in WRITE
        given = [hmac.compare_digest(token, self._token) for token in tokens(request, passwords=influx)]
        if not any(given):
            others = ", or the token as the password: `?p=TOKEN`, or HTTP Basic" if influx else ""
            raise Refused(
                401,
                "unauthorized",
                f"expected the header `Authorization: Bearer TOKEN`{others}",
                **{"www-authenticate": "Bearer"},
            )

    async def _body(self, request: Request) -> bytes:
        """All of the body as it was sent, in time and within the limits."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._patience):
                async for part in request.stream():
                    self._hold(request, len(part))
                    body += part
        except TimeoutError:
            raise Refused(
                408,
                "timeout",
                f"the body took longer than {self._patience:g} s: send less at a time",
                connection="close",
            ) from None
        return bytes(body)

    def _hold(self, request: Request, size: int) -> None:
        held = request.scope["waiting"] = request.scope.get("waiting", 0) + size
        self._waiting += size
        if held > self._max_bytes:
            raise self._too_large()
        if self._waiting > BODIES * self._max_bytes:
            raise Refused(503, "unavailable", "too many posts at once: try again", **_SOON)

    def _too_large(self) -> Refused:
        return Refused(413, "too large", f"more than {self._max_bytes} bytes: send fewer readings at a time")

    def _take(self, group: list[tuple[Post, str]]) -> list[Response]:
        """What takes time, by the worker: an answer for each post and its content encoding."""
        answers: list[Response | None] = []
        posts = []
        for post, encoding in group:
            try:
                posts.append(post._replace(body=self._unpacked(post.body, encoding)))
                answers.append(None)
            except Refused as refused:
                answers.append(refused.answer)
        taken = iter(self._received(posts))
        return [answer or next(taken) for answer in answers]

    def _received(self, posts: list[Post]) -> list[Response]:
        """The answers for posts that share a commit; one that cannot be worked on does not spoil the others."""
        try:
            return [_told(taken) for taken in (self._receive(posts) if posts else ())]
        except RetryLater as error:
            return [_answer(429, "too many requests", str(error), headers=_SOON) for _ in posts]
        except RunError as error:
            return [_answer(503, "unavailable", str(error), headers=_SOON) for _ in posts]
        except Exception as error:  # noqa: BLE001 - whoever opened the server gets it; the client is told as much
            if len(posts) > 1:
                return [self._received([post])[0] for post in posts]
            self.fault = error
            return [_answer(500, "internal error", "a mistake in Tocsin itself: nothing of this was taken")]

    def _unpacked(self, body: bytes, encoding: str) -> bytes:
        if encoding.lower() in ("", "identity"):
            return body
        if encoding.lower() != "gzip":
            raise Refused(415, "unsupported", f"content encoding '{encoding}' is not known: expected gzip or none")
        parts, size = [], 0
        while body:
            unpacker = zlib.decompressobj(wbits=31)
            try:
                parts.append(unpacker.decompress(body, self._max_bytes + 1 - size))
            except zlib.error as fault:
                raise Refused(400, "invalid", f"the body is not gzip, as its content encoding says: {fault}") from None
            size += len(parts[-1])
            if size > self._max_bytes:
                raise self._too_large()
            if not unpacker.eof:
                raise Refused(400, "invalid", "the gzip body is cut off")
            body = unpacker.unused_data
        return b"".join(parts)


def _told(taken: Taken) -> Response:
    """Nothing to say, or what is not among the readings that were taken."""
    if not taken.bad:
        return Response(status_code=204)
    first = taken.bad[0]
    where = " ".join(f"{name} {number}: " for name, number in first.place.items())
    kind = "partial write: " if taken.readings else ""
    return _answer(
        400,
        "invalid",
        f"{kind}{taken.readings} {'reading' if taken.readings == 1 else 'readings'} taken, {len(taken.bad)} rejected; {where}{first.reason[:LONGEST]}",
        {
            "taken": taken.readings,
            "rejected": len(taken.bad),
            "errors": [{**bad.place, "reason": bad.reason[:LONGEST]} for bad in taken.bad[:SHOWN]],
        },
    )


def _answer(
    status: int, code: str, message: str, more: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Response:
    """As both of InfluxDB's APIs say that something is wrong: the second with `message`, the first with `error`."""
    return JSONResponse({"code": code, "message": message, "error": message, **(more or {})}, status, headers)


async def _no_route(request: Request, error: Exception) -> Response:
    """Nothing is there, or nothing by this method."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:LONGEST]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        message = f"{request.method} is not for {path}: expected {allowed}"
        return _answer(405, "method not allowed", message, headers=dict(error.headers or {}))
    return _answer(
        404, "not found", f"there is no {path} here: expected /api/v1/readings, {', '.join(WRITE)} or /health"
    )


async def _health(_: Request) -> Response:
    return JSONResponse({"name": "tocsin", "status": "pass", "message": "ready for readings"})


async def _ping(_: Request) -> Response:
    return Response(status_code=204)


_SOON = {"retry-after": "1"}
"""The spool empties within moments, or not until somebody looks."""
