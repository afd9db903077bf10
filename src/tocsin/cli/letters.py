"""Commands for what could not be read: look at it, send it once more, or let go of it."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli.arguments import AsJson, Number, PipelineFile
from tocsin.cli.look import opened
from tocsin.cli.terminal import give, give_rows, say, several
from tocsin.errors import SetupError
from tocsin.instant import format_time
from tocsin.message import CONTENT_TYPE

if TYPE_CHECKING:
    from tocsin.stores import DeadLetter
    from tocsin.stores.sql import SqlStore

Numbers = Annotated[
    list[int] | None, typer.Argument(metavar="NUMBER…", help="Their numbers in the list.", show_default=False)
]
SHOWN = 10
"""So many of those that still cannot be read are told with the reason."""
All = Annotated[bool, typer.Option("--all", help="All of them.")]


def dead_letters_list(file: PipelineFile, as_json: AsJson = False) -> None:
    """List the lines that could not be read: number, place and reason."""
    with opened(file) as store:
        found = store.dead_letters()
    if as_json:
        give(json.dumps(_json(one), ensure_ascii=False) for one in found)
    elif found:
        give_rows(("number", "place", "reason"), [(str(one.id), _where(one.place), one.reason) for one in found])
        say(f"`tocsin dead-letters show {file} NUMBER` shows one as it came.")
    else:
        say("There are no dead letters in the store.")


def dead_letters_show(file: PipelineFile, number: Number) -> None:
    """Show a line that could not be read: place and reason on stderr, its bytes as they came on stdout."""
    with opened(file) as store:
        (found,) = _chosen(store, file, [number], False)
    say(f"{_where(found.place)}: {found.reason}")
    sys.stdout.flush()
    sys.stdout.buffer.write(found.data if found.data.endswith(b"\n") else found.data + b"\n")


def dead_letters_requeue(file: PipelineFile, numbers: Numbers = None, every: All = False) -> None:
    """Read dead letters once more, as the file reads them now, and send them the way of every reading."""
    from tocsin.cli.progress import announce_compiling
    from tocsin.config import load
    from tocsin.runners import requeue
    from tocsin.runners.stop import Stop

    config = load(file)
    announce_compiling()
    with opened(file) as store:
        letters = _chosen(store, file, numbers, every)
        if config.direct:
            parts = config.parts()
            parts.source.open()
            done = requeue.requeue_directly(letters, parts, store)
        else:
            publishing = config.publishing()
            if publishing.source is not None:
                publishing.source.open()
            with Stop() as stop:
                done = requeue.requeue_through(letters, publishing, stop.asked)
            if done.stopped:
                say(
                    "Stopped before the broker had confirmed everything: the dead letters stay, to be requeued once more when it is "
                    "there. What it has had already counts once all the same, if it has a time of its own"
                )
                raise typer.Exit(128 + (stop.signal or 0))
        store.drop_dead_letters(done.letters)
    say(
        f"{several(len(done.letters), 'dead letter', 'dead letters')} requeued, {several(done.readings, 'reading', 'readings')}"
    )
    kept = "stored as late" if config.readings == "all" else "counted as late and, with `readings: none`, not kept"
    if done.late:
        say(f"{several(done.late, 'reading', 'readings')} lay behind the watermark: {kept}, seen by no rule")
    if done.late is None and done.readings:
        say(f"What lies behind the watermark by now is {kept}, and seen by no rule.")
    if done.failed:
        stay = "stays" if len(done.failed) == 1 else "stay"
        say(f"{len(done.failed):,} still cannot be read and {stay}:")
        for number, reason in islice(done.failed.items(), SHOWN):
            say(f"  dead letter {number}: {reason}", number=number)
        if len(done.failed) > SHOWN:
            say(f"  and {len(done.failed) - SHOWN:,} more: `tocsin dead-letters list {file}`")


def dead_letters_drop(file: PipelineFile, numbers: Numbers = None, every: All = False) -> None:
    """Let go of dead letters for good."""
    with opened(file) as store:
        letters = _chosen(store, file, numbers, every)
        store.drop_dead_letters(letter.id for letter in letters)
    say(f"{several(len(letters), 'dead letter', 'dead letters')} dropped")


def _chosen(store: SqlStore, file: Path, numbers: list[int] | None, every: bool) -> list[DeadLetter]:
    if bool(numbers) == every:
        raise typer.BadParameter("name the numbers of some, or --all.")
    found = {letter.id: letter for letter in store.dead_letters()}
    missing = [number for number in numbers or () if number not in found]
    if missing:
        raise SetupError(f"there is no dead letter {missing[0]}: `tocsin dead-letters list {file}` lists all")
    return list(found.values()) if every else [found[number] for number in dict.fromkeys(numbers or ())]


def _json(letter: DeadLetter) -> dict[str, Any]:
    """For programs: times as they are written everywhere, though a place keeps them in nanoseconds."""
    place = _plain(letter.place)
    times = {name: format_time(place[name]) for name in ("time", "arrival") if isinstance(place.get(name), int)}
    return {"number": letter.id, **place, **times, "reason": letter.reason}


def _plain(place: dict[str, Any]) -> dict[str, Any]:
    return (
        place
        if "broker" in place or "source" in place or "line" not in place
        else {name: place[name] for name in ("file", "line") if name in place}
    )


def _where(place: dict[str, Any]) -> str:
    if "source" in place:
        hidden = ("source", "arrival", "time", CONTENT_TYPE, "precision")
        if place["source"] == "http":
            place = {"posted": format_time(place["arrival"]), **place}
        return " ".join(f"{name} {value}" for name, value in place.items() if name not in hidden)
    if "broker" not in place and "line" in place:
        return ":".join(str(value) for value in _plain(place).values())
    return " ".join(f"{name} {value}" for name, value in place.items() if name != "broker")
