"""The collector of a command's process waits for longer, and still does its work."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from tocsin.runners.garbage import MORE, collect_seldom
from tocsin.runners.watch import POLL


class Circle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.myself = self


@pytest.fixture(autouse=True)
def seldom() -> Iterator[None]:
    before = gc.get_threshold()
    gc.collect()
    collect_seldom()
    yield
    gc.set_threshold(*before)


def test_the_messages_of_a_poll_are_not_looked_at_in_vain() -> None:
    looks = gc.get_stats()[0]["collections"]
    poll = [[number] for number in range(POLL)]
    assert len(poll) == POLL
    assert gc.get_stats()[0]["collections"] == looks


def test_what_refers_to_itself_goes_when_there_is_more_of_it() -> None:
    gone = weakref.ref(Circle())
    more = [[number] for number in range(MORE[0] + 1_000)]
    assert gone() is None, f"still there after {len(more)} more objects"
