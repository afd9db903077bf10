"""Commands for tests: a small pipeline, what it finds, and how a command is given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from tocsin.cli import app

PIPELINE = """\
pipeline: p
source: {file: readings.csv, time: time, device: device, readings: {temp: temp_c}}
rules:
  - alert: TooHot
    expr: temp_c > 80
"""
# Two alerts of a; b is too hot once; the fourth line is no reading.
READINGS = """\
time,device,temp
2024-01-01T00:00:00Z,a,81
2024-01-01T00:01:00Z,b,79
2024-01-01T00:02:00Z,a,85.5
2024-01-01T00:02:00Z,b,hot
2024-01-01T00:03:00Z,a,80
2024-01-01T00:04:00Z,a,90
2024-01-01T00:05:00Z,b,80.5
2024-01-01T00:06:00Z,b,70
"""
ALERTS = [
    {
        "rule": "TooHot",
        "key": {"device": "a"},
        "since": "2024-01-01T00:00:00Z",
        "fired": "2024-01-01T00:00:00Z",
        "until": "2024-01-01T00:03:00Z",
        "state": "resolved",
        "level": None,
        "value": 81.0,
        "peak": 85.5,
        "last": 80.0,
        "reason": None,
    },
    {
        "rule": "TooHot",
        "key": {"device": "a"},
        "since": "2024-01-01T00:04:00Z",
        "fired": "2024-01-01T00:04:00Z",
        "until": None,
        "state": "firing",
        "level": None,
        "value": 90.0,
        "peak": 90.0,
        "last": 90.0,
        "reason": None,
    },
    {
        "rule": "TooHot",
        "key": {"device": "b"},
        "since": "2024-01-01T00:05:00Z",
        "fired": "2024-01-01T00:05:00Z",
        "until": "2024-01-01T00:06:00Z",
        "state": "resolved",
        "level": None,
        "value": 80.5,
        "peak": 80.5,
        "last": 70.0,
        "reason": None,
    },
]
LEDGER = """\
{"time": "2024-01-01T00:00:00Z", "rule": "TooHot", "key": {"device": "a"}, "since": "2024-01-01T00:00:00Z", "from": "inactive", "to": "firing", "level": null, "value": 81.0}
{"time": "2024-01-01T00:03:00Z", "rule": "TooHot", "key": {"device": "a"}, "since": "2024-01-01T00:00:00Z", "from": "firing", "to": "resolved", "level": null, "value": 80.0}
{"time": "2024-01-01T00:04:00Z", "rule": "TooHot", "key": {"device": "a"}, "since": "2024-01-01T00:04:00Z", "from": "inactive", "to": "firing", "level": null, "value": 90.0}
{"time": "2024-01-01T00:05:00Z", "rule": "TooHot", "key": {"device": "b"}, "since": "2024-01-01T00:05:00Z", "from": "inactive", "to": "firing", "level": null, "value": 80.5}
{"time": "2024-01-01T00:06:00Z", "rule": "TooHot", "key": {"device": "b"}, "since": "2024-01-01T00:05:00Z", "from": "firing", "to": "resolved", "level": null, "value": 70.0}
"""


def tocsin(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, prog_name="tocsin")


def process(*arguments: str, **options: int) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "tocsin", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload, no-any-return]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
