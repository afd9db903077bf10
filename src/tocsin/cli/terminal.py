"""What people see of alerts, and where it goes.

Data goes to stdout or into a file, everything else to stderr; colours only to a terminal.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tocsin.errors import SetupError
from tocsin.instant import SECOND, format_duration, format_time

if TYPE_CHECKING:
    from tocsin.alert import Alert

COLOURS = {"firing": "red", "recovering": "yellow", "pending": "cyan"}


def give(lines: Iterable[str]) -> None:
    """Data, line by line, on stdout."""
    for line in lines:
        sys.stdout.write(line + "\n")


FORMS = ("console", "json")
_form = {"now": FORMS[0]}
"""How what is said is written, for as long as a command lasts."""


def speak(form: str) -> None:
    """Say everything in this form from now on."""
    _form["now"] = form


def say(text: str, level: str = "info", **fields: Any) -> None:
    """Anything that is not data, on stderr: as it is, or where logs are JSON as an object a line."""
    if _form["now"] == FORMS[0]:
        typer.echo(f"warning: {text}" if level == "warning" else text, err=True)
    else:
        typer.echo(event(time.time(), level, text, fields), err=True)


def event(when: float, level: str, message: str, fields: Mapping[str, Any]) -> str:
    """What happened, as JSON for programs; `when` in seconds."""
    at = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": at, "level": level, "message": message, **fields}, ensure_ascii=False)


def write(path: Path, data: bytes, force: bool) -> None:
    """A new file; one that is there is written over only if asked for, a device or a pipe always."""
    try:
        with path.open("wb" if force or (path.exists() and not path.is_file()) else "xb") as file:
            file.write(data)
    except FileExistsError:
        raise SetupError(f"{path} is there already: name another file, or write over it with --force") from None
    except OSError as error:
        raise SetupError(f"{path}: cannot be written: {error.strerror}") from None


def several(count: int, one: str, many: str) -> str:
    """`1 reading`, `1,200 readings`."""
    return f"{count:,} {one if count == 1 else many}"


def give_json(alerts: Iterable[Alert]) -> None:
    """One object an alert and line."""
    give(json.dumps(alert.to_json(), ensure_ascii=False) for alert in alerts)


def give_table(alerts: Sequence[Alert], numbers: Sequence[int] = ()) -> None:
    """The alerts for people, with the numbers by which a store finds them."""
    header = ("rule", "key", "since", "lasted", "state", "value", "peak")
    rows = [_row(alert) for alert in alerts]
    colours = [COLOURS.get(alert.state.name.lower()) for alert in alerts]
    if numbers:
        numbered = [(str(number), *row) for number, row in zip(numbers, rows, strict=True)]
        give_rows(("number", *header), numbered, colours)
    elif rows:
        give_rows(header, rows, colours)


def give_rows(header: Sequence[str], rows: Sequence[Sequence[str]], colours: Sequence[str | None] = ()) -> None:
    """A table on stdout; a list of a hundred thousand alerts is written as fast as it is read."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    colourful = sys.stdout.isatty()
    for place, row in enumerate([header, *rows]):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        colour = colours[place - 1] if colours and place else None
        give([typer.style(line, fg=colour, bold=place == 0) if colourful else line])


def number_of(value: float | None) -> str:
    """A value for people, to six digits."""
    return "" if value is None else f"{value:.6g}"


def _row(alert: Alert) -> tuple[str, ...]:
    from tocsin.alert import key_of

    state = alert.state.name.lower()
    return (
        alert.rule,
        key_of(alert.key),
        format_time(alert.since),
        "" if alert.until is None else format_duration((alert.until - alert.since) // SECOND * SECOND),
        f"{state} ({told})" if (told := alert.reason or alert.level) else state,
        number_of(alert.value),
        number_of(alert.peak),
    )


def details(alert: Alert) -> list[tuple[str, Any]]:
    """Everything about one alert, a line each."""
    return [(name, value) for name, value in alert.to_json().items() if value is not None]
