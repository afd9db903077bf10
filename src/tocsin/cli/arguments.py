"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PipelineFile = Annotated[Path, typer.Argument(metavar="FILE", help="The pipeline file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]
Number = Annotated[int, typer.Argument(metavar="NUMBER", help="Its number in the list.", show_default=False)]
Pending = Annotated[bool, typer.Option("--pending", help="Show alerts that never fired, too.")]
