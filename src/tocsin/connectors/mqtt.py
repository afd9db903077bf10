"""MQTT 5 and 3.1.1: a topic to publish to, and a session of the server's that holds what was not acknowledged.

Everything travels at QoS 1.  The session is the partition, there is one, and the server gives it to whoever
connects last under its name: so `open` only looks whether the server lets us in, and `begin` takes the session.

MQTT 5 carries headers as user properties.  MQTT 3.1.1 has none: what a message of ours says of itself is a line before its body there,

    tocsin;CONTENT TYPE;STAMP
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

from tocsin.connectors import Broker, Polled
from tocsin.connectors._mqtt_link import FAILED, MOST, Link, until
from tocsin.errors import NotConnected, RetryLater, SetupError
from tocsin.message import STAMP, Message, message_of, stamp_of

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from tocsin.connectors._mqtt_client import Received


def _partition(broker: Broker) -> str:
    if len(broker.partitions) != 1:
        raise SetupError(f"{broker.address}: MQTT has one partition, not {len(broker.partitions)}: `partitions: 1`")
    return broker.partitions[0]


class Source:
    """What comes to one group's session; one process at a time can have it.

    A position is the number of a message among those given.  It counts on over lost connections, so that an
    acknowledgement that comes too late means nothing.
    """

    rereadable = False
    assigns = False
    windowed = False

    def __init__(self, broker: Broker, group: str) -> None:
        self._broker = broker
        self._partition = _partition(broker)
        self._filter = broker.queue or f"{broker.name}/{self._partition}"
        # A server keeps a session's subscriptions: under one id, messages of an earlier topic would go on coming.
        self._client_id = f"tocsin-{group}-{crc32(self._filter.encode()):08x}"
        self._link: Link | None = None
        self._waiting: deque[Received] = deque()
        self._held: deque[Received] = deque()
        self._acked = 0
        self._paused = False

    def open(self) -> None:
        """See that the server lets us in, by a name beside the session's."""
        link = Link(self._broker.address, f"{self._client_id}-check")
        try:
            link.open()
        finally:
            link.close()

    def begin(self, partition: str, position: Any = None) -> None:  # noqa: ARG002 (a session cannot be read again)
        """Take the session, whoever has it, and subscribe."""
        self.end(partition)
        link = self._link = Link(self._broker.address, self._client_id, keep=True)
        link.client.on_message = self._on_message
        link.client.receive = self._waiting.append
        link.open()
        link.subscribe(self._filter)

    def end(self, partition: str) -> None:  # noqa: ARG002 (there is one)
        """Leave the session to the server."""
        if self._link is not None:
            self._link.close()
            self._link = None
        self._acked += len(self._held)
        self._held.clear()
        self._waiting.clear()

    def poll(self, max_messages: int, timeout: float) -> Polled:
        """What is there; while paused, or as long as nothing was begun, only the connection is kept."""
        limit = 0 if self._paused else max_messages
        if self._link is None:
            # Nothing can come, and whoever asks expects to wait for it.
            time.sleep(timeout)
            return Polled([])
        until(
            time.monotonic() + timeout,
            self._link.step,
            lambda: bool(limit and self._waiting),
            lambda: bool(limit and len(self._waiting) >= limit),
        )
        return Polled([self._give(self._waiting.popleft()) for _ in range(min(limit, len(self._waiting)))])

    def ack(self, messages: Sequence[Message]) -> None:
        """Acknowledge all up to the last of these, in the order they came, as MQTT asks."""
        if not messages:
            return
        while self._held and self._acked < messages[-1].position:
            message = self._held.popleft()
            self._acked += 1
            if message.qos and self._link is not None:
                self._link.client.ack(message.mid, message.qos)

    def pause(self) -> None:
        """Give nothing; the server stops by itself when `inflight` messages are unacknowledged."""
        self._paused = True

    def resume(self) -> None:
        """Give again, first what came meanwhile."""
        self._paused = False

    def close(self) -> None:
        """Disconnect; the server keeps the session."""
        self.end(self._partition)

    def _give(self, received: Received) -> Message:
        self._held.append(received)
        topic, payload, content_type, stamp, _, _ = received
        if not stamp and payload.startswith(_LINE):
            payload, content_type, stamp = _without_line(payload)
        return message_of(payload, content_type, stamp, self._partition, self._acked + len(self._held), topic)

    def _on_message(self, _client: Any, _data: Any, message: MQTTMessage) -> None:
        # Only the count of unacknowledged messages holds a server back, and QoS 0 has no acknowledgements.
        assert self._link is not None
        if message.qos or not self._paused or len(self._waiting) < self._link.settings.inflight:
            from tocsin.connectors._mqtt_client import Received

            told = _told(message.properties)
            self._waiting.append(Received(message.topic, bytes(message.payload), *told, message.mid, message.qos))


def _told(properties: Properties | None) -> tuple[str, str]:
    """A message's content type and stamp, '' where it has none, as with 3.1.1."""
    beside = dict(getattr(properties, "UserProperty", ()))
    return getattr(properties, "ContentType", ""), beside.get(STAMP, "")


def _without_line(payload: bytes) -> tuple[bytes, str, str]:
    """Body, content type and stamp of a message whose first line says them; as it is, if that is none of ours."""
    line, end, body = payload.partition(b"\n")
    _, content_type, stamp = [*line.split(b";", 2), b"", b""][:3]
    try:
        return (body, content_type.decode(), stamp.decode()) if end and stamp else (payload, "", "")
    except UnicodeDecodeError:
        return payload, "", ""


_LINE = b"tocsin;"
UNDER_WAY = 100
"""Messages that are under way at most: with 1,000 Mosquitto takes a third as many a second of MQTT 3.1.1."""
NOBODY = 0x10
"""MQTT 5's reason code of a message that was taken, and that nobody has subscribed to (specification, 3.4.2.1)."""


class Sink:
    """Messages to one topic, as many under way as the server takes at once.

    Its client id ends by chance, because several programs may publish under one name; it needs no session:
    what was not confirmed is sent again from above.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._topic = broker.queue or f"{broker.name}/{_partition(broker)}"
        if {"+", "#"} & set(self._topic):
            raise SetupError(f"{broker.address}: {self._topic!r} is a filter: to publish, name one topic")
        self._link: Link | None = None
        self._waiting: deque[Message] = deque()
        self._under_way: deque[int] = deque()
        self._taken: set[int] = set()
        self._mid = self._confirmed = 0

    def open(self) -> None:
        """Connect."""
        self.close()
        link = self._link = Link(self._broker.address, f"tocsin-{self._broker.name}-{secrets.token_hex(4)}")
        link.client.taken = self._on_taken
        link.open()

    def send(self, messages: Sequence[Message]) -> None:
        """Take these; what the server does not take yet waits here."""
        self._waiting.extend(messages)
        self._opened().step(0.0)
        self._publish()

    def confirmed(self, timeout: float) -> int:
        """How many the server has acknowledged, counted from the oldest without a gap."""
        deadline = time.monotonic() + timeout
        until(deadline, self._step, lambda: self._confirmed > 0, lambda: time.monotonic() > deadline)
        count, self._confirmed = self._confirmed, 0
        return count

    def close(self) -> None:
        """Disconnect, and forget what was not confirmed."""
        if self._link is not None:
            self._link.close()
            self._link = None
        self._waiting.clear()
        self._under_way.clear()
        self._taken.clear()
        self._confirmed = 0

    def _opened(self) -> Link:
        if self._link is None:
            raise NotConnected(f"{self._broker.address}: is not open")
        return self._link

    def _step(self, timeout: float) -> bool:
        came = self._opened().step(timeout)
        self._count()
        self._publish()
        return came

    def _publish(self) -> None:
        link = self._opened()
        most = min(link.inflight, UNDER_WAY)
        count = min(len(self._waiting), most - len(self._under_way))
        if count > 0:
            link.client.write([self._packet(self._waiting.popleft(), link.v5) for _ in range(count)])

    def _packet(self, message: Message, v5: bool) -> bytes:
        from tocsin.connectors._mqtt_client import packed, publication

        self._mid = self._mid % MOST + 1
        self._under_way.append(self._mid)
        stamp = stamp_of(message)
        if v5:
            return publication(self._topic, self._mid, packed(message.content_type, stamp), message.body)
        line = _LINE + f"{message.content_type};{stamp}\n".encode()
        return publication(self._topic, self._mid, b"", line + message.body)

    def _count(self) -> None:
        """Take away what was acknowledged, as far as there is no gap."""
        while self._under_way and self._under_way[0] in self._taken:
            self._taken.remove(self._under_way.popleft())
            self._confirmed += 1

    def _on_taken(self, mid: int, code: int) -> None:
        if code == NOBODY:
            told = f"{self._broker.address}: nobody has subscribed to {self._topic!r} yet, and the server keeps nothing for nobody"
            self._opened().fail(RetryLater(f"{told}: start `tocsin watch`, once is enough"))
            return
        if code >= FAILED:
            self._opened().refuse(_reason(code), f"refused a message to {self._topic!r}")
        self._taken.add(mid)


def _reason(code: int) -> ReasonCode:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.reasoncodes import ReasonCode

    return ReasonCode(PacketTypes.PUBACK, identifier=code)
