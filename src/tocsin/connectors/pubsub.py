"""Google Pub/Sub: a topic to publish to, and a subscription of each group that holds what was not acknowledged.

    pubsub://project            the topic is named by `broker:`
    pubsub://project/topic

Messages are pulled by requests, of which one is always under way, in a thread of its own: a request that is given
up may have been given messages already, which then come only after their deadline.  What is held has its
deadline put off by `poll`.

Order is not the service's business here: what Tocsin publishes carries its number.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any

from tocsin.connectors import Broker, Polled
from tocsin.connectors._pubsub_api import ONCE, REQUEST, Topic, is_called, library, ours, subscriber, translated
from tocsin.errors import NotConnected, RetryLater
from tocsin.message import CONTENT_TYPE, STAMP, Message, headers_of, message_of

PULL = 1000
"""Messages in one request: the most that the service gives."""
PULL_TIMEOUT = 30.0
"""Seconds after which a request that brought nothing is made anew."""
BATCH = 1000
"""Acknowledgements in one request; the service takes half a megabyte, of ids of some 200 bytes."""
UNDER_WAY, UNDER_WAY_BYTES = 10_000, 16 << 20
"""So much is with the library, unconfirmed; the rest waits here.  Each of its batches takes a thread."""


class Source:
    """What comes to one group's subscription.

    A position is the number of a message among those given; it counts on over lost connections.
    """

    rereadable = False
    assigns = False
    windowed = False

    def __init__(self, broker: Broker, group: str) -> None:
        self._topic = Topic(broker, group)
        self._client: Any = None
        self._thread: ThreadPoolExecutor | None = None
        self._pulling: Future[Any] | None = None
        self._waiting: deque[Any] = deque()
        self._held: deque[str] = deque()
        self._acked = 0
        self._begun, self._paused = False, False
        self._every, self._extended = 0.0, 0.0

    def open(self) -> None:
        """Make or check the topic and the subscription."""
        self.close()
        pubsub = library(self._topic.address)
        with ours(self._topic.address, "connecting"):
            self._client, publisher = subscriber(pubsub), pubsub.PublisherClient()
        try:
            # Put off thrice within the deadline, it may fail to happen once.
            self._every = self._topic.subscribe(publisher, self._client) / 3
        finally:
            publisher.transport.close()
        self._thread = ThreadPoolExecutor(1, "tocsin-pull")

    def begin(self, partition: str, position: Any = None) -> None:  # noqa: ARG002 (there is one, never read again)
        """Give messages from now on."""
        self._begun = True

    def end(self, partition: str) -> None:  # noqa: ARG002 (there is one)
        """Give back what is held, at once."""
        if self._pulling is not None and self._pulling.done() and not self._pulling.exception():
            self._waiting.extend(self._pulling.result())
            self._pulling = None
        self._begun = False
        ids = self._outstanding()
        self._acked += len(self._held)
        self._held.clear()
        self._waiting.clear()
        if ids and self._client is not None:
            with contextlib.suppress(Exception):
                self._put_off(ids, 0)

    def poll(self, max_messages: int, timeout: float) -> Polled:
        """What has come; deadlines are put off, whether it gives anything or not."""
        self._opened()
        over = time.monotonic() + timeout
        giving = self._begun and not self._paused
        while True:
            self._extend()
            left = 0.0 if giving and self._waiting else over - time.monotonic()
            self._pull(giving, max(0.0, min(left, self._every)))
            if (giving and self._waiting) or left <= 0:
                break
        count = min(max_messages, len(self._waiting)) if giving else 0
        return Polled([self._give(self._waiting.popleft()) for _ in range(count)])

    def ack(self, messages: Sequence[Message]) -> None:
        """Acknowledge all up to the last of these, in requests of many."""
        if not messages:
            return
        while (count := min(messages[-1].position - self._acked, len(self._held), BATCH)) > 0:
            ids = list(islice(self._held, count))
            with ours(self._topic.address, "acknowledging"):
                request = {"subscription": self._topic.subscription, "ack_ids": ids}
                self._opened().acknowledge(request=request, **ONCE)
            self._acked += count
            for _ in range(count):
                self._held.popleft()

    def pause(self) -> None:
        """Give nothing and ask for nothing."""
        self._paused = True

    def resume(self) -> None:
        """Give again, first what came meanwhile."""
        self._paused = False

    def close(self) -> None:
        """Give back what is held and disconnect."""
        self.end("0")
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()
        if self._thread is not None:
            self._thread.shutdown()
        self._client, self._thread, self._pulling = None, None, None

    def _opened(self) -> Any:
        if self._client is None:
            raise NotConnected(f"{self._topic.address}: is not open")
        return self._client

    def _pull(self, asking: bool, seconds: float) -> None:
        """Wait so long for the request that is under way, and take what it brought."""
        if asking and self._pulling is None and len(self._waiting) < PULL:
            assert self._thread is not None
            self._pulling = self._thread.submit(self._request, self._opened())
        if self._pulling is None:
            # Nothing can come, and whoever asks expects to wait for it.
            time.sleep(seconds)
        elif wait([self._pulling], seconds).done:
            done, self._pulling = self._pulling, None
            with ours(self._topic.address, f"subscription {self._topic.subscription}"):
                self._arrived(done.result())

    def _arrived(self, received: Sequence[Any]) -> None:
        """Keep what a request brought, or give it back if nobody asks any more."""
        if self._begun:
            self._waiting.extend(received)
        else:
            self._put_off([each.ack_id for each in received], 0)

    def _request(self, client: Any) -> Sequence[Any]:
        request = {"subscription": self._topic.subscription, "max_messages": PULL}
        try:
            response = client.pull(request=request, retry=None, timeout=PULL_TIMEOUT)
        except Exception as error:
            if is_called(error, "DeadlineExceeded"):
                return []
            raise
        # The plain message beneath: the library's wrapper takes longer to ask than all the rest.
        return list(type(response).pb(response).received_messages)

    def _give(self, received: Any) -> Message:
        self._held.append(received.ack_id)
        message = received.message
        attributes = message.attributes
        return message_of(
            message.data,
            attributes.get(CONTENT_TYPE, ""),
            attributes.get(STAMP, ""),
            partition="0",
            key=message.ordering_key,
            broker_id=message.message_id,
            time=message.publish_time.ToNanoseconds(),
            position=self._acked + len(self._held),
        )

    def _outstanding(self) -> list[str]:
        return [*self._held, *(received.ack_id for received in self._waiting)]

    def _extend(self) -> None:
        """Put off the deadlines of all that is held, when it is time."""
        if time.monotonic() < self._extended + self._every:
            return
        self._extended = time.monotonic()
        with ours(self._topic.address, "putting off deadlines"):
            self._put_off(self._outstanding(), round(self._every * 3))

    def _put_off(self, ids: list[str], seconds: int) -> None:
        for start in range(0, len(ids), BATCH):
            request = {
                "subscription": self._topic.subscription,
                "ack_ids": ids[start : start + BATCH],
                "ack_deadline_seconds": seconds,
            }
            self._opened().modify_ack_deadline(request=request, **ONCE)


class Sink:
    """Messages to one topic, in the library's batches."""

    def __init__(self, broker: Broker) -> None:
        self._topic = Topic(broker, broker.group)
        self._client: Any = None
        self._waiting: deque[Message] = deque()
        self._under_way: deque[tuple[Any, int]] = deque()
        self._bytes = 0

    def open(self) -> None:
        """Make or check the topic, and the group's subscription: what is published before it is there, nobody gets."""
        self.close()
        pubsub = library(self._topic.address)
        with ours(self._topic.address, "connecting"):
            self._client = pubsub.PublisherClient(
                pubsub.types.BatchSettings(max_messages=PULL, max_latency=0.01),
                pubsub.types.PublisherOptions(self._topic.settings.ordering, retry=None, timeout=REQUEST),
            )
        self._topic.prepare(self._client)
        if self._topic.group:
            reader = subscriber(pubsub)
            try:
                self._topic.subscribe(self._client, reader)
            finally:
                reader.close()

    def send(self, messages: Sequence[Message]) -> None:
        """Take these; what is too much for now waits here."""
        self._waiting.extend(messages)
        self._publish()

    def confirmed(self, timeout: float) -> int:
        """How many the service has taken, counted from the oldest without a gap."""
        self._publish()
        if not self._under_way:
            time.sleep(timeout)
            return 0
        with contextlib.suppress(Exception):
            self._under_way[0][0].exception(timeout)
        count = 0
        while self._under_way and self._under_way[0][0].done():
            future, size = self._under_way[0]
            self._take(future.exception())
            self._under_way.popleft()
            self._bytes -= size
            count += 1
        self._publish()
        return count

    def close(self) -> None:
        """Disconnect, and forget what was not confirmed."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.stop()
                self._client.transport.close()
        self._client = None
        self._waiting.clear()
        self._under_way.clear()
        self._bytes = 0

    def _publish(self) -> None:
        if self._client is None:
            raise NotConnected(f"{self._topic.address}: is not open")
        while self._waiting and len(self._under_way) < UNDER_WAY and self._bytes < UNDER_WAY_BYTES:
            message = self._waiting.popleft()
            key = message.key if self._topic.settings.ordering else ""
            with ours(self._topic.address, f"publishing to {self._topic.path}"):
                future = self._client.publish(self._topic.path, message.body, key, **headers_of(message))
            self._under_way.append((future, len(message.body)))
            self._bytes += len(message.body)

    def _take(self, error: BaseException | None) -> None:
        """Raise what happened to a message; the library has given it up, so patience alone does not help it."""
        if error is not None:
            found = translated(self._topic.address, f"publishing to {self._topic.path}", error)
            raise (NotConnected(str(found)) if isinstance(found, RetryLater) else found) from error
