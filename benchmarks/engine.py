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
from fused import RULES, SECOND, Fused
from ruamel.yaml import YAML

from tocsin.alert import State
from tocsin.engine import Engine
from tocsin.reading import Batch, Series
from tocsin.rule import parse_rules
from tocsin.watermark import Watermark

SIZES = ((10, 100_000), (100_000, 20), (1_000_000, 10))
START = 1_704_067_200 * SECOND


def cook(devices: int, each: int, every: int = 30 * SECOND) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(device, time, value) columns in time order: slow waves, noise, stalls and falls."""
    random = np.random.default_rng(7)
    step = np.repeat(np.arange(each), devices)
    device = np.tile(np.arange(devices, dtype=np.int32), each)
    wave = 75 + 20 * np.sin(step / 40 + device)
    still = (step // 50 + device) % 5 == 0
    value = np.where(still, 75.0, wave) + np.where(still, 0.2, 4.0) * random.standard_normal(len(step))
    return device, START + step * every, np.round(value, 1)


def through_fused(devices: int, columns: tuple[np.ndarray, ...], batch: int) -> tuple[float, np.ndarray]:
    """(seconds, moves) of the hand-written loop."""
    loop, moves = Fused(devices), np.zeros((4, 2), np.int64)
    began = time.perf_counter()
    for low in range(0, len(columns[0]), batch):
        moves += loop.process(*(column[low : low + batch] for column in columns))
    return time.perf_counter() - began, moves


def through_engine(devices: int, columns: tuple[np.ndarray, ...], batch: int) -> tuple[float, np.ndarray]:
    """(seconds, moves) of the engine; giving the devices their codes is part of it."""
    rules = parse_rules(YAML(typ="safe").load(RULES))
    names = [f"device-{number:07d}" for number in range(devices)]
    series = Series()
    series.codes(names, "temp")
    engine, watermark = Engine(rules, series), Watermark(0)
    decisions = []
    began = time.perf_counter()
    code, when, value = columns[0], columns[1], columns[2]
    for low in range(0, len(when), batch):
        part = Batch(series, code[low : low + batch], when[low : low + batch], value[low : low + batch])
        watermark.admit(part)
        decisions.append(engine.process(part, watermark.value))
    decisions.append(engine.process(None, watermark.end()))
    seconds = time.perf_counter() - began
    return seconds, count_moves(decisions)


def count_moves(decisions: list) -> np.ndarray:
    """(4, 2): of each rule, alerts that began and alerts that ended."""
    order = {"Drop": 0, "Stall": 1, "Range": 2, "Mean": 3}
    moves = np.zeros((4, 2), np.int64)
    for decision in decisions:
        for life, rows, _ in decision.moves.parts:
            moves[order[life.rule.name], 0] += (rows[:, 4] == State.FIRING).sum()
            moves[order[life.rule.name], 1] += (rows[:, 4] == State.RESOLVED).sum()
    return moves


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
            assert (expected == found).all(), (expected, found)
            pairs.append((len(columns[0]) / fused / 1e6, len(columns[0]) / engine / 1e6))
        ratio = statistics.median(engine / fused for fused, engine in pairs)
        print(
            f"{devices:>9,} {devices * each:>9,} {statistics.median(pair[0] for pair in pairs):>10.2f} "
            f"{statistics.median(pair[1] for pair in pairs):>10.2f} {ratio:>6.2f}"
        )


if __name__ == "__main__":
    main()
