"""Every case of the semantics page gives its ledger: through the engine, and through the command.

The cases lie beside the repository; where they are absent these tests are skipped.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cases
from cases import Feed, assert_same_ledger, pieces
from tocsin.cli import app

pytestmark = pytest.mark.skipif(
    not cases.FOLDER.is_dir(), reason="the cases of the semantics page are not beside the repository"
)

VALID = pytest.mark.parametrize("name", cases.names(valid=True))

MISTAKES = {
    "and_value": ("expr", 0, "compare it"),
    "bad_for": ("for", 0, "M from 1 to N"),
    "bad_regex": ("expr", 5, "not a regular expression"),
    "bad_regex_2": ("expr", 10, "not a regular expression"),
    "bare_not_pinned": ("expr", 0, "add device to 'by'"),
    "bare_range": ("expr", 0, "avg(v[1m])"),
    "bare_range_2": ("expr", 0, "avg(v[1m])"),
    "bare_without_device": ("expr", 0, "add device to 'by'"),
    "chain": ("expr", 6, "1 < v and v < 3"),
    "chain_2": ("expr", 6, "1 < v and v < 3"),
    "constant": ("expr", 0, "put a metric"),
    "cut_off": ("expr", 3, "expected a metric"),
    "drop_without_device": ("expr", 0, "add device to 'by'"),
    "duration": ("expr", 6, "expected a number and a unit"),
    "for": ("for", 0, "M from 1 to N"),
    "levels_condition": ("expr", 0, "take the comparison away"),
    "no_function": ("expr", 0, "Did you mean 'drop'?"),
    "no_range": ("expr", 4, "avg(v[10m])"),
    "no_range_2": ("expr", 4, "max(v[10m])"),
    "not_pinned": ("expr", 0, "add device to 'by'"),
    "number_and": ("expr", 0, "compare it"),
    "on_unknown": ("on_unknown", 0, "expected hold, clear or fire"),
    "regex_is_no_pin": ("expr", 0, "add device to 'by'"),
    "stuck_is_no_value": ("expr", 0, "needs a number"),
    "twice": ("alert", 0, "choose another"),
    "unclosed": ("expr", 0, "expected ')'"),
    "unknown_function": ("expr", 0, "Did you mean 'drop'?"),
    "unknown_key": ("four", None, "Did you mean 'for'?"),
    "unknown_key_2": ("fro", None, "Did you mean 'for'?"),
    "value": ("expr", 0, "compare it"),
    "value_as_rule": ("expr", 0, "compare it"),
}
"""Of each case that is refused: the key and how far into its text the mistake stands, and words of the remedy."""


def tocsin(*words: str) -> tuple[int, str, str]:
    """Exit code, output and messages of a command, run in this process."""
    result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def place(pipeline: Path, key: str, offset: int | None) -> str:
    """`pipeline.yaml:14:12`: where the text of the last such key stands; without an offset, its line."""
    lines = pipeline.read_text(encoding="utf-8").splitlines()
    row = max(number for number, line in enumerate(lines) if line.removeprefix("  -").strip().startswith(f"{key}: "))
    column = "" if offset is None else f"{lines[row].index(f'{key}: ') + len(f'{key}: ') + 2 + offset}: "
    return f"pipeline.yaml:{row + 1}:{column}"


@VALID
def test_the_engine_gives_the_ledger_of_a_case_fed_at_once(name: str) -> None:
    feed = Feed(cases.load(name)).finish()
    assert_same_ledger(feed.ledger(), cases.ledger(name))


@VALID
def test_the_engine_gives_the_ledger_of_a_case_fed_reading_by_reading(name: str) -> None:
    feed = Feed(cases.load(name))
    for _ in feed.case.readings:
        feed.take(1)
    assert_same_ledger(feed.finish().ledger(), cases.ledger(name))


@VALID
@pytest.mark.parametrize("seed", range(3))
def test_the_engine_gives_the_ledger_of_a_case_fed_in_batches_of_any_size(name: str, seed: int) -> None:
    feed = Feed(cases.load(name))
    count = len(feed.case.readings)
    for size in pieces(count, random.Random(seed).choices(range(count + 1), k=4)):
        feed.take(size)
    assert_same_ledger(feed.finish().ledger(), cases.ledger(name))


@VALID
def test_replay_gives_the_ledger_of_a_case(name: str, tmp_path: Path) -> None:
    status, output, messages = tocsin("replay", str(cases.load(name).write(tmp_path)), "--no-store", "--ledger")
    assert status == 0, messages
    assert_same_ledger(output.splitlines(), cases.ledger(name))


def test_every_case_without_a_ledger_has_its_mistake_named_here() -> None:
    assert [f"invalid_{name}" for name in MISTAKES] == cases.names(valid=False)


@pytest.mark.parametrize("name", MISTAKES)
def test_replay_refuses_an_invalid_case_and_says_where_and_how_to_mend_it(name: str, tmp_path: Path) -> None:
    key, offset, remedy = MISTAKES[name]
    pipeline = cases.load(f"invalid_{name}").write(tmp_path)
    status, output, messages = tocsin("replay", str(pipeline), "--no-store", "--ledger")
    assert (status, output) == (78, "")
    assert place(pipeline, key, offset) in messages
    assert remedy in messages


@pytest.mark.parametrize("name", ["late_conflict", "levels_for_keep", "missing_expected"])
def test_the_installed_command_prints_the_ledger_and_nothing_else(name: str, tmp_path: Path) -> None:
    result = command("replay", str(cases.load(name).write(tmp_path)), "--no-store", "--ledger")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "".join(f"{line}\n" for line in cases.ledger(name))


def test_the_installed_command_refuses_a_mistake_without_a_stack_trace(tmp_path: Path) -> None:
    result = command("replay", str(cases.load("invalid_no_function").write(tmp_path)), "--no-store")
    assert (result.returncode, result.stdout) == (78, "")
    assert "pipeline.yaml:14:12: " in result.stderr
    assert "Traceback" not in result.stderr


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tocsin", *words], capture_output=True, text=True, check=False)
