"""A connection to RabbitMQ that its user drives: nothing happens on it but inside `run`, and what calls it.

pika's SelectConnection calls back from its loop, and a loop of its own would want a thread of its own.  Here
the loop is turned only while a source polls or a sink waits, so all is plain blocking code of one thread.
Heartbeats are sent and watched for in the same turns.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tocsin.address import TLS, Address
from tocsin.connectors._amqp_errors import explained
from tocsin.connectors._options import check_options
from tocsin.errors import NotConnected, SetupError, TocsinError

if TYPE_CHECKING:
    from pika.channel import Channel

    from tocsin.connectors._amqp_frames import Receive

PORTS = {"amqp": 5672, "amqps": 5671}
HEARTBEAT = 30
"""Seconds; RabbitMQ's own 60 leaves a connection that was cut silently unnoticed for two minutes."""
OPENING = 10.0
"""Seconds that connecting may take, all in all."""
ANSWER = 30.0
"""Seconds that an answer may take: a queue that is spread over a cluster is not declared at once."""
FAREWELL = 2.0
"""Seconds for a graceful end: what was acknowledged last goes out before it."""


class Link:
    """One connection and its channels; every fault of it is raised by `run`, and by all that follows."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._loop: Any = None
        self._connection: Any = None
        self._fault: BaseException | None = None

    def open(self) -> None:
        """Connect; a link that was open before is closed."""
        self.close()
        parameters = _parameters(self.address)
        from pika.adapters.select_connection import IOLoop

        from tocsin.connectors._amqp_frames import Connection

        self._fault, self._loop = None, IOLoop()
        self._loop.activate_poller()
        self._connection = Connection(
            parameters,
            on_open_error_callback=self._lost,
            on_close_callback=self._lost,
            custom_ioloop=self._loop,
        )
        self.wait(lambda: bool(self._connection.is_open), OPENING)

    def run(self, done: Callable[[], bool], timeout: float) -> None:
        """Serve the connection, once at least, until `done` or for so many seconds; raises what ended it."""
        self.check()
        rung: list[bool] = []
        alarm = self._loop.call_later(0 if done() else timeout, lambda: rung.append(True))
        while True:
            self._loop.poll()
            self._loop.process_timeouts()
            self.check()
            if rung or done():
                break
        self._loop.remove_timeout(alarm)

    def wait(self, done: Callable[[], bool], timeout: float = ANSWER) -> None:
        """As `run`, for what must come."""
        self.run(done, timeout)
        if not done():
            raise NotConnected(
                f"{self.address}: the broker did not answer within {timeout:g} s: see whether it is well"
            )

    def check(self) -> None:
        """Raises what ended the connection, if something has."""
        if self._fault is not None:
            raise explained(self.address, self._fault) from self._fault
        if self._connection is None:
            raise NotConnected(f"{self.address}: the connection is not open")

    def fail(self, fault: BaseException) -> None:
        """The connection is of no more use, and why; the first reason stays."""
        self._fault = self._fault or fault

    def ask(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The broker's answer to a method of a channel."""
        self.check()
        answers: list[Any] = []
        method(*arguments, callback=answers.append, **named)
        self.wait(lambda: bool(answers))
        return answers[0]

    def channel(self) -> Channel:
        """A new channel. If the broker closes it the link is at its end, as nothing is closed without a fault."""
        from pika.exceptions import NoFreeChannels

        self.check()
        try:
            channel: Channel = self._connection.channel()
        except NoFreeChannels as error:
            raise explained(self.address, error) from error
        channel.add_on_close_callback(self._channel_closed)
        self.wait(lambda: bool(channel.is_open))
        return channel

    def hear(self, channel: Channel, consumer: str, receive: Receive) -> None:
        """Have plain deliveries to a consumer of a channel received straight from the frames."""
        from tocsin.connectors._amqp_frames import beginning

        self._connection.receivers[beginning(int(channel.channel_number), consumer)] = receive

    @property
    def largest(self) -> int:
        """Bytes of a body that the broker takes in one frame."""
        return int(self._connection._body_max_length)  # noqa: SLF001 (agreed upon when the connection was opened)

    def write(self, frames: bytes) -> None:
        """Send whole frames, after all that was sent before."""
        if frames:
            self._connection._output_marshaled_frames([frames])  # noqa: SLF001 (one write for many frames)

    def drop(self, channel: Channel) -> None:
        """Close a channel; what it held unacknowledged is back in its queue when this returns."""
        self.check()
        own = channel.channel_number.to_bytes(2, "big")
        receivers = self._connection.receivers
        self._connection.receivers = {begins: one for begins, one in receivers.items() if begins[1:3] != own}
        channel.close()
        self.wait(lambda: bool(channel.is_closed))

    @property
    def version(self) -> int:
        """The first number of the server's version."""
        return int(str(self._connection.server_properties.get("version", "0")).partition(".")[0])

    def close(self) -> None:
        """End the connection. Never raises, may be called twice."""
        connection, loop = self._connection, self._loop
        self._connection = self._loop = None
        if loop is None:
            return
        with contextlib.suppress(Exception):
            _end(connection, loop)
        with contextlib.suppress(Exception):
            loop.close()
        self._fault = None

    def _lost(self, _: Any, fault: BaseException) -> None:
        self.fail(fault)

    def _channel_closed(self, _: Any, fault: BaseException) -> None:
        from pika.exceptions import ChannelClosedByClient, ConnectionClosedByClient

        if not isinstance(fault, ChannelClosedByClient | ConnectionClosedByClient):
            self.fail(fault)


def number(address: Address, name: str, default: int) -> int:
    """An option of the address that is a whole number."""
    check_options(address)
    return int(address.options.get(name, default))


def _end(connection: Any, loop: Any) -> None:
    """Say farewell, and hang up on who does not answer."""
    if connection.is_open:
        connection.close()
        _turn(loop, connection, FAREWELL)
    if not connection.is_closed:
        # A peer that is silent, or has blocked us, never answers; pika has no public way to give it up.
        connection._adapter_disconnect_stream()  # noqa: SLF001
        _turn(loop, connection, FAREWELL)


def _turn(loop: Any, connection: Any, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not connection.is_closed and time.monotonic() < deadline:
        loop.call_later(0.05, lambda: None)
        loop.poll()
        loop.process_timeouts()


def _parameters(address: Address) -> Any:
    pika = _library()
    check_options(address)
    nobody = not address.user and not address.password
    return pika.ConnectionParameters(
        host=address.host,
        port=address.port or PORTS[address.scheme],
        virtual_host=address.path or "/",
        # RabbitMQ's own user of a fresh installation, as its other clients take it.
        credentials=pika.PlainCredentials(address.user or "guest", "guest" if nobody else address.password),
        ssl_options=pika.SSLOptions(_tls(address), address.host) if address.scheme == "amqps" else None,
        heartbeat=number(address, "heartbeat", HEARTBEAT),
        connection_attempts=1,
        socket_timeout=OPENING,
        stack_timeout=OPENING,
        client_properties={"connection_name": "tocsin"},
    )


def _tls(address: Address) -> ssl.SSLContext:
    certificate, key = address.tls_file("cert"), address.tls_file("key")
    try:
        context = ssl.create_default_context(cafile=address.tls_file("ca"))
        if certificate is not None:
            # Without a password of its own OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise _unreadable(address, error) from error
    return context


def _unreadable(address: Address, error: OSError | ValueError) -> TocsinError:
    """OpenSSL does not say which file it could not read."""
    files = ", ".join(f"{name}={address.options[name]}" for name in TLS if name in address.options)
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return SetupError(f"{address}: {files} cannot be used ({why}): expected PEM files, and a key without a passphrase")


def _library() -> Any:
    try:
        import pika
    except ImportError as error:
        raise SetupError(
            "RabbitMQ needs the library pika, which is not here: from the clone, pip install -e '.[amqp]'"
        ) from error
    return pika
