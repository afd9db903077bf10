"""Commands for what comes before a pipeline runs: init and check."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from commands import PIPELINE, edit, tocsin

pytestmark = pytest.mark.usefixtures("here")
TEMPLATES = ["heart-rate", "minimal", "smoker"]


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


def test_check_loads_nothing_that_is_slow() -> None:
    script = (
        "import sys; from tocsin.cli import app; app(['check', 'p.yaml'], standalone_mode=False); "
        "print(sorted({'numpy', 'numba', 'pyarrow', 'sqlalchemy', 'rich'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == "[]"
