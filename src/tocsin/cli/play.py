"""Commands that need nothing of yours: made-up recordings, and a demonstration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.arguments import Force
from tocsin.cli.terminal import write
from tocsin.errors import did_you_mean


def simulate(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="What to simulate: smoker or heart-rate.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; stdout when unsaid.")] = None,
    force: Force = False,
    seed: Annotated[int, typer.Option(help="Another number, another recording; the same one, the same bytes.")] = 1,
) -> None:
    """Make a recording of a smoker or of patients' heart rates."""
    from tocsin import simulators

    known = simulators.names()
    if system not in known:
        near = did_you_mean(system, known) or f" Expected one of {', '.join(known)}."
        raise typer.BadParameter(f"there is no simulator '{system}'.{near}")
    text = "".join(simulators.load(system)(seed=seed).lines()).encode()
    if output is None:
        sys.stdout.buffer.write(text)
        return
    write(output, text, force)
    typer.echo(f"Wrote {output}.", err=True)


def demo() -> None:
    """Cook for a day in some seconds, and see the alerts."""
    from tocsin.cli.progress import announce_compiling
    from tocsin.demo import main

    announce_compiling()
    main()
