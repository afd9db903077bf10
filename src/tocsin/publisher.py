"""The producer's half: readings of a source into a journal, numbered, once each.

A step takes what was read and decoded, makes messages of it, and commits them together with the position of
the source and its watermark.  What was killed in between goes on from the last commit, with the same
numbers.  So no reading is published twice under two numbers, and none is left out.

What could not be read travels too: the dead letters have their home in the consumer's store.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tocsin.errors import RunError, SetupError
from tocsin.instant import LONG_AGO, NEVER
from tocsin.message import JSON, Kind, Message
from tocsin.partition import LONGEST_NAMES, NO_QUEUE, TOO_LONG
from tocsin.pipeline import backwards
from tocsin.reading import Batch, Flag, Flags
from tocsin.record import Reject, cut

if TYPE_CHECKING:
    from tocsin.ingest import Posted
    from tocsin.partition import Partitioner
    from tocsin.record import Decoded, Position
    from tocsin.watermark import Watermark

READINGS = 2_000
"""Readings in one message at most: some 50 to 200 kilobytes."""
LARGEST = 512 << 10
"""Bytes in one message at most, where it can be parted: Kafka takes a megabyte unless it is told otherwise."""
LETTER = 256 << 10
"""Bytes that are kept of something that could not be read."""
LONGEST_WORD = 16 << 10
"""Characters of a word of its place, such as a key."""

_WHY_NOT = {
    NO_QUEUE: "no queue of `broker:` is for this device",
    TOO_LONG: f"its names and labels have more than {LONGEST_NAMES:,} bytes, too many for a broker",
}

Encode = Callable[[Batch], bytes]


class Log(Protocol):
    """Where a producer's messages become durable: a producer of a journal."""

    journal: Any
    id: str
    missing: int
    state: Mapping[str, Any]
    numbers: Mapping[str, int]

    def append(self, messages: Sequence[Message], state: Mapping[str, Any], keys: Sequence[str] = ()) -> None:
        """Messages and the state after them, and keys to remember, together or not at all."""
        ...

    def leave(self) -> None:
        """Be this producer no more."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...

    def known(self, keys: Sequence[str]) -> set[str]:
        """Which of these keys are remembered."""
        ...

    def see_that_it_is_ours(self) -> None:
        """TakenOver if another process is this producer by now."""
        ...


class Publisher:
    """One source's readings on their way into a log.

    `watermark` is the producer's own.  `in_order` says that a reading which comes late ends the run, as for a
    bounded file without lateness.  `content_type` is that of `encode`.
    """

    def __init__(
        self,
        log: Log,
        partitioner: Partitioner,
        watermark: Watermark,
        encode: Encode,
        content_type: str,
        *,
        in_order: bool = False,
    ) -> None:
        self.log = log
        self.watermark = watermark
        self._partitioner = partitioner
        self._encode = encode
        self._content_type = content_type
        self._in_order = in_order
        self._told = LONG_AGO
        self._first: int = log.state.get("first", NEVER)
        self.seen = 0
        """Readings so far that are not from the future: those say that the source is alive."""
        self._refuse_other_partitions()
        watermark.newest = log.state.get("newest", LONG_AGO)
        watermark.advance(log.state.get("watermark", LONG_AGO))
        self.position: Position | None = log.state.get("position")
        self.ended: bool = log.state.get("ended", False)
        if any(partition not in log.numbers for partition in partitioner.partitions):
            self._tell(Kind.WATERMARK)  # so that every partition knows from the start whom it has to wait for

    def _refuse_other_partitions(self) -> None:
        """A device's readings must not go through two partitions at once; a queue more moves nobody."""
        before = self.log.state.get("partitions", self._partitioner.partitions)
        if self._partitioner.is_named and set(before) <= set(self._partitioner.partitions):
            return
        if before != self._partitioner.partitions:
            raise SetupError(
                f"`broker`: this pipeline has published into the partitions {', '.join(before)}, and is to publish into "
                f"{', '.join(self._partitioner.partitions)}: a device would be in two of them. Put it back; or let the "
                f"consumer take everything, then begin anew: another `name` in `broker:`, another `store:`, and {self.log.journal.path} moved away"
            )

    def take(self, decoded: Sequence[Decoded], arrival: int | None = None) -> int:
        """Publish what was read; returns how many readings that were.  `arrival` is when they came, None of a recording."""
        batch = Batch.join([part.batch for part in decoded])
        newest, flags = self.watermark.newest, self.watermark.admit(batch, arrival)
        if self._in_order and Flag.LATE in flags:
            raise RunError(backwards(newest, batch, flags, decoded))
        self._note_first(batch, flags)
        self.position = decoded[-1].position
        rejects = [reject for part in decoded for reject in part.rejects]
        messages = self._messages(batch, arrival, rejects, self.position.get("file"))
        self._append([*messages, *_rejected(rejects, self._partitioner.partitions[0])])
        return len(batch)

    def post(self, posts: Sequence[Posted], arrival: int) -> int:
        """Publish what has just been measured and posted; returns how many readings that were.

        `arrival` is now.  A post's key tells one that is repeated, here or in an earlier call.
        """
        known = self.log.known([post.key for post in posts if post.key is not None])
        fresh = []
        for post in posts:
            if post.key is None or post.key not in known:
                fresh.append(post)
            if post.key is not None:
                known.add(post.key)
        if not fresh:
            return 0
        batch = Batch.join([post.batch for post in fresh])
        self._note_first(batch, self.watermark.admit(batch, arrival))
        rejects = [reject for post in fresh for reject in post.rejects]
        messages = list(self._messages(batch, arrival, rejects))
        self._append([*messages, *_rejected(rejects, self._partitioner.partitions[0])], sorted(known))
        return len(batch)

    def feed(
        self, batch: Batch, rejects: Sequence[Reject], position: Position | None, arrival: int, keys: Sequence[str]
    ) -> None:
        """Publish what messages of others held; `keys` are their stable names, to be known when they come again."""
        self._note_first(batch, self.watermark.admit(batch, arrival))
        self.position = position
        bad = list(rejects)
        messages = list(self._messages(batch, arrival, bad))
        self._append([*messages, *_rejected(bad, self._partitioner.partitions[0])], keys=keys)

    def tell(self, to: int | None = None, *, again: bool = False) -> None:
        """Tell every partition how far this producer has come; with `to`, the wall clock has moved it there.

        Where that is no news, see that no other process is this producer by now.

        `again` says it though it is no news, so that nobody takes a producer for dead whose source is quiet; one that has had nothing
        yet is not to be waited for.
        """
        if to is not None:
            self.watermark.advance(to)
        is_news = self.watermark.value > self._told or not self.log.numbers
        if is_news or (again and self.watermark.value != LONG_AGO and not self.ended):
            self._tell(Kind.WATERMARK)
        else:
            self.log.see_that_it_is_ours()

    def rest(self) -> None:
        """The source is quiet.  If it has given no reading as yet, say, once, that nobody is to wait for it."""
        if self.watermark.value == LONG_AGO and not self.ended:
            self._tell(Kind.END)

    def finish(self) -> None:
        """The source has ended: say so, once."""
        if not self.ended:
            self.watermark.end()
            self._tell(Kind.END)

    def _tell(self, kind: Kind) -> None:
        self._append(self._word(kind))

    def _word(self, kind: Kind) -> list[Message]:
        """Every partition is told how far this producer has come, and when its source began."""
        self._told = self.watermark.value
        body = b"" if self._first == NEVER else str(self._first).encode()
        return [Message(body, partition, kind=kind) for partition in self._partitioner.partitions]

    def _note_first(self, batch: Batch, flags: Flags) -> None:
        """Readings may come before the first of them, until the watermark has passed it: those are late."""
        self.seen += int((flags != Flag.FUTURE).sum())
        accepted = batch.time[flags == Flag.ACCEPTED]
        self._first = min(self._first, int(accepted.min(initial=NEVER)))

    @property
    def _is_passed(self) -> bool:
        return self.watermark.value > self._first

    def _messages(
        self, batch: Batch, arrival: int | None, rejects: list[Reject], file: str | None = None
    ) -> Iterator[Message]:
        """Messages of one partition each; readings, of a file or not, for which there is no partition become rejects."""
        if not len(batch):
            return
        places = self._partitioner.places()[batch.code]
        first = int(places[0])
        parts = [(first, batch)] if bool((places == first).all()) else _split(batch, places)
        for place, part in parts:
            if place < 0:
                rejects.extend(self._not_to_be_sent(part, file, _WHY_NOT[place]))
                continue
            for low in range(0, len(part), READINGS):
                for some, body in self._encoded(part.take(slice(low, low + READINGS))):
                    key = self._partitioner.key(int(some.code[0])) if bool((some.code == some.code[0]).all()) else ""
                    partition = self._partitioner.partitions[place]
                    yield Message(body, partition, self._content_type, key=key, arrival=arrival)

    def _encoded(self, batch: Batch) -> Iterator[tuple[Batch, bytes]]:
        """A batch as bodies of messages: several where names and labels are long."""
        body = self._encode(batch)
        if len(body) <= LARGEST or len(batch) == 1:
            yield batch, body
            return
        half = len(batch) // 2
        for part in (slice(0, half), slice(half, None)):
            yield from self._encoded(batch.take(part))

    def _not_to_be_sent(self, batch: Batch, file: str | None, why: str) -> Iterator[Reject]:
        for code in np.unique(batch.code).tolist():
            place = {"device": batch.series.describe(code)[0], **({"file": file} if file else {})}
            yield Reject(self._encode(batch.take(batch.code == code)), place, why)

    def _append(self, messages: Sequence[Message], keys: Sequence[str] = ()) -> None:
        if messages:
            self.ended = messages[-1].kind == Kind.END  # any other is waited for again by whoever takes it
        state = {
            "position": self.position,
            "newest": self.watermark.newest,
            "watermark": self.watermark.value,
            "ended": self.ended,
            "partitions": self._partitioner.partitions,
            "first": self._first,
        }
        if self._is_passed and self.log.state.get("watermark", LONG_AGO) <= self.log.state.get("first", NEVER):
            # Nobody may decide anything before knowing this, so it goes before what lets them.
            messages = [*(() if _is_word(messages) else self._word(Kind.WATERMARK)), *messages]
        if self.watermark.value != LONG_AGO:
            messages = list(messages)
            # Only the last one of a partition: readings of this step are before it.
            for place in {message.partition: place for place, message in enumerate(messages)}.values():
                messages[place] = messages[place]._replace(watermark=self.watermark.value)
        self.log.append(messages, state, keys)


def rejects_of(body: bytes) -> list[Reject]:
    """What a message of kind `rejects` holds."""
    return [Reject(base64.b64decode(item["data"]), item["place"], item["reason"]) for item in json.loads(body)]


def _is_word(messages: Sequence[Message]) -> bool:
    """Whether these tell every partition already."""
    return bool(messages) and messages[-1].kind in (Kind.WATERMARK, Kind.END)


def _rejected(rejects: Sequence[Reject], partition: str) -> Iterator[Message]:
    """Messages of kind `rejects`, none of them too large."""
    written: list[str] = []
    size = 0
    for item in map(_written, rejects):
        if written and size + len(item) > LARGEST:
            yield _of_rejects(written, partition)
            written, size = [], 0
        written.append(item)
        size += len(item)
    if written:
        yield _of_rejects(written, partition)


def _of_rejects(written: Sequence[str], partition: str) -> Message:
    return Message(f"[{','.join(written)}]".encode(), partition, JSON, kind=Kind.REJECTS)


def _written(reject: Reject) -> str:
    data, reason = reject.data, reject.reason
    if len(data) > LETTER:
        reason = f"{reason} (its first {LETTER:,} of {len(data):,} bytes are kept)"
    text = base64.b64encode(data[:LETTER]).decode()
    place = {name: cut(said, LONGEST_WORD) if isinstance(said, str) else said for name, said in reject.place.items()}
    return json.dumps({"data": text, "place": place, "reason": reason})


def _split(batch: Batch, places: np.ndarray) -> Iterator[tuple[int, Batch]]:
    """The batch by partition, each part in its order."""
    for place in np.unique(places).tolist():
        yield place, batch.take(places == place)
