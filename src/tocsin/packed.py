"""Packed records: the names and kinds of fields that follow each other, as the user writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tocsin.errors import did_you_mean

KINDS = {
    "double": "f8",
    "float": "f4",
    **{f"int{8 * size}": f"i{size}" for size in (1, 2, 4, 8)},
    **{f"uint{8 * size}": f"u{size}" for size in (1, 2, 4, 8)},
}
"""What a number's kind is called, and NumPy's word for it."""
_SIZED = re.compile(r"(text|skip) ([1-9]\d{0,4})")
EXPECTED = f"{', '.join(KINDS)}, `text N` or `skip N` with a number of bytes"


class Packed:
    """Fields in their order; ValueError says which kind is none."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self._fields = [(name, _kind(kind)) for name, kind in fields]

    @property
    def names(self) -> list[str]:
        """The fields that can be columns."""
        return [name for name, kind in self._fields if kind[0] != "V"]

    @property
    def size(self) -> int:
        """How many bytes a record takes."""
        return sum(int(kind[1:]) for _, kind in self._fields)

    def fields(self, byte_order: str) -> list[tuple[str, str]]:
        """As NumPy describes a record."""
        mark = "<" if byte_order == "little" else ">"
        return [(name, mark + kind) for name, kind in self._fields]


def _kind(text: str) -> str:
    if sized := _SIZED.fullmatch(text):
        return ("S" if sized[1] == "text" else "V") + sized[2]
    if text not in KINDS:
        raise ValueError(
            f"there is no kind '{text}'.{did_you_mean(text, [*KINDS, 'text 8', 'skip 4'])} Expected {EXPECTED}"
        )
    return KINDS[text]
