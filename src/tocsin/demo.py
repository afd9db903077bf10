"""A day at the smoker in a few seconds: `tocsin demo`.

A cook is simulated and goes through the smoker pipeline as any recording would: file, rules,
engine, store.  What the store has then is shown as a chart of the temperatures with the alerts on
it, and as a table.  Nothing is left behind.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from tocsin.alert import Alert
from tocsin.chart import Curve, chart
from tocsin.instant import SECOND, format_duration, format_time
from tocsin.simulators.smoker import Smoker

if TYPE_CHECKING:
    from tocsin.config import Config

WIDTH = 80
HEIGHT = 18
COLOURS = {"smoker": "yellow", "food-a": "cyan", "food-b": "green"}
Readings = dict[str, list[tuple[int, float]]]


def main(seed: int = 1) -> None:
    """Simulate, run, show."""
    with TemporaryDirectory(prefix="tocsin-demo-") as folder:
        config = prepare(Path(folder), seed)
        show(Console(width=_width(), highlight=False), config, run(config), readings(config))


def prepare(folder: Path, seed: int) -> Config:
    """The pipeline of `tocsin init smoker` in this folder, beside a new recording."""
    from tocsin.config import load

    file = folder / "smoker.yaml"
    file.write_bytes((resources.files("tocsin") / "templates" / "smoker.yaml").read_bytes())
    config = load(file)
    Path(config.source.path).write_text("".join(Smoker(seed=seed).lines()), encoding="ascii", newline="")
    return config


def run(config: Config) -> list[Alert]:
    """The alerts that are in the store after a run."""
    from tocsin.runners import local
    from tocsin.stores import open_store

    store = open_store(config.store, config.name)
    try:
        local.run(config.parts(), store, idle_after=config.idle_after)
        return store.alerts()
    finally:
        store.close()


def readings(config: Config) -> Readings:
    """The temperatures of each device, in order of time."""
    from tocsin.errors import EndOfInput
    from tocsin.reading import Series
    from tocsin.source import open_source

    found: Readings = {}
    series = Series()
    source = open_source(config.source, config.codec, series)
    source.open()
    try:
        while decoded := source.poll():
            batch = decoded.batch
            for code, time, value in zip(batch.code, batch.time, batch.value, strict=True):
                found.setdefault(series.describe(code)[0], []).append((int(time), float(value)))
    except EndOfInput:
        return found
    finally:
        source.close()
    return found


def show(console: Console, config: Config, alerts: list[Alert], found: Readings) -> None:
    """The chart, and the table that explains its numbers."""
    plain = not console.is_terminal or not console.encoding.startswith("utf")
    numbered = list(enumerate(alerts, 1))
    curves = [_curve(device, found[device], numbered) for device in sorted(found, key=list(COLOURS).index)]
    count = sum(len(curve.readings) for curve in curves)
    console.print(f"A simulated cook: {count:,} readings of {len(curves)} probes, in degrees Fahrenheit.\n")
    for line in chart(curves, console.width, HEIGHT, plain):
        console.print(line, soft_wrap=True)
    console.print()
    console.print(_table(numbered, plain))
    console.print("\nThe rules:")
    for rule in config.rules:
        console.print(f"  {rule.name}: {rule.text}", markup=False, soft_wrap=True)
    console.print("\nMake this pipeline yours:  tocsin init smoker", style="" if plain else "bold")


def _curve(device: str, points: list[tuple[int, float]], alerts: list[tuple[int, Alert]]) -> Curve:
    end = points[-1][0] + 1
    return Curve(
        device,
        device[-1] if device.startswith("food") else device[0],
        COLOURS[device],
        points,
        [(number, alert.since, alert.until or end) for number, alert in alerts if dict(alert.key)["device"] == device],
    )


def _table(alerts: list[tuple[int, Alert]], plain: bool) -> Table:
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("", "alert", "device", "since", "lasted"):
        table.add_column(name, no_wrap=True)
    for name in ("value", "peak"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, alert in alerts:
        lasted = "still on" if alert.until is None else format_duration((alert.until - alert.since) // SECOND * SECOND)
        table.add_row(
            str(number),
            alert.rule,
            dict(alert.key)["device"],
            format_time(alert.since)[11:19],
            lasted,
            f"{alert.value:.1f}",
            f"{alert.peak:.1f}",
        )
    return table


def _width() -> int:
    """The terminal's width, so that the chart fills it; 80 columns elsewhere."""
    return Console().width if sys.stdout.isatty() else WIDTH
