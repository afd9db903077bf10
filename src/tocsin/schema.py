"""The JSON Schema of the user's file, for editors: what `shape.py` says, and the keys of a rule."""

from __future__ import annotations

from types import NoneType
from typing import Any, Literal

from pydantic import ConfigDict, Field

from tocsin.kinds import Duration, Text
from tocsin.shape import File, Part

_HOLD = r"^\d+(\.\d+)?(ns|us|ms|s|m|h|d|w)(\d+(\.\d+)?(ns|us|ms|s|m|h|d|w))*$|^\d+( of \d+)? readings?$"


class LevelShape(Part):
    """How bad it is; a bare number is `above`."""

    above: float | None = Field(None, description="Reached above this.")
    below: float | None = Field(None, description="Reached below this.")
    clear: float | None = Field(None, description="Left only on the other side of this.")


class RuleShape(Part):
    """One thing to watch for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)
    alert: Text = Field(description="Name of the rule, once in a file.")
    expr: str = Field(description="What is true when it fires: drop(temp_f[2m30s]) > 15; with levels, a number.")
    hold: str | None = Field(
        None,
        alias="for",
        pattern=_HOLD,
        description="How long it must be true: a duration, `3 readings` or `3 of 5 readings`.",
    )
    clear: str | None = Field(None, description="What is true when it is over; unsaid, when `expr` is false.")
    keep_firing_for: Duration = Field(0, description="How long it must be over before the alert ends.")
    by: list[str] = Field(["device"], min_length=1, description="Labels of the rule's key: one alert for each value.")
    min_coverage: float | None = Field(
        None, ge=0, le=1, description="Least part of a window that must be covered; else the functions' own."
    )
    on_unknown: Literal["hold", "clear", "fire"] = Field(
        "hold", description="What an evaluation that cannot be known counts as: nothing, over, or true."
    )
    levels: dict[str, float | LevelShape] = Field(
        {}, description="Name: limit, or {above, clear}, or {below, clear}; `expr` is then a number."
    )
    labels: dict[str, Text] = Field({}, description="Labels that the alert carries, such as severity.")
    annotations: dict[str, Text] = Field(
        {}, description="Texts for people; {{ device }} and {{ value }} are filled in."
    )


class _Whole(File):
    """One pipeline: readings in, alerts out."""

    rules: list[RuleShape] = Field(min_length=1, description="What to watch for.")


def json_schema() -> dict[str, Any]:
    """A JSON Schema (2020-12) of a pipeline file, with a description for every key."""
    shape = _tidy(_Whole.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **shape, "title": "Tocsin pipeline"}


def _tidy(schema: Any) -> Any:
    """Without titles that repeat the key, `null`, which nobody writes, and defaults in nanoseconds."""
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        key: _tidy(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and type(value) in (NoneType, int))
    }
    some = [part for part in found.get("anyOf", []) if part != {"type": "null"}]
    if len(some) == 1:
        return {**some[0], **{key: value for key, value in found.items() if key != "anyOf"}}
    return {**found, "anyOf": some} if some else found
