"""One unit that this process owns: its engine where the store says it stood, and its half of the consumer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tocsin.checkpoint import resume
from tocsin.codecs.readings import Decoder
from tocsin.consumer import Consumer, Taken
from tocsin.origin import Origins
from tocsin.pipeline import Decider
from tocsin.reading import Flag
from tocsin.runners.idle import Idleness
from tocsin.runners.poison import Poison

if TYPE_CHECKING:
    from tocsin.connectors import Broker
    from tocsin.engine import Engine
    from tocsin.message import Message
    from tocsin.rule import Rule
    from tocsin.stores import Step
    from tocsin.stores.writer import Desk
    from tocsin.unit import Unit

STUCK = 5.0
"""Seconds of a gap after which a broker that gives only so much ahead is asked to begin again: what is missing may wait
behind what it has given and holds."""

BACKLOG = 1_000
"""So many messages at once, and others may wait behind them: though none holds a reading, nobody is idle."""


@dataclass(frozen=True, slots=True)
class Consuming:
    """What a pipeline file says of its consumer, made but not begun; `engine_of` makes a fresh engine for a unit's name.

    `journal` is the file of the producer without a name, if it is on this machine.
    """

    name: str
    rules: Sequence[Rule]
    units: Sequence[Unit]
    engine_of: Callable[[str], Engine]
    lateness: int
    max_future: int
    idle_after: int
    broker: Broker
    journal: Path

    @property
    def way(self) -> dict[str, Any]:
        """By what a store is filled: the broker, and `of` how many partitions those are whose place a hash tells and that are decided apart."""
        apart = len(self.units) > 1 and self.broker.queue is None
        return {"broker": self.broker.identity} | ({"of": len(self.broker.partitions)} if apart else {})


class Owned:
    """A unit from the store's checkpoint on.

    Making it takes it over from whoever owned it before; if that process may still be alive, only `by_force`,
    as where the broker has handed it out, and otherwise TakenOver is raised.
    """

    def __init__(self, unit: Unit, parts: Consuming, desk: Desk, now: float, is_log: bool, by_force: bool) -> None:
        self.unit = unit
        engine = parts.engine_of(unit.name)
        self.writer = desk.writer(engine.series, unit.name, politely=not by_force)
        start = resume(self.writer, parts.rules, engine)
        self.began = start.moves
        self.origins = Origins(unit.partitions, parts.lateness, parts.max_future, now, is_log=is_log)
        known = [origin for origin in desk.origins() if origin.partition in unit.partitions]
        self.origins.restore(known, start.watermark, now)
        decider = Decider(parts.rules, engine, self.origins, start.position, start.counted)
        decode = Decoder(engine.series).decode
        self._consumer = Consumer(decider, self.origins, decode, parts.way, rereadable=is_log)
        self._idleness = Idleness(self.origins, parts.idle_after)
        self.poison = Poison(desk, self.writer, lambda message: self._consumer.take([message], now), rereadable=is_log)
        self._heard = self._asked = now
        self.has_taken = False

    def position(self, partition: str) -> Any:
        """Where reading goes on."""
        return self._consumer.positions.get(partition)

    def goes_on_in(self, log: str) -> bool:
        """Whether this is the log that was read before, by its mark; it is the one that is read from now on."""
        before, self._consumer.log = self._consumer.log, log
        return not before or not self._consumer.positions or before == log

    def take(self, messages: Sequence[Message], now: float) -> Taken:
        """What is to be saved of messages, and acknowledged then."""
        taken = self._consumer.take(messages, now)
        if len(messages) >= BACKLOG or any(map(_is_alive, taken.steps)):
            self._heard = now
        return taken

    def look(self, now: float) -> Taken:
        """What time alone has brought: gaps and silent producers to give up, idleness of foreign ones."""
        taken = self._consumer.wait(now)
        if self.origins.foreign:
            taken.steps.extend(self._consumer.idle(to) for to in self._idleness.due(now - self._heard))
        return taken

    def is_stuck(self, now: float) -> bool:
        """Whether the broker should be asked once more for what is not acknowledged; so every few seconds at most."""
        if self.origins.stuck(now) < STUCK or now - self._asked < STUCK:
            return False
        self._asked = now
        return True

    def forget_held(self, *, connected: bool = False) -> None:
        """Whatever was not acknowledged comes again; while `connected`, patience with gaps runs on."""
        self._consumer.forget_held(connected=connected)


def _is_alive(step: Step) -> bool:
    """Whether a step holds readings that say so: those from the future do not move anything."""
    return step.flags is not None and bool((step.flags != Flag.FUTURE).any())
