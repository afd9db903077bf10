"""`tocsin top`: how far a pipeline has come, what waits where, and who holds it up."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tocsin.cli.arguments import AsJson, PipelineFile
from tocsin.cli.terminal import give, several
from tocsin.instant import LONG_AGO, SECOND, format_duration
from tocsin.message import Standing

if TYPE_CHECKING:
    from tocsin.cli.seen import Seen

EVERY = 1.0
"""Seconds between two looks."""
BOTH = 0.5
"""Seconds between the two looks of which a single answer is made, so that it has rates."""
STANDING = {Standing.LIVE: "waited for", Standing.ENDED: "ended", Standing.EXPIRED: "expired"}
"""What a producer is to the consumer, also while none of them runs."""
FLAGGED = {"late": "late", "conflict": "conflicting", "future": "from the future"}
SHOWN = 8
"""So many partitions are named with what waits in them."""


def top(file: PipelineFile, as_json: AsJson = False) -> None:
    """Watch how far a pipeline has come: its owners, its producers, what waits; Ctrl-C ends it."""
    from tocsin.cli.seen import see
    from tocsin.config import load

    config = load(file)
    found = see(config)
    if as_json or not sys.stdout.isatty():
        time.sleep(BOTH)
        found = see(config, found)
        give([json.dumps(found.to_json())] if as_json else lines_of(found))
        return
    while True:
        sys.stdout.write("\033[H\033[2J")  # the cursor home, and everything gone
        give(lines_of(found))
        time.sleep(EVERY)
        found = see(config, found)


def lines_of(seen: Seen) -> Iterator[str]:
    """For people."""
    from tocsin.cli.seen import iso

    silent = [f"{process} has it and says nothing: its broker is away, or it is frozen" for process in seen.silent]
    yield f"{seen.pipeline}: {'; '.join([*_run_by(seen), *silent]) or 'nobody runs it now'}"
    lag = "" if seen.lag is None else f", {_spoken(seen.lag)} behind the clock"
    yield f"watermark {iso(seen.watermark) or 'none yet'}{lag}; newest reading {iso(seen.newest) or 'none yet'}"
    waiting = "" if seen.waiting is None else f"{several(seen.waiting, 'message waits', 'messages wait')}; "
    rate = f"{sum(seen.rates.values()):,.0f} messages/s; " if seen.rates else ""
    yield f"{rate}{waiting}{_kept(seen)}"
    if seen.at_broker and len(seen.at_broker) > 1:
        most = sorted(seen.at_broker.items(), key=lambda item: -item[1])
        more = f" and {len(most) - SHOWN} more" if len(most) > SHOWN else ""
        yield f"at the broker: {', '.join(f'{name} {count:,}' for name, count in most[:SHOWN])}{more}"
    if seen.unasked:
        yield f"the broker does not tell what waits: {seen.unasked}"
    yield from _published(seen)
    yield from _taken(seen)


def _kept(seen: Seen) -> str:
    """What the store has of alerts, of dead letters, and of readings that no rule sees, if there are any."""
    if seen.store is None:
        return "no store yet"
    alerts = several(seen.store.alerts, "open alert", "open alerts")
    flagged = seen.store.flagged or {}
    named = [f"{flagged[flag]:,} {word}" for flag, word in FLAGGED.items() if flagged.get(flag)]
    aside = f"; readings that no rule sees: {', '.join(named)}" if named else ""
    return f"{alerts}; {several(seen.store.dead_letters, 'dead letter', 'dead letters')}{aside}"


def _published(seen: Seen) -> Iterator[str]:
    """What producers on this machine have done."""
    from tocsin.cli.seen import iso

    if seen.published:
        yield ""
        yield f"{'published by':<40} {'messages':>10} {'in spool':>9}  {'standing':<10} watermark"
    for sent in seen.published:
        waiting = "" if sent.waiting is None else f"{sent.waiting:,}"
        standing = _standing(Standing.ENDED, sent.watermark) if sent.ended else "not ended"
        yield f"{sent.producer:<40} {sent.messages:>10,} {waiting:>9}  {standing:<10} {iso(sent.watermark) or 'none yet'}"


def _taken(seen: Seen) -> Iterator[str]:
    """What the consumer has taken, by partition and producer."""
    from tocsin.cli.seen import iso

    if seen.origins:
        yield ""
        yield f"{'partition':<12} {'taken from':<40} {'messages':>10} {'a second':>9}  {'standing':<10} watermark"
    for origin in seen.origins:
        rate = seen.rates.get((origin.partition, origin.producer))
        yield (
            f"{origin.partition:<12} {origin.producer or '(foreign)':<40} {max(0, origin.next):>10,} "
            f"{'' if rate is None else f'{rate:,.0f}':>9}  {_standing(origin.standing, origin.mark):<10} {iso(origin.mark) or 'none yet'}"
        )


def _standing(standing: Standing, mark: int) -> str:
    """A source that has given nothing as yet may have anything to say later."""
    return "no reading" if standing is Standing.ENDED and mark == LONG_AGO else STANDING[standing]


def _run_by(seen: Seen) -> Iterator[str]:
    """Each process, with the partitions that it has."""
    alive = seen.store.owners if seen.store else []
    for process in dict.fromkeys(str(owner) for owner in alive):
        own = ", ".join(owner.unit for owner in alive if str(owner) == process and owner.unit)
        yield f"run by {process}{f' (partitions {own})' if own else ''}"


def _spoken(seconds: float) -> str:
    return format_duration(max(0, int(seconds)) * SECOND)
