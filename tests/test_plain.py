"""Long plain mappings are read line by line, and just as the YAML library reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin import document as reader
from tocsin import plain
from tocsin.document import Document, Steps
from tocsin.errors import ConfigError
from tocsin.plain import plain_mappings
from tocsin.shape import is_text

HEAD = "pipeline: p\ndevices:  # expected\n"
TAIL = "rules:\n  - {alert: A, expr: v > 1}\n"
LONG = 3
FILLER = "".join(f"  filler-{number}: {{kind: oven, zip: 0{number}}}\n" for number in range(LONG))


@pytest.fixture(autouse=True, scope="module")
def soon() -> Iterator[None]:
    """Three entries count as many here, which spares the library's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "MANY", LONG)
        yield


def is_plain(middle: str) -> bool:
    return plain_mappings((HEAD + FILLER + middle + TAIL).split("\n"), is_text) != []


def content(text: str) -> tuple[Any, dict[Steps, Any], dict[Steps, Any]]:
    """What a text holds, and where; a value that is left out stands nowhere in particular."""
    found = Document.parse(text, "f.yaml", is_text)
    empty = {("devices", name) for name, labels in found.value["devices"].items() if labels is None}
    assert found.errors == []
    return found.value, {steps: place for steps, place in found._places.items() if steps not in empty}, found._keys


def by_the_library(text: str) -> tuple[Any, dict[Steps, Any], dict[Steps, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "plain_mappings", lambda *_: [])
        return content(text)


@pytest.mark.parametrize(
    "middle",
    [
        "",
        "  oven: {}\n  grill: { }\n  pan:\n",
        "  oven: { site: New York,max_temp:  250 , zip: 01234}  \n",
        "  oven:\n    site: New York\n\n    # a comment\n    zip: 1e3\n  pan:\n    zip: x\n",
        "# between\n\n  Räucherofen 2: {größe: 1.50, since: 2024-01-01}\n",
        "  null: {yes: no, y: true}\n  1: {2: 3}\n",
    ],
)
def test_what_is_plain_is_what_the_library_says_at_the_same_places(middle: str) -> None:
    assert is_plain(middle)
    text = HEAD + FILLER + middle + TAIL
    assert content(text) == by_the_library(text)


@pytest.mark.parametrize(
    "line",
    [
        "  oven: {site: 'New York'}",
        '  "oven": {site: York}',
        "  oven: {site: York} # here",
        "  oven: {site: null}",
        "  oven: {site: }",
        "  oven: {site: York,}",
        "  oven: {site: York,, zip: 1}",
        "  oven: {site: [York]}",
        "  oven: {site: York, site: Paris}",
        "  oven: {site: York",
        "  oven: &anchor {site: York}",
        "  filler-1: {site: York}",
        "   oven: {site: York}",
        " oven: {site: York}",
        "  oven: York",
        "  oven:\n    site: York\n     zip: 1",
        "  oven: {a: b}\n    site: York",
        "  oven:\n  \t",
        "  - oven",
        "  <<: {a: b}",
    ],
)
def test_a_mapping_with_any_other_line_is_left_to_the_library(line: str) -> None:
    assert not is_plain(line + "\n")


WORDS = st.one_of(
    st.sampled_from(["a", "b", "New York", "null", "1.5", "/x", "-", "é"]),
    st.text("ab1 ._-:'\"{},#*~\t", min_size=1, max_size=4),
)
LINES = st.one_of(
    st.builds("  {}: {{{}: {}}}".format, WORDS, WORDS, WORDS),
    st.builds("  {}: {{{}: {}, {}: {}}}".format, WORDS, WORDS, WORDS, WORDS, WORDS),
    st.builds("  {}:".format, WORDS),
    st.builds("    {}: {}".format, WORDS, WORDS),
    st.builds("{}".format, WORDS),
)


@given(st.lists(LINES, max_size=4))
def test_whatever_stands_there_means_what_the_library_says(lines: list[str]) -> None:
    text = HEAD + FILLER + "".join(f"{line}\n" for line in lines) + TAIL
    found, library = [_or_error(read, text) for read in (content, by_the_library)]
    assert found == library


def _or_error(read: Any, text: str) -> object:
    try:
        return read(text)
    except (ConfigError, AssertionError) as error:
        return type(error)


def test_a_text_over_several_lines_that_looks_like_a_mapping_is_none() -> None:
    text = f'pipeline: "a\ndevices:\n{FILLER}"\ndevices: {{a: {{b: c}}}}\n'
    assert Document.parse(text, "f.yaml", is_text).value["devices"] == {"a": {"b": "c"}}


def test_a_key_that_stands_twice_is_told() -> None:
    (error,) = Document.parse(HEAD + FILLER + "devices:\n" + FILLER, "f.yaml", is_text).errors
    assert str(error) == "f.yaml:6:1: 'devices' stands here twice: the first is on line 2; keep one of them"


def test_a_short_mapping_is_left_to_the_library() -> None:
    lines = (HEAD + FILLER).split("\n")
    assert len(plain_mappings(lines, is_text)) == 1
    assert plain_mappings([*lines[:2], *lines[3:]], is_text) == []


def test_numbers_that_are_not_texts_are_left_to_the_library() -> None:
    assert plain_mappings((HEAD + FILLER).split("\n"), lambda _: False) == []
