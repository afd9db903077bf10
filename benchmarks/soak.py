"""Back-pressure and memory: a producer at full speed before a store that takes ten times as long, for minutes.

    python benchmarks/soak.py [--broker journal] [--seconds 600] [--size 100MB] [--csv soak.csv]

Method: the producer is `tocsin publish` with a source that never runs out (`tests/slowed.py`): 1,000 devices, as many
readings as it can get rid of.  The consumer is `tocsin watch` with a sleep after every transaction, nine times as long as it
took.  Both are processes of their own.  Each second the resident memory of every process, the server's included, and the
size of the journal (with another broker, of the spool) are written into a CSV file, with how many readings were published
and how many of their messages are stored.  The curve is shown in ten steps; nothing is judged.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from served import BROKERS, served

from slowed import PIPELINE, in_use, journal_of, look, resident, start

STEPS = 10
COLUMNS = (
    "second", "readings", "messages", "stored", "journal_in_use", "journal_on_disk", "publish_memory", "watch_memory",
    "server_memory",
)  # fmt: skip
Row = dict[str, int]


def children(of: int) -> Iterator[int]:
    """Every process below one, those in sessions of their own included."""
    for task in Path(f"/proc/{of}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from children(child)


def seen(second: int, file: Path, parts: Mapping[str, subprocess.Popen[bytes]]) -> Row:
    """What there is to see now; sizes in bytes."""
    readings, messages, stored = look(file)
    journal, own = journal_of(file), {process.pid for process in parts.values()}
    on_disk = sum(path.stat().st_size for path in file.parent.glob(f"{journal.name}*"))
    server = sum(resident(child) for child in children(os.getpid()) if child not in own)
    memory = [resident(process.pid) for process in parts.values()]
    return dict(
        zip(COLUMNS, (second, readings, messages, stored, in_use(journal), on_disk, *memory, server), strict=True)
    )


def watched(file: Path, seconds: int, out: Path) -> list[Row]:
    """A row a second, in the file as they come."""
    parts = {name: start(name, file) for name in ("publish", "watch")}
    rows, began = [], time.monotonic()
    try:
        with out.open("w", newline="") as text:
            table = csv.DictWriter(text, COLUMNS)
            table.writeheader()
            while (second := int(time.monotonic() - began)) < seconds:
                for name, process in parts.items():
                    if process.poll() is not None:
                        sys.exit(f"{name} has ended: {file.with_name(f'{name}.log').read_text()}")
                rows.append(seen(second, file, parts))
                table.writerow(rows[-1])
                text.flush()
                time.sleep(max(0.0, began + second + 1 - time.monotonic()))
    finally:
        for process in parts.values():
            process.send_signal(signal.SIGTERM)
        for process in parts.values():
            process.wait()
    return rows


def show(rows: list[Row]) -> None:
    """The curve: of each tenth of the time the rates, and the highest of the sizes in megabytes."""
    print(
        f"{'until s':>8} {'readings/s':>11} {'messages/s stored':>18} {'waiting':>9}"
        f" {'journal':>8} {'on disk':>8} {'publish':>8} {'watch':>8} {'server':>8}   (MB)"
    )
    cuts = [len(rows) * step // STEPS for step in range(STEPS + 1)]
    for low, high in pairwise(cuts):
        first, last = rows[max(0, low - 1)], rows[max(0, high - 1)]
        passed = max(1, last["second"] - first["second"])
        published, stored = ((last[name] - first[name]) / passed for name in ("readings", "stored"))
        most = [max((row[name] for row in rows[low:high]), default=0) / 1e6 for name in COLUMNS[4:]]
        sizes = "".join(f" {size:>8.1f}" for size in most)
        waiting = last["messages"] - last["stored"]
        print(f"{last['second'] + 1:>8} {published:>11,.0f} {stored:>18,.0f} {waiting:>9,}{sizes}")
    rest = rows[len(rows) // STEPS :]
    for name in ("publish_memory", "watch_memory"):
        sizes_ = [row[name] / 1e6 for row in rest]
        print(
            f"{name} after the first tenth: {min(sizes_):.0f} to {max(sizes_):.0f} MB, median {statistics.median(sizes_):.0f}"
        )


def main() -> None:
    """Watches for a while, and shows the curve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", default="journal", choices=BROKERS)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--size", default="100MB", help="of the journal, as `retention` has it")
    parser.add_argument("--csv", type=Path, default=Path("soak.csv"))
    options = parser.parse_args()
    with served(options.broker) as url, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        file.write_text(PIPELINE.format(url=url, size=options.size))
        rows = watched(file, options.seconds, options.csv)
    print(f"{options.broker}: {options.csv} has a row a second")
    show(rows)


if __name__ == "__main__":
    main()
