"""The queues of a broker on RabbitMQ: what they are called, how they are made, and that they are as they should be.

    {name}.0, {name}.1, …     one durable queue a partition; with a template the queues it names
    {name}.dead               an exchange for what the broker itself expels
    {name}.expelled           the queue behind it

How many partitions there are stands with each numbered queue, as the routing key of what it expels: one that the fanout
exchange does not look at, and RabbitMQ compares it when a queue is declared once more. So nobody, whatever it knows, reads or
publishes by another number.

Quorum queues by default: they are replicated and forget nothing that was confirmed.  RabbitMQ 4
expels a message after twenty deliveries unless `x-delivery-limit` is -1, and crash after crash of a consumer would
come to that.  RabbitMQ 3 has no such limit unless it is given one; it takes -1, and then expels a message that
comes a second time (seen with 3.10), so there it is never said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.connectors import Broker
from tocsin.connectors._amqp_link import Link


def queue_of(broker: Broker, partition: str) -> str:
    """The queue of a partition."""
    return partition if broker.queue is not None else f"{broker.name}.{partition}"


def waiting(broker: Broker, _positions: Mapping[str, Any]) -> dict[str, int]:
    """How many messages wait in each queue; those that a consumer has been given are not among them."""
    link = Link(broker.address)
    try:
        link.open()
        channel = link.channel()
        found = {
            name: link.ask(channel.queue_declare, queue_of(broker, name), passive=True) for name in broker.partitions
        }
    finally:
        link.close()
    return {name: int(answer.method.message_count) for name, answer in found.items()}


def prepare(link: Link, broker: Broker) -> None:
    """See to it that the queues are there; one that is not as it should be is a SetupError that says in what."""
    kind = broker.address.options.get("queue_type", "quorum")
    queues = [queue_of(broker, partition) for partition in broker.partitions]
    if broker.create:
        _declare(link, broker, kind, queues)
    else:
        _find(link, queues)


def _find(link: Link, queues: list[str]) -> None:
    channel = link.channel()
    for queue in queues:
        link.ask(channel.queue_declare, queue, passive=True)
    link.drop(channel)


def expelled_queue(broker: Broker) -> str:
    """The queue of what was expelled from the others."""
    return f"{broker.name}.expelled"


def _declare(link: Link, broker: Broker, kind: str, queues: list[str]) -> None:
    """Make them all; declaring what is there already is how RabbitMQ compares it."""
    channel, dead, expelled = link.channel(), f"{broker.name}.dead", expelled_queue(broker)
    link.ask(channel.exchange_declare, dead, "fanout", durable=True)
    link.ask(channel.queue_declare, expelled, durable=True, arguments=_arguments(link, kind))
    link.ask(channel.queue_bind, expelled, dead)
    arguments = _arguments(link, kind) | {"x-dead-letter-exchange": dead}
    if broker.queue is None:
        arguments["x-dead-letter-routing-key"] = f"of {len(queues)}"
    for queue in queues:
        link.ask(channel.queue_declare, queue, durable=True, arguments=arguments)
    link.drop(channel)


def _arguments(link: Link, kind: str) -> dict[str, Any]:
    limit = {"x-delivery-limit": -1} if kind == "quorum" and link.version >= 4 else {}
    return {"x-queue-type": kind, **limit}
