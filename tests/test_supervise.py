"""What is done about a part that fails."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tocsin.errors import NotConnected, RetryLater, SetupError, StoreError, TakenOver
from tocsin.runners import supervise as supervising
from tocsin.runners.events import Events
from tocsin.runners.supervise import Reconnecting, supervise

EVENTS = Events("p", "consumer")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "FIRST", 0.001)
    monkeypatch.setattr(supervising, "STEP", 0.001)


def never() -> bool:
    return False


def failing(*errors: Exception) -> tuple[list[int], Callable[[], None]]:
    """Work that fails with each of these in turn, and then returns; and the times it was begun."""
    begun: list[int] = []

    def work() -> None:
        begun.append(len(begun))
        if len(begun) <= len(errors):
            raise errors[len(begun) - 1]

    return begun, work


def test_what_is_wrong_after_a_fault_of_the_store_may_come_right() -> None:
    """As where a full disk lets no file be opened; from the beginning it is for the user to mend."""
    begun, work = failing(StoreError("disk full"), SetupError("disk full"), SetupError("disk full"))
    supervise(EVENTS, work, never)
    assert len(begun) == 4
    begun, work = failing(SetupError("wrong"))
    with pytest.raises(SetupError, match="wrong"):
        supervise(EVENTS, work, never)
    begun, work = failing(StoreError("disk full"), *[SetupError("disk full")] * 9)
    with pytest.raises(StoreError, match="disk full"):
        supervise(EVENTS, work, never)
    assert len(begun) == supervising.TIMES + 1


def test_a_connection_is_made_again_until_the_work_is_done() -> None:
    closed: list[int] = []
    begun, work = failing(NotConnected("away"), RetryLater("busy"), NotConnected("away"))
    Reconnecting("it", EVENTS, never).run(work, lambda: closed.append(1))
    assert (len(begun), len(closed)) == (4, 3)


def test_who_asks_for_patience_is_asked_ever_more_seldom_though_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Reconnecting, "_wait", lambda _, pause: pauses.append(pause))
    reconnecting = Reconnecting("it", EVENTS, never)
    _, failed = failing(*[RetryLater("nobody listens")] * 15)

    def work() -> None:
        reconnecting.connected()
        failed()

    reconnecting.run(work, lambda: None)
    assert pauses == [min(supervising.PATIENT, 0.001 * 2**times) for times in range(1, 16)]


def test_what_connecting_again_does_not_mend_is_raised() -> None:
    _, work = failing(SetupError("wrong password"))
    with pytest.raises(SetupError):
        Reconnecting("it", EVENTS, never).run(work, lambda: None)


def test_it_stops_when_it_is_told_to() -> None:
    began = time.monotonic()
    Reconnecting("it", EVENTS, lambda: time.monotonic() > began + 0.1).run(
        failing(*[NotConnected("away")] * 100_000)[1], lambda: None
    )
    assert time.monotonic() - began < 5


def test_a_part_whose_store_fails_now_and_then_is_begun_again() -> None:
    begun, work = failing(*[StoreError("disk full")] * supervising.TIMES)
    supervise(EVENTS, work, never)
    assert len(begun) == supervising.TIMES + 1


def test_a_part_that_keeps_dying_ends_with_its_error() -> None:
    begun, work = failing(*[StoreError("disk full")] * 100)
    with pytest.raises(StoreError, match="disk full"):
        supervise(EVENTS, work, never)
    assert len(begun) == supervising.TIMES + 1


def test_a_part_whose_work_another_does_now_is_not_begun_again() -> None:
    begun, work = failing(TakenOver("another"))
    with pytest.raises(TakenOver):
        supervise(EVENTS, work, never)
    assert len(begun) == 1
