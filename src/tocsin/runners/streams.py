"""One partition of a source of others: a producer of its own, and what is published of it together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tocsin.message import Message
from tocsin.publisher import Publisher
from tocsin.record import Reject
from tocsin.runners.idle import Idleness

if TYPE_CHECKING:
    from tocsin.reading import Batch


@dataclass(slots=True)
class Stream:
    """One partition of the source, as the producer that it is."""

    publisher: Publisher
    idleness: Idleness
    quiet_since: float

    def quiet(self, now: float) -> float:
        """For how many seconds nothing has come."""
        return now - self.quiet_since


@dataclass(slots=True)
class Step:
    """What is to be published of one partition together."""

    stream: Stream
    batch: Batch
    rejects: list[Reject]
    position: dict[str, Any] | None
    keys: list[str] = field(default_factory=list)


def fresh_of(publisher: Publisher, arrived: Sequence[tuple[int, Message]]) -> list[tuple[int, Message]]:
    """Messages that were not published yet, by their stable names; those that have none may come twice."""
    names = [message.broker_id for _, message in arrived if message.broker_id]
    seen = publisher.log.known(names) if names else set()
    fresh = []
    for at, message in arrived:
        if message.broker_id not in seen:
            fresh.append((at, message))
            if message.broker_id:
                seen.add(message.broker_id)
    return fresh
