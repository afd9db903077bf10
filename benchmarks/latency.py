"""From a reading published to its alert in the store: how long that takes, at a steady rate, over each broker.

    python benchmarks/latency.py [--brokers journal rabbitmq kafka] [--rates 1_000 10_000] [--seconds 20] [--runs 3] [--each 1] [--file]

Method: the producer is a process of its own that does what `tocsin publish` does with what it has read: messages are committed
to the journal (with another broker to the spool, from which the sender carries them on).  Every message is one reading, of
RabbitMQ at more than 5,000 readings a second ten; `--each` says another number.  With `--file` readings are appended to a followed file instead, and
`tocsin publish` is one more process.  The consumer is `tocsin watch`, with a SQLite store; `lateness` is 0s, so that a reading
is decided when a later one has come.  One reading in ten moves an alert, half of these open one.

A reading's time is when it is due by the clock, whatever the producer is doing then: one that is held up makes the readings
behind it late, and that counts.  Another process looks at the store again and again, and notes when the alert that begins at
that time can be read; its row is of one transaction with the reading and the transition.  All clocks are one machine's.
What is seen is seen late, by up to the time since the look before: `error` is the 99th percentile of that, in milliseconds.
The first two seconds are left out; `alerts` says how many were seen of those that must come.  Medians of the runs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from served import BROKERS, served
from steady import SECOND, Steady, produce

PIPELINE = """
pipeline: latency
source: {{file: live.csv, follow: true, time: {{column: t, format: unix_ns}}, device: d, metric: m, value: v}}
broker: {{url: "{url}", name: "{name}"}}
lateness: 0s
rules: [{{alert: Above, expr: m > 0}}]
"""
PATIENCE = 120
"""Seconds until the first alert, with compiling, and after the last reading for what is still to come."""
LOOK = 0.0005
"""Seconds between two looks at the store."""


class Seen:
    """The alerts of a store: when each was first seen, by the time at which it begins."""

    def __init__(self, store: Path) -> None:
        self._connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
        self._newest, self._version = 0, -1
        self._looked = time.time_ns()
        self.at: dict[int, int] = {}
        self.gaps: list[int] = []
        """Nanoseconds from one look to the next."""

    def look(self) -> None:
        """See what is new; it costs next to nothing where nothing was written."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        now = time.time_ns()
        self.gaps.append(now - self._looked)
        self._looked = now
        if version != self._version:
            self._version = version
            query = "SELECT id, since FROM alerts WHERE id > ? ORDER BY id"
            for number, since in self._connection.execute(query, (self._newest,)):
                self._newest, self.at[since] = number, now
        time.sleep(LOOK)

    def until(self, enough: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Look until it is enough, but no longer than for so many seconds."""
        deadline = time.monotonic() + seconds
        while not enough() and time.monotonic() < deadline:
            self.look()


class Measured(NamedTuple):
    """Alerts seen, alerts that must come, and milliseconds."""

    seen: int
    expected: int
    median: float
    high: float
    error: float


def measure(url: str, rate: int, seconds: float, each: int, to_file: bool) -> Measured:
    """One run, with a pipeline of its own."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "p.yaml"
        file.write_text(PIPELINE.format(url=url, name=f"latency-{time.time_ns()}"))
        file.with_name("live.csv").write_text("t,d,v\n")
        commands = [tocsin(command, file) for command in ("watch", "publish")[: 1 + to_file]]
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        producer = spawn.Process(target=produce, args=(file, theirs, each, to_file), daemon=True)
        producer.start()
        try:
            return follow(file, ours, rate, seconds)
        finally:
            producer.terminate()
            producer.join()
            for command in commands:
                command.send_signal(signal.SIGTERM)
                command.wait()


def tocsin(command: str, file: Path) -> subprocess.Popen[bytes]:
    """A command of ours as a process."""
    with file.with_name(f"{command}.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "tocsin", command, str(file)], stdout=log, stderr=log)  # noqa: S603


def follow(file: Path, producer: Connection, rate: int, seconds: float) -> Measured:
    """Tell the producer to begin once an alert has come through, and see what it publishes arrive."""
    store, deadline = file.with_name("latency.db"), time.monotonic() + PATIENCE
    while not answers(store):
        if time.monotonic() > deadline:
            raise RuntimeError(file.with_name("watch.log").read_text())
        time.sleep(0.1)
    seen = Seen(store)
    seen.until(lambda: bool(seen.at))
    steady = Steady(time.time_ns() + SECOND // 2, rate)
    expected = steady.opening(seconds)
    producer.send((steady, seconds))
    seen.gaps.clear()
    seen.until(producer.poll, PATIENCE + seconds)
    seen.until(lambda: expected <= seen.at.keys(), PATIENCE)
    taken = sorted((seen.at[since] - since) / 1e6 for since in expected & seen.at.keys()) or [float("nan")]
    gaps = sorted(seen.gaps)
    return Measured(
        len(expected & seen.at.keys()),
        len(expected),
        statistics.median(taken),
        part(taken, 0.99),
        part(gaps, 0.99) / 1e6,
    )


def answers(store: Path) -> bool:
    """Whether its tables are there."""
    try:
        Seen(store).look()
    except sqlite3.OperationalError:
        return False
    return True


def part(ordered: Sequence[float], share: float) -> float:
    """The value that this share of the others does not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--brokers", nargs="*", default=BROKERS, choices=BROKERS)
    parser.add_argument("--rates", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--each", type=int, help="readings in a message")
    parser.add_argument("--file", action="store_true", help="append to a file that `tocsin publish` follows")
    options = parser.parse_args()
    print(
        f"{'broker':>9} {'readings/s':>11} {'a message':>10} {'alerts':>16}"
        f" {'median ms':>10} {'99 % ms':>8} {'worst run':>10} {'error':>6}"
    )
    for broker in options.brokers:
        with served(broker) as url:
            for rate in options.rates:
                each = options.each or (10 if broker == "rabbitmq" and rate > 5_000 else 1)
                runs = [measure(url, rate, options.seconds, each, options.file) for _ in range(options.runs)]
                seen, expected, *_ = map(sum, zip(*runs, strict=True))
                median, high, error = (statistics.median(column) for column in list(zip(*runs, strict=True))[2:])
                print(
                    f"{broker:>9} {rate:>11,} {'many' if options.file else each:>10} {f'{seen:,} of {expected:,}':>16}"
                    f" {median:>10.1f} {high:>8.1f} {max(run.high for run in runs):>10.1f} {error:>6.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
