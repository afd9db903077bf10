"""Templates of topics: `plant/{device}/{metric}` says which topics are meant, and what their words are."""

from __future__ import annotations

import re

_WORD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Template:
    """A filter of topics, some of whose words have names; `+` and `#` are as in MQTT.

    ValueError says what is wrong with the text.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        levels = text.split("/")
        self.names = tuple(name for level in levels if (name := _name(text, level)) is not None)
        if twice := next((name for name in self.names if self.names.count(name) > 1), None):
            raise ValueError(f"{{{twice}}} stands in '{text}' twice: name each word once")
        _check_wildcards(text, levels)
        self.filter = "/".join("+" if _WORD.fullmatch(level) else level for level in levels)
        """What to subscribe to."""
        self._pattern = re.compile(_pattern(levels), re.DOTALL)

    def words(self, topic: str) -> tuple[str, ...] | None:
        """The named words of a topic in the order of `names`; None if it is none of those that are meant."""
        found = self._pattern.fullmatch(topic)
        return found.groups() if found else None


def _name(text: str, level: str) -> str | None:
    whole = _WORD.fullmatch(level)
    if whole is None and ("{" in level or "}" in level):
        raise ValueError(
            f"'{level}' in '{text}' is no word: expected a whole level with a name, as in plant/{{device}}/temp"
        )
    return whole[1] if whole else None


def _check_wildcards(text: str, levels: list[str]) -> None:
    for place, level in enumerate(levels):
        if level != "+" and "+" in level:
            raise ValueError(f"'{level}' in '{text}': + stands for a whole level, as in plant/+/temp")
        if "#" in level and (level != "#" or place != len(levels) - 1):
            raise ValueError(f"'{level}' in '{text}': # stands at the end alone, as in plant/#")


def _pattern(levels: list[str]) -> str:
    shared = levels[2:] if levels[0] == "$share" else levels  # the group is no part of the messages' topics
    kinds = [
        "(.*)"
        if level == "#"
        else "([^/]*)"
        if _WORD.fullmatch(level)
        else "[^/]*"
        if level == "+"
        else re.escape(level)
        for level in shared
    ]
    pattern = "/".join(kinds)
    # plant/# is plant too.
    return re.sub(r"/\(\.\*\)$", "(?:/.*)?", pattern) if pattern != "(.*)" else ".*"
