"""The command line: what each command prints where, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tocsin.cli import app

TEMPLATES = ["heart-rate", "minimal", "smoker"]
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


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline and its readings, in which commands run."""
    (tmp_path / "p.yaml").write_text(PIPELINE)
    (tmp_path / "readings.csv").write_text(READINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOCSIN_DEBUG", raising=False)
    return tmp_path


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


def test_init_writes_a_file_that_check_finds_fine() -> None:
    for template in TEMPLATES:
        assert tocsin("init", template).exit_code == 0
        checked = tocsin("check", f"{template}.yaml")
        assert (checked.exit_code, checked.stderr) == (0, "")
        assert f"{template}.yaml: fine, " in checked.stdout


def test_there_are_no_other_templates() -> None:
    folder = Path(str(resources.files("tocsin"))) / "templates"
    assert sorted(path.stem for path in folder.iterdir()) == TEMPLATES


def test_init_never_writes_over_a_file_unasked(here: Path) -> None:
    refused = tocsin("init", "minimal", "p.yaml")
    assert (refused.exit_code, (here / "p.yaml").read_text()) == (78, PIPELINE)
    assert "p.yaml is there already" in refused.stderr
    assert tocsin("init", "minimal", "p.yaml", "--force").exit_code == 0
    assert (here / "p.yaml").read_text() != PIPELINE


def test_init_says_where_it_cannot_write_and_which_template_was_meant() -> None:
    refused = tocsin("init", "minimal", "no/such/folder.yaml")
    assert (refused.exit_code, "cannot be written" in refused.stderr) == (78, True)
    wrong = tocsin("init", "smokr")
    assert (wrong.exit_code, "Did you mean 'smoker'?" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("template", ["smoker", "heart-rate"])
def test_a_template_its_simulator_and_run_fit_together(template: str) -> None:
    data = {"smoker": "smoker-temps.csv", "heart-rate": "heart-rate.csv"}[template]
    assert tocsin("init", template).exit_code == 0
    assert tocsin("simulate", template, "-o", data).exit_code == 0
    ran = tocsin("run", f"{template}.yaml")
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert " 0 dead letters" in ran.stderr
    assert tocsin("alerts", "list", f"{template}.yaml", "--json").stdout != ""


def test_simulate_writes_the_same_bytes_for_the_same_seed_on_stdout_and_to_a_file(here: Path) -> None:
    first = tocsin("simulate", "smoker", "--seed", "7")
    assert (first.exit_code, first.stderr) == (0, "")
    assert tocsin("simulate", "smoker", "--seed", "7", "-o", "s.csv").exit_code == 0
    assert (here / "s.csv").read_bytes() == first.stdout_bytes
    assert tocsin("simulate", "smoker", "--seed", "8").stdout_bytes != first.stdout_bytes


def test_check_tells_rules_partition_key_and_advice(here: Path) -> None:
    edit(here / "p.yaml", "temp_c > 80", "temp_c > 80 and temp_c < 70")
    found = tocsin("check", "p.yaml")
    assert (found.exit_code, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert lines[:2] == ["p.yaml: fine, 1 rule", "partition key: device"]
    assert lines[2].startswith("advice: p.yaml:5:27: rule 'TooHot': can never be true")


def test_check_needs_neither_the_readings_nor_a_store(here: Path) -> None:
    (here / "readings.csv").unlink()
    assert tocsin("check", "p.yaml").exit_code == 0
    assert sorted(path.name for path in here.iterdir()) == ["p.yaml"]


def test_mistakes_are_told_on_stderr_one_a_line_with_78(here: Path) -> None:
    edit(here / "p.yaml", "temp_c > 80", "avg(temp_c[0s]) > 80\n    fro: 3 readings")
    for command in (["check"], ["run"], ["replay", "--no-store"], ["alerts", "list"], ["dead-letters", "list"]):
        found = tocsin(*command, "p.yaml")
        assert (found.exit_code, found.stdout) == (78, "")
        lines = found.stderr.splitlines()
        assert [line.split(" ")[0] for line in lines] == ["p.yaml:5:22:", "p.yaml:6:10:"]
        assert "Did you mean 'for'?" in lines[1]


def test_replay_prints_one_object_an_alert_and_line_in_order_of_since() -> None:
    found = tocsin("replay", "p.yaml", "--no-store", "--json")
    assert found.exit_code == 0
    assert [json.loads(line) for line in found.stdout.splitlines()] == ALERTS


def test_replay_prints_the_ledger(here: Path) -> None:
    assert tocsin("replay", "p.yaml", "--no-store", "--ledger").stdout == LEDGER
    assert sorted(path.name for path in here.iterdir()) == ["p.yaml", "readings.csv"]


def test_replay_ends_with_a_summary_and_what_could_not_be_read() -> None:
    found = tocsin("replay", "p.yaml", "--no-store")
    assert "p: 7 readings in " in found.stderr
    for count in ("0 late", "0 conflicts", "0 repeats", "1 dead letters", "3 alerts fired", "2 resolved"):
        assert f", {count}" in found.stderr
    assert "warning: 1 could not be read: " in found.stderr
    assert "readings.csv:5: " in found.stderr


def test_a_table_is_for_people_and_has_no_colour_in_a_file() -> None:
    found = tocsin("replay", "p.yaml", "--no-store")
    assert found.stdout.splitlines() == [
        "rule    key  since                 lasted  state     value  peak",
        "TooHot  a    2024-01-01T00:00:00Z  3m      resolved  81     85.5",
        "TooHot  a    2024-01-01T00:04:00Z          firing    90     90",
        "TooHot  b    2024-01-01T00:05:00Z  1m      resolved  80.5   80.5",
    ]


def test_alerts_that_never_fired_are_shown_only_when_asked_for(here: Path) -> None:
    edit(here / "p.yaml", "temp_c > 80", "temp_c > 80\n    for: 3 readings")
    assert tocsin("replay", "p.yaml", "--no-store", "--json").stdout == ""
    found = tocsin("replay", "p.yaml", "--json", "--pending").stdout.splitlines()
    assert [json.loads(line)["state"] for line in found] == ["inactive", "pending", "inactive"]
    assert tocsin("alerts", "list", "p.yaml", "--json").stdout == ""
    assert tocsin("alerts", "list", "p.yaml", "--json", "--pending").stdout.splitlines() == found


def test_run_goes_on_from_where_it_stopped_and_replay_twice_is_once() -> None:
    assert tocsin("run", "p.yaml").exit_code == 0
    again = tocsin("run", "p.yaml")
    assert (again.exit_code, "p: 0 readings in " in again.stderr) == (0, True)
    for _ in range(2):
        assert tocsin("replay", "p.yaml").exit_code == 0
        listed = tocsin("alerts", "list", "p.yaml", "--json").stdout
        assert [json.loads(line) for line in listed.splitlines()] == ALERTS
        assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER


def test_another_recording_leaves_the_store_alone_unless_one_is_named(here: Path) -> None:
    (here / "other.csv").write_text("time,device,temp\n2024-01-01T00:00:00Z,c,99\n")
    replay = ("replay", "p.yaml", "--data", "other.csv", "--json")
    (line,) = tocsin(*replay).stdout.splitlines()
    assert json.loads(line)["key"] == {"device": "c"}
    assert not (here / "p.db").exists()
    assert tocsin(*replay, "--store", "sqlite:///other.db").exit_code == 0
    assert (here / "other.db").exists()
    assert not (here / "p.db").exists()


def test_an_alert_is_shown_with_its_transitions_by_its_number_in_the_list() -> None:
    tocsin("run", "p.yaml")
    listed = tocsin("alerts", "list", "p.yaml").stdout.splitlines()
    number = listed[3].split()[0]
    shown = tocsin("alerts", "show", "p.yaml", number)
    assert (shown.exit_code, shown.stderr) == (0, "")
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["key", "b"] in lines
    assert ["peak", "80.5"] in lines
    assert lines[-2:] == [
        ["2024-01-01T00:05:00Z", "inactive", "firing", "80.5"],
        ["2024-01-01T00:06:00Z", "firing", "resolved", "70"],
    ]
    missing = tocsin("alerts", "show", "p.yaml", "99")
    assert (missing.exit_code, "there is no alert 99" in missing.stderr) == (78, True)


def test_a_dead_letter_is_listed_and_shown_as_it_came() -> None:
    tocsin("run", "p.yaml")
    listed = tocsin("dead-letters", "list", "p.yaml")
    assert "readings.csv:5 " in listed.stdout
    (line,) = tocsin("dead-letters", "list", "p.yaml", "--json").stdout.splitlines()
    assert json.loads(line)["line"] == 5
    shown = tocsin("dead-letters", "show", "p.yaml", str(json.loads(line)["id"]))
    assert shown.stdout_bytes == b"2024-01-01T00:02:00Z,b,hot\n"
    assert "readings.csv:5: " in shown.stderr
    assert tocsin("dead-letters", "show", "p.yaml", "99").exit_code == 78


def test_an_empty_store_is_told_on_stderr_only(here: Path) -> None:
    (here / "readings.csv").write_text("time,device,temp\n2024-01-01T00:00:00Z,c,9\n")
    tocsin("run", "p.yaml")
    for command in ("alerts", "dead-letters"):
        found = tocsin(command, "list", "p.yaml")
        assert (found.exit_code, found.stdout) == (0, "")
        assert found.stderr != ""


def test_a_rule_that_was_mostly_unknown_or_never_evaluated_is_warned_of(here: Path) -> None:
    edit(here / "p.yaml", "temp_c > 80", 'temp_c{device="c"} > 80\n  - {alert: Slow, expr: "avg(temp_c[1d]) > 80"}')
    found = tocsin("replay", "p.yaml", "--no-store")
    assert "warning: rule 'TooHot' was never evaluated" in found.stderr
    assert "warning: rule 'Slow' was unknown in 7 of its 7 evaluations" in found.stderr


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


@pytest.mark.parametrize("content", [b"", b"time,device,temp\n"])
def test_a_recording_without_readings_ends_with_78(here: Path, content: bytes) -> None:
    (here / "readings.csv").write_bytes(content)
    found = tocsin("replay", "p.yaml", "--no-store")
    assert (found.exit_code, "expected readings" in found.stderr) == (78, True)


def test_a_store_that_is_no_database_or_not_there_ends_with_78(here: Path) -> None:
    assert tocsin("alerts", "list", "p.yaml").exit_code == 78
    (here / "p.db").write_bytes(b"this is no database, though it is long enough to be one" * 20)
    for command in (["run"], ["replay"], ["alerts", "list"]):
        found = tocsin(*command, "p.yaml")
        assert (found.exit_code, found.stdout) == (78, "")
        assert "no SQLite database" in found.stderr


def test_a_file_that_goes_backwards_breaks_after_the_first_reading_and_says_how_to_mend_it(here: Path) -> None:
    edit(here / "readings.csv", "2024-01-01T00:06:00Z", "2023-12-31T00:06:00Z")
    found = tocsin("replay", "p.yaml", "--no-store")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "sort: true" in found.stderr
    edit(here / "p.yaml", "readings.csv,", "readings.csv, sort: true,")
    assert tocsin("replay", "p.yaml", "--no-store").exit_code == 0


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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_replay_that_is_stopped_ends_cleanly(here: Path, number: signal.Signals, code: int) -> None:
    edit(here / "p.yaml", "pipeline: p", "pipeline: p\nstore: sqlite:///p.db")
    command = process("replay", "p.yaml", "--speed", "1x")
    deadline = time.monotonic() + 60
    while not (here / "p.db").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    command.send_signal(number)
    _, told = command.communicate(timeout=60)
    assert command.returncode == code
    assert "Stopped before the end" in told
    assert "Traceback" not in told


def test_check_starts_in_half_a_second() -> None:
    """Processor time, the best of five, so that what else runs here does not count."""

    def seconds() -> float:
        before = os.times()
        subprocess.run([sys.executable, "-m", "tocsin", "check", "p.yaml"], check=True, capture_output=True)
        after = os.times()
        return after.children_user - before.children_user + after.children_system - before.children_system

    assert min(seconds() for _ in range(5)) < 0.5


def test_check_loads_nothing_that_is_slow() -> None:
    script = (
        "import sys; from tocsin.cli import app; app(['check', 'p.yaml'], standalone_mode=False); "
        "print(sorted({'numpy', 'numba', 'pyarrow', 'sqlalchemy', 'rich'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == "[]"


def test_the_version_and_help_are_told() -> None:
    assert tocsin("--version").stdout.startswith("tocsin 0.")
    for command in ("init", "check", "schema", "run", "replay", "alerts", "dead-letters", "simulate", "demo"):
        found = tocsin(command, "--help")
        assert (found.exit_code, f"Usage: tocsin {command}" in found.stdout) == (0, True)


def test_a_file_of_which_nothing_can_be_read_is_a_mistake(here: Path) -> None:
    """A wrong time format spoils every line; exit 0 would hide it."""
    (here / "readings.csv").write_text("time,device,temp\nnoon,a,1\nevening,a,2\n", encoding="utf-8")
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 78
    assert "error: nothing could be read. Mend `source`, then take a new store or use `tocsin replay`" in found.stderr


def test_a_replay_is_not_put_beside_alerts_of_rules_as_they_once_were(here: Path) -> None:
    assert tocsin("run", "p.yaml").exit_code == 0
    edit(here / "p.yaml", "> 80", "> 79")
    found = tocsin("replay", "p.yaml")
    assert found.exit_code == 78
    assert "holds alerts of rules that have been edited since" in found.stderr
    assert tocsin("replay", "p.yaml", "--no-store").exit_code == 0
    assert tocsin("replay", "p.yaml", "--store", "sqlite:///other.db").exit_code == 0
