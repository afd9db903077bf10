"""Messages to a topic of Google Pub/Sub, in requests made here.

The library's own batches take a future, a wrapped message and several locks for each message, some 50 µs; a message of
a request made here takes 6.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from tocsin.connectors import Broker
from tocsin.connectors._pubsub_api import Method, Topic, library, ours, subscriber
from tocsin.errors import NotConnected, RetryLater, SetupError
from tocsin.message import Message, headers_of

MOST = 1000
"""Messages in one request: the most that the service takes."""
PUBLISHES, PUBLISHES_BY_KEY = 8, 100
"""Requests that publish under way at a time; those of one key each are small."""
FULL, LARGEST = 1 << 20, 10_000_000
"""Bytes after which a request that publishes is sent, and those of a message that the service takes at most."""
LONGEST_KEY = 1024
"""Bytes of an ordering key that the service takes."""


class _Request(NamedTuple):
    """Messages under way: their key, their numbers among all that were sent, and the answer to come."""

    key: str
    numbers: list[int]
    answer: Any


class Sink:
    """Messages to one topic, in requests of many."""

    def __init__(self, broker: Broker) -> None:
        self._topic = Topic(broker, broker.group)
        self._most = PUBLISHES_BY_KEY if self._topic.settings.ordering else PUBLISHES
        self._client: Any = None
        self._waiting: dict[str, deque[tuple[int, Message]]] = {}
        self._under_way: list[_Request] = []
        self._taken: set[int] = set()
        self._sent = self._confirmed = 0

    def open(self) -> None:
        """Make or check the topic, and the group's subscription: what is published before it is there, nobody gets."""
        self.close()
        pubsub = library(self._topic.address)
        with ours(self._topic.address, "connecting"):
            self._client = pubsub.PublisherClient()
        self._topic.prepare(self._client)
        if self._topic.group:
            reader = subscriber(pubsub)
            try:
                self._topic.subscribe(self._client, reader)
            finally:
                reader.close()
        self._method = Method(self._client, "publish", topic=self._topic.path)
        self._plain = pubsub.types.PubsubMessage.pb()

    def send(self, messages: Sequence[Message]) -> None:
        """Take these; what is too much for now waits here."""
        for message in messages:
            if len(message.body) > LARGEST:
                told = f"a message of {len(message.body):,} bytes, of which the service takes {LARGEST:,}"
                raise SetupError(f"{self._topic.address}: {told}: put fewer readings into a message")
            key = _ordering_key(message.key) if self._topic.settings.ordering else ""
            self._waiting.setdefault(key, deque()).append((self._sent, message))
            self._sent += 1
        self._publish()

    def confirmed(self, timeout: float) -> int:
        """How many the service has taken, counted from the oldest without a gap."""
        self._publish()
        if not self._under_way:
            time.sleep(timeout)
            return 0
        with contextlib.suppress(Exception):
            self._under_way[0].answer.exception(timeout)
        for request in [each for each in self._under_way if each.answer.done()]:
            self._under_way.remove(request)
            self._take(request)
        self._publish()
        before = self._confirmed
        while self._confirmed in self._taken:
            self._taken.remove(self._confirmed)
            self._confirmed += 1
        return self._confirmed - before

    def close(self) -> None:
        """Disconnect, and forget what was not confirmed."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.stop()
                self._client.transport.close()
        self._client = None
        self._waiting.clear()
        self._under_way.clear()
        self._taken.clear()
        self._sent = self._confirmed = 0

    def _publish(self) -> None:
        """Have as many requests under way as is good; of a key whose order is kept, one."""
        if self._client is None:
            raise NotConnected(f"{self._topic.address}: is not open")
        busy = {request.key for request in self._under_way if request.key}
        for key in [key for key in self._waiting if key not in busy]:
            while key in self._waiting and len(self._under_way) < self._most:
                self._begin(key)
                if key:
                    break

    def _begin(self, key: str) -> None:
        """One request, with what waits of a key."""
        waiting, size = self._waiting[key], 0
        numbers: list[int] = []
        made: list[Any] = []
        while waiting and len(made) < MOST and (not made or size + len(waiting[0][1].body) <= FULL):
            number, message = waiting.popleft()
            numbers.append(number)
            made.append(self._plain(data=message.body, attributes=headers_of(message), ordering_key=key))
            size += len(message.body)
        if not waiting:
            del self._waiting[key]
        self._under_way.append(_Request(key, numbers, self._method.begin(messages=made)))

    def _take(self, request: _Request) -> None:
        """Note what was taken, or raise what happened; patience alone does not help what was given up."""
        try:
            with ours(self._topic.address, f"publishing to {self._topic.path}"):
                request.answer.result()
        except RetryLater as error:
            raise NotConnected(str(error)) from error
        self._taken.update(request.numbers)


def _ordering_key(key: str) -> str:
    """A key as the service takes it; of one that is too long its checksum, so that what belongs together stays so."""
    written = key.encode()
    return key if len(written) <= LONGEST_KEY else hashlib.sha256(written).hexdigest()
