"""The documentation is whole: every function, key, setting and command is in it, and its examples work."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from ruamel.yaml import YAML
from typer.core import TyperGroup
from typer.testing import CliRunner, Result

from tocsin import functions, simulators
from tocsin.cli import app
from tocsin.config import rules_from
from tocsin.rule import KEYS
from tocsin.shape import Broker, File, Source, Time

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS, *ROOT.glob("examples/*/README.md")]
OPTIONAL = ("amqp", "kafka", "mqtt", "pubsub")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def examples(language: str) -> Iterator[Any]:
    for page in PAGES:
        for number, (name, text) in enumerate(FENCE.findall(page.read_text(encoding="utf-8"))):
            if name == language:
                yield pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")


def rows_of(page: str) -> dict[str, list[str]]:
    """The rows of a page's tables, by the first word in their first cell."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in read(page).splitlines() if line[:1] == "|"
    ]
    return {word[0]: row for row in cells if (word := re.findall(r"[\w-]+", row[0]))}


def commands() -> Iterator[str]:
    """Every command, as it is typed: `alerts list`."""
    tree = typer.main.get_command(app)
    assert isinstance(tree, TyperGroup)
    for name, command in tree.commands.items():
        yield from [f"{name} {below}" for below in command.commands] if isinstance(command, TyperGroup) else [name]


@pytest.mark.parametrize("scheme", ["journal", *OPTIONAL])
def test_the_first_table_of_brokers_has_each_with_its_section(scheme: str) -> None:
    page = read("docs/brokers.md")
    (section,) = re.findall(rf"^\| `{scheme}\b[^|]*\| .*\]\(#([a-z-]+)\)", page, re.MULTILINE)
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert section in [re.sub(r"[^a-z-]", "", heading.lower().replace(" ", "-")) for heading in headings]


@pytest.mark.parametrize("name", functions.names())
def test_the_rule_reference_says_what_each_function_gives(name: str) -> None:
    """In the words of the function's own file, with its coverage and whether it needs one device."""
    _, gives, coverage, notes = rows_of("docs/rules.md")[name]
    function = functions.load(name)
    assert gives == functions.sentence(name)
    assert coverage == ("" if function.coverage is None else f"{function.coverage:g}")
    assert ("one device" in notes) == function.ordered
    assert ("a condition" in notes) == function.is_condition
    assert ("cost grows" in notes) == function.whole_window


@pytest.mark.parametrize(
    "key",
    KEYS,
)
def test_the_rule_reference_has_every_key(key: str) -> None:
    assert key in rows_of("docs/rules.md")


@pytest.mark.parametrize("key", [*File.model_fields, *Source.model_fields, *Time.model_fields])
def test_the_pipeline_reference_has_every_setting(key: str) -> None:
    assert key in rows_of("docs/pipeline-file.md")


@pytest.mark.parametrize("key", Broker.model_fields)
def test_the_broker_reference_has_every_setting(key: str) -> None:
    assert key in rows_of("docs/brokers.md")


@pytest.mark.parametrize("command", list(commands()))
def test_the_command_reference_has_every_command(command: str) -> None:
    assert f"`tocsin {command}" in read("docs/command-line.md")


def options() -> Iterator[Any]:
    tree = typer.main.get_command(app)
    assert isinstance(tree, TyperGroup)
    for name, command in tree.commands.items():
        for each in command.commands.values() if isinstance(command, TyperGroup) else [command]:
            for option in each.params:
                if (
                    option.param_type_name == "option"
                    and option.name != "help"
                    and not getattr(option, "hidden", False)
                ):
                    yield pytest.param(option.opts[0], id=f"{name}-{option.name}")


@pytest.mark.parametrize("option", list(options()))
def test_the_command_reference_has_every_option(option: str) -> None:
    assert f"`{option}" in read("docs/command-line.md")


@pytest.mark.parametrize("name", simulators.names())
def test_the_command_reference_has_every_simulator(name: str) -> None:
    assert f"`{name}`" in read("docs/command-line.md")


def test_every_command_that_is_shown_exists() -> None:
    """In a `sh` example or in the text, `tocsin WORD` is a command and `make WORD` a target."""
    known, targets = (
        {command.split()[0] for command in commands()},
        re.findall(r"^(\w+):", read("Makefile"), re.MULTILINE),
    )
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shown = [
            *re.findall(r"`([^`\n]+)`", text),
            *(line for name, body in FENCE.findall(text) if name == "sh" for line in body.splitlines()),
        ]
        for line in shown:
            if (words := line.split())[:1] == ["tocsin"] and words[1:]:
                assert words[1] in known | {"--version"}, f"{page.name}: {line}"
            if words[:1] == ["make"] and words[1:]:
                assert words[1] in targets, f"{page.name}: {line}"


def test_the_reading_path_leads_through_files_that_are_there() -> None:
    """Of CONTRIBUTING, every `name.py` and `folder/`: in the package, or from the top of the repository."""
    named = re.findall(r"`([\w/]+(?:\.py|/))`", read("CONTRIBUTING.md"))
    assert len(named) > 20
    assert [name for name in named if not ((ROOT / "src" / "tocsin" / name).exists() or (ROOT / name).exists())] == []


@pytest.mark.parametrize("text", list(examples("yaml")))
def test_examples_of_yaml_are_right(text: str) -> None:
    """Each is YAML; where it has rules they parse, and a mistake in one is said to be one."""
    for part in re.split(r"(?m)^(?=source:)", text) if text.startswith("source:") else [text]:
        found = YAML(typ="safe").load(part)
        if found and "rules" in found and "dorp" not in part:
            assert rules_from(part)


@pytest.mark.parametrize("text", list(examples("python")))
def test_examples_of_python_are_right(text: str) -> None:
    ast.parse(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """To a file that is there, and to a heading that it has."""
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, heading = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.exists(), target
        headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE) if heading else []
        assert not heading or heading in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}


def test_the_tutorial_happens_as_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recording's first lines, the mistake and its message, then three alerts for three openings of the lid."""
    monkeypatch.chdir(tmp_path)
    told = FENCE.findall(read("docs/tutorial.md"))
    outputs = [text for language, text in told if not language]
    pipeline = next(text for language, text in told if language == "yaml")

    def tocsin(line: str) -> Result:
        return CliRunner().invoke(app, line.split())

    tocsin("simulate smoker -o smoker-temps.csv")
    recording = Path("smoker-temps.csv").read_text(encoding="ascii")
    assert recording.startswith(outputs[0])

    Path("cook.yaml").write_text(pipeline, encoding="utf-8")
    assert tocsin("check cook.yaml").stderr == outputs[1]

    Path("cook.yaml").write_text(pipeline.replace("dorp", "drop"), encoding="utf-8")
    assert tocsin("run cook.yaml").exit_code == 0
    assert tocsin("alerts list cook.yaml").stdout.count("SmokerDrop") == 3


def test_the_python_examples_find_what_they_show(capsys: pytest.CaptureFixture[str]) -> None:
    """Over 80 at 00:01 and 00:02; for the engine pending, firing and, once restored, resolved."""
    frame, stream = [text for language, text in FENCE.findall(read("docs/command-line.md")) if language == "python"]
    found: dict[str, Any] = {}
    exec(frame, found)  # noqa: S102
    (alert,) = found["alerts"].to_pylist()
    assert (alert["value"], alert["peak"], alert["last"]) == (85.0, 91.0, 72.0)
    assert (alert["until"] - alert["since"]).total_seconds() == 120

    capsys.readouterr()
    exec(stream, {})  # noqa: S102
    moves = [json.loads(line)["to"] for line in capsys.readouterr().out.splitlines()]
    assert moves == ["pending", "firing", "resolved"]
