"""What can be seen of a pipeline from outside: in its store, in the journal or spools beside it, and at its broker.

Nothing is read away and nobody is disturbed: the broker is asked for counts alone, and only where that is cheap.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tocsin.errors import SetupError, TocsinError
from tocsin.instant import LONG_AGO, SECOND, format_time
from tocsin.message import Standing

if TYPE_CHECKING:
    from tocsin.config import Config
    from tocsin.connectors.journal import Sent
    from tocsin.message import Origin
    from tocsin.stores.sql import Progress

SOON = 2.0
"""Seconds in which a broker is to answer: people wait for it."""
ASK = 5.0
"""Seconds between two questions to a broker: each is a connection of its own."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen at one moment; `rates` are messages a second since the one before, by partition and producer.

    `store` is None as long as nothing was decided.  `at_broker` has the messages of each partition that no consumer has
    acknowledged, None where that cannot be told, and then perhaps `unasked` says why.  `silent` are processes of this machine that
    own something and say nothing.
    """

    pipeline: str
    store: Progress | None
    published: list[Sent]
    at_broker: Mapping[str, int] | None
    unasked: str
    at: float
    asked: float
    silent: Sequence[str] = ()
    rates: Mapping[tuple[str, str], float] = field(default_factory=dict)

    @property
    def origins(self) -> list[Origin]:
        """Who has published, as the consumer knows them."""
        return self.store.origins if self.store else []

    @property
    def watermark(self) -> int:
        """How far all units have come."""
        return (
            min((unit.checkpoint.watermark for unit in self.store.units), default=LONG_AGO) if self.store else LONG_AGO
        )

    @property
    def newest(self) -> int:
        """The newest event time of all."""
        return max((unit.checkpoint.newest for unit in self.store.units), default=LONG_AGO) if self.store else LONG_AGO

    @property
    def lag(self) -> float | None:
        """How many seconds it is behind the clock; None where it does not try to keep up: nobody runs it, or all has ended."""
        alive = self.store is not None and bool(self.store.owners)
        ended = bool(self.origins) and all(origin.standing is Standing.ENDED for origin in self.origins)
        return lag_of(self.watermark) if alive and not ended else None

    @property
    def waiting(self) -> int | None:
        """Every message that is known to wait: in spools, and at the broker."""
        spooled = [sent.waiting for sent in self.published if sent.waiting is not None]
        if self.at_broker is None and not spooled:
            return None
        return sum(spooled) + sum((self.at_broker or {}).values())

    def to_json(self) -> dict[str, Any]:
        """The same for programs; times ISO 8601."""
        store = self.store
        return {
            "pipeline": self.pipeline,
            "owners": [{"unit": one.unit, "process": str(one)} for one in (store.owners if store else [])],
            "silent": list(self.silent),
            "watermark": iso(self.watermark),
            "lag_seconds": self.lag,
            "newest": iso(self.newest),
            "waiting": self.waiting,
            "waiting_at_broker": self.at_broker,
            "broker_error": self.unasked or None,
            "alerts": store.alerts if store else None,
            "dead_letters": store.dead_letters if store else None,
            "late": self._flagged("late"),
            "conflicts": self._flagged("conflict"),
            "future": self._flagged("future"),
            "producers": [self._origin(origin) for origin in self.origins],
            "published": [
                {
                    "file": str(sent.file), "producer": sent.producer, "messages": sent.messages, "waiting": sent.waiting,
                    "watermark": iso(sent.watermark), "ended": sent.ended, "position": sent.position,
                }
                for sent in self.published
            ],
        }  # fmt: skip

    def _flagged(self, flag: str) -> int | None:
        """How many readings are kept with this flag, None where that is not known."""
        flagged = self.store.flagged if self.store else None
        return None if flagged is None else flagged.get(flag, 0)

    def _origin(self, origin: Origin) -> dict[str, Any]:
        return {
            "partition": origin.partition,
            "producer": origin.producer,
            "taken": max(0, origin.next),
            "messages_per_second": self.rates.get((origin.partition, origin.producer)),
            "watermark": iso(origin.mark),
            "lag_seconds": None if self.lag is None or origin.standing is Standing.ENDED else lag_of(origin.mark),
            "standing": origin.standing.name.lower(),
        }


def see(config: Config, before: Seen | None = None) -> Seen:
    """One look; rates are since the one before."""
    (store, silent), published, now = _store(config), list(_published(config)), time.monotonic()
    if store is None and not published:
        raise SetupError(
            f"{config.name}: there is neither a store nor a journal yet: `tocsin run`, `tocsin publish` or `tocsin watch` begins"
        )
    if before is not None and now - before.asked < ASK and not config.transport.embedded:
        at_broker, unasked, asked = before.at_broker, before.unasked, before.asked
    else:
        (at_broker, unasked), asked = _asked(config, store), now
    rates = {}
    if before is not None and before.store is not None and store is not None:
        taken = {(origin.partition, origin.producer): origin.next for origin in before.origins}
        for origin in store.origins:
            name = origin.partition, origin.producer
            rates[name] = max(0, origin.next - taken.get(name, origin.next)) / (now - before.at)
    return Seen(config.name, store, published, at_broker, unasked, now, asked, silent, rates)


def _store(config: Config) -> tuple[Progress | None, list[str]]:
    """What the store says, None as long as there is none; and the owners that say nothing."""
    from pathlib import Path

    from tocsin.stores import open_store

    if config.store.startswith("sqlite:///") and not Path(config.store.removeprefix("sqlite:///")).exists():
        return None, []
    with closing(open_store(config.store, config.name, create=False)) as store:
        found = store.progress()
    # Whose lease had ended is told now: a broker may take a while to answer.
    silent = dict.fromkeys(str(owner) for owner in found.owners if owner.silent)
    return replace(found, owners=[owner for owner in found.owners if owner.alive]), list(silent)


def _published(config: Config) -> Iterator[Sent]:
    """What the producers of this machine have published."""
    from tocsin.connectors.journal import Journal

    file = config.transport.journal  # `publish` and `watch` use the journal where no broker is named
    beside = () if config.transport.embedded else file.parent.glob(f"{config.name}+*{file.suffix}")
    for path in sorted({file, *beside}):
        if path.exists():
            with closing(Journal(path, create=False)) as journal:
                yield from journal.sent(is_spool=not config.transport.embedded)


def _asked(config: Config, store: Progress | None) -> tuple[Mapping[str, int] | None, str]:
    """The same, if the broker answers soon."""
    answer: list[tuple[Mapping[str, int] | None, str]] = []
    asking = threading.Thread(target=lambda: answer.append(_at_broker(config, store)), daemon=True)
    asking.start()
    asking.join(SOON)
    return answer[0] if answer else (None, f"it has not answered within {SOON:.0f} s")


def _at_broker(config: Config, store: Progress | None) -> tuple[Mapping[str, int] | None, str]:
    """What waits there by partition, or why that is not known."""
    from tocsin.connectors import waiting

    if config.transport.embedded and not config.transport.journal.exists():
        return None, ""
    positions: dict[str, Any] = {}
    for unit in store.units if store else ():
        positions |= (unit.checkpoint.position or {}).get("partitions", {})
    try:
        return waiting(config.transport.broker(os.environ), positions), ""
    except TocsinError as error:
        return None, str(error)


def iso(instant: int) -> str | None:
    """A time for programs and people; None before the first."""
    return None if instant == LONG_AGO else format_time(instant)


def lag_of(instant: int) -> float | None:
    """How many seconds an event time is behind the clock."""
    return None if instant == LONG_AGO else round((time.time_ns() - instant) / SECOND, 3)
