"""The command line: `tocsin check smoker.yaml`.

Each command imports what it needs when it runs, so that those which need little start at once.
What a mistake or a broken part means for the exit code is one table, in `status.py`.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from tocsin import __version__
from tocsin.cli import before, letters, look, play, run, top
from tocsin.cli.status import Commands
from tocsin.runners.garbage import collect_seldom

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    help="Readings in, alerts out: rules on event time over sensor readings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
alerts = typer.Typer(help="Look at the alerts that are in the store.", no_args_is_help=True)
dead_letters = typer.Typer(help="Look at the lines that could not be read.", no_args_is_help=True)

app.command()(before.init)
app.command()(before.check)
app.command()(before.schema)
app.command()(run.run)
app.command()(run.publish)
app.command()(run.watch)
app.command()(run.replay)
app.add_typer(alerts, name="alerts")
alerts.command("list")(look.alerts_list)
alerts.command("show")(look.alerts_show)
alerts.command("ledger")(look.alerts_ledger)
app.add_typer(dead_letters, name="dead-letters")
dead_letters.command("list")(letters.dead_letters_list)
dead_letters.command("show")(letters.dead_letters_show)
dead_letters.command("requeue")(letters.dead_letters_requeue)
dead_letters.command("drop")(letters.dead_letters_drop)
app.command()(top.top)
app.command()(play.simulate)
app.command()(play.demo)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tocsin {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Readings in, alerts out: rules on event time over sensor readings."""


def main() -> None:
    """What `tocsin` runs."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", newline="\n")
    signal.signal(signal.SIGTERM, _terminated)
    collect_seldom()
    app(prog_name="tocsin")


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)
