"""Our own counters: the rate counts from the first step on."""

from __future__ import annotations

import pytest

from listed import batch_of, step_of
from tocsin.reading import Batch, Series
from tocsin.stats import Stats


def readings(count: int) -> Batch:
    return batch_of([("a", second, 1) for second in range(count)], Series())


def test_the_rate_leaves_the_first_step_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step ends after 8 s; 20 readings in the 2 s after it are 10 a second, however many came before."""
    wall = 100.0
    monkeypatch.setattr("tocsin.stats.time.monotonic", lambda: wall)
    stats = Stats(began=wall)
    assert stats.rate == 0.0
    wall = 108.0
    stats.add(step_of(readings(500)), 0)
    assert stats.rate == 0.0
    wall = 109.0
    stats.add(step_of(readings(5)), 0)
    wall = 110.0
    stats.add(step_of(readings(15)), 0)
    assert (stats.rate, stats.seconds, stats.readings) == (10.0, 10.0, 520)


def test_a_moment_tells_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    wall = 100.0
    monkeypatch.setattr("tocsin.stats.time.monotonic", lambda: wall)
    stats = Stats(began=wall)
    stats.add(step_of(readings(5)), 0)
    wall = 100.01
    stats.add(step_of(readings(5)), 0)
    assert stats.rate == 0.0
