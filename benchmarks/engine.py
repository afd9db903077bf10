"""How fast the engine decides: four rules at once, one core, columns in memory.

    python benchmarks/engine.py [--readings 2_000_000] [--runs 5] [--batch 100_000]

Method: devices report every 30 s, all in turn (time-major), values wander about 75.  The same columns
go through the engine and through the hand-written loop in `fused.py`, in turn, several times; both
must find the same alerts.  Medians are shown, and the ratio pair by pair.  Compiling is not timed.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from fused import NAMES, RULES, SECOND, Alerts, Fused
from ruamel.yaml import YAML

from tocsin.engine import Engine
from tocsin.kernels import life as kernel
from tocsin.life import Life
from tocsin.reading import Batch, Series
from tocsin.rule import parse_rules
from tocsin.watermark import Watermark

SIZES = ((10, 100_000), (100_000, 20), (1_000_000, 10))
Columns = tuple[np.ndarray, np.ndarray, np.ndarray]
START = 1_704_067_200 * SECOND


def cook(devices: int, each: int, noise: float = 4.0) -> Columns:
    """(device, time, value) columns in time order: slow waves, noise, stalls and falls.

    With the usual noise one reading in ten moves an alert; the less noise, the fewer.
    """
    random = np.random.default_rng(7)
    step = np.repeat(np.arange(each), devices)
    device = np.tile(np.arange(devices, dtype=np.int32), each)
    wave = 75 + 20 * np.sin(step / 40 + device)
    still = (step // 50 + device) % 5 == 0
    value = np.where(still, 75.0, wave) + np.where(still, 0.2, noise) * random.standard_normal(len(step))
    return device, START + step * 30 * SECOND, np.round(value, 1)


def through_fused(devices: int, columns: Columns, batch: int) -> tuple[float, Alerts]:
    """(seconds, alerts that ended) of the hand-written loop."""
    loop = Fused(devices)
    began = time.perf_counter()
    parts = range(0, len(columns[0]), batch)
    found = [loop.process(*(column[low : low + batch] for column in columns)) for low in parts]
    return time.perf_counter() - began, in_order(found)


def through_engine(devices: int, columns: Columns, batch: int) -> tuple[float, Alerts]:
    """(seconds, alerts that ended) of the engine."""
    series = Series()
    series.codes([f"device-{number:07d}" for number in range(devices)], "temp")
    engine, watermark = Engine(parse_rules(YAML(typ="safe").load(RULES)), series), Watermark(0)
    decisions = []
    began = time.perf_counter()
    for low in range(0, len(columns[0]), batch):
        part = Batch(series, *(column[low : low + batch] for column in columns))
        watermark.admit(part)
        decisions.append(engine.process(part, watermark.value))
    decisions.append(engine.process(None, watermark.end()))
    seconds = time.perf_counter() - began
    return seconds, in_order([ended(*part) for decision in decisions for part in decision.moves.parts])


def ended(life: Life, rows: np.ndarray, floats: np.ndarray) -> Alerts:
    """The alerts that ended, in the columns of the hand-written loop."""
    last = rows[:, kernel.M_TO] == kernel.RESOLVED
    rows, floats = rows[last], floats[last]
    rule = np.full(len(rows), NAMES.index(life.rule.name))
    places = (kernel.M_SLOT, kernel.M_SINCE, kernel.M_FIRED, kernel.M_TIME)
    return np.column_stack([rule, *(rows[:, place] for place in places)]), floats[:, kernel.M_VALUE :]


def in_order(parts: list[Alerts]) -> Alerts:
    """All of them by rule, device and since."""
    rows, floats = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))
    return rows[order], floats[order]


def check(expected: Alerts, found: Alerts) -> None:
    """Both have found the same alerts; numbers may differ by the order in which sums add."""
    if not np.array_equal(expected[0], found[0]) or not np.allclose(expected[1], found[1], rtol=0, atol=1e-9):
        raise SystemExit("the engine and the hand-written loop found different alerts")


def main() -> None:
    """Prints a table of rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=100_000)
    options = parser.parse_args()
    for run in (through_fused, through_engine):
        run(10, cook(10, 1000), 1000)
    print(f"{'devices':>9} {'readings':>9} {'fused M/s':>10} {'engine M/s':>10} {'ratio':>6}")
    for devices, each in SIZES:
        columns = cook(devices, each)
        pairs = []
        for _ in range(options.runs):
            fused, expected = through_fused(devices, columns, options.batch)
            engine, found = through_engine(devices, columns, options.batch)
            check(expected, found)
            pairs.append((len(columns[0]) / fused / 1e6, len(columns[0]) / engine / 1e6))
        ratio = statistics.median(engine / fused for fused, engine in pairs)
        print(
            f"{devices:>9,} {devices * each:>9,} {statistics.median(pair[0] for pair in pairs):>10.2f} "
            f"{statistics.median(pair[1] for pair in pairs):>10.2f} {ratio:>6.2f}"
        )


if __name__ == "__main__":
    main()
