"""Small sources for tests: a text becomes a file, and what is read of it comes back as plain tuples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tocsin.codecs import Cell, CodecSettings, Column, Constant, CsvSettings, TimeSettings
from tocsin.connectors.file import FileSettings
from tocsin.errors import EndOfInput
from tocsin.instant import format_time
from tocsin.reading import Series
from tocsin.record import Decoded, Position, Reject
from tocsin.source import open_source

Row = tuple[str, str, str, float]
"""Time, device, metric and value."""

LONG = (Cell("value", Column("device"), Column("name")),)
TS = TimeSettings(("ts",))


def long_csv(time: TimeSettings = TS, delimiter: str = ",") -> CsvSettings:
    """`ts,device,name,value`."""
    return CsvSettings(time, LONG, delimiter)


def wide_cells(**columns: str) -> tuple[Cell, ...]:
    """Cells of columns named for their devices, all of the metric `v`."""
    return tuple(Cell(column, Constant(device), Constant("v")) for column, device in columns.items())


def write(folder: Path, text: str | bytes, name: str = "data.csv") -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def read(
    path: str, codec: CodecSettings, *, sort: bool = False, position: Position | None = None
) -> tuple[list[Row], list[Reject], list[Decoded]]:
    """All of a bounded file: its readings, its rejects, and the steps in which they came."""
    series = Series()
    source = open_source(FileSettings(path, sort=sort), codec, series)
    source.open(position)
    steps: list[Decoded] = []
    try:
        while True:
            step = source.poll()
            if step is not None:
                steps.append(step)
    except EndOfInput:
        pass
    finally:
        source.close()
    rows = [row for step in steps for row in rows_of(step)]
    return rows, [reject for step in steps for reject in step.rejects], steps


def rows_of(step: Decoded) -> list[Row]:
    batch = step.batch
    named = [batch.series.describe(int(code))[:2] for code in batch.code]
    return [
        (format_time(int(time)), *name, float(value))
        for time, name, value in zip(batch.time, named, batch.value, strict=True)
    ]


def lines_of(rejects: Sequence[Reject]) -> list[int]:
    return [int(reject.place["line"]) for reject in rejects]
