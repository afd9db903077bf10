"""Commands that look at a store: its alerts, their ledger, and the lines that could not be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli.arguments import AsJson, Pending, PipelineFile
from tocsin.cli.terminal import details, give, give_json, give_rows, give_table, key_of, number_of, say
from tocsin.errors import SetupError
from tocsin.instant import format_time

if TYPE_CHECKING:
    from tocsin.stores.sql import SqlStore

Number = Annotated[int, typer.Argument(metavar="NUMBER", help="Its number in the list.", show_default=False)]


def alerts_list(file: PipelineFile, pending: Pending = False, as_json: AsJson = False) -> None:
    """List the alerts in the store, in order of since."""
    with _store(file) as store:
        found = store.numbered_alerts(pending)
    if as_json:
        give_json(alert for _, alert in found)
    elif found:
        give_table([alert for _, alert in found], [number for number, _ in found])
        say(f"`tocsin alerts show {file} NUMBER` shows one with its transitions.")
    else:
        say("There are no alerts in the store.")


def alerts_show(file: PipelineFile, number: Number) -> None:
    """Show one alert with every transition that led to where it stands."""
    with _store(file) as store:
        life = store.alert(number)
    if life is None:
        raise SetupError(f"there is no alert {number}: `tocsin alerts list {file} --pending` lists all")
    for name, value in details(life.alert):
        give([f"{name:<6} {key_of(value.items()) if isinstance(value, dict) else value}"])
    give([""])
    give_rows(
        ("time", "from", "to", "level", "value"),
        [
            (
                format_time(move.time),
                move.from_.name.lower(),
                move.to.name.lower(),
                move.level or "",
                number_of(move.value),
            )
            for move in life.transitions
        ],
    )


def alerts_ledger(file: PipelineFile) -> None:
    """Print the ledger: one JSON line for each transition, the same for every run that agrees."""
    with _store(file) as store:
        give(move.ledger() for move in store.transitions())


def dead_letters_list(file: PipelineFile, as_json: AsJson = False) -> None:
    """List the lines that could not be read: number, place and reason."""
    with _store(file) as store:
        found = store.dead_letters()
    if as_json:
        give(json.dumps({"id": one.id, **_plain(one.place), "reason": one.reason}, ensure_ascii=False) for one in found)
    elif found:
        give_rows(("number", "place", "reason"), [(str(one.id), _where(one.place), one.reason) for one in found])
        say(f"`tocsin dead-letters show {file} NUMBER` shows one as it came.")
    else:
        say("There are no dead letters in the store.")


def dead_letters_show(file: PipelineFile, number: Number) -> None:
    """Show a line that could not be read: place and reason on stderr, its bytes as they came on stdout."""
    import sys

    with _store(file) as store:
        found = next((one for one in store.dead_letters() if one.id == number), None)
    if found is None:
        raise SetupError(f"there is no dead letter {number}: `tocsin dead-letters list {file}` lists all")
    say(f"{_where(found.place)}: {found.reason}")
    sys.stdout.flush()
    sys.stdout.buffer.write(found.data if found.data.endswith(b"\n") else found.data + b"\n")


@contextmanager
def _store(file: Path) -> Iterator[SqlStore]:
    from tocsin.config import load
    from tocsin.stores import open_store

    config = load(file)
    store = open_store(config.store, config.name, create=False)
    try:
        yield store
    finally:
        store.close()


def _plain(place: dict[str, Any]) -> dict[str, Any]:
    return {name: place[name] for name in ("file", "line") if name in place}


def _where(place: dict[str, Any]) -> str:
    return ":".join(str(value) for value in _plain(place).values())
