"""The consumer's half: messages of one unit to readings, to alerts, to steps that are saved; and only then an acknowledgement.

    poll → take by number → decode → admit → process → one transaction → acknowledge

A step takes what has come, whole.  If it cannot be saved, the engine is thrown away and restored: it has moved on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tocsin.message import Kind, Message
from tocsin.publisher import rejects_of
from tocsin.record import Reject

if TYPE_CHECKING:
    from tocsin.codecs.readings import Found
    from tocsin.origin import Origins
    from tocsin.pipeline import Decider
    from tocsin.stores import Step

GAP_PATIENCE = 120.0
"""Seconds, while connected, after which a gap in a producer's numbers is given up and counted as lost.

Longer than a broker waits for a reader that is gone before it gives what that one held to another: a minute for the
heartbeats of RabbitMQ, another for the deadlines of Pub/Sub.
"""
SILENCE_PATIENCE = 120.0
"""Seconds without a word after which a producer, or a partition nobody was heard of in, is no longer waited for."""

POISONOUS = "the process ended each time that it took this message, so it was set aside unread"

_KIND, _REACHED = attrgetter("kind"), attrgetter("partition", "position")

Decode = Callable[[Sequence[Message]], "Found"]
"""Messages to (readings in order, of each the place of its message, what could not be read with its message's place)."""


class Taken(NamedTuple):
    """What is to be saved, in this order, and the messages that are durable when it is, to be acknowledged.

    These are not those that are held back behind a gap, nor those of their partition after them.
    """

    steps: list[Step]
    durable: list[Message]


class Consumer:
    """What takes the messages of one unit through one engine.

    `positions` is how far each partition was read, where the broker is a log that can be read again; `way` names the `broker`, and
    stands with them.
    """

    def __init__(
        self, decider: Decider, origins: Origins, decode: Decode, way: Mapping[str, Any], *, rereadable: bool
    ) -> None:
        self.decider = decider
        self.origins = origins
        self.positions: dict[str, Any] = dict((decider.position or {}).get("partitions", {}))
        self.log: str = (decider.position or {}).get("log", "")
        """The mark of the log that is read, where it has one."""
        self._decode = decode
        self._way = way
        self._rereadable = rereadable
        self._unsettled: dict[str, deque[Message]] = {}

    def take(self, messages: Sequence[Message], now: float) -> Taken:
        """A step for what was polled; `now` is in seconds on the wall."""
        taken = self.origins.take(messages, now)
        durable = self._settle(messages)
        return Taken([self._step(taken, durable)], durable)

    def wait(self, now: float) -> Taken:
        """See what is no longer waited for."""
        late = self.origins.give_up(now, GAP_PATIENCE)
        durable = self._settle(()) if late else []
        steps = [self._step(late, durable)] if late else []
        before = self.origins.value
        if self.origins.expire(now, SILENCE_PATIENCE):
            steps.append(self._catch_up(moved=self.origins.value > before))
        return Taken(steps, durable)

    def idle(self, to: int) -> Step:
        """Foreign messages have been silent, and the wall clock moves their watermark."""
        self.origins.advance(to)
        return self._catch_up(moved=True)

    def forget_held(self, *, connected: bool = False) -> None:
        """Whatever was not acknowledged comes again: the connection is gone or, if `connected`, it was asked for."""
        self.origins.forget_held(connected=connected)
        self._unsettled = {}

    def _settle(self, messages: Sequence[Message]) -> list[Message]:
        """What nothing is held back before."""
        if not (self._unsettled or self.origins.holds):
            return list(messages)
        for message in messages:
            self._unsettled.setdefault(message.partition, deque()).append(message)
        durable: list[Message] = []
        for partition, waiting in list(self._unsettled.items()):
            # Only from the front: of what waits behind a held message nothing needs to be looked at.
            while waiting and not self.origins.is_held(waiting[0]):
                durable.append(waiting.popleft())
            if not waiting:
                del self._unsettled[partition]
        return durable

    def _catch_up(self, *, moved: bool) -> Step:
        """What is new without a reading: of producers, and where the watermark was `moved`, of alerts."""
        self._begin()
        return self.decider.catch_up(list(self.origins.changed()), idle=moved)

    def _begin(self) -> None:
        """Let the engine know when the sources began, once their producers have told all of them how far they are."""
        first = self.origins.first
        if first is not None and self.origins.value > first:
            self.decider.engine.begin(first)

    def _step(self, taken: Sequence[Message], durable: Sequence[Message]) -> Step:
        kinds = list(map(_KIND, taken))
        places = [place for place, kind in enumerate(kinds) if kind == Kind.READINGS]
        others = [taken[place] for place, kind in enumerate(kinds) if kind != Kind.READINGS]
        readings = [taken[place] for place in places] if others else taken
        batch, message_of, found = self._decode(readings)
        if others:
            message_of = np.array(places, np.int64)[message_of]
        flags = self.origins.admit(taken, batch, message_of)
        rejects = [self._placed(readings[place], reject) for place, reject in found]
        rejects += [reject for message in others for reject in self._told(message)]
        if self._rereadable:
            self.positions.update(map(_REACHED, durable))
        self.decider.position = {**self._way, "partitions": self.positions}
        if self.log:
            self.decider.position["log"] = self.log
        self._begin()
        return self.decider.decide(batch, flags, rejects, list(self.origins.changed()))

    def _told(self, message: Message) -> list[Reject]:
        """What a producer could not read, and messages that nobody here understands: nothing goes for nothing."""
        if message.kind == Kind.REJECTS:
            try:
                return rejects_of(message.body)
            except (ValueError, KeyError, TypeError):
                return [self._placed(message, Reject(message.body, {}, "this does not say what could not be read"))]
        if message.kind == Kind.POISON:
            return [self._placed(message, Reject(message.body, {}, POISONOUS))]
        if message.kind == Kind.EXPELLED:
            return [self._placed(message, Reject(message.body, {}, message.key))]
        if message.kind not in (Kind.WATERMARK, Kind.END):
            reason = f"kind '{message.kind}' of the message is not known: it may be from a newer Tocsin"
            return [self._placed(message, Reject(message.body, {}, reason))]
        return []

    def _placed(self, message: Message, reject: Reject) -> Reject:
        """Where a message came from: a redelivery of it is the same dead letter."""
        place: Mapping[str, Any] = {"broker": self._way["broker"], "partition": message.partition, **reject.place}
        if message.producer:
            return Reject(reject.data, {**place, "producer": message.producer, "seq": message.seq}, reject.reason)
        if message.broker_id or self._rereadable:
            return Reject(reject.data, {**place, "message": message.broker_id or message.position}, reject.reason)
        return Reject(reject.data, dict(place), reject.reason)
