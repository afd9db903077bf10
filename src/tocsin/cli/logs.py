"""What goes on while nobody looks: a line an event on stderr, for people or, as JSON, for programs."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import typer

FORMS = ("console", "json")


def write_logs(form: str) -> None:
    """Write our events to stderr from now on."""
    if form not in FORMS:
        raise typer.BadParameter(f"'{form}' is not a form of logs: expected {' or '.join(FORMS)}.")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("tocsin")
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def pass_on(form: str) -> Callable[[str, str], None]:
    """What writes a line of another process of ours to stderr, with the name of its command."""

    def console(name: str, line: str) -> None:
        typer.echo(f"{name:<7} | {line}", err=True)

    def as_json(name: str, line: str) -> None:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            found = {"time": _iso(time.time()), "level": "info", "message": line, "command": name}
        typer.echo(json.dumps(found, ensure_ascii=False), err=True)

    return as_json if form == "json" else console


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One object a line."""
        return json.dumps(
            {"time": _iso(record.created), "level": record.levelname.lower(), "message": record.getMessage()}
        )
