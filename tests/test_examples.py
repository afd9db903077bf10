"""The example folders do what their READMEs say, and the demonstration shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tocsin import demo, simulators
from tocsin.cli import app
from tocsin.config import load

ROOT = Path(__file__).parent.parent
FOLDERS = sorted(path.parent for path in ROOT.glob("examples/*/pipeline.yaml"))
RECORDINGS = {"smoker": "smoker-temps.csv", "heart-rate": "heart-rate.csv"}
of_each_example = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


@of_each_example
def test_what_you_should_see_is_what_you_see(folder: Path) -> None:
    readme = (folder / "README.md").read_text(encoding="utf-8")
    promised = readme.split("## What you should see\n\n```\n")[1].split("```")[0]
    result = CliRunner().invoke(app, ["replay", str(folder / "pipeline.yaml"), "--no-store"])
    assert result.exit_code == 0
    assert [line.rstrip() for line in result.stdout.splitlines()] == promised.splitlines()


@of_each_example
def test_the_recording_is_what_its_simulator_makes(folder: Path) -> None:
    made = "".join(simulators.load(folder.name)().lines())
    assert (folder / RECORDINGS[folder.name]).read_bytes() == made.encode()


@of_each_example
def test_an_example_has_no_mistake(folder: Path) -> None:
    assert CliRunner().invoke(app, ["check", str(folder / "pipeline.yaml")]).exit_code == 0


@pytest.mark.parametrize("seed", range(2, 6))
def test_every_cook_has_three_drops_and_a_stall_of_each_food(tmp_path: Path, seed: int) -> None:
    """However the dice fall: the lid is opened three times, and each food sweats once."""
    alerts = demo.run(demo.prepare(tmp_path, seed))
    assert sorted((alert.rule, *dict(alert.key).values()) for alert in alerts) == [
        ("FoodStall", "food-a"),
        ("FoodStall", "food-b"),
        *[("SmokerDrop", "smoker")] * 3,
    ]


def test_the_demonstration_shows_a_chart_with_the_alerts_of_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    """In 80 columns and in ASCII, since it is no terminal that looks on."""
    demo.main()
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert out.isascii()
    chart, table = out.split("   alert ")
    plot = "".join(row[6:] for row in chart.splitlines() if "|" in row)
    assert sorted(re.findall(r"\d", plot)) == ["1", "2", "3", "4", "5"]
    assert re.findall(r"^\d", table, re.MULTILINE) == ["1", "2", "3", "4", "5"]


def test_the_demonstration_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    demo.main()
    assert list(tmp_path.iterdir()) == []


QUEUES = {
    "smoker": ("01-smoker", "02-food-A", "03-food-B"),
    "heart-rate": ("patient-1", "patient-2", "patient-3", "patient-4", "patient-5"),
}


@of_each_example
def test_what_its_readme_says_of_rabbitmq_fits_into_its_pipeline(folder: Path, tmp_path: Path) -> None:
    """The lines to put in beside `source` and `rules` give the queues that are promised."""
    readme = (folder / "README.md").read_text(encoding="utf-8")
    lines = readme.split("## Over RabbitMQ")[1].split("```yaml\n")[1].split("```")[0]
    file = tmp_path / "pipeline.yaml"
    file.write_text((folder / "pipeline.yaml").read_text(encoding="utf-8") + "\n" + lines, encoding="utf-8")
    result = CliRunner().invoke(app, ["check", str(file)])
    assert result.exit_code == 0, result.stderr
    assert load(file).transport.partitions == QUEUES[folder.name]


@of_each_example
def test_its_server_for_docker_is_the_one_that_its_readme_speaks_of(folder: Path) -> None:
    """It parses; it listens on this machine alone, with the user and password of the README's address."""
    service = YAML(typ="safe").load(folder / "compose.yaml")["services"]["rabbitmq"]
    assert service["ports"][0] == "127.0.0.1:5672:5672"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    who = service["environment"]
    address = f"amqp://{who['RABBITMQ_DEFAULT_USER']}:{who['RABBITMQ_DEFAULT_PASS']}@localhost"
    assert address in (folder / "README.md").read_text(encoding="utf-8")
