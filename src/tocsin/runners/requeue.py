"""Dead letters once more: read again, as the pipeline file reads them now, and sent the way of every reading.

What still cannot be read stays where it is.  What lies behind the watermark by now is late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tocsin.checkpoint import resume
from tocsin.codecs.messages import Decoder as MessageDecoder
from tocsin.codecs.readings import Decoder
from tocsin.errors import EndOfInput
from tocsin.ingest import SOURCE, Ingest, post_of
from tocsin.message import JSON, Message
from tocsin.reading import Batch, Flag, Series
from tocsin.record import Decoded, Position, Record
from tocsin.runners.local import Parts, refuse_second
from tocsin.runners.places import message_at
from tocsin.runners.publish import Publishing, publish

if TYPE_CHECKING:
    from tocsin.codecs import MessageSettings
    from tocsin.connectors.http import HttpSettings
    from tocsin.source import DecodingSource
    from tocsin.stores import DeadLetter
    from tocsin.stores.sql import SqlStore


@dataclass(frozen=True, slots=True)
class Requeued:
    """What became of dead letters: those that are sent, how many readings they held, and how many of these were late.

    `late` is None where a consumer elsewhere decides that.  `stopped` says that the broker has not confirmed all of it: no letter
    is counted as sent then, and what waits in the spool goes with the next ones.  `failed` says of those that cannot be read why not.
    """

    letters: list[int]
    readings: int
    late: int | None
    stopped: bool = False
    failed: Mapping[int, str] = field(default_factory=dict)


def read_again(
    letters: Sequence[DeadLetter],
    source: DecodingSource | None,
    series: Series,
    mapping: MessageSettings | None = None,
    listen: HttpSettings | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[list[int], list[Decoded], dict[int, str]]:
    """(numbers of the letters that can be read now, what they hold, why others cannot be); of some only, if it is stopped."""
    messages = Decoder(series)
    foreign = MessageDecoder(mapping, series) if mapping else None
    posts = Ingest(series, lambda _: None, listen.device_tag) if listen else None
    numbers, found, failed = [], [], {}
    for letter in letters:
        if stopped():
            break
        if "broker" in letter.place or not {"source", "line"} & letter.place.keys():
            # It came out of a broker, or was on its way into one, in our own form.
            kind = (
                JSON if {"element", "line"} & letter.place.keys() else ""
            )  # the part of a message, which may begin anyhow
            held = messages.decode([Message(letter.data, content_type=kind)])
            decoded = Decoded(held.batch, [reject for _, reject in held.rejects], {})
        elif letter.place.get("source") == SOURCE and posts is not None:
            posted = posts.read(post_of(letter.data, letter.place))
            decoded = Decoded(posted.batch, posted.rejects, {})
        elif "source" in letter.place and foreign is not None:
            message, arrival = message_at(letter.place, letter.data)
            batch, faults = foreign.decode([message], [arrival])
            decoded = Decoded(batch, [reject for _, reject in faults], {})
        elif source is None or "source" in letter.place:
            failed[letter.id] = "it came from another source than `source` is now, which says nothing of its form"
            continue
        else:
            place = {"offset": 1, "earlier": 0, **letter.place}  # not the file's first line, so no header
            decoded = source.decode(Record(letter.data, place, place))
        if decoded.rejects:
            failed[letter.id] = decoded.rejects[0].reason
        else:
            numbers.append(letter.id)
            found.append(decoded)
    return numbers, found, failed


def requeue_directly(letters: Sequence[DeadLetter], parts: Parts, store: SqlStore) -> Requeued:
    """Into the engine of a pipeline without a broker, as a step of its own."""
    writer = store.writer(parts.engine.series)
    try:
        pipeline = parts.pipeline(writer)
        refuse_second(writer)
        start = resume(writer, parts.rules, parts.engine)
        parts.watermark.newest = start.newest
        parts.watermark.advance(start.watermark)
        pipeline.decider.position, pipeline.decider.counted = start.position, start.counted
        numbers, found, failed = read_again(letters, parts.source, parts.engine.series)  # type: ignore[arg-type]
        if not found:
            return Requeued([], 0, 0, failed=failed)
        batch = Batch.join([part.batch for part in found])
        flags = parts.watermark.admit(batch)
        pipeline.save(pipeline.decider.decide(batch, flags))
    finally:
        writer.close()
        parts.source.close()
    return Requeued(numbers, len(batch), int((flags == Flag.LATE).sum()), failed=failed)


def requeue_through(letters: Sequence[DeadLetter], parts: Publishing, stopped: Callable[[], bool]) -> Requeued:
    """To the broker, as a producer of their own."""
    mapping = parts.foreign[1] if parts.foreign else None
    numbers, found, failed = read_again(letters, parts.source, parts.series, mapping, parts.listen, stopped)  # type: ignore[arg-type]
    if parts.source is not None:
        parts.source.close()
    if stopped() or not found:
        return Requeued([], 0, None, stopped=stopped(), failed=failed)
    journal = parts.journal if parts.embedded else parts.journal.with_suffix(".requeue")
    # What was measured somewhere comes once more now: what lies ahead of that is from the future.
    arrival = time.time_ns() if any("arrival" in letter.place for letter in letters) else None
    own = replace(
        parts, name=f"{parts.name}-requeue", source=_Given(found), listen=None, foreign=None, journal=journal, before=journal,
        in_order=False,
        arrival=arrival,
    )  # fmt: skip
    published = publish(own, stopped)
    if published.waiting or published.readings < sum(len(decoded.batch) for decoded in found):
        return Requeued([], published.readings, None, stopped=True)
    return Requeued(numbers, published.readings, None, failed=failed)


class _Given:
    """A source of what is there already."""

    bounded = True

    def __init__(self, decoded: Iterable[Decoded]) -> None:
        self._decoded = iter(decoded)

    def open(self, position: Position | None = None) -> None:
        """There is nothing to open."""

    def poll(self, timeout: float = 0.0) -> Decoded | None:  # noqa: ARG002
        """The next one."""
        found = next(self._decoded, None)
        if found is None:
            raise EndOfInput("that was all")
        return found

    def close(self) -> None:
        """There is nothing to close."""
