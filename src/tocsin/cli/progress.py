"""What moves on a terminal while long work goes on: how far, how fast, and which event time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from numba.core import event

from tocsin.cli.terminal import say, several
from tocsin.instant import LONG_AGO, SECOND, format_time

if TYPE_CHECKING:
    from tocsin.runners.ahead import Source
    from tocsin.stats import Stats


@contextmanager
def shown(source: Source | None) -> Iterator[Callable[[Stats], None] | None]:
    """A bar on stderr for as long as this lasts; nothing where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def update(stats: Stats) -> None:
            done = getattr(source, "done", None)  # what is followed has no end to be near to
            progress.update(task, description=_line(stats), total=None if done is None else 1.0, completed=done or 0.0)

        yield update


def announce_compiling() -> None:
    """Say so when the kernels are compiled, which the first run ever does."""
    event.register("numba:compile", _Once())  # type: ignore[no-untyped-call]


class _Once(event.Listener):
    def __init__(self) -> None:
        self._said = False

    def on_start(self, _event: event.Event) -> None:
        if not self._said:
            self._said = True
            say(
                "Compiling for this machine, which takes up to half a minute, once: only the first run with such rules does."
            )

    def on_end(self, _event: event.Event) -> None:
        """Nothing to tell."""


def _line(stats: Stats) -> str:
    time = "" if stats.newest == LONG_AGO else format_time(stats.newest // SECOND * SECOND)
    rate = f"{stats.rate:,.0f}/s" if stats.rate else ""
    return f"{several(stats.readings, 'reading', 'readings')}  {rate}  {time}"
