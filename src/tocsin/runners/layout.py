"""What a store was filled from must be what is read now, or readings would be missed or counted again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.connectors.journal import Handed, Journal
from tocsin.consumer import SILENCE_PATIENCE
from tocsin.errors import SetupError, TocsinError
from tocsin.instant import LONG_AGO
from tocsin.message import Standing
from tocsin.runners.events import spoken

if TYPE_CHECKING:
    from tocsin.message import Origin
    from tocsin.runners.owned import Consuming
    from tocsin.stores.writer import Desk

ANEW = (
    "Put the old `broker:` back. Or begin anew behind the new one, once everything that waits behind the old one is taken: name "
    "another store, as in `store: sqlite:///another.db`, and move the producer's journal or spool away. This store stays as it "
    "is: a copy of the pipeline file as it was reads it, as in `tocsin alerts list OLD.yaml`"
)
"""What to do where readings are to come another way."""
_STRAIGHT = "its source"
_UNSAID = ""
"""The way of a spool that has never said where it is emptied."""


def fit(desk: Desk, parts: Consuming) -> str:
    """Make a store fit what is to be read: SetupError where it knows other partitions, or decides them otherwise.

    One that was filled another way, by another kind of broker or name or straight from the source, is gone on with if that way has
    run dry, and nobody goes by it any more.  Says what waits behind other brokers than this one, or ''.
    """
    _refuse_another_number(desk, parts)
    _refuse_other_partitions(desk, parts)
    _refuse_other_units(desk, parts)
    if _elsewhere(desk, parts):
        with desk.transaction(SetupError) as connection:  # in which nobody else takes or saves anything
            if before := _elsewhere(desk, parts):
                ends = _ends(parts, before)
                _refuse_what_still_waits(desk, parts, before)
                _tell_producers(parts, before, ends)
                desk.move(connection, parts.way, _those_that_are_over(desk.origins(), parts))
    return _left_behind(desk.origins(), parts)


def _left_behind(origins: Sequence[Origin], parts: Consuming) -> str:
    """What waits behind other brokers than that of now; or why the spools cannot tell, which is no reason not to consume."""
    if not origins:
        return ""
    try:
        left = _not_taken(origins, _went_elsewhere(parts, is_spool=True))
    except TocsinError as error:
        return str(error)
    return f"{left}: set `broker:` to that once nothing waits here, and let `tocsin watch` take them" if left else ""


def _elsewhere(desk: Desk, parts: Consuming) -> str:
    """By which way the store was filled, if it is another one."""
    for checkpoint in desk.checkpoints().values():
        position = checkpoint.position
        if position is not None and position.get("broker") != parts.broker.identity:
            return str(position.get("broker", _STRAIGHT))
    return ""


def _refuse_what_still_waits(desk: Desk, parts: Consuming, before: str) -> None:
    """SetupError if somebody goes by the way of before, or something may wait there, which would be missed."""
    told = f"this store was filled from {before}, and is to be filled from {parts.broker.identity} now"
    if busy := [owner for owner in desk.owners() if owner.alive]:
        raise SetupError(f"{told}, but {busy[0]} still goes by what was before: stop it first")
    if waits := "" if before == _STRAIGHT else _what_waits(desk.origins(), parts, before):
        raise SetupError(
            f"{told}: {waits}. Put the old `broker:` back and let `tocsin watch` alone go on, until `tocsin top` shows that nothing waits, "
            "and change it then. Or begin anew, "
            "with another store, as in `store: sqlite:///another.db`, and the producer's journal or spool moved away"
        )


def _ends(parts: Consuming, before: str) -> dict[Path, int]:
    """How far the files of the way before have come that are not gone on with; what is appended from now on is none of it."""
    was_journal = before.startswith("journal:")
    if before == _STRAIGHT or was_journal == _is_journal(parts):
        return {}
    found = {}
    for path in _files(parts, is_journal=was_journal):
        with closing(Journal(path, create=False)) as journal:
            found[path] = journal.span()[1]
    return found


def _tell_producers(parts: Consuming, before: str, ends: Mapping[Path, int]) -> None:
    """Leave in the producers' files that the way before has run dry.

    In those that are not gone on with, that all up to there is taken: they have but a hint, which is behind after a kill.
    """
    for path, upto in ends.items():
        with closing(Journal(path, create=False)) as journal:
            if path.suffix == ".journal":
                journal.consumed(parts.name, upto)
            else:
                journal.remove(upto)
    for path in [] if _is_journal(parts) else _files(parts, is_journal=False):
        with closing(Journal(path, create=False)) as spool:
            spool.goes_to(parts.broker.identity)
            spool.is_taken(before)


def _those_that_are_over(origins: Sequence[Origin], parts: Consuming) -> list[Origin]:
    """The producers of the way before that have not ended, and say nothing more: they go on under other names."""
    goes_on: set[str] = set()
    for path in _files(parts, is_journal=_is_journal(parts)):
        with closing(Journal(path, create=False)) as journal:
            goes_on |= journal.those_that_go_on()
    return [one for one in origins if one.standing == Standing.LIVE and one.producer not in goes_on]


def _what_waits(origins: Sequence[Origin], parts: Consuming, before: str) -> str:
    """What may wait where the store was filled from until now; '' if nothing can: all that was handed over there is taken.

    What a spool still holds goes the way of now, if that has the same spool.
    """
    was_journal = before.startswith("journal:")
    is_spool = not was_journal and not _is_journal(parts)
    handed = _handed_over(_files(parts, is_journal=was_journal), is_spool=is_spool)
    known = {producer for producer, _ in handed}
    for origin in origins:
        if not origin.producer:
            return "messages of others may wait there"
        if origin.standing == Standing.LIVE and origin.producer not in known:
            return (
                f"the producer {origin.producer} has not ended, and neither a journal nor a spool of it is here that says what it has "
                f"published. Stop it, and let `tocsin watch` behind the old one go on for {spoken(SILENCE_PATIENCE)} more, until that waits for it no longer"
            )
    by = {before: handed} if was_journal else _went_elsewhere(parts, is_spool=is_spool)
    return _not_taken(origins, {way: upto for way, upto in by.items() if way in (before, _UNSAID)})


def _went_elsewhere(parts: Consuming, *, is_spool: bool) -> dict[str, Handed]:
    """What the spools that are here handed over to every other broker than that of now."""
    found: dict[str, Handed] = {}
    for path in _files(parts, is_journal=False):
        with closing(Journal(path, create=False)) as spool:
            for way, handed in spool.handed_elsewhere(parts.broker.identity, is_spool=is_spool).items():
                found[way] = found.get(way, {}) | handed
    return found


def _not_taken(origins: Sequence[Origin], handed: Mapping[str, Handed]) -> str:
    """Whose messages the store has not had of what was handed over by some ways; '' if it has had all of them."""
    taken = {(origin.producer, origin.partition): max(0, origin.next) for origin in origins}
    for way, upto in handed.items():
        for name in sorted({producer for producer, _ in upto}):
            left = sum(max(0, number - taken.get(key, 0)) for key, number in upto.items() if key[0] == name)
            if left:
                where = f" that went to {way}" if way else ""
                return f"of the producer {name} {left:,} {'message' if left == 1 else 'messages'}{where} {'is' if left == 1 else 'are'} not taken yet"
    return ""


def _is_journal(parts: Consuming) -> bool:
    """Whether the journal is the broker now."""
    return parts.journal.suffix == ".journal"


def _files(parts: Consuming, *, is_journal: bool) -> list[Path]:
    """The journal of a pipeline, or all its spools that are here, that of dead letters sent again among them."""
    folder, name = parts.journal.parent, parts.name
    spools = [folder / f"{name}.spool", folder / f"{name}.requeue", *sorted(folder.glob(f"{name}+*.spool"))]
    return [path for path in ([folder / f"{name}.journal"] if is_journal else spools) if path.exists()]


def _handed_over(paths: Sequence[Path], *, is_spool: bool) -> Handed:
    """Of each producer and partition in these files: up to which number it has been handed over."""
    found: Handed = {}
    for path in paths:
        with closing(Journal(path, create=False)) as journal:
            found |= journal.handed_over(is_spool=is_spool)
    return found


def _refuse_other_partitions(desk: Desk, parts: Consuming) -> None:
    partitions = parts.broker.partitions
    known = {origin.partition for origin in desk.origins()}
    if known - set(partitions):
        raise SetupError(
            f"this store was filled from the partitions {', '.join(sorted(known))}, and `broker:` has "
            f"{', '.join(partitions)}: what waits in the others would never be taken. Put them back; or take a new store once the consumer has taken everything"
        )


def _refuse_another_number(desk: Desk, parts: Consuming) -> None:
    """Also once everything is taken: by another number a hash tells most devices another partition, and their past stays where it is."""
    now = parts.way.get("of")
    for checkpoint in desk.checkpoints().values():
        before = (checkpoint.position or {}).get("of")
        if now and before and before != now and checkpoint.newest != LONG_AGO:
            raise SetupError(
                f"this store was filled from {before} partitions, each decided by itself, and `broker:` has {now}: most devices would be "
                f"in another one, where nothing is known of their past. Put `partitions: {before}` back. Or begin anew, once the "
                "consumer has taken everything and `tocsin top` shows nothing that waits: delete the queues or the topic, or give `broker:` "
                "another `name`; move the producer's spool away; and name another store, as in `store: sqlite:///another.db`"
            )


def _refuse_other_units(desk: Desk, parts: Consuming) -> None:
    """What was owned and never given anything is no reason."""
    filled = {name for name, checkpoint in desk.checkpoints().items() if checkpoint.newest != LONG_AGO}
    if filled - {unit.name for unit in parts.units}:
        before, now = ("all together", "each by itself") if "" in filled else ("each by itself", "all together")
        raise SetupError(
            f"this store was filled while partitions were decided {before}, and now they are to be decided {now}: what is known of the past "
            "would be in the wrong place. Either `partitions` of `broker:` or the `by` of a rule was changed: put it back, or take a new store"
        )
