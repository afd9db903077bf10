"""A YAML file whose every value knows where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.document import Document, Steps
from tocsin.errors import ConfigError, SetupError


def read(text: str) -> Document:
    return Document.parse(text, "f.yaml")


def test_values_are_what_yaml_says() -> None:
    document = read("a: 1\nb: 2.5\nc: true\nd: ~\ne: yes\nf: [x, -3]\ng: 2024-01-01T00:00:00Z\nh: 0o17\n")
    assert document.value == {
        "a": 1,
        "b": 2.5,
        "c": True,
        "d": None,
        "e": "yes",
        "f": ["x", -3],
        "g": "2024-01-01T00:00:00Z",
        "h": 15,
    }


def test_a_text_stays_as_it_is_written_where_asked() -> None:
    def zips(steps: Steps) -> bool:
        return steps[-1] == "zip"

    assert Document.parse("zip: 01234\ncount: 01\n", "f.yaml", zips).value == {"zip": "01234", "count": 1}


def test_keys_are_texts() -> None:
    assert read("1: a\ntrue: b\n").value == {"1": "a", "true": "b"}


def test_aliases_and_merge_keys_work() -> None:
    document = read("base: &base {x: 1, y: 2}\nmore:\n  <<: *base\n  y: 3\n")
    assert document.value["more"] == {"x": 1, "y": 3}
    assert document.errors == []


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: x > 1", 1, 4),
        ("a: 'x > 1'", 1, 5),
        ('a: "x > 1"', 1, 5),
        ("a: |\n    x > 1\n", 2, 5),
        ("a: >-\n\n  x > 1\n", 3, 3),
        ("a:\n  x > 1\n", 2, 3),
    ],
)
def test_the_place_of_a_text_is_where_the_text_itself_begins(text: str, line: int, column: int) -> None:
    place = read(text).place(("a",))
    assert (place.line, place.column) == (line, column)


def test_a_value_that_is_not_there_has_the_place_of_what_would_hold_it() -> None:
    assert str(read("a:\n  b: {c: 1}\n").place(("a", "b", "d", "e"))) == "f.yaml:2:6"


def test_a_key_has_a_place_of_its_own() -> None:
    assert str(read("a:\n  b: 1\n").place_of_key(("a", "b"))) == "f.yaml:2:3"


def test_every_key_that_stands_twice_is_named() -> None:
    errors = [str(error) for error in read("a: 1\nb: {c: 1, c: 2}\na: 3\n").errors]
    assert errors == [
        "f.yaml:2:11: 'c' stands here twice: the first is on line 2; keep one of them",
        "f.yaml:3:1: 'a' stands here twice: the first is on line 1; keep one of them",
    ]


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("a:\n\tb: 1\n", "2:1", "a tab"),
        ("a: 1\n  \tb: 1\n", "2:3", "a tab"),
        ("a: b: c\n", "1:5", "indent"),
        ("x: 1\na: 'b\n\n", "2:4", "a quote that is never closed"),
        ("a: [1, 2\n", "2:1", "never closed"),
        ("a: {b: 1\nc: 2}\n", "2:2", "never closed"),
        ("a: @b\n", "1:4", "needs quotes"),
        ("a: *b\n", "1:4", "without its anchor"),
        ("a: &b [*b]\n", "1:4", "contains itself"),
        ("---\na: 1\n---\nb: 1\n", "3:1", "a second document"),
        ("a: \x07\n", "1:4", "a character"),
        ("- a\nb: 1\n", "2:1", "not indented"),
    ],
)
def test_what_is_not_yaml_is_told_with_its_place_and_remedy(text: str, place: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(text)
    assert str(error.value).startswith(f"f.yaml:{place}: ")
    assert says in str(error.value)


def test_a_tag_that_nobody_knows_is_a_mistake() -> None:
    assert [str(error) for error in read("a: !secret b\n").errors] == [
        "f.yaml:1:4: there is no tag '!secret' here: leave it out"
    ]


def test_only_a_mapping_can_be_merged() -> None:
    assert [str(error) for error in read("a: {b: 1, <<: c}\n").errors] == [
        "f.yaml:1:15: only a mapping can be merged with '<<'"
    ]


def test_a_thousand_nested_brackets_are_told_not_crashed_on() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        read("[" * 5000 + "]" * 5000)


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: |\r\n  x\r\n")
    assert Document.read(path).value == {"a": 1, "b": "x\n"}


def test_text_that_is_not_utf8_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"a: 1\nb: 80 \xb0C\n")
    with pytest.raises(ConfigError, match=r"f\.yaml:2:7: not UTF-8 text"):
        Document.read(path)


def test_a_missing_file_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="there is no such file"):
        Document.read(tmp_path / "f.yaml")
    with pytest.raises(SetupError, match="this is a directory"):
        Document.read(tmp_path)
