"""Imports point one way, and the middle stays pure: the order of the files, held as data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "tocsin"

ORDER: list[set[str]] = [
    {"errors", "instant"},
    {"reading", "record", "message", "address", "topic", "packed", "sqlite", "watermark", "state"},
    {"kernels"},
    {"functions", "alert"},
    {"moves"},
    {"node", "level", "bounds", "possible", "remedies"},
    {"expression", "hold", "key", "window"},
    {"rule"},
    {"advice", "plan", "life", "group", "engine"},
    {"codecs", "connectors", "stores", "simulators"},
    {"source", "ingest", "checkpoint", "stats", "origin", "partition", "unit"},
    {"pipeline"},
    {"publisher", "consumer"},
    {
        "plain",
        "document",
        "kinds",
        "shape",
        "inputs",
        "mapping",
        "foreign",
        "transport",
        "words",
        "config",
        "schema",
        "runners",
        "frame",
    },
    {"cli", "chart", "demo"},
]
"""Each file or folder may import those of its own step and of the steps before it."""

MIDDLE = set().union(*ORDER[:9]) - {"address", "sqlite"}
"""What decides: from errors to engine; addresses and SQLite's errors are for the plug-ins."""

PLUG_INS = {"codecs", "connectors", "stores", "simulators"}
PLUG_INS_MAY_IMPORT = ORDER[0] | ORDER[1] | {"alert", "moves"}

IMPURE = {
    "a clock": {"time", "sched"},
    "a socket": {"socket", "ssl", "http", "urllib", "asyncio", "select", "selectors"},
    "a thread or process": {"threading", "concurrent", "multiprocessing", "subprocess", "signal", "queue"},
    "logging": {"logging"},
    "a database": {"sqlite3", "sqlalchemy", "dbm"},
    "chance": {"random", "secrets", "uuid"},
}


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def unit(path: Path) -> str:
    """The file or folder directly under the package to which a file belongs."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


INNER = sorted(path for path in SOURCE.rglob("*.py") if unit(path) not in {"__init__", "__main__"})
"""Every file but the package's face, which shows what lies behind it."""


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in the file: `tocsin.reading`, `numpy`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written in full"
            assert node.module is not None
            yield from (f"tocsin.{alias.name}" for alias in node.names) if node.module == "tocsin" else (node.module,)


def own_imports(path: Path) -> set[str]:
    """The files and folders of this package that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("tocsin.")} - {"__version__"}


def step(name: str) -> int:
    return next(number for number, names in enumerate(ORDER) if name in names)


def test_every_file_has_its_place_in_the_order_and_every_place_its_file() -> None:
    units = [unit(path) for path in INNER]
    assert set(units) == set().union(*ORDER), "a new file is given its place in ORDER"


@pytest.mark.parametrize("path", INNER, ids=name_of)
def test_a_file_imports_only_what_comes_before_it(path: Path) -> None:
    upward = {name for name in own_imports(path) if step(name) > step(unit(path))}
    assert upward == set()


def test_no_two_files_import_each_other() -> None:
    """Files of one step may use one another, but never in a circle."""
    uses: dict[str, set[str]] = {}
    for path in INNER:
        uses.setdefault(unit(path), set()).update(own_imports(path) - {unit(path)})
    while free := [name for name, used in uses.items() if not used & uses.keys()]:
        for name in free:
            del uses[name]
    assert uses == {}


@pytest.mark.parametrize("path", [path for path in INNER if unit(path) in MIDDLE], ids=name_of)
def test_the_middle_touches_nothing(path: Path) -> None:
    """No clock, socket, thread, logging, database or chance: deciding depends on readings alone."""
    used = {name.split(".")[0] for name in imports(path)}
    assert {what: names & used for what, names in IMPURE.items() if names & used} == {}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert {call.attr for call in calls if isinstance(call, ast.Attribute)} & {"now", "utcnow", "today"} == set()
    assert {call.id for call in calls if isinstance(call, ast.Name)} & {"open", "print", "input"} == set()


@pytest.mark.parametrize("path", [path for path in INNER if unit(path) in PLUG_INS], ids=name_of)
def test_plug_ins_import_neither_each_other_nor_the_engine(path: Path) -> None:
    """They know what flows, and nothing of who uses it."""
    assert own_imports(path) - PLUG_INS_MAY_IMPORT - {unit(path)} == set()


@pytest.mark.parametrize("path", sorted((SOURCE / "functions").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_window_function_needs_nothing_but_its_folder(path: Path) -> None:
    """So one file adds one."""
    assert set(imports(path)) - {"__future__"} == {"tocsin.functions"}
