"""Commands for what comes before a pipeline runs: init and check."""

from __future__ import annotations

import gzip
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


@pytest.mark.parametrize(
    ("more", "mistakes"),
    [
        (
            "broker: 'amqps://u:secret@h?ca=ca.pem&cert=here.pem&key=no/me.key'",
            [
                "p.yaml:6:10: `broker.url`: amqps://h: ?ca=ca.pem: there is no file ca.pem: put it there, or correct",
                "p.yaml:6:10: `broker.url`: amqps://h: ?key=no/me.key: there is no file no/me.key: put it there",
            ],
        ),
        (
            "broker: {partitions: 1, url: 'kafkas://h?ca=folder'}",
            ["p.yaml:6:31: `broker.url`: kafkas://h: ?ca=folder: this is no file: put it there"],
        ),
        ("broker: 'amqps://h?ca=here.pem'", []),
    ],
)
def test_check_finds_files_that_are_not_there(here: Path, more: str, mistakes: list[str]) -> None:
    """At the first letter of the address, which stands in quotes."""
    (here / "here.pem").touch()
    (here / "folder").mkdir()
    with (here / "p.yaml").open("a") as file:
        file.write(f"{more}\n")
    found = tocsin("check", "p.yaml")
    assert found.exit_code == (78 if mistakes else 0)
    said = found.stderr.splitlines()
    assert len(said) == len(mistakes)
    for told, mistake in zip(said, mistakes, strict=True):
        assert told.startswith(mistake)
    assert "secret" not in found.stderr


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        (
            "{http: 'http://127.0.0.1?token_file=word'}",
            "p.yaml:2:17: `source.http`: http://127.0.0.1: ?token_file=word: there is no file word: write a token into it",
        ),
        (
            "{mqtt: 'mqtts://h?ca=ca.pem', topic: '{device}/{metric}', time: $arrival, value: v}",
            "p.yaml:2:17: `source.mqtt`: mqtts://h: ?ca=ca.pem: there is no file ca.pem: put it there",
        ),
    ],
)
def test_check_finds_files_of_a_source_that_are_not_there(here: Path, source: str, mistake: str) -> None:
    rules = "rules: [{alert: A, expr: m > 1}]"
    (here / "p.yaml").write_text(f"pipeline: p\nsource: {source}\n{rules}\n")
    found = tocsin("check", "p.yaml")
    assert (found.exit_code, found.stderr[: len(mistake)]) == (78, mistake)
    # A consumer elsewhere has no use for the producer's files.
    assert "there is no file" not in tocsin("alerts", "list", "p.yaml").stderr


def test_check_needs_neither_the_readings_nor_a_store(here: Path) -> None:
    (here / "readings.csv").unlink()
    found = tocsin("check", "p.yaml")
    assert found.exit_code == 0
    assert "advice: `source.file`: there is no file readings.csv yet" in found.stdout
    assert sorted(path.name for path in here.iterdir()) == ["p.yaml"]


@pytest.mark.parametrize("packed", [False, True])
def test_check_tells_of_columns_that_the_recording_does_not_have(here: Path, packed: bool) -> None:
    text = b'\xef\xbb\xbf\n"time" , Device,"te;mp\n(C)",temp\n2024-01-01T00:00:00Z,a,1,2\n'
    name = "other.csv.gz" if packed else "readings.csv"
    (here / name).write_bytes(gzip.compress(text) if packed else text)
    edit(here / "p.yaml", "readings.csv", name)
    found = tocsin("check", "p.yaml")
    assert found.exit_code == 0
    (advice,) = [line for line in found.stdout.split("advice: ")[1:] if line.startswith(name)]
    assert advice.startswith(
        f"{name}: there is no column 'device'. Did you mean 'Device'? The file has: time, Device, te;mp\n(C), temp"
    )


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bbroken", b"\n \n"])
def test_check_says_nothing_of_a_recording_that_it_cannot_make_out(here: Path, content: bytes) -> None:
    """What is wrong with it is for `run` to tell."""
    (here / "readings.csv").write_bytes(content)
    found = tocsin("check", "p.yaml")
    assert (found.exit_code, "advice" in found.stdout) == (0, False)


def test_check_finds_nothing_wrong_with_a_recording_that_is_right(here: Path) -> None:
    assert "advice" not in tocsin("check", "p.yaml").stdout
    edit(here / "p.yaml", "readings.csv,", "readings.csv, header: [time, device, temp],")
    (here / "readings.csv").write_text("2024-01-01T00:00:00Z,a,1\n")
    assert "advice" not in tocsin("check", "p.yaml").stdout


def test_check_loads_nothing_that_is_slow() -> None:
    script = (
        "import sys; from tocsin.cli import app; app(['check', 'p.yaml'], standalone_mode=False); "
        "print(sorted({'numpy', 'numba', 'pyarrow', 'sqlalchemy', 'rich'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == "[]"
