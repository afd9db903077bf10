"""How far a pipeline has come, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

from commands import edit, tocsin


def test_it_tells_the_producers_and_what_waits(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    assert tocsin("publish", "p.yaml").exit_code == 0
    assert tocsin("run", "p.yaml").exit_code == 0
    told = json.loads(tocsin("top", "p.yaml", "--json").stdout)
    (producer,) = told["producers"]
    assert (producer["partition"], producer["standing"]) == ("0", "ended")
    assert producer["producer"].startswith("p-")
    assert producer["watermark"] == told["watermark"] == "2024-01-01T00:06:00.000000001Z"
    assert (told["owners"], told["waiting"], told["alerts"], told["dead_letters"]) == ([], 0, 1, 1)


def test_what_was_published_and_not_taken_waits(here: Path) -> None:
    """A first message says that the producer is there; readings, what could not be read, and the end follow."""
    assert tocsin("run", "p.yaml").exit_code == 0
    (here / "p.db").unlink()
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    assert tocsin("run", "p.yaml").exit_code == 0
    edit(here / "readings.csv", "00:06:00Z,b,70", "00:06:00Z,b,70\n2024-01-01T00:07:00Z,b,60")
    assert tocsin("publish", "p.yaml").exit_code == 0
    assert json.loads(tocsin("top", "p.yaml", "--json").stdout)["waiting"] == 2


def test_it_is_readable(here: Path) -> None:
    assert tocsin("run", "p.yaml").exit_code == 0
    told = tocsin("top", "p.yaml").stdout
    assert "p: nobody runs it now" in told
    assert "newest reading 2024-01-01T00:06:00Z" in told
    assert "1 open alerts; 1 dead letters" in told
    assert here.exists()
