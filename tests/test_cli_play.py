"""Commands that need nothing of the user's: simulate."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import tocsin

pytestmark = pytest.mark.usefixtures("here")


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


def test_simulate_never_writes_over_a_recording_unasked(here: Path) -> None:
    before = (here / "readings.csv").read_bytes()
    refused = tocsin("simulate", "smoker", "-o", "readings.csv")
    assert (refused.exit_code, (here / "readings.csv").read_bytes()) == (78, before)
    assert refused.stderr == "readings.csv is there already: name another file, or write over it with --force\n"
    assert tocsin("simulate", "smoker", "-o", "readings.csv", "--force").exit_code == 0
    assert (here / "readings.csv").read_bytes() != before
    assert tocsin("simulate", "smoker", "-o", "/dev/null").exit_code == 0
