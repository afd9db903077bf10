"""A YAML file in which every value knows where it stands, so that a mistake can be pointed at.

Keys are texts.  Scalars are what YAML 1.2 says they are, except where `text_at` asks for them as they
are written: a zip code of 01234 is no number.  Aliases and merge keys (`<<`) work as in other YAML.
"""

from __future__ import annotations

import io
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tocsin.errors import ConfigError, Place, SetupError
from tocsin.plain import Plain, Steps, plain_mappings

__all__ = ["Document", "Steps", "text_of"]

_TAG = "tag:yaml.org,2002:"
_REMEDIES = {
    "'\\t'": "a tab: YAML is indented with spaces",
    "cannot start any token": "a text that begins with this character needs quotes",
    "mapping values are not allowed here": "a second ': ' in one line, or lines that are not indented alike: "
    "put the value in quotes, or indent it under its key",
    "unexpected end of stream": "a quote that is never closed",
    "expected ',' or ']'": "a list that is never closed: expected ',' or ']'",
    "expected ',' or '}'": "a mapping that is never closed, or a value with brackets in it: put an expression on one line in quotes, "
    "as in {alert: A, expr: 'avg(temp[10m]) > 80'}",
    "could not find expected ':'": "expected 'key: value'",
    "expected <block end>": "this line is not indented like the ones it belongs to",
    "undefined alias": "an alias (*name) without its anchor (&name)",
    "another document": "a second document (---): a pipeline file holds one",
}


class Document:
    """A file that was read: its `value`, where each part stands, and the mistakes found so far."""

    def __init__(self, file: str, text_at: Callable[[Steps], bool] = lambda _: False) -> None:
        self.file = file
        self.value: Any = None
        self.errors: list[ConfigError] = []
        self._text_at = text_at
        self._places: dict[Steps, Place] = {}
        self._keys: dict[Steps, Place] = {}
        self._lines: list[str] = []
        self._aside: dict[int, Plain] = {}

    @classmethod
    def read(cls, path: Path, text_at: Callable[[Steps], bool] = lambda _: False) -> Document:
        """The document in a file; SetupError if there is none to read, ConfigError if it is not YAML."""
        return cls.parse(text_of(path), str(path), text_at)

    @classmethod
    def parse(cls, text: str, file: str, text_at: Callable[[Steps], bool] = lambda _: False) -> Document:
        """The document in a text."""
        document = cls(file, text_at)
        document._lines = text.split("\n")
        root = document._compose_around() or document._compose(text)
        if root is not None:
            document.value = document._plain(root, (), ())
        return document

    def place(self, steps: Steps) -> Place:
        """Where a value begins, or else the nearest thing around it that is in the file."""
        return self._nearest(self._places, steps)

    def place_of_key(self, steps: Steps) -> Place:
        """Where the key of a value begins, for mistakes in the key itself."""
        return self._nearest(ChainMap(self._keys, self._places), steps)

    def _nearest(self, places: Mapping[Steps, Place], steps: Steps) -> Place:
        while steps and steps not in places:
            steps = steps[:-1]
        return places.get(steps, Place(self.file, 1, 1))

    def _compose_around(self) -> Node | None:
        """The file's nodes without its long plain mappings, which are set aside; None if it has none, or is odd."""
        mappings = plain_mappings(self._lines, self._text_at)
        lines = list(self._lines)
        for mapping in mappings:
            lines[mapping.line + 1 : mapping.end] = [""] * (mapping.end - mapping.line - 1)
        with suppress(YAMLError, RecursionError):
            if mappings and _stand_empty(mappings, root := _compose("\n".join(lines))):
                self._aside = {mapping.line: mapping for mapping in mappings}
                return root
        return None

    def _compose(self, text: str) -> Node | None:
        try:
            return _compose(text)
        except YAMLError as error:
            raise ConfigError(_explain(error), self._place_of_error(error)) from None
        except RecursionError:
            raise ConfigError("brackets that are nested too deeply", Place(self.file)) from None

    def _place_of_error(self, error: YAMLError) -> Place:
        mark = getattr(error, "problem_mark", None)
        if "unexpected end of stream" in str(getattr(error, "problem", "")):
            mark = getattr(error, "context_mark", mark)
        if mark is None:  # a character that YAML forbids: the error has its position alone
            before = "\n".join(self._lines)[: getattr(error, "position", 0)]
            return Place(self.file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        line, column = mark.line, mark.column
        if "'\\t'" in str(getattr(error, "problem", "")):
            column = self._lines[line].index("\t")
        return Place(self.file, line + 1, column + 1)

    def _plain(self, node: Node, steps: Steps, above: tuple[int, ...]) -> Any:
        if id(node) in above:
            raise ConfigError("a value that contains itself through its alias", self._start(node))
        self._places.setdefault(steps, self._start(node))
        above = (*above, id(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, steps, above)
        if isinstance(node, SequenceNode):
            return [self._plain(part, (*steps, number), above) for number, part in enumerate(node.value)]
        return self._scalar(node, steps)

    def _mapping(self, node: MappingNode, steps: Steps, above: tuple[int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in self._pairs(node):
            if not isinstance(key, ScalarNode):
                self.errors.append(ConfigError("a list or mapping cannot be a key: expected a word", self._start(key)))
                continue
            here = (*steps, str(key.value))
            if key.value in found:
                self._twice(here, self._start(key))
                continue
            self._keys.setdefault(here, self._start(key))
            aside = None if steps else self._aside.get(key.start_mark.line)
            found[key.value] = self._filled(aside) if aside else self._plain(value, here, above)
        for merged in self._merged(node):
            if isinstance(merged, MappingNode):
                found = {**self._plain(merged, steps, above), **found}
            else:
                self.errors.append(ConfigError("only a mapping can be merged with '<<'", self._start(merged)))
        return found

    def _filled(self, mapping: Plain) -> dict[str, Any]:
        first = next(iter(mapping.keys.values()))
        for places, found in ((self._places, {(mapping.key,): first, **mapping.places}), (self._keys, mapping.keys)):
            places |= {steps: Place(self.file, line + 1, column + 1) for steps, (line, column) in found.items()}
        return dict(mapping.value)

    def _pairs(self, node: MappingNode) -> Iterator[tuple[Node, Node]]:
        return ((key, value) for key, value in node.value if key.tag != f"{_TAG}merge")

    def _merged(self, node: MappingNode) -> Iterator[Node]:
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                yield from value.value if isinstance(value, SequenceNode) else (value,)

    def _twice(self, steps: Steps, place: Place) -> None:
        first = self._keys[steps]
        self.errors.append(
            ConfigError(f"'{steps[-1]}' stands here twice: the first is on line {first.line}; keep one of them", place)
        )

    def _scalar(self, node: Node, steps: Steps) -> Any:
        text: str = node.value
        kind = str(node.tag).removeprefix(_TAG)
        if kind not in _SCALARS:
            self.errors.append(ConfigError(f"there is no tag '{node.tag}' here: leave it out", self._start(node)))
            return text
        if getattr(node, "style", None) is not None or (kind != "null" and self._text_at(steps)):
            return text
        try:
            return _SCALARS[kind](text)
        except ValueError:  # a number of YAML 1.1 (12:30:45): a text since 1.2
            return text

    def _start(self, node: Node) -> Place:
        """Where its text begins: behind the quote, on the line after `|` or `>`."""
        line, column = node.start_mark.line, node.start_mark.column
        style = getattr(node, "style", None) if isinstance(node, ScalarNode) else None
        if style in ("'", '"'):
            column += 1
        elif style in ("|", ">"):
            line += 1
            while line < len(self._lines) - 1 and not self._lines[line].strip():
                line += 1
            text = self._lines[min(line, len(self._lines) - 1)]
            column = len(text) - len(text.lstrip(" "))
        return Place(self.file, line + 1, column + 1)


def text_of(path: Path) -> str:
    """The text of a UTF-8 file; SetupError if it cannot be read, ConfigError with the place if it is not UTF-8."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SetupError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise SetupError(f"{path}: this is a directory, expected a file") from None
    except OSError as error:
        raise SetupError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = Place(str(path), before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise ConfigError("not UTF-8 text: save the file as UTF-8", place) from None


def _compose(text: str) -> Node | None:
    root: Node | None = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    return root


def _stand_empty(mappings: list[Plain], root: Node | None) -> bool:
    """Whether the key of each mapping stands at the top of the file, and nothing is left behind it."""
    pairs = root.value if isinstance(root, MappingNode) else []
    left = {key.start_mark.line: (value.value, getattr(value, "style", None)) for key, value in pairs}
    return all(left.get(mapping.line) == ("", None) for mapping in mappings)


def _explain(error: YAMLError) -> str:
    problem = str(getattr(error, "problem", None) or "a character that a text file may not hold")
    return next((remedy for sign, remedy in _REMEDIES.items() if sign in problem), f"this is not YAML: {problem}")


def _whole(text: str) -> int:
    digits = text.replace("_", "").lower()
    prefixed = digits.lstrip("+-")[:2]
    return int(digits, {"0x": 16, "0o": 8, "0b": 2}.get(prefixed, 10))


def _decimal(text: str) -> float:
    return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": _whole,
    "float": _decimal,
    "bool": lambda text: text.lower() == "true",
    "null": lambda _: None,
    "timestamp": str,
}
