"""Readings through brokers: published and consumed through Tocsin, beside the client libraries alone in the same run.

    python benchmarks/brokers.py [--brokers journal,kafka,…] [--bodies single,arrays,arrow] [--runs 3] [--scale 1.0]

Method: real servers are started on this machine, as for the tests, so that server and client share its cores.  Readings of
1,000 devices travel as single JSON messages, or 500 at a time as JSON arrays or Arrow streams; `foreign` ones are published by
the client library and have nothing beside their bodies, `own` ones by Tocsin's connector with its headers, a watermark in each.
Each run publishes a set three times, and consumes it

    bare     by the client library: the value taken, an error looked for, JSON read by `json.loads` (`bare.py`)
    rules    by Tocsin's consumer with the four rules of `fused.py`, whose store keeps alerts and `readings: none`
    store    by the same with a store that keeps all readings

Publishing is timed from the first message to the last confirmation, consuming from when the broker is first asked for
messages until the last is read, or saved and acknowledged.  What is printed are readings a second: medians of the
runs, and the median of each run's ratio to the bare client.  Other programs on the machine move all but the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bare
import numpy as np
from engine import cook
from fused import RULES

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from tocsin.codecs.readings import to_arrow, to_json
from tocsin.config import load
from tocsin.connectors import Broker, open_sink, open_source
from tocsin.connectors.journal import Journal
from tocsin.message import ARROW, JSON, Message
from tocsin.reading import Batch, Series
from tocsin.runners.garbage import collect_seldom
from tocsin.runners.watch import Watcher
from tocsin.stats import Stats
from tocsin.stores import open_store

AHEAD, SOME = 50_000, 1_000
"""So many messages are unconfirmed at most, as in `tocsin publish`; so many are sent at once."""
PIPELINE = """
pipeline: {name}
lateness: 1h
source: {{file: none.csv, time: time, device: device, metric: temp, value: value}}
broker: {{url: "{url}", name: {name}}}
store: {{url: "sqlite:///{folder}/{name}.db", readings: {readings}}}
rules:{rules}
"""


@dataclass(frozen=True)
class Kind:
    """A broker as it is measured: its client, its address, and how many single messages make a measurement."""

    client: Callable[[Broker], bare.Bare]
    server: Callable[[Path], contextlib.AbstractContextManager[str]]
    single: int
    foreign: bool = True


@contextlib.contextmanager
def started(server: Any, url: Callable[[Any], str]) -> Iterator[str]:
    """A server's address while it runs."""
    server.start()
    try:
        yield url(server)
    finally:
        server.stop()


def amqp(kind: str) -> Callable[[Path], Any]:
    """RabbitMQ, with queues of a type."""

    def serve(folder: Path) -> Any:
        from services.rabbitmq import RabbitMQ

        return started(RabbitMQ(folder), lambda server: f"{server.url}?queue_type={kind}")

    return serve


def mqtt(version: str) -> Callable[[Path], Any]:
    """Mosquitto, by a version of MQTT."""

    def serve(folder: Path) -> Any:
        from services.mosquitto import PASSWORD, USER, Mosquitto

        credentials = f"{USER}:{quote(PASSWORD, safe='')}"
        return started(
            Mosquitto(folder), lambda server: f"mqtt://{credentials}@127.0.0.1:{server.port}?version={version}"
        )

    return serve


def kafka(folder: Path) -> Any:
    """A broker of one node."""
    from services.kafka import Kafka

    return started(Kafka(folder), lambda server: server.url)


def pubsub(folder: Path) -> Any:
    """Google's server in memory."""
    from services.pubsub import PubSub

    server = PubSub(folder)
    os.environ["PUBSUB_EMULATOR_HOST"] = server.address
    return started(server, lambda _: "pubsub://bench")


def journal(folder: Path) -> Any:
    """No server at all."""
    return contextlib.nullcontext(f"journal:{folder}")


BROKERS = {
    "journal": Kind(bare.Journal, journal, 200_000, foreign=False),
    "kafka": Kind(bare.Kafka, kafka, 200_000),
    "amqp quorum": Kind(bare.Amqp, amqp("quorum"), 40_000),
    "amqp classic": Kind(bare.Amqp, amqp("classic"), 40_000),
    "mqtt 5": Kind(bare.Mqtt, mqtt("5"), 10_000),
    "mqtt 3.1.1": Kind(bare.Mqtt, mqtt("3.1.1"), 20_000),
    "pubsub": Kind(bare.PubSub, pubsub, 40_000),
}
BODIES = {"single": (1, to_json, JSON), "arrays": (500, to_json, JSON), "arrow": (500, to_arrow, ARROW)}


@lru_cache(maxsize=2)
def messages(body: str, readings: int) -> list[Message]:
    """Readings of 1,000 devices as one producer's messages."""
    each, encode, content_type = BODIES[body]
    series = Series()
    codes = series.codes([f"device-{number:07d}" for number in range(1_000)], "temp")
    device, when, value = cook(1_000, -(-readings // 1_000), noise=0.5)
    batch = Batch(series, codes[device], when, value).take(slice(0, readings))
    made = []
    for seq, low in enumerate(range(0, readings, each)):
        part = batch.take(slice(low, low + each))
        text = encode(part)[1:-1] if body == "single" else encode(part)
        made.append(Message(text, "0", content_type, "bench-1a2b", seq, watermark=int(np.min(part.time)) - 1))
    return made


def publish(broker: Broker, sent: list[Message]) -> float:
    """Seconds to publish by the connector."""
    if broker.address.scheme == "journal":
        return publish_to_journal(broker, sent)
    sink = open_sink(broker)
    sink.open()
    began, at, confirmed = time.perf_counter(), 0, 0
    while confirmed < len(sent):
        some = sent[at : min(at + SOME, confirmed + AHEAD)]
        at += len(some)
        if some:
            sink.send(some)
        confirmed += sink.confirmed(0 if at < min(confirmed + AHEAD, len(sent)) else 1)
    spent = time.perf_counter() - began
    sink.close()
    return spent


def publish_to_journal(broker: Broker, sent: list[Message]) -> float:
    """Seconds to append."""
    opened = Journal(Path(broker.address.path))
    producer = opened.producer("bench")
    began = time.perf_counter()
    for low in range(0, len(sent), SOME):
        producer.append(sent[low : low + SOME], {})
    spent = time.perf_counter() - began
    opened.close()
    return spent


def consume(file: Path, readings: int) -> float:
    """Seconds to consume by a pipeline."""
    config = load(file)
    store, stats = open_store(config.store, config.name, readings=config.readings), Stats()
    ended: list[float] = []
    watcher = Watcher(config.consuming(), store, lambda: bool(ended), stats)

    def saved(stats: Stats) -> None:
        if stats.readings + stats.rejects >= readings and not ended:
            ended.append(time.perf_counter())

    with begun(config.consuming().broker) as beginning:
        watcher.run(saved)
    store.close()
    if stats.accepted != readings:
        print(f"{file.stem}: of {readings} readings {stats.accepted} were accepted", file=sys.stderr)
    return ended[0] - beginning[0]


@contextlib.contextmanager
def begun(broker: Broker) -> Iterator[list[float]]:
    """When messages were first asked for."""
    source, times = type(open_source(broker, "nobody")), []
    begin = source.begin

    def noted(*arguments: Any) -> None:
        times.append(time.perf_counter())
        begin(*arguments)

    source.begin = noted  # type: ignore[method-assign]
    try:
        yield times
    finally:
        source.begin = begin  # type: ignore[method-assign]


def fresh(folder: Path, url: str, readings: str) -> tuple[Path, Broker]:
    """A pipeline file with a queue, topic or session of its own, which is there."""
    name = f"bench-{time.time_ns()}"
    file = folder / f"{name}.yaml"
    own = f"{url}/{name}.journal" if url.startswith("journal:") else url
    text = PIPELINE.format(name=name, url=own, folder=folder, readings=readings, rules=RULES.replace("\n", "\n  "))
    file.write_text(text.replace(f'{{url: "{own}", name: {name}}}', "journal") if own != url else text)
    broker = load(file).consuming().broker
    source, sink = open_source(broker, name), None if own != url else open_sink(broker)
    source.open()
    for part in (source, sink) if sink else (source,):
        if part is sink:
            part.open()
        elif not source.assigns:
            source.begin("0")
        part.close()
    return file, broker


def measure(kind: Kind, folder: Path, url: str, body: str, own: bool, readings: int) -> dict[str, float]:
    """One run: seconds of each measurement."""
    sent, read = messages(body, readings), len if body == "arrow" else bare.parsed
    spent: dict[str, float] = {}
    published = []
    for what, kept in (("bare", "all"), ("rules", "none"), ("store", "all")):
        file, broker = fresh(folder, url, kept)
        client = kind.client(broker)
        published.append(publish(broker, sent) if own else client.publish([message.body for message in sent]))
        spent[what] = client.consume(len(sent), read) if what == "bare" else consume(file, readings)
    spent["published"] = statistics.median(published)
    return spent


def rows(name: str, body: str, runs: int, scale: float, folder: Path, url: str) -> Iterator[str]:
    """The lines of a table."""
    kind = BROKERS[name]
    readings = int((kind.single if body == "single" else 400_000) * scale) // 1_000 * 1_000
    found: dict[bool, list[dict[str, float]]] = {}
    measure(kind, folder, url, body, True, 1_000)  # kernels are compiled or loaded, and much else happens once
    for _ in range(runs):
        for own in (False, True) if kind.foreign else (True,):
            found.setdefault(own, []).append(measure(kind, folder, url, body, own, readings))
    for own, several in found.items():
        middle = {what: readings / statistics.median(run[what] for run in several) for what in several[0]}
        ratio = {what: statistics.median(run["bare"] / run[what] for run in several) for what in several[0]}
        cells = f"{middle['published']:>10,.0f} {middle['bare']:>10,.0f}"
        for what in ("rules", "store"):
            cells += f" {middle[what]:>10,.0f} {ratio[what]:>5.2f}"
        yield f"{name:<13} {body:<7} {'own' if own else 'foreign':<8} {cells}"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--brokers", default=",".join(BROKERS))
    parser.add_argument("--bodies", default=",".join(BODIES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    collect_seldom()
    print(f"{'':<29} {'published':>11} {'bare':>10} {'rules':>10} {'':>5} {'store':>10}")
    for name in options.brokers.split(","):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
            folder = Path(place)
            (folder / "server").mkdir()
            with BROKERS[name].server(folder / "server" if name != "journal" else folder) as url:
                for body in options.bodies.split(","):
                    for row in rows(name, body, options.runs, options.scale, folder, url):
                        print(row, flush=True)


if __name__ == "__main__":
    main()
