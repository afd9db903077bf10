"""Google Pub/Sub: a topic to publish to, and a subscription of each group that holds what was not acknowledged.

    pubsub://project            the topic is named by `broker:`
    pubsub://project/topic

Messages are pulled by requests, of which some are always under way: one that is given up may have been given messages
already, which then come only after their deadline.  What is held has its deadline put off by `poll`.

Order is not the service's business here: what Tocsin publishes carries its number.  With `ordering` it is kept, and
one request at a time pulls.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Sequence
from threading import Event
from typing import Any

from tocsin.connectors import Broker, Polled
from tocsin.connectors._pubsub_api import Method, Topic, library, ours, subscriber
from tocsin.connectors._pubsub_sink import Sink
from tocsin.errors import NotConnected
from tocsin.message import CONTENT_TYPE, STAMP, Message, message_of

__all__ = ["Sink", "Source"]

PULL = 1000
"""Messages in one request: the most that the service gives."""
PULLS = 3
"""Requests for messages under way at a time."""
PULL_TIMEOUT = 30.0
"""Seconds after which a request that brought nothing is made anew."""
BATCH = 1000
"""Acknowledgements in one request; the service takes half a megabyte, of ids of some 200 bytes."""
ACKS = 8
"""Requests that acknowledge under way at a time."""


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
        self._pulling: list[Any] = []
        self._acking: deque[Any] = deque()
        self._answered = Event()
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
        place = {"subscription": self._topic.subscription}
        self._pull = Method(self._client, "pull", **place)
        self._acknowledge = Method(self._client, "acknowledge", **place)
        self._modify_ack_deadline = Method(self._client, "modify_ack_deadline", **place)

    def begin(self, partition: str, position: Any = None) -> None:  # noqa: ARG002 (there is one, never read again)
        """Give messages from now on."""
        self._begun = True

    def end(self, partition: str) -> None:  # noqa: ARG002 (there is one)
        """Give back what is held, at once."""
        with contextlib.suppress(Exception):
            self._settle(0)
        with contextlib.suppress(Exception):
            self._arrive()
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
            self._settle(ACKS)
            left = 0.0 if giving and self._waiting else over - time.monotonic()
            self._ask(giving)
            self._wait(max(0.0, min(left, self._every)))
            if (giving and self._waiting) or left <= 0:
                break
        count = min(max_messages, len(self._waiting)) if giving else 0
        if not count:
            # Nothing has to be hurried for, so it may be said now what an acknowledgement met with.
            self._settle(0)
        return Polled(self._give([self._waiting.popleft() for _ in range(count)]))

    def ack(self, messages: Sequence[Message]) -> None:
        """Acknowledge all up to the last of these, in requests of many; a later call tells what came of them."""
        if not messages:
            return
        self._opened()
        while (count := min(messages[-1].position - self._acked, len(self._held), BATCH)) > 0:
            self._settle(ACKS - 1)
            self._acking.append(self._acknowledge.begin(ack_ids=[self._held.popleft() for _ in range(count)]))
            self._acked += count

    def pause(self) -> None:
        """Give nothing and ask for nothing."""
        self._paused = True

    def resume(self) -> None:
        """Give again, first what came meanwhile."""
        self._paused = False

    def close(self) -> None:
        """Give back what is held and disconnect."""
        # First nobody asks any more: what is given back would come as an answer, and then only after its deadline.
        for pulling in [each for each in self._pulling if not each.done()]:
            self._pulling.remove(pulling)
            pulling.cancel()
        self.end("0")
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()
        self._client = None
        self._pulling.clear()
        self._acking.clear()

    def _opened(self) -> Any:
        if self._client is None:
            raise NotConnected(f"{self._topic.address}: is not open")
        return self._client

    def _ask(self, asking: bool) -> None:
        """Have as many requests under way as is good."""
        self._opened()
        most = 1 if self._topic.settings.ordering else PULLS
        while asking and len(self._pulling) < most and len(self._waiting) < PULL:
            pulling = self._pull.begin(PULL_TIMEOUT, max_messages=PULL)
            self._pulling.append(pulling)
            pulling.add_done_callback(lambda _: self._answered.set())

    def _wait(self, seconds: float) -> None:
        """Wait so long for an answer, and take what has come."""
        self._answered.wait(seconds)
        self._answered.clear()
        self._arrive()

    def _arrive(self) -> None:
        """Keep what requests have brought, or give it back if nobody asks any more."""
        for done in [each for each in self._pulling if each.done()]:
            self._pulling.remove(done)
            received = self._received(done)
            if self._begun:
                self._waiting.extend(received)
            elif received:
                self._put_off([each.ack_id for each in received], 0)

    def _received(self, done: Any) -> Sequence[Any]:
        from grpc import RpcError, StatusCode

        with ours(self._topic.address, f"subscription {self._topic.subscription}"):
            try:
                response = done.result()
            except RpcError as error:
                if error.code() == StatusCode.DEADLINE_EXCEEDED:
                    return ()
                raise
        return list(type(response).pb(response).received_messages)

    def _settle(self, most: int) -> None:
        """See what came of acknowledgements, and wait until no more than so many are under way."""
        while self._acking and (len(self._acking) > most or self._acking[0].done()):
            with ours(self._topic.address, "acknowledging"):
                self._acking.popleft().result()

    def _give(self, received: Sequence[Any]) -> list[Message]:
        first = self._acked + len(self._held) + 1
        self._held.extend([each.ack_id for each in received])
        return [_message(each.message, position) for position, each in enumerate(received, first)]

    def _outstanding(self) -> list[str]:
        return [*self._held, *[received.ack_id for received in self._waiting]]

    def _extend(self) -> None:
        """Put off the deadlines of all that is held, when it is time."""
        if time.monotonic() < self._extended + self._every:
            return
        self._extended = time.monotonic()
        self._put_off(self._outstanding(), round(self._every * 3))

    def _put_off(self, ids: list[str], seconds: int) -> None:
        self._opened()
        with ours(self._topic.address, "putting off deadlines"):
            for start in range(0, len(ids), BATCH):
                self._modify_ack_deadline(ack_ids=ids[start : start + BATCH], ack_deadline_seconds=seconds)


def _message(message: Any, position: int) -> Message:
    """A plain message of the library's as one of ours."""
    beside, published = message.attributes, message.publish_time
    content_type, stamp = (beside.get(CONTENT_TYPE, ""), beside.get(STAMP, "")) if beside else ("", "")
    return message_of(
        message.data,
        content_type,
        stamp,
        "0",
        position,
        message.ordering_key,
        message.message_id,
        published.seconds * 1_000_000_000 + published.nanos,
    )
