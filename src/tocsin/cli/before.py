"""Commands for what comes before a pipeline runs: write a file, check it, help an editor with it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from tocsin.cli.arguments import Force, PipelineFile
from tocsin.cli.terminal import several, write
from tocsin.errors import did_you_mean


def init(
    template: Annotated[
        str, typer.Argument(metavar="TEMPLATE", help="What to start from: minimal, smoker or heart-rate.")
    ] = "minimal",
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="The file to write; TEMPLATE.yaml here when unsaid.")
    ] = None,
    force: Force = False,
) -> None:
    """Write a pipeline file to start from."""
    text = _template(template)
    path = path or Path(f"{template}.yaml")
    if path.is_dir():
        path /= f"{template}.yaml"
    write(path, text.encode(), force)
    typer.echo(f"Wrote {path}. Its first lines say what to do next.", err=True)


def check(file: PipelineFile) -> None:
    """Find every mistake in a pipeline file, offline."""
    from tocsin.cli.named import look_for_files
    from tocsin.cli.recording import look_at_recording
    from tocsin.config import load
    from tocsin.rule import partition_labels
    from tocsin.runners.left import left_behind

    config = load(file)
    look_for_files(config)
    typer.echo(f"{file}: fine, {several(len(config.rules), 'rule', 'rules')}")
    typer.echo(f"partition key: {', '.join(partition_labels(config.rules)) or 'none, so there is one partition'}")
    if shared := config.transport.shared(config.rules):
        typer.echo(shared)
    if config.foreign is not None:
        typer.echo(f"messages of {config.foreign.scheme}: {config.foreign.promise}")
    for advice in (*config.advice(), *look_at_recording(config)):
        typer.echo(f"advice: {advice}")
    transport = config.transport
    if left := left_behind(transport.journal.parent, config.name, embedded=transport.embedded):
        typer.echo(f"advice: {left}")


def schema() -> None:
    """Print the JSON Schema of pipeline files, for editors."""
    import json

    from tocsin.schema import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _template(name: str) -> str:
    folder = resources.files("tocsin") / "templates"
    known = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    if name not in known:
        raise typer.BadParameter(
            f"there is no template '{name}'.{did_you_mean(name, known)} Expected one of {', '.join(known)}."
        )
    return (folder / f"{name}.yaml").read_text("utf-8")
