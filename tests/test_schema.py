"""The JSON Schema that editors use says what the reader of the file says."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from tocsin.rule import KEYS
from tocsin.schema import json_schema
from tocsin.shape import File, keys_at

SCHEMA = json_schema()
TEMPLATES = sorted((Path(str(resources.files("tocsin"))) / "templates").glob("*.yaml"))
EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*/pipeline*.yaml"))
MINIMAL = (
    "pipeline: p\nsource: {file: a.csv, time: t, device: d, readings: {v: temp_c}}\nrules: [{alert: A, expr: v > 1}]\n"
)


def mistakes(text: str) -> list[str]:
    value = YAML(typ="safe").load(text)
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(value)]


def test_it_is_a_valid_schema_of_2020_12() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(SCHEMA)


def test_every_key_has_a_description() -> None:
    def undescribed(part: Any, name: str) -> list[str]:
        if isinstance(part, list):
            return [missing for inner in part for missing in undescribed(inner, name)]
        if not isinstance(part, dict):
            return []
        keys = part.get("properties", {})
        own = [f"{name}.{key}" for key, value in keys.items() if not {"description", "$ref"} & value.keys()]
        return own + [missing for key, inner in part.items() for missing in undescribed(inner, f"{name}.{key}")]

    assert undescribed(SCHEMA, "") == []


def test_it_lists_the_keys_of_rules_that_the_language_knows() -> None:
    assert set(SCHEMA["$defs"]["RuleShape"]["properties"]) == set(KEYS)


def test_it_lists_the_formats_for_which_there_is_a_codec() -> None:
    codecs = Path(str(resources.files("tocsin"))) / "codecs"
    assert set(SCHEMA["$defs"]["Source"]["properties"]["format"]["enum"]) == {
        path.stem for path in codecs.glob("[a-z]*.py")
    }


@pytest.mark.parametrize("path", TEMPLATES + EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_files_that_we_give_away_fit_it(path: Path) -> None:
    assert mistakes(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "more",
    [
        "devices: {a: {zip: 1234}, b: }",
        "devices: devices.csv",
        "lateness: 0",
        "staleness: 1m30s",
        "broker: journal",
        "notify: [{email: {to: a@example.org}}]",
    ],
)
def test_it_accepts_what_the_reader_accepts(more: str) -> None:
    assert mistakes(MINIMAL + more) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rules:", "ruels:"),
        ("pipeline: p", "pipeline: ../p"),
        ("pipeline: p", "pipeline: .p"),
        ("pipeline: p", "pipeline: p\ndevices: {'': {}}"),
        ("pipeline: p", "pipeline: p\ndevices: {a: {device: b}}"),
        ("time: t", "time: {colum: t}"),
        ("time: t", "time: {column: t, format: iso}"),
        ("file: a.csv", "file: a.csv, follow: maybe"),
        ("alert: A", "alert: A, for: 3 reading s"),
        ("alert: A", "alert: A, min_coverage: 2"),
        ("alert: A", "alert: A, on_unknown: guess"),
        ("pipeline: p", "pipeline: p\nlateness: 5"),
        ("[{alert: A, expr: v > 1}]", "[]"),
    ],
)
def test_it_refuses_what_the_reader_refuses(old: str, new: str) -> None:
    assert mistakes(MINIMAL.replace(old, new)) != []


def test_defaults_are_written_as_a_user_would_write_them() -> None:
    """No nanoseconds: a default either can stand in a file, or is told in words."""
    for name in keys_at(()):
        given = SCHEMA["properties"][name].get("default")
        assert given is None or File.model_fields[name].default == given
        assert not isinstance(given, int)
