"""Fixtures that several test files use."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import PIPELINE, READINGS


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline and its readings, in which commands run."""
    (tmp_path / "p.yaml").write_text(PIPELINE)
    (tmp_path / "readings.csv").write_text(READINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOCSIN_DEBUG", raising=False)
    return tmp_path
