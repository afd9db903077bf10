"""What goes on while nobody looks: a line an event on stderr, for people or, as JSON, for programs.

In JSON every line has `time`, `level` and `message`; what happens in a pipeline has its `event`, the `pipeline`, the `part`
of it (producer, consumer, or all where no broker is between), and fields of its own.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable

import typer

from tocsin.cli.terminal import FORMS, event, speak


def write_logs(form: str) -> None:
    """Write our events to stderr from now on."""
    if form not in FORMS:
        raise typer.BadParameter(f"'{form}' is not a form of logs: expected {' or '.join(FORMS)}.")
    speak(form)
    handler = _Stderr()
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
        """An object already, unless Python itself or a library has spoken."""
        try:
            told = json.dumps({**json.loads(line), "command": name}, ensure_ascii=False)
        except (ValueError, TypeError):
            told = event(time.time(), "info", line, {"command": name})
        typer.echo(told, err=True)

    return as_json if form == "json" else console


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    def emit(self, record: logging.LogRecord) -> None:
        """To what stderr is now: while a bar moves there, what is written goes above it."""
        self.stream = sys.stderr
        super().emit(record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One object a line."""
        fields = {"event": getattr(record, "event", "log"), **getattr(record, "fields", {})}
        return event(record.created, record.levelname.lower(), record.getMessage(), fields)
