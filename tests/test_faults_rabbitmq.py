"""Killed and cut over RabbitMQ: producer, consumer, the server itself, and the network between them."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker_kit import publish
from faults import (
    DEVICES,
    GHOSTS,
    PATIENCE,
    ROUNDS,
    SEED,
    Undisturbed,
    ask,
    assert_as_undisturbed,
    carry_under_fault,
    command,
    ended,
    output,
    share_under_fault,
    stored,
    write_pipeline,
)  # fmt: skip
from services import or_skip, running
from services.rabbitmq import RabbitMQ
from services.toxiproxy import Proxy, Toxiproxy
from tocsin.address import parse_address
from tocsin.connectors import Broker
from tocsin.message import JSON, Message

SETTLED = 10.0
"""Seconds after which a server that has just declared or recovered its queues may be killed."""

pytestmark = pytest.mark.xdist_group("rabbitmq")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    yield from running(lambda: RabbitMQ(tmp_path_factory.mktemp("rabbitmq")))


@pytest.fixture
def proxy(server: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    toxiproxy = or_skip(lambda: Toxiproxy(tmp_path_factory.mktemp("toxiproxy")))
    toxiproxy.start()
    yield toxiproxy.proxy("rabbitmq", server.port)
    toxiproxy.stop()


def carry(
    folder: Path,
    url: str,
    number: int,
    disturb: Callable[[random.Random], None],
    heal: Callable[[], None] = lambda: None,
) -> None:
    seed = SEED + number
    file = write_pipeline(folder, f'{{url: "{url}", name: "faulty{seed}", partitions: 2}}', seed)
    expected, chance = Undisturbed(file), random.Random(seed)
    faults = carry_under_fault(file, chance, lambda: disturb(chance), heal)
    print(f"seed {seed}: {faults} faults")  # noqa: T201 (shown with -rP, and when it fails)
    assert_as_undisturbed(file, expected)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_producer_consumer_and_server_killed(tmp_path: Path, server: RabbitMQ, number: int) -> None:
    """RabbitMQ 3.10 may forget a queue, or find no leader for it, when it is killed soon after that was declared."""
    since = time.monotonic()

    def disturb(_: random.Random) -> None:
        nonlocal since
        if time.monotonic() - since > SETTLED:
            server.restart()
            since = time.monotonic()

    carry(tmp_path, server.url, number, disturb)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_network_cut_slowed_and_reset(tmp_path: Path, server: RabbitMQ, proxy: Proxy, number: int) -> None:
    def disturb(chance: random.Random) -> None:
        proxy.heal()
        match chance.randrange(5):
            case 0:
                proxy.cut()
            case 1:
                proxy.add("latency", latency=200, jitter=100)
            case 2:
                proxy.add("bandwidth", stream="upstream", rate=500)
            case 3:
                proxy.add("reset_peer", timeout=chance.randrange(300))
            case 4:
                proxy.add("limit_data", bytes=chance.randrange(100_000))
        if chance.random() < 0.5:
            proxy.heal()

    carry(tmp_path, server.url.replace(str(server.port), str(proxy.port)), number, disturb, proxy.heal)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_consumers_share_queues_while_they_are_killed_and_frozen(
    tmp_path: Path, server: RabbitMQ, number: int
) -> None:
    seed = SEED + number
    broker = f'{{url: "{server.url}", name: "shared{seed}", partitions: 4}}'
    file = write_pipeline(tmp_path, broker, seed, GHOSTS)
    expected = Undisturbed(file)
    faults = share_under_fault(file, random.Random(seed))
    print(f"seed {seed}: {faults} faults")  # noqa: T201 (shown with -rP, and when it fails)
    assert_as_undisturbed(file, expected)


def test_two_consumers_share_a_queue_for_each_device_and_one_is_killed(tmp_path: Path, server: RabbitMQ) -> None:
    names = [f"device-{number:02}" for number in range(DEVICES)]
    url = f"{server.url}?queue_type=classic"
    more = f"devices: {{{', '.join(f'{name}: {{}}' for name in names)}}}\n"
    file = write_pipeline(tmp_path, f'{{url: "{url}", queue: "{SEED}-{{device}}"}}', SEED, more)
    expected = Undisturbed(file)
    watching = [command("watch", file), command("watch", file)]
    try:
        publishing = command("publish", file)
        until(lambda: (tmp_path / "faulty.db").exists() and len(owners(file)) == 2)
        watching[0].kill()
        until(lambda: publishing.poll() is not None and ended(file))
        watching[1].terminate()
        assert watching[1].wait(60) == 143
    finally:
        for process in [publishing, *watching]:
            process.kill()
            process.wait()
    assert_as_undisturbed(file, expected)


def test_what_a_reader_that_is_gone_had_held_comes_though_the_window_is_full(tmp_path: Path, server: RabbitMQ) -> None:
    """With five messages ahead at most, those behind the missing one fill the window, and RabbitMQ gives no more."""
    name = f"window{SEED}"
    file = write_pipeline(tmp_path, f'{{url: "{server.url}?prefetch=5", name: "{name}"}}', SEED)
    broker = Broker(parse_address(server.url, {}, tmp_path), name)
    bodies = [
        f'{{"device": "a", "metric": "temp", "time": {(1_700_000_000 + seq) * 10**9}, "value": 70}}'
        for seq in range(20)
    ]
    publish(broker, [Message(body.encode(), "0", JSON, "kit", seq) for seq, body in enumerate(bodies)])
    other = server.client()
    channel = other.channel()
    channel.basic_qos(prefetch_count=1)
    _, _, first = next(channel.consume(f"{name}.0"))
    watch = command("watch", file)
    try:
        until(lambda: "connected" in (tmp_path / "watch.log").read_text())
        time.sleep(1)
        assert (first, stored(file)) == (bodies[0].encode(), 0)
        other.close()
        until(lambda: stored(file) == len(bodies))
    finally:
        watch.terminate()
        assert watch.wait(30) == 143


def owners(file: Path) -> set[object]:
    """The processes that own queues."""
    return {process for (process,) in ask(file.parent / "faulty.db", "SELECT process FROM units WHERE process <> '::'")}


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it does not come to that"
        time.sleep(0.1)


def test_a_file_that_grows_between_runs_is_decided_the_same_through_two_partitions(
    tmp_path: Path, server: RabbitMQ
) -> None:
    """The producer had ended in both; the partition that is read first must not run ahead."""
    file = write_pipeline(tmp_path, f'{{url: "{server.url}", name: "grows{SEED}", partitions: 2}}', SEED)
    header, *rows = (tmp_path / "readings.csv").read_text().splitlines(keepends=True)
    half = [row for row in rows if int(row.partition(",")[0]) < 1_700_000_000 + 18_000]
    rest = [row for row in rows if int(row.partition(",")[0]) >= 1_700_000_000 + 18_000]
    (tmp_path / "readings.csv").write_text("".join([header, *half]))
    assert command("run", file).wait(120) == 0
    (tmp_path / "readings.csv").write_text("".join([header, *half, *rest]))
    expected = Undisturbed(file)
    assert command("run", file).wait(120) == 0
    assert_as_undisturbed(file, expected)


def test_the_smoker_example_over_its_three_queues(tmp_path: Path, server: RabbitMQ) -> None:
    """As its README says, with this server's address."""
    example = Path(__file__).parent.parent / "examples" / "smoker"
    shutil.copy(example / "smoker-temps.csv", tmp_path)
    told = re.search(r"```yaml\n(.*?)```", (example / "README.md").read_text(), re.DOTALL)
    assert told is not None
    more = told[1].replace("amqp://tocsin:tocsin@localhost", server.url)
    file = tmp_path / "pipeline.yaml"
    file.write_text((example / "pipeline.yaml").read_text() + more)
    expected = output("replay", str(example / "pipeline.yaml"), "--no-store", "--ledger")
    with server.client() as client:
        assert command("publish", file).wait(60) == 0
        waiting = [
            client.channel().queue_declare(queue, passive=True).method.message_count
            for queue in ("01-smoker", "02-food-A", "03-food-B")
        ]
    assert all(waiting)
    watch = command("watch", file)
    deadline = time.monotonic() + 60
    while not ended(file, "smart-smoker", "smoker.db"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    watch.terminate()
    assert watch.wait(30) == 143
    assert output("alerts", "ledger", str(file)) == expected
