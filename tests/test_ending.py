"""When a consumer beside a producer ends by itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from tocsin.address import parse_address
from tocsin.connectors import Broker
from tocsin.errors import SetupError
from tocsin.message import Origin, Standing
from tocsin.runners import ending
from tocsin.runners.ending import ASK, PATIENCE, Ending, Until

BROKER = Broker(parse_address("amqp://h", {}), "p", ("0", "1"))
UNTIL = Until("p-1", {"0": 3, "1": 2})


def made(
    monkeypatch: pytest.MonkeyPatch, *answers: Mapping[str, int] | Exception, standing: Standing = Standing.ENDED
) -> Ending:
    """One whose producer is taken, with partition 0 its own; the broker gives these answers, one after the other."""
    left = list(answers)

    def waiting(_: Broker, positions: Mapping[str, Any]) -> Mapping[str, int] | None:
        assert positions == {"0": 7}
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ending, "waiting", waiting)
    origins = [Origin("0", "p-1", 3, standing=standing), Origin("1", "p-1", 2, standing=standing)]
    owned = [SimpleNamespace(unit=SimpleNamespace(partitions=("0",)), position=lambda _: 7)]
    desk: Any = SimpleNamespace(origins=lambda: origins)
    found = Ending(BROKER, desk, owned)  # type: ignore[arg-type]
    found.came(100.0)
    return found


def test_nothing_ends_before_the_producer_has_and_all_of_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not made(monkeypatch).is_here(None, 101)
    assert not made(monkeypatch, standing=Standing.LIVE).is_here(UNTIL, 101)
    assert not made(monkeypatch).is_here(Until("p-1", {"0": 4}), 101)


def test_the_broker_is_asked_now_and_then_until_nothing_waits_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits in another process's partitions is its affair."""
    end = made(monkeypatch, {"0": 2, "1": 0}, {"0": 0, "1": 9})
    assert not end.is_here(UNTIL, 101)
    assert not end.is_here(UNTIL, 101 + ASK / 2)
    assert end.is_here(UNTIL, 101 + ASK)


def test_what_waits_and_does_not_come_is_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    end = made(monkeypatch, {"0": 2})
    assert not end.is_here(UNTIL, 100 + PATIENCE)
    assert end.is_here(UNTIL, 100 + PATIENCE + 0.1)


@pytest.mark.parametrize("answer", [SetupError("not allowed"), {}])
def test_a_broker_that_cannot_be_asked_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, answer: Mapping[str, int] | Exception
) -> None:
    assert made(monkeypatch, answer).is_here(UNTIL, 101)
