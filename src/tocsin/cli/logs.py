"""What goes on while nobody looks: a line an event on stderr, for people or, as JSON, for programs."""

from __future__ import annotations

import json
import logging
import sys
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


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One object a line."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return json.dumps({"time": when, "level": record.levelname.lower(), "message": record.getMessage()})
