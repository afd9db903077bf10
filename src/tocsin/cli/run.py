"""Commands that carry readings through a pipeline: on from where it stopped, or once more from the start."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tocsin.cli.arguments import AsJson, Pending, PipelineFile
from tocsin.cli.status import UNUSABLE
from tocsin.cli.terminal import give, give_json, give_table, say, several
from tocsin.errors import SetupError

if TYPE_CHECKING:
    from tocsin.config import Config
    from tocsin.runners.local import Outcome
    from tocsin.runners.publish import Published, Publishing
    from tocsin.runners.told import Told
    from tocsin.stats import Stats
    from tocsin.stores.memory import MemoryStore
    from tocsin.stores.sql import SqlStore

Data = Annotated[
    Path | None, typer.Option("--data", help="Another recording of the same form; the store is left alone.")
]
NoStore = Annotated[bool, typer.Option("--no-store", help="Leave the store alone.")]
StoreUrl = Annotated[str | None, typer.Option("--store", help="Put the result there: sqlite:///FILE.")]
Speed = Annotated[str, typer.Option("--speed", help="1x, 60x or another multiple of real time, or max.")]
From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="WHERE",
        help="source, or store: what was admitted there, decided once more; nothing is saved.",
    ),
]
Log = Annotated[str, typer.Option("--log", metavar="FORM", help="How events are logged on stderr: console or json.")]
Separate = Annotated[
    bool, typer.Option("--separate", help="Producer and consumer as processes of their own, both looked after.")
]
ProducerName = Annotated[
    str | None,
    typer.Option("--producer", metavar="NAME", help="Its name among several producers of one pipeline."),
]
Supervised = Annotated[bool, typer.Option("--supervised", hidden=True, help="Started by `run --separate`.")]
Ledger = Annotated[bool, typer.Option("--ledger", help="Print the ledger instead of the alerts.")]


def run(file: PipelineFile, separate: Separate = False, log: Log = "console") -> None:
    """Go on from where the last run stopped: producer, consumer and store in one."""
    from tocsin.cli.logs import write_logs
    from tocsin.cli.progress import announce_compiling
    from tocsin.config import load

    write_logs(log)
    config = load(file)
    if separate:
        _run_separately(config.name, file, log)
        return
    announce_compiling()
    outcome = _run_directly(config) if config.direct else _run_through(config)
    listed = f"see `tocsin dead-letters list {file}`"
    _end(config, outcome, "Stopped. Everything up to here is saved; the next run goes on from here.", listed)
    say(f"See `tocsin alerts list {file}`.")


def publish(
    file: PipelineFile, producer: ProducerName = None, log: Log = "console", supervised: Supervised = False
) -> None:
    """The producer alone: readings from the source to the broker."""
    from tocsin.cli.logs import write_logs
    from tocsin.config import load
    from tocsin.runners.publish import publish as publish_
    from tocsin.runners.stop import Stop

    write_logs(log)
    config = load(file)
    told = _told() if supervised else None
    parts = config.publishing(_name(producer))
    say(f"publishing {file} to {parts.broker}")
    with Stop() as stop:
        published = publish_(parts, stop.asked, told.may_send.is_set if told is not None else lambda: True)
    if told is not None and stop.signal is None:
        told.published(published)
    done = "taken in: what the broker has not confirmed is kept in the spool" if published.waiting else "published"
    if published.waited and not published.readings:
        done = f"read, and {several(published.waited, 'message', 'messages')} sent that waited in the spool"
    say(f"{config.name}: {several(published.readings, 'reading', 'readings')} {done}")
    if published.rejects:
        say(
            f"warning: {several(published.rejects, 'line', 'lines')} could not be read: the consumer puts them among the dead letters"
        )
    if stop.signal is not None:
        say(f"Stopped. {_kept(parts, published)}; the next `publish` goes on from there.")
        raise typer.Exit(128 + stop.signal)


def watch(file: PipelineFile, log: Log = "console", supervised: Supervised = False) -> None:
    """The consumer alone: readings from the broker to alerts and the store, until it is stopped."""
    from tocsin.cli.logs import write_logs
    from tocsin.cli.progress import announce_compiling, shown
    from tocsin.config import load
    from tocsin.runners.local import Outcome
    from tocsin.runners.stop import Stop
    from tocsin.runners.whole import watch as watch_
    from tocsin.stores import open_store

    write_logs(log)
    config = load(file)
    told = _told() if supervised else None
    announce_compiling()
    say(f"watching {config.transport.broker(os.environ)}")
    with (
        closing(open_store(config.store, config.name, readings=config.readings)) as store,
        shown(None) as bar,
        Stop() as stop,
    ):
        stats = watch_(config.consuming, store, stop, bar, told)
    listed = f"see `tocsin dead-letters list {file}`"
    since = "since this `watch` began"
    _end(config, Outcome(stats, stop.signal), "Stopped. Everything acknowledged is saved.", listed, since)


def _name(producer: str | None) -> str | None:
    from tocsin.kinds import PIPELINE

    if producer is not None and not PIPELINE.fullmatch(producer):
        raise typer.BadParameter(f"'{producer}' is no name of a producer: expected letters, digits and - _ .")
    return producer


def _kept(parts: Publishing, published: Published) -> str:
    """Where what was read is now, and how much of it has not left."""
    if parts.embedded:
        return "What was read is in the journal"
    if not published.waiting:
        return "Everything that was read is with the broker"
    wait = "waits" if published.waiting == 1 else "wait"
    return f"{several(published.waiting, 'message', 'messages')} still {wait} in the spool {parts.journal}"


def _told() -> Told:
    from tocsin.runners.told import Told

    return Told()


def _run_separately(name: str, file: Path, log: str) -> None:
    """Through the broker that the file names, or the journal, in two processes."""
    from tocsin.cli.logs import pass_on
    from tocsin.runners import separate

    code = separate.run(name, file, ["--log", log], pass_on(log))
    if code:
        raise typer.Exit(code)
    say(f"See `tocsin alerts list {file}`.")


def _run_directly(config: Config) -> Outcome:
    from tocsin.cli.progress import shown
    from tocsin.runners import local
    from tocsin.stores import open_store

    parts = config.parts()
    with (
        closing(open_store(config.store, config.name, readings=config.readings)) as store,
        closing(parts.source),
        shown(parts.source) as bar,
    ):
        return local.run(parts, store, idle_after=config.idle_after, progress=bar)


def _run_through(config: Config) -> Outcome:
    """Through the broker that the file names."""
    from tocsin.cli.progress import shown
    from tocsin.runners import whole
    from tocsin.stores import open_store

    with closing(open_store(config.store, config.name, readings=config.readings)) as store, shown(None) as bar:
        return whole.run(config.publishing, config.consuming, store, bar)


def replay(
    file: PipelineFile,
    data: Data = None,
    no_store: NoStore = False,
    store: StoreUrl = None,
    speed: Speed = "max",
    pending: Pending = False,
    as_json: AsJson = False,
    ledger: Ledger = False,
    from_: From = "source",
) -> None:
    """Read the whole source once more from its start, and show the alerts: nobody is notified."""
    from tocsin.config import load

    if from_ not in ("source", "store"):
        raise typer.BadParameter(f"--from takes source or store, not '{from_}'.")
    if from_ == "store" and (data or no_store or store or speed != "max"):
        raise typer.BadParameter("--from store decides what the store has admitted: no other option fits beside it.")
    if as_json and ledger:
        raise typer.BadParameter("--json and --ledger exclude each other: one prints alerts, the other transitions.")
    if no_store and store:
        raise typer.BadParameter("--store and --no-store exclude each other.")
    pace = _speed(speed)
    config = load(file)
    url = None if no_store or (data and not store) else _store_url(store) or config.store
    outcome, found = (
        _replay_admitted(config)
        if from_ == "store"
        else _replay(config.reading_from(data) if data else config.bounded(), url, pace)
    )
    if ledger:
        give(move.ledger() for move in found.transitions())
    elif as_json:
        give_json(found.alerts(pending))
    else:
        give_table(found.alerts(pending))
    letters = "; ".join(
        f"{reject.place.get('file')}:{reject.place.get('line')}: {reject.reason}" for reject in found.rejects[:3]
    )
    _end(config, outcome, "Stopped before the end. Nothing of this replay is in the store.", letters)


def _replay(config: Config, url: str | None, speed: float | None) -> tuple[Outcome, MemoryStore]:
    from tocsin.cli.progress import announce_compiling, shown
    from tocsin.runners import local

    announce_compiling()
    parts = config.parts()
    with _opened(config, url) as store, closing(parts.source), shown(parts.source) as bar:
        return local.replay(parts, speed=speed, store=store, progress=bar)


def _replay_admitted(config: Config) -> tuple[Outcome, MemoryStore]:
    from tocsin.cli.progress import announce_compiling, shown
    from tocsin.runners import local
    from tocsin.stores import open_store

    announce_compiling()
    with closing(open_store(config.store, config.name, create=False)) as store, shown(None) as bar:
        return local.replay_admitted(config.rules, config.engine_of, store, bar)


def _opened(config: Config, url: str | None) -> AbstractContextManager[SqlStore | None]:
    from tocsin.stores import open_store

    return closing(open_store(url, config.name)) if url else nullcontext()


def _speed(text: str) -> float | None:
    from tocsin.runners.pace import parse_speed

    try:
        return parse_speed(text)
    except SetupError as error:
        raise typer.BadParameter(str(error)) from None


def _store_url(text: str | None) -> str | None:
    from tocsin.config import store_url

    try:
        return store_url(text, Path()) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _end(config: Config, outcome: Outcome, stopped: str, dead_letters: str, since: str = "") -> None:
    """Tell how it went, `since` when that is counted; an exit code if it was stopped."""
    say(_summary(config.name, outcome.stats, since), **_counts(config.name, outcome.stats))
    if outcome.exit_code:
        say(stopped)
        raise typer.Exit(outcome.exit_code)
    if outcome.stats.rejects:
        say(f"{several(outcome.stats.rejects, 'line', 'lines')} could not be read: {dead_letters}", "warning")
    if config.notify:
        say("`notify` is kept for later: this version tells nobody", "warning")
    for warning in outcome.stats.warnings():
        say(warning, "warning")
    if outcome.stats.rejects and not outcome.stats.readings:
        say(
            "error: nothing could be read. Mend what the dead letters name, which is mostly `source`; then send them once more "
            "with `tocsin dead-letters requeue --all`, or take a new store: `run` has saved that it has been through these lines",
            "error",
        )
        raise typer.Exit(UNUSABLE)


def _counts(name: str, stats: Stats) -> dict[str, Any]:
    """The summary for programs."""
    return {
        "event": "summary",
        "pipeline": name,
        "readings": stats.readings,
        "seconds": round(stats.seconds, 3),
        "readings_per_second": round(stats.rate, 1),
        "late": stats.late,
        "conflicts": stats.conflicts,
        "repeats": stats.repeats,
        "future": stats.future,
        "dead_letters": stats.rejects,
        "fired": stats.fired,
        "resolved": stats.resolved,
    }


def _summary(name: str, stats: Stats, since: str) -> str:
    counts = (
        f"{stats.late:,} late",
        several(stats.conflicts, "conflict", "conflicts"),
        several(stats.repeats, "repeat", "repeats"),
        f"{stats.future:,} future",
        several(stats.rejects, "dead letter", "dead letters"),
        several(stats.fired, "alert fired", "alerts fired"),
        f"{stats.resolved:,} resolved",
    )
    rate = f" ({stats.rate:,.0f}/s)" if stats.rate else ""
    began = f" {since}" if since else ""
    read = several(stats.readings, "reading", "readings")
    return f"{name}: {read} in {stats.seconds:.1f} s{began}{rate}, {', '.join(counts)}"
