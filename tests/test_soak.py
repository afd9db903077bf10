"""A store that takes ten times as long, behind a producer that never runs out: it waits, memory stays, nothing is lost.

The longer run, with a curve of what was seen, is `benchmarks/soak.py`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from faults import ask, command
from slowed import PIPELINE, in_use, journal_of, look, resident, start

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")

SIZE = 20_000_000
"""Of the journal, as `retention` gives it."""
WATCHED = 10.0
"""Seconds after the journal was full for which it is looked at."""
MEMORY = 150_000_000
"""By so much may a process grow after that: caches of SQLite (64 MB of the store) are still filled.

Without back-pressure it would be 20 MB or more a second.
"""
PATIENCE = 180.0


class Seen:
    """What was looked at, a few times a second."""

    def __init__(self, file: Path, processes: dict[str, subprocess.Popen[bytes]]) -> None:
        self._file = file
        self._processes = processes
        self.sizes = [0]
        self.memory: dict[str, list[int]] = {name: [] for name in processes}
        self.longest_wait = 0.0
        self._readings, self._since = 0, time.monotonic()

    def until(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not enough():
            assert time.monotonic() < deadline, "it does not come to that"
            self._look()
            time.sleep(0.2)

    def _look(self) -> None:
        for name, process in self._processes.items():
            assert process.poll() is None, (self._file.parent / f"{name}.log").read_text()
            self.memory[name].append(resident(process.pid))
        self.sizes.append(in_use(journal_of(self._file)))
        readings, now = look(self._file).readings, time.monotonic()
        if readings != self._readings:
            self._readings, self._since = readings, now
        elif readings and self.sizes[-1] > SIZE:
            self.longest_wait = max(self.longest_wait, now - self._since)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    file = tmp_path / "pipeline.yaml"
    file.write_text(PIPELINE.format(url="journal", size=f"{SIZE // 10**6}MB"))
    processes = {name: start(name, file) for name in ("watch", "publish")}
    yield processes
    for process in processes.values():
        process.kill()
        process.wait()


def test_a_slow_store_makes_the_producer_wait_and_nothing_is_lost(
    tmp_path: Path, running: dict[str, subprocess.Popen[bytes]]
) -> None:
    file = tmp_path / "pipeline.yaml"
    seen = Seen(file, running)
    seen.until(lambda: max(seen.sizes) > SIZE and look(file).stored > 0)
    warm = {name: max(sizes) for name, sizes in seen.memory.items()}

    full_since = time.monotonic()
    seen.until(lambda: time.monotonic() > full_since + WATCHED and seen.longest_wait > 1)

    # Whether there is room is looked at once a second, so more goes in than the size by what comes in a second.
    steepest = max(after - before for before, after in pairwise(seen.sizes))
    assert max(seen.sizes) < SIZE + 10 * steepest
    for name, sizes in seen.memory.items():
        assert max(sizes) < warm[name] + MEMORY, f"{name}: {sizes}"

    running["publish"].send_signal(signal.SIGTERM)
    assert running["publish"].wait(PATIENCE) == 0
    running["watch"].kill()
    running["watch"].wait()
    running["watch"] = command("watch", file)
    published = look(file)
    quick = Seen(file, {"watch": running["watch"]})
    quick.until(lambda: look(file).stored == published.messages)
    assert ask(tmp_path / "soak.db", "SELECT count(*) FROM readings") == [(published.readings,)]
