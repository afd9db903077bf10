"""From a file to alerts by the command itself: decoding, rules and, with `run`, the SQLite store.

    python benchmarks/files.py [--readings 3_000_000] [--runs 3] [--devices 1_000 100_000]

Method: the file is `time,device,value` (CSV) or flat JSON lines of the same, devices in turn every 30 s,
with the four rules.  `tocsin replay --no-store` and `tocsin run` are timed as whole processes; what they
take for a file of one reading is taken off.  Medians of several runs; the store is made anew each time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from engine import cook
from fused import RULES
from pyarrow import csv

PIPELINE = """
pipeline: bench
source:
  file: {file}
  time: {{column: time, format: unix_ms}}
  device: device
  metric: temp
  value: value
store: sqlite:///bench.db
rules:{rules}
"""


def write(folder: Path, form: str, devices: int, readings: int) -> Path:
    """A pipeline over so many readings, and its file."""
    device, when, value = cook(devices, max(1, readings // devices), noise=0.5)
    device, when, value = device[:readings], when[:readings], value[:readings]
    names = np.array([f"device-{number:07d}" for number in range(devices)])[device]
    file = folder / f"readings.{form}"
    table = pa.table({"time": when // 1_000_000, "device": names, "value": value})
    if form == "csv":
        csv.write_csv(table, file)
    else:
        with file.open("w") as lines:
            for t, name, v in zip(*(column.to_pylist() for column in table.columns), strict=True):
                lines.write(f'{{"time":{t},"device":"{name}","value":{v}}}\n')
    pipeline = folder / "pipeline.yaml"
    pipeline.write_text(PIPELINE.format(file=file.name, rules=RULES.replace("\n", "\n  ")))
    return pipeline


def seconds(pipeline: Path, command: list[str]) -> float:
    """How long the command takes as a process."""
    for leftover in pipeline.parent.glob("bench.db*"):
        leftover.unlink()
    began = time.perf_counter()
    subprocess.run(  # noqa: S603 (our own command)
        [sys.executable, "-m", "tocsin", command[0], str(pipeline), *command[1:]],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def main() -> None:
    """Prints a table of rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--readings", type=int, default=3_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--devices", type=int, nargs="*", default=[1_000, 100_000])
    options = parser.parse_args()
    print(f"{'devices':>9} {'file':>6} {'command':>18} {'M readings/s':>13}")
    for devices in options.devices:
        for form in ("csv", "jsonl"):
            with tempfile.TemporaryDirectory() as name:
                for command in (["replay", "--no-store"], ["run"]):
                    alone = statistics.median(seconds(write(Path(name), form, 1, 1), command) for _ in range(3))
                    pipeline = write(Path(name), form, devices, options.readings)
                    spent = statistics.median(seconds(pipeline, command) for _ in range(options.runs))
                    rate = options.readings / (spent - alone) / 1e6
                    print(f"{devices:>9,} {form:>6} {' '.join(command):>18} {rate:>13.2f}", flush=True)


if __name__ == "__main__":
    main()
