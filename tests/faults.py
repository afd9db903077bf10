"""Pipelines under fault: producer and consumer as processes of their own, killed and started again at random moments.

What must hold in the end: every reading that was published is stored, once, and the ledger is, byte for
byte, the one of an undisturbed run.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

ROUNDS = int(os.environ.get("TOCSIN_ROUNDS", "2"))
"""Rounds of each fault test; `make faults ROUNDS=100` runs many."""
SEED = int(os.environ.get("TOCSIN_SEED", "0")) or random.randrange(1 << 30)
FAULTS = 12
"""Faults in one round at most."""
FROZEN = 13.0
"""Seconds for which a consumer is frozen: longer than its lease of ten."""
PATIENCE = 240.0
GHOSTS = "devices: {device-00: {}, device-07: {}, ghost-a: {}, ghost-b: {}, ghost-c: {}}\n"
"""Expected devices, of which some never report: whoever decides a partition must know when its source began."""

DEVICES, EACH = 100, 1200
RULES = """
  - {alert: Drop, expr: "drop(temp[150s]) > 15", clear: "drop(temp[150s]) < 10", keep_firing_for: 1m}
  - {alert: Stall, expr: "spread(temp[10m]) < 1"}
  - {alert: Range, expr: "temp > 100 or temp < 50", for: 3 readings}
  - {alert: Mean, expr: "avg(temp[10m])", levels: {high: 79, higher: {above: 85, clear: 80}}}
  - {alert: Gone, expr: "missing(temp[5m])"}
"""


def write_pipeline(folder: Path, broker: str, seed: int, more: str = "") -> Path:
    """A pipeline and its readings: waves and noise of some devices, in disorder within the lateness, some missing."""
    chance = random.Random(seed)
    rows = []
    for step in range(EACH):
        for device in range(DEVICES):
            if chance.random() < 0.98 and not 600 < step - 5 * device < 640:
                value = 75 + 20 * ((step // 40 + device) % 3 - 1) + chance.gauss(0, 3)
                rows.append((step * 30 + chance.randrange(60), device, round(value, 1)))
    lines = [f"{1_700_000_000 + t},device-{device:02},{value}" for t, device, value in rows]
    (folder / "readings.csv").write_text("time,device,value\n" + "\n".join(lines) + "\n")
    file = folder / "pipeline.yaml"
    file.write_text(
        "pipeline: faulty\n"
        "source: {file: readings.csv, time: {column: time, format: unix_s}, device: device, metric: temp, value: value}\n"
        f"broker: {broker}\nlateness: 2m\n{more}rules:{RULES}"
    )
    return file


def command(
    name: str, file: Path, *options: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A command of ours as a process, its words in a file beside the pipeline."""
    with (file.parent / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tocsin", name, str(file), *options],
            stdout=log,
            stderr=log,
            env={**os.environ, **(environment or {})},
        )


def output(*arguments: str) -> str:
    """What a command of ours prints."""
    return subprocess.run(
        [sys.executable, "-m", "tocsin", *arguments], check=True, capture_output=True, text=True
    ).stdout


def ended(file: Path, name: str = "faulty", database: str = "faulty.db") -> bool:
    """Whether the consumer has taken everything that the producer had to say, its end in each partition included."""
    journal = next(
        (file.parent / f"{name}.{kind}" for kind in ("journal", "spool") if (file.parent / f"{name}.{kind}").exists()),
        None,
    )
    store = file.parent / database
    if journal is None or not store.exists():
        return False
    numbers = ask(journal, "SELECT producer, partition, next FROM sequences")
    taken = ask(store, "SELECT producer, partition, next FROM origins WHERE standing = 1")
    return bool(numbers) and set(numbers) <= set(taken)


def ask(database: Path, query: str) -> list[tuple[object, ...]]:
    """What a database answers; nothing while its tables are not there."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []


def stored(file: Path) -> int:
    """How many readings are stored."""
    with sqlite3.connect(f"file:{file.parent / 'faulty.db'}?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT count(*) FROM readings").fetchone()[0])


def freeze(process: subprocess.Popen[bytes], file: Path) -> None:
    """Stop a process where it does not hold the store's lock: as long as it did, nobody could take over."""
    while True:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        with closing(sqlite3.connect(file.parent / "faulty.db", timeout=1, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
                time.sleep(0.1)


class Undisturbed:
    """What an undisturbed run gives: the ledger of a replay, and how many readings there are."""

    def __init__(self, file: Path) -> None:
        self.ledger = output("replay", str(file), "--no-store", "--ledger")
        times = {line.rpartition(",")[0] for line in (file.parent / "readings.csv").read_text().splitlines()[1:]}
        self.readings = len(times)


def carry_under_fault(
    file: Path,
    chance: random.Random,
    disturb: Callable[[], None] | None = None,
    heal: Callable[[], None] = lambda: None,
    *,
    reader_first: bool = False,
) -> int:
    """Publish and watch to the end while either is killed now and then; returns how many faults there were.

    `disturb` is one more thing that may happen, such as killing the broker; `heal` ends it after the last.
    `reader_first` is for brokers that keep nothing for a reader that they have never met.
    """
    faults, deadline = 0, time.monotonic() + PATIENCE
    running = {"watch": command("watch", file)}
    try:
        while reader_first and "connected" not in (file.parent / "watch.log").read_text():
            assert time.monotonic() < deadline, "it does not connect"
            time.sleep(0.05)
        running["publish"] = command("publish", file)
        while not (running["publish"].poll() == 0 and ended(file)):
            assert time.monotonic() < deadline, "it does not come to an end"
            time.sleep(chance.uniform(0.2, 2.0))
            victim = chance.choice(["publish", "watch", "disturb"] if disturb else ["publish", "watch"])
            if faults >= FAULTS:
                heal()
            elif victim == "disturb" and disturb is not None:
                disturb()
                faults += 1
            elif running[victim].poll() is None:
                running[victim].kill()
                running[victim].wait()
                faults += 1
            for name, process in running.items():
                if process.poll() not in (None, 0):
                    running[name] = command(name, file)
        running["watch"].send_signal(signal.SIGTERM)
        assert running["watch"].wait(30) in (143, -signal.SIGTERM)  # the latter where it was just starting
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return faults


def share_under_fault(file: Path, chance: random.Random, readers: int = 2) -> int:
    """Publish, and have several consumers share the partitions, while one is killed or frozen past its lease now and then.

    Returns how many faults there were; a frozen one is woken when others have taken over what it had.
    """
    faults, deadline = 0, time.monotonic() + PATIENCE
    watching = [command("watch", file) for _ in range(readers)]
    publishing = command("publish", file)
    frozen: dict[subprocess.Popen[bytes], float] = {}
    try:
        while not (publishing.poll() == 0 and ended(file)):
            assert time.monotonic() < deadline, "it does not come to an end"
            time.sleep(chance.uniform(0.2, 2.0))
            for process in [one for one, until in frozen.items() if time.monotonic() > until]:
                process.send_signal(signal.SIGCONT)
                del frozen[process]
            victim = chance.choice([publishing, *watching])
            if faults < FAULTS // 2 and victim.poll() is None and victim not in frozen:
                faults += 1
                if victim is not publishing and not frozen and chance.random() < 0.5:
                    victim.send_signal(signal.SIGSTOP)
                    frozen[victim] = time.monotonic() + FROZEN
                else:
                    victim.kill()
                    victim.wait()
            watching = [one if one.poll() is None else command("watch", file) for one in watching]
            publishing = publishing if publishing.poll() in (None, 0) else command("publish", file)
        for process in watching:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) in (143, -signal.SIGTERM)  # the latter where it was just starting
    finally:
        for process in [publishing, *watching]:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
    return faults


def assert_as_undisturbed(file: Path, expected: Undisturbed) -> None:
    """Both promises, and that nothing was lost or counted twice."""
    known = stored(file)
    assert known == expected.readings, f"{known} readings are stored, {expected.readings} were published"
    ledger = output("alerts", "ledger", str(file))
    assert output("replay", str(file), "--from", "store", "--ledger") == ledger, "promise (a) is broken"
    assert ledger == expected.ledger, "promise (b) is broken"
