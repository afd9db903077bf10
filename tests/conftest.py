"""Fixtures that several test files use."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import PIPELINE, READINGS
from tocsin.runners import supervise as supervising


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline and its readings, in which commands run."""
    (tmp_path / "p.yaml").write_text(PIPELINE)
    (tmp_path / "readings.csv").write_text(READINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOCSIN_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The fields of every event while the test goes on, with its name and level."""
    found: list[dict[str, Any]] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told = vars(record)
            found.append({"event": told["event"], "level": record.levelname, **told["fields"]})

    log, ear = logging.getLogger("tocsin"), Ear()
    monkeypatch.setattr(supervising, "FIRST", 0.001)
    monkeypatch.setattr(log, "handlers", [ear])
    before = log.level
    log.setLevel(logging.INFO)
    yield found
    log.setLevel(before)
