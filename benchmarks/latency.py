"""From a reading published to its alert stored: how long that takes, through publish and watch as two processes.

    python benchmarks/latency.py [--broker journal] [--rates 1_000 10_000] [--seconds 20]

Method: readings are appended to a followed file at a steady rate, in lots of ten milliseconds' worth, each stamped with
the wall clock; one in fifty moves an alert (its value goes up and down about the limit), and `lateness` is 0s. The
store is looked at every millisecond for new transitions, and what is measured is the time from a reading's stamp to the
moment at which its transition can be read there. The first two seconds are left out; median and 99th percentile are shown.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PIPELINE = """
pipeline: latency
source: {{file: live.csv, follow: true, time: {{column: t, format: unix_ns}}, device: d, metric: m, value: v}}
broker: {broker}
lateness: 0s
rules: [{{alert: Above, expr: m > 0}}]
"""
LOT, DEVICES, MOVES = 0.01, 100, 50


def feed(file: Path, rate: int, seconds: float) -> None:
    """Appends readings at a rate; a device's value changes its sign after every fifty."""
    each, began, sent = int(rate * LOT), time.monotonic(), 0
    with file.open("a", buffering=1 << 20) as lines:
        while (now := time.monotonic()) < began + seconds:
            stamp = time.time_ns()
            for number in range(each):
                turn, device = divmod(sent + number, DEVICES)
                sign = 1 if (turn + device) // MOVES % 2 else -1
                lines.write(f"{stamp + number},d{device},{sign}\n")
            lines.flush()
            sent += each
            time.sleep(max(0.0, LOT - (time.monotonic() - now)))


def measure(broker: str, rate: int, seconds: float) -> tuple[int, float, float]:
    """(transitions, median, 99th percentile) in milliseconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "live.csv").write_text("t,d,v\n")
        (folder / "p.yaml").write_text(PIPELINE.format(broker=broker))
        parts = [
            subprocess.Popen(  # noqa: S603 (our own command)
                [sys.executable, "-m", "tocsin", command, str(folder / "p.yaml")],
                stderr=subprocess.DEVNULL,
                env=os.environ,
            )
            for command in ("publish", "watch")
        ]
        while not (folder / "latency.db").exists():
            time.sleep(0.1)
        time.sleep(3)
        feeding = threading.Thread(target=feed, args=(folder / "live.csv", rate, seconds))
        found = look(folder / "latency.db", feeding)
        for part in parts:
            part.send_signal(signal.SIGTERM)
            part.wait()
    found.sort()
    return len(found), found[len(found) // 2] / 1e6, found[len(found) * 99 // 100] / 1e6


def look(store: Path, feeding: threading.Thread) -> list[int]:
    """The latency of each transition, in nanoseconds, while readings are fed and a little longer."""
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    feeding.start()
    began = ended = time.time_ns()
    newest, found = 0, []
    while feeding.is_alive() or time.time_ns() < ended + 2 * 10**9:
        if feeding.is_alive():
            ended = time.time_ns()
        rows = connection.execute("SELECT time FROM transitions WHERE time > ? ORDER BY time", (newest,)).fetchall()
        now = time.time_ns()
        found += [now - time_ for (time_,) in rows if time_ > began + 2 * 10**9]
        newest = rows[-1][0] if rows else newest
        time.sleep(0.001)
    return found


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", default="journal")
    parser.add_argument("--rates", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    print(f"{'broker':>20} {'readings/s':>11} {'transitions':>12} {'median ms':>10} {'99 % ms':>9}")
    for rate in options.rates:
        count, median, high = measure(options.broker, rate, options.seconds)
        print(f"{options.broker.split('@')[-1]:>20} {rate:>11,} {count:>12,} {median:>10.1f} {high:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
