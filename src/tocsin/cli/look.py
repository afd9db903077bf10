"""Commands that look at the alerts in a store, and their ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tocsin.cli.arguments import AsJson, Number, Pending, PipelineFile
from tocsin.cli.terminal import details, give, give_json, give_rows, give_table, number_of, say
from tocsin.errors import SetupError
from tocsin.instant import format_time

if TYPE_CHECKING:
    from tocsin.stores.sql import SqlStore


def alerts_list(file: PipelineFile, pending: Pending = False, as_json: AsJson = False) -> None:
    """List the alerts in the store, in order of since."""
    with opened(file) as store:
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
    with opened(file) as store:
        life = store.alert(number)
    if life is None:
        raise SetupError(f"there is no alert {number}: `tocsin alerts list {file} --pending` lists all")
    from tocsin.alert import key_of

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
    with opened(file) as store:
        give(move.ledger() for move in store.transitions())


@contextmanager
def opened(file: Path) -> Iterator[SqlStore]:
    """The store of a pipeline, which must be there."""
    from tocsin.config import load
    from tocsin.stores import open_store

    config = load(file)
    store = open_store(config.store, config.name, create=False)
    try:
        yield store
    finally:
        store.close()
