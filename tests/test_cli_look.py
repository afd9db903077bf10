"""Commands that look at a store: what they list and show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import edit, tocsin

pytestmark = pytest.mark.usefixtures("here")


def test_alerts_that_never_fired_are_shown_only_when_asked_for(here: Path) -> None:
    edit(here / "p.yaml", "temp_c > 80", "temp_c > 80\n    for: 3 readings")
    assert tocsin("replay", "p.yaml", "--no-store", "--json").stdout == ""
    found = tocsin("replay", "p.yaml", "--json", "--pending").stdout.splitlines()
    assert [json.loads(line)["state"] for line in found] == ["inactive", "pending", "inactive"]
    assert tocsin("alerts", "list", "p.yaml", "--json").stdout == ""
    assert tocsin("alerts", "list", "p.yaml", "--json", "--pending").stdout.splitlines() == found


def test_an_alert_is_shown_with_its_transitions_by_its_number_in_the_list() -> None:
    tocsin("run", "p.yaml")
    found = tocsin("alerts", "list", "p.yaml")
    assert found.stderr == "`tocsin alerts show p.yaml NUMBER` shows one with its transitions.\n"
    listed = found.stdout.splitlines()
    assert listed[0].split()[:2] == ["number", "rule"]
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
    assert listed.stdout.startswith("number  place")
    assert listed.stderr == "`tocsin dead-letters show p.yaml NUMBER` shows one as it came.\n"
    (line,) = tocsin("dead-letters", "list", "p.yaml", "--json").stdout.splitlines()
    assert json.loads(line)["line"] == 5
    shown = tocsin("dead-letters", "show", "p.yaml", str(json.loads(line)["number"]))
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
