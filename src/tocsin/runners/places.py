"""Where a message of others came from, as a dead letter remembers it; and the message again, to be read once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.connectors import Broker
from tocsin.message import CONTENT_TYPE, Message


def place_of(broker: Broker, message: Message, arrival: int) -> dict[str, Any]:
    """The broker, and what leads to the message there; with what a mapping may take from beside its body."""
    place: dict[str, Any] = {"source": str(broker.address)}
    match broker.address.scheme.removesuffix("s"):
        case "amqp":
            place |= {"queue": message.partition, "key": message.key}
        case "kafka":
            place |= {"topic": broker.name, "partition": message.partition, "offset": message.position - 1}
            place |= {"key": message.key}
        case "mqtt":
            place |= {"topic": message.key}
        case _:
            place |= {"subscription": broker.queue, "key": message.key}
    if message.broker_id and "offset" not in place:
        place["message"] = message.broker_id
    more = {CONTENT_TYPE: message.content_type, "time": message.time, "arrival": arrival}
    return {name: value for name, value in (place | more).items() if value not in (None, "")}


def message_at(place: Mapping[str, Any], body: bytes) -> tuple[Message, int]:
    """The message of a dead letter again, and when it arrived."""
    mqtt = "topic" in place and "offset" not in place
    message = Message(
        body,
        str(place.get("queue", place.get("partition", "0"))),
        str(place.get(CONTENT_TYPE, "")),
        key=str(place["topic"] if mqtt else place.get("key", "")),
        time=place.get("time"),
    )
    return message, int(place["arrival"])
