"""Origins: who published a message, and how far each of them has come.

An origin is a producer in one partition; foreign messages are one more origin of theirs.  Messages of
a producer are taken by their numbers: one that was seen before is dropped, one that comes too early is
held back until those before it are there.  So whatever was sent twice, or came in another order after
a crash, is taken once and in the order in which it first became durable.

A producer tells every partition when its source began.  So whoever decides one partition knows, as one who decides
all would, from when on an expected device is waited for that never reports.

The watermark is the lowest of all live origins'.  A partition that nobody has been heard of in holds it
back, until it expires; so does a producer that fell silent without saying that it has ended.

    LIVE ──▶ ENDED      it said so: there is nothing to wait for
      │ ▲      │
      ▼ └──────┘        a new message of its own
    EXPIRED             nothing was heard of it for too long
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from tocsin.instant import LONG_AGO, NEVER
from tocsin.kernels.admission import admit
from tocsin.message import Kind, Message, Origin, Standing
from tocsin.reading import Batch, Flag, Flags, Times
from tocsin.state import grown

HELD = 100_000
"""Messages of one origin that may wait for those before them; then the gap is given up."""
NOBODY, UNHEARD = "", "?"
"""The producer of foreign messages, and whoever a partition waits for of which nothing was heard yet."""


_NAME = attrgetter("partition", "producer")
_PRODUCER_SEQ = attrgetter("producer", "seq")
_PRODUCER_WATERMARK = attrgetter("producer", "watermark")
_KIND, _ARRIVAL = attrgetter("kind"), attrgetter("arrival")
"""Columns of messages are taken at once: a poll may have thousands."""
_WORDS = frozenset((Kind.WATERMARK, Kind.END))


@dataclass(slots=True)
class _Waiting:
    """What one origin holds back, by number, and since when there has been a gap."""

    held: dict[int, Message] = field(default_factory=dict)
    since: float | None = None


class Origins:
    """Every origin of one engine's partitions; `lateness` and `max_future` in nanoseconds.

    Of a producer that is met for the first time a log (`is_log`) gives the oldest message first, whatever its number
    is: older ones were let go.  Elsewhere a message may come before those that another reader, now gone, still holds; so
    there a producer's first message is number 0.

    `value` is their watermark, and `lost` counts the messages whose gap was given up.  Times on the wall are
    the caller's, in seconds: nothing here reads a clock.
    """

    def __init__(
        self, partitions: Iterable[str], lateness: int, max_future: int, now: float, *, is_log: bool = True
    ) -> None:
        self.lateness = lateness
        self.max_future = max_future
        self.value = LONG_AGO
        self.lost = 0
        self._first = -1 if is_log else 0
        self._places: dict[tuple[str, str], int] = {}
        self._names: list[tuple[str, str]] = []
        self._next: list[int] = []
        self._heard: list[float] = []
        self._waiting: dict[int, _Waiting] = {}
        self._newest: Times = np.empty(0, np.int64)
        self._mark: Times = np.empty(0, np.int64)
        self._standing: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._producer: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._numbers: dict[str, int] = {}
        self._changed: set[int] = set()
        self._unheard: dict[str, int] = {}
        self._began: dict[int, int] = {}
        self._news: list[tuple[str, str, str, int]] = []
        for partition in partitions:
            self._unheard[partition] = self._add(Origin(partition, UNHEARD))
        self._heard = [now] * len(self._heard)

    @property
    def newest(self) -> int:
        """The newest accepted time, LONG_AGO before the first."""
        return int(self._newest[: len(self._names)].max(initial=LONG_AGO))

    @property
    def first(self) -> int | None:
        """The first event time of all producers' sources; None as long as nobody told."""
        return min(self._began.values(), default=None)

    def restore(self, origins: Iterable[Origin], value: int, now: float) -> None:
        """Take up what was saved; whoever was live has until the usual time to be heard again."""
        for origin in origins:
            self._unheard_no_more(origin.partition)
            place = self._add(origin)
            if origin.first is not None:
                self._began[place] = origin.first
        self._heard = [now] * len(self._heard)
        self._changed.clear()
        self.value = value

    def take(self, messages: Sequence[Message], now: float) -> list[Message]:
        """The messages to go on with, in order: none twice, none before its time."""
        taken: list[Message] = []
        due_of, waiting_of, heard = self._next, self._waiting, self._heard
        for message, place, (producer, seq) in zip(
            messages, self._places_of(messages), map(_PRODUCER_SEQ, messages), strict=True
        ):
            heard[place] = now
            due = due_of[place]
            if not producer:
                taken.append(message)
            elif seq == due or due < 0:
                taken.append(message)
                due_of[place] = seq + 1
                if place in waiting_of:
                    taken.extend(self._follow(place))
            elif seq > due:
                waiting = waiting_of.setdefault(place, _Waiting())
                waiting.held[seq] = message
                waiting.since = now if waiting.since is None else waiting.since
        return taken

    def give_up(self, now: float, patience: float) -> list[Message]:
        """The messages behind gaps that have lasted too long, or hold back too much; what is missing counts as lost."""
        taken: list[Message] = []
        for place, waiting in list(self._waiting.items()):
            is_over = waiting.since is not None and now - waiting.since > patience
            if waiting.held and (is_over or len(waiting.held) > HELD):
                first = min(waiting.held)
                if self._heard_of(place):
                    self.lost += first - self._next[place]
                    self._news.append(("gap given up", *self._names[place], first - self._next[place]))
                self._next[place] = first
                taken.extend(self._follow(place))
        return taken

    @property
    def holds(self) -> int:
        """How many messages are held back."""
        return sum(len(waiting.held) for waiting in self._waiting.values())

    def reconnected(self, now: float) -> None:
        """Nobody could be heard until now, and no gap could fill."""
        self._heard = [now] * len(self._heard)
        for waiting in self._waiting.values():
            waiting.since = now

    def unheard_for(self, seconds: float) -> None:
        """For so long nobody could be heard, and no gap could fill: it does not count."""
        self._heard = [heard + seconds for heard in self._heard]
        for waiting in self._waiting.values():
            if waiting.since is not None:
                waiting.since += seconds

    def forget_held(self, *, connected: bool = False) -> None:
        """What is held back comes again; while `connected`, patience with the gaps before it runs on."""
        if connected:
            for waiting in self._waiting.values():
                waiting.held.clear()
        else:
            self._waiting.clear()

    def stuck(self, now: float) -> float:
        """For how many seconds there has been a gap: 0 where there is none."""
        return max(
            (now - waiting.since for waiting in self._waiting.values() if waiting.since is not None), default=0.0
        )

    def is_held(self, message: Message) -> bool:
        """Whether a message that came is held back."""
        waiting = self._waiting.get(self._places.get((message.partition, message.producer), -1))
        held = waiting.held.get(message.seq) if waiting else None
        return held is not None and held.position == message.position

    def admit(self, messages: Sequence[Message], batch: Batch, message_of: npt.NDArray[np.int64]) -> Flags:
        """Flags each reading of these messages ACCEPTED, LATE or FUTURE, in order, and moves the watermark on."""
        places = np.array(self._places_of(messages), np.int64)
        self._changed.update(np.unique(places).tolist())
        ends = np.zeros(len(messages), np.bool_)
        for at, (kind, message) in enumerate(zip(map(_KIND, messages), messages, strict=True)):
            if kind in _WORDS:
                ends[at] = kind == Kind.END and message.producer != NOBODY
                if message.body:
                    self._begin(int(places[at]), message.body)
        said = [
            LONG_AGO if watermark is None or not producer else watermark
            for producer, watermark in map(_PRODUCER_WATERMARK, messages)
        ]
        latest = [NEVER if arrival is None else arrival + self.max_future for arrival in map(_ARRIVAL, messages)]
        flags = np.zeros(len(batch), np.uint8)
        before = self._standing[: len(self._names)].copy()
        self.value = admit(
            places,
            np.searchsorted(message_of, np.arange(len(messages) + 1)),
            np.array(said, np.int64),
            np.array(latest, np.int64),
            ends,
            batch.time,
            self.lateness,
            self._newest[: len(self._names)],
            self._mark[: len(self._names)],
            self._standing[: len(self._names)],
            self._producer[: len(self._names)],
            self.value,
            np.uint8(Flag.LATE),
            np.uint8(Flag.FUTURE),
            flags,
        )
        self._changed.update(np.flatnonzero(before != self._standing[: len(before)]).tolist())
        return flags

    def expire(self, now: float, patience: float) -> bool:
        """Origins of which nothing was heard for so long no longer hold the watermark back; True if there were any."""
        silent = [
            place for place, heard in enumerate(self._heard) if now - heard > patience and self._is_awaited(place)
        ]
        # The foremost last, as if one had gone after the other: where all are silent, what it has told still counts.
        silent.sort(key=self._mark.__getitem__)
        for some in (silent[:-1], silent[-1:]):
            for place in some:
                self._standing[place] = Standing.EXPIRED
                self._changed.add(place)
                partition, producer = self._names[place]
                self._news.append(("producer expired", partition, "" if producer == UNHEARD else producer, 0))
            self._lower()
        return bool(silent)

    def _is_awaited(self, place: int) -> bool:
        return self._standing[place] == Standing.LIVE and self._names[place][1] != NOBODY

    def news(self) -> Iterator[tuple[str, str, str, int]]:
        """What was given up since the last call: ("gap given up" or "producer expired", partition, producer, messages lost)."""
        told, self._news = self._news, []
        yield from told

    def holders(self) -> list[tuple[str, str, int]]:
        """Who holds readings undecided: (partition, producer or '', how far it has come); nobody if all are decided."""
        newest = self.newest
        if newest == LONG_AGO or self.value > newest:
            return []
        live = [place for place in range(len(self._names)) if self._standing[place] == Standing.LIVE]
        found = [(*self._names[place], int(self._mark[place])) for place in live if self._mark[place] <= newest]
        return [(partition, "" if name == UNHEARD else name, mark) for partition, name, mark in found]

    @property
    def foreign(self) -> bool:
        """Whether foreign messages have come, and no producer that tells by itself how far it has come."""
        live = [name for place, name in enumerate(self._names) if self._standing[place] == Standing.LIVE]
        return bool(live) and all(producer in (NOBODY, UNHEARD) for _, producer in live)

    def advance(self, to: int) -> None:
        """Foreign messages have been silent: their watermark moves without a reading."""
        for place, (_, producer) in enumerate(self._names):
            if producer == NOBODY:
                self._mark[place] = max(int(self._mark[place]), to)
                self._changed.add(place)
        self._lower()

    def changed(self) -> Iterator[Origin]:
        """What is to be saved since the last call."""
        for place in sorted(self._changed):
            partition, producer = self._names[place]
            if producer != UNHEARD:
                yield Origin(
                    partition,
                    producer,
                    self._next[place],
                    int(self._mark[place]),
                    int(self._newest[place]),
                    Standing(int(self._standing[place])),
                    self._began.get(place),
                )
        self._changed.clear()

    def _heard_of(self, place: int) -> bool:
        """Whether anything of an origin was ever taken.

        Whoever begins in the middle of a queue that others have read before has missed nothing.
        """
        return self._next[place] > 0

    def _begin(self, place: int, body: bytes) -> None:
        """When the source of a producer began; what is no number says nothing."""
        text = body.decode("ascii", "replace")
        if text.removeprefix("-").isdecimal():
            self._began[place] = int(text)

    def _follow(self, place: int) -> Iterator[Message]:
        """The held messages that come next, until the next gap."""
        waiting = self._waiting[place]
        while (message := waiting.held.pop(self._next[place], None)) is not None:
            self._next[place] += 1
            yield message
        if waiting.held:
            waiting.since = self._heard[place]
        else:
            del self._waiting[place]

    def _places_of(self, messages: Sequence[Message]) -> list[int]:
        """The place of each message's origin; those that are new get one."""
        names = list(map(_NAME, messages))
        if not self._places.keys() >= (found := set(names)):
            for partition, producer in sorted(found - self._places.keys(), key=names.index):
                self._unheard_no_more(partition)
                self._add(Origin(partition, producer, next=self._first if producer else -1))
        return list(map(self._places.__getitem__, names))

    def _unheard_no_more(self, partition: str) -> None:
        place = self._unheard.pop(partition, None)
        if place is not None:
            self._standing[place] = Standing.EXPIRED

    def _add(self, origin: Origin) -> int:
        place = self._places[origin.partition, origin.producer] = len(self._names)
        self._names.append((origin.partition, origin.producer))
        self._next.append(origin.next)
        self._heard.append(0.0)
        self._newest, self._mark = grown(self._newest, place + 1), grown(self._mark, place + 1)
        self._standing = grown(self._standing, place + 1)
        self._newest[place], self._mark[place], self._standing[place] = origin.newest, origin.mark, origin.standing
        self._producer = grown(self._producer, place + 1)
        somebody = origin.producer not in (NOBODY, UNHEARD)
        self._producer[place] = self._numbers.setdefault(origin.producer, len(self._numbers)) if somebody else -1
        return place

    def _lower(self) -> None:
        """The watermark again, without a reading."""
        nothing = np.empty(0, np.int64)
        count = len(self._names)
        self.value = admit(
            nothing, np.zeros(1, np.int64), nothing, nothing, np.empty(0, np.bool_), nothing, self.lateness,
            self._newest[:count], self._mark[:count], self._standing[:count], self._producer[:count], self.value, np.uint8(Flag.LATE),
            np.uint8(Flag.FUTURE), np.empty(0, np.uint8),
        )  # fmt: skip
