"""How commands end: the exit code, and what the user reads on stderr."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import edit, process, tocsin

pytestmark = pytest.mark.usefixtures("here")


def test_mistakes_are_told_on_stderr_one_a_line_with_78(here: Path) -> None:
    edit(here / "p.yaml", "temp_c > 80", "avg(temp_c[0s]) > 80\n    fro: 3 readings")
    for command in (["check"], ["run"], ["replay", "--no-store"], ["alerts", "list"], ["dead-letters", "list"]):
        found = tocsin(*command, "p.yaml")
        assert (found.exit_code, found.stdout) == (78, "")
        lines = found.stderr.splitlines()
        assert [line.split(" ")[0] for line in lines] == ["p.yaml:5:22:", "p.yaml:6:5:"]
        assert "Did you mean 'for'?" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Usage"),
        (["chek"], "No such command 'chek'"),
        (["check"], "Missing argument 'FILE'"),
        (["check", "p.yaml", "--jsn"], "No such option"),
        (["replay", "p.yaml", "--speed", "fast"], "'fast' is not a speed: expected 1x, 60x"),
        (["replay", "p.yaml", "--json", "--ledger"], "exclude each other"),
        (["replay", "p.yaml", "--store", "sqlite:///a.db", "--no-store"], "exclude each other"),
        (["replay", "p.yaml", "--store", "a.db"], "'a.db' is not a URL: expected sqlite:///a.db"),
        (["simulate", "smokr"], "Did you mean 'smoker'?"),
        (["alerts", "show", "p.yaml", "first"], "integer"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], says: str) -> None:
    found = tocsin(*arguments)
    assert (found.exit_code, says in found.output) == (2, True), found.output


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("readings.csv", "none.csv", "none.csv"),
        ("device: device", "device: devise", "devise"),
    ],
)
def test_what_is_missing_before_the_first_reading_ends_with_78(here: Path, old: str, new: str, says: str) -> None:
    edit(here / "p.yaml", old, new)
    for command in ("run", "replay"):
        found = tocsin(command, "p.yaml")
        assert (found.exit_code, found.stdout) == (78, "")
        assert says in found.stderr
        assert "Traceback" not in found.stderr


def test_a_store_that_is_no_database_or_not_there_ends_with_78(here: Path) -> None:
    assert tocsin("alerts", "list", "p.yaml").exit_code == 78
    (here / "p.db").write_bytes(b"this is no database, though it is long enough to be one" * 20)
    for command in (["run"], ["replay"], ["alerts", "list"]):
        found = tocsin(*command, "p.yaml")
        assert (found.exit_code, found.stdout) == (78, "")
        assert "no SQLite database" in found.stderr


def test_a_bug_is_called_one_in_one_line_and_shows_its_trace_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_path: Path) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("tocsin.config.load", broken)
    found = tocsin("check", "p.yaml")
    assert found.exit_code == 1
    assert found.stderr == (
        "This is a bug in Tocsin, not your mistake: ZeroDivisionError: division by zero. "
        "Run again with TOCSIN_DEBUG=1 for the trace to report.\n"
    )
    monkeypatch.setenv("TOCSIN_DEBUG", "1")
    assert "Traceback" in tocsin("check", "p.yaml").stderr


def test_a_reader_that_has_enough_ends_the_command_quietly(here: Path) -> None:
    rows = "".join(f"2024-01-01T{n // 60:02}:{n % 60:02}:00Z,a,{60 + 40 * (n % 2)}\n" for n in range(1440))
    (here / "readings.csv").write_text("time,device,temp\n" + rows)
    command = process("replay", "p.yaml", "--no-store", "--ledger")
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.readline()
    command.stdout.close()
    assert command.wait(60) == 0
    assert "Error" not in command.stderr.read()
    command.stderr.close()


def test_the_version_and_help_are_told() -> None:
    assert tocsin("--version").stdout.startswith("tocsin 0.")
    for command in ("init", "check", "schema", "run", "replay", "alerts", "dead-letters", "simulate", "demo"):
        found = tocsin(command, "--help")
        assert (found.exit_code, f"Usage: tocsin {command}" in found.stdout) == (0, True)
