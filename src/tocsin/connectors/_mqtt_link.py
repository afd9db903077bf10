"""One connection to an MQTT server, driven by whoever waits for it: no thread of its own.

Every step waits for the socket and does what is there; what the server refuses, and that the connection is
gone, is kept as a fault and raised by the next step.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tocsin.address import Address
from tocsin.connectors._mqtt_address import failed, port_of, settings_of, tls_of
from tocsin.errors import NotConnected, RetryLater, SetupError, TocsinError

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from tocsin.connectors._mqtt_client import Greedy

MOST = 65_535
"""Messages that can be under way at a time, by the numbers that MQTT has for them."""
PATIENCE = 5.0
"""Seconds that a server may take to answer when it is connected to, and when it is subscribed at."""
GOODBYE = 1.0
"""Seconds that a server may take to read what was said last."""
TICK = 1.0
"""Seconds after which somebody who waits longer looks whether the server still gives signs of life."""
FAILED = 128
"""Reason codes from here on refuse."""
TAKEN_OVER = 142

REMEDIES = {
    132: "the server does not speak this version: try ?version=3.1.1",
    133: "the server does not take the client id {client}: allow it there",
    134: "check user and password",
    135: "check user and password, and what the server allows the client id {client} and this user",
    138: "the server has banned this client",
    140: "check how the server wants clients to say who they are: user and password, or ?cert= and ?key=",
    143: "check the filter in `queue:`",
    144: "check the topic: the server does not take it",
    149: "the message is larger than the server allows: raise its limit",
    155: "the server has no QoS 1, without which messages get lost",
    158: "the server has no shared subscriptions: take $share/… out of `queue:`",
    162: "the server has no wildcards: take + and # out of `queue:`",
}
"""What the server refuses for good, by its reason code, and how to mend it; after anything else one connects again."""
BUSY = (137, 151, 159)
"""Reason codes of a server that is there and asks for patience."""


class Link:
    """A client of an MQTT server; with `keep` the server keeps its session while it is away."""

    def __init__(self, address: Address, client_id: str, *, keep: bool = False) -> None:
        try:
            from paho.mqtt import enums

            from tocsin.connectors._mqtt_client import Greedy
        except ImportError as missing:
            raise SetupError(f"{address}: MQTT needs a library: from the clone, pip install -e '.[mqtt]'") from missing
        self._address, self._client_id, self._keep = address, client_id, keep
        self.settings = settings_of(address)
        self.v5 = self.settings.version == "5"
        self.inflight = self.settings.inflight
        """How many of our messages the server takes before it has acknowledged the first."""
        self.client: Greedy = Greedy(
            enums.CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if self.v5 else not keep,
            protocol=enums.MQTTProtocolVersion.MQTTv5 if self.v5 else enums.MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        # The queues above this client decide how much is under way, not the client's own limit of 20.
        self.client.max_inflight_messages_set(MOST)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_subscribe = self._on_subscribe
        self._answers: list[Sequence[ReasonCode]] = []
        self._fault: TocsinError | None = None
        self._selector: selectors.BaseSelector | None = None

    def open(self) -> None:
        """Connect, and wait for the server's word."""
        if context := tls_of(self._address):
            self.client.tls_set_context(context)
        if self._address.user:
            self.client.username_pw_set(self._address.user, self._address.password or None)
        try:
            self._connect()
        except OSError as error:
            raise failed(self._address, error) from error
        with contextlib.suppress(OSError):  # a socket that is none of TCP has no such option
            # A message is a write of its own: each would wait until the server has acknowledged the one before.
            self._socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket(), selectors.EVENT_READ)
        self._wait_for_answer("the server listens, but does not answer as an MQTT server does")

    def subscribe(self, topics: str) -> None:
        """Have what is published under a filter sent here, and wait for the server's word.

        What a topic retains comes with the session's first subscription, not again with every connection.
        """
        from paho.mqtt.subscribeoptions import SubscribeOptions

        try:
            if self.v5:
                new = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
                self.client.subscribe(topics, options=new)
            else:
                self.client.subscribe(topics, qos=1)
        except ValueError as error:
            raise SetupError(f"{self._address}: {topics!r} is no MQTT filter: {error}") from error
        self._wait_for_answer(f"the server does not answer the subscription to {topics!r}")

    def step(self, timeout: float) -> bool:
        """Wait so long for the network and do what one look at it brings; whether anything came."""
        if self._fault is None:
            came = self.client.has_more or self._readable(min(timeout, TICK))
            if came:
                while not self.client.loop_read() and self.client.has_more:
                    pass
            if self.client.want_write():
                self.client.loop_write()
            self.client.loop_misc()
        if self._fault is not None:
            raise self._fault
        return came

    def refuse(self, code: ReasonCode, what: str) -> None:
        """Keep as the fault that the server refused this; the first fault counts."""
        self.fail(self._refusal(code, what))

    def fail(self, fault: TocsinError) -> None:
        """Keep a fault, to be raised at the next step; the first counts."""
        self._fault = self._fault or fault

    def close(self) -> None:
        """Say goodbye, if there is somebody to say it to."""
        with contextlib.suppress(Exception):
            if self._fault is None:
                self._leave()
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        self._fault = self._fault or NotConnected(f"{self._address}: the connection was closed here")
        with contextlib.suppress(Exception):
            if sock := self.client.socket():
                sock.close()

    def _leave(self) -> None:
        """Disconnect, and wait until the server has read it.

        A connection that is closed while something unread lies in it is torn down, and takes with it
        acknowledgements that the server has not read yet.
        """
        with socket.socket(fileno=os.dup(self._socket().fileno())) as kept:
            deadline = time.monotonic() + GOODBYE
            self.client.disconnect()
            while self.client.want_write() and time.monotonic() < deadline:
                self._readable(GOODBYE / 100)
                self.client.loop_write()
            kept.shutdown(socket.SHUT_WR)
            kept.settimeout(GOODBYE)
            while kept.recv(1 << 16) and time.monotonic() < deadline:
                pass

    def _connect(self) -> None:
        port = port_of(self._address)
        if self.v5:
            self.client.connect(
                self._address.host,
                port,
                self.settings.keepalive,
                clean_start=not self._keep,
                properties=self._properties(),
            )
        else:
            self.client.connect(self._address.host, port, self.settings.keepalive)

    def _properties(self) -> Properties:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.ReceiveMaximum = self.settings.inflight
        properties.SessionExpiryInterval = self.settings.expiry if self._keep else 0
        return properties

    def _readable(self, timeout: float) -> bool:
        sock = self._socket()
        if hasattr(sock, "pending") and sock.pending():
            return True
        assert self._selector is not None
        writing = selectors.EVENT_WRITE if self.client.want_write() else 0
        self._selector.modify(sock, selectors.EVENT_READ | writing)
        return any(events & selectors.EVENT_READ for _, events in self._selector.select(timeout))

    def _socket(self) -> Any:
        sock = self.client.socket()
        if sock is None:
            raise NotConnected(f"{self._address}: the connection is lost")
        return sock

    def _wait_for_answer(self, otherwise: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._answers:
            if (left := deadline - time.monotonic()) <= 0:
                raise NotConnected(f"{self._address}: {otherwise}")
            self.step(left)
        self._answers.clear()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, properties: Any) -> None:
        if code.value >= FAILED:
            self.refuse(code, "refused the connection")
            if code.value in BUSY:
                self._fault = RetryLater(str(self._fault))
        self.inflight = min(self.settings.inflight, getattr(properties, "ReceiveMaximum", MOST))
        self._answers.append([code])

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Any) -> None:
        for code in codes:
            if code.value >= FAILED:
                self.refuse(code, "refused the subscription")
            elif code.value < 1:
                self._fault = SetupError(f"{self._address}: {REMEDIES[155]}")
        self._answers.append(codes)

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, code: ReasonCode, _properties: Any) -> None:
        other = f"another client with the id {self._client_id} has connected; only one may read for a group"
        if code.value == TAKEN_OVER:
            self._fault = self._fault or NotConnected(f"{self._address}: {other}")
        elif flags.is_disconnect_packet_from_server:
            self.refuse(code, "ended the connection")
        else:
            # 3.1.1 has no word for a takeover, and Mosquitto 2.0 does not use MQTT 5's.
            perhaps = f", or {other}" if self._keep else ""
            self._fault = self._fault or NotConnected(f"{self._address}: the connection is lost{perhaps}")

    def _refusal(self, code: ReasonCode, what: str) -> TocsinError:
        remedy = self._address.worded(REMEDIES.get(code.value, "")).format(client=self._client_id)
        said = f"{self._address}: the server {what} ({str(code).lower()})"
        return SetupError(f"{said}: {remedy}") if remedy else NotConnected(said)


def until(deadline: float, step: Callable[[float], bool], done: Callable[[], bool], full: Callable[[], bool]) -> None:
    """Take steps until something is done or the time is over, and then those that need no waiting."""
    while not full():
        came = step(0.0 if done() else max(0.0, deadline - time.monotonic()))
        # While reading is paused nothing is ever done, however much comes.
        if not (came if done() else time.monotonic() < deadline):
            return
