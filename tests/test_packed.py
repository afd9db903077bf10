"""Packed records: fields and kinds as users write them."""

from __future__ import annotations

import pytest

from tocsin.packed import Packed


def test_a_record_is_as_long_as_its_fields() -> None:
    """8 + 4 + 2 + 8 + 3 bytes; what is skipped is no column."""
    packed = Packed([("t", "double"), ("v", "float"), ("n", "uint16"), ("id", "text 8"), ("_", "skip 3")])
    assert packed.size == 25
    assert packed.names == ["t", "v", "n", "id"]
    assert packed.fields("big") == [("t", ">f8"), ("v", ">f4"), ("n", ">u2"), ("id", ">S8"), ("_", ">V3")]


@pytest.mark.parametrize("kind", ["doubel", "text", "text 0", "int24", ""])
def test_a_kind_that_there_is_not_is_told(kind: str) -> None:
    with pytest.raises(ValueError, match=f"there is no kind '{kind}'") as told:
        Packed([("t", kind)])
    assert "Expected double, float, int8" in str(told.value)
    assert ("Did you mean 'double'?" in str(told.value)) == (kind == "doubel")
