"""Connectors: the systems that readings come from and go through, one file a system.

`file.py` gives records, undecoded bytes with their place.  A broker's file has a `Source` and a `Sink`,
made from `Broker` settings, that give and take messages (`message.py`).  Neither knows what is in them.

They are plain blocking code, used by one thread each.  They never retry, sleep or log: they raise, and
the one place above them does it.

    SetupError      before the first message: wrong credentials, an address that is none, a queue that is
                    not as `broker:` says, a library that is not installed (with the command that installs it)
    NotConnected    the broker is not there, or has gone: close, wait, open and go on
    RetryLater      it is there and asks for patience
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from tocsin.address import Address
from tocsin.errors import SetupError, did_you_mean
from tocsin.message import Message

SCHEMES = {
    "amqp": "amqp",
    "amqps": "amqp",
    "journal": "journal",
    "kafka": "kafka",
    "kafkas": "kafka",
    "mqtt": "mqtt",
    "mqtts": "mqtt",
    "pubsub": "pubsub",
}
"""The file of each scheme that a broker's address may have; with an s at its end it speaks TLS."""

PARTITIONED = ("amqp", "kafka")
"""Brokers whose `partitions` are queues or partitions of their own; the others have one, and one reader."""


@dataclass(frozen=True, slots=True)
class Broker:
    """The `broker:` of a pipeline file, made ready for a connector.

    `name` is the topic, exchange, subscription or prefix of queues.  `partitions` are the names of the
    partitions: "0" to "n − 1", or, where the file has a `queue` template such as "{device}", the queues
    themselves; none of a topic of others, which has as many as it has.  `group` is the consumers' for whom a sink makes sure that nothing is published past them,
    where the broker keeps messages only for those whom it knows (a subscription of Pub/Sub).  `create` says whether what is not there is declared; what is there must be as described,
    and a mismatch is a SetupError that names what differs.
    """

    address: Address
    name: str
    partitions: tuple[str, ...] = ("0",)
    queue: str | None = None
    create: bool = True
    group: str = ""

    @property
    def identity(self) -> str:
        """What the stored positions belong to, wherever the broker is reached: `kafka:smart-smoker`."""
        return f"{self.address.scheme.removesuffix('s')}:{self.name}"

    def __str__(self) -> str:
        return (
            f"the journal {self.address.path}"
            if self.address.scheme == "journal"
            else f"{self.address} ({self.name or self.queue})"
        )


class Polled(NamedTuple):
    """What happened: messages in the order of their partitions, and partitions that came or went.

    A partition that went and came back is in both, and was lost before it was gained.
    """

    messages: list[Message]
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


class Source(Protocol):
    """Messages out of a broker.

    `rereadable` sources (journal, Kafka) keep messages, and are begun where the store says; the others hold
    what was given unacknowledged, give it again after a lost connection, and forget it when `ack` is called.

    `windowed` ones give only so many messages ahead of their acknowledgement: what was held by a reader that is gone
    may wait behind what was given and is held back, until that is given up by `end` and asked for by `begin`.

    A log may have a `mark` once it is open, which tells it from another one that is made in its place.

    `assigns` says that the broker itself hands partitions out to the processes of one group, by `gained`
    and `lost`; otherwise whoever uses the source chooses which partitions to begin.
    """

    rereadable: bool
    assigns: bool
    windowed: bool

    def open(self) -> None:
        """Connect, and declare or check what is needed."""
        ...

    def begin(self, partition: str, position: Any = None) -> None:
        """Give this partition's messages from now on: those after `position`, from the oldest if it is None."""
        ...

    def end(self, partition: str) -> None:
        """Give no more of it; what was given and not acknowledged may come again, here or elsewhere."""
        ...

    def poll(self, max_messages: int, timeout: float) -> Polled:
        """What has come, at most so many messages; waits up to `timeout` seconds for the first, never for more.

        It is called at least once a second, whatever else goes on, and keeps the connection alive.
        """
        ...

    def ack(self, messages: Sequence[Message]) -> None:
        """These, and of each partition all given before them, are durable here. Messages in order of partition."""
        ...

    def pause(self) -> None:
        """Give no messages until `resume`; polls go on, heartbeats and deadlines of what is held too."""
        ...

    def resume(self) -> None:
        """Give messages again."""
        ...

    def close(self) -> None:
        """Let go of everything; what is not acknowledged comes again. Never raises, may be called twice."""
        ...


class Sink(Protocol):
    """Messages into a broker.

    After NotConnected whoever uses the sink closes it, opens it and sends again whatever was not confirmed,
    in order; a message may so arrive twice, and its origin tells.
    """

    def open(self) -> None:
        """Connect, and declare or check what is needed."""
        ...

    def send(self, messages: Sequence[Message]) -> None:
        """Hand messages over, in order; it does not wait for the broker's confirmation."""
        ...

    def confirmed(self, timeout: float) -> int:
        """How many messages, in the order they were sent, the broker has taken durably since the last call.

        Waits up to `timeout` seconds for the first.
        """
        ...

    def close(self) -> None:
        """Let go of everything. Never raises, may be called twice."""
        ...


def open_sink(broker: Broker) -> Sink:
    """The sink of a broker, not opened yet, from the file of its scheme."""
    made: Sink = _file(broker).Sink(broker)
    return made


def open_source(broker: Broker, group: str) -> Source:
    """The source of a broker for one group of consumers, not opened yet."""
    made: Source = _file(broker).Source(broker, group)
    return made


def waiting(broker: Broker, positions: Mapping[str, Any]) -> Mapping[str, int] | None:
    """How many messages of each partition nobody has acknowledged; None where the broker cannot be asked cheaply.

    `positions` are the store's.  A file may have a function `waiting` for this: it looks, and disturbs no consumer.
    """
    ask = getattr(_file(broker), "waiting", None)
    return None if ask is None else ask(broker, positions)


def _file(broker: Broker) -> ModuleType:
    scheme = broker.address.scheme
    if scheme not in SCHEMES:
        known = ", ".join(SCHEMES)
        raise SetupError(f"there is no broker '{scheme}': expected one of {known}.{did_you_mean(scheme, SCHEMES)}")
    file = SCHEMES[scheme]
    try:
        return import_module(f"tocsin.connectors.{file}")
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith("tocsin"):
            raise
        # Each broker's extra has its file's name.
        remedy = f"install it, from the clone, with pip install -e '.[{file}]'"
        raise SetupError(f"{scheme}: the library {missing.name} is not installed here: {remedy}") from missing
