"""Killed and cut over MQTT and Pub/Sub: the processes and the network; these servers lose what they hold when killed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from commands import LEDGER, edit, tocsin
from faults import ROUNDS, SEED, Undisturbed, assert_as_undisturbed, carry_under_fault, write_pipeline
from services import running
from services.mosquitto import PASSWORD, USER, Mosquitto
from services.pubsub import PubSub
from services.toxiproxy import Proxy, Toxiproxy


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    yield from running(lambda: Mosquitto(tmp_path_factory.mktemp("mosquitto")))


@pytest.fixture(scope="module")
def pubsub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSub]:
    yield from running(lambda: PubSub(tmp_path_factory.mktemp("pubsub")))


@pytest.fixture(scope="module")
def toxiproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toxiproxy]:
    yield from running(lambda: Toxiproxy(tmp_path_factory.mktemp("toxiproxy")))


def carry(folder: Path, broker: str, seed: int, proxy: Proxy, *, reader_first: bool = False) -> None:
    """Processes are killed, and the network is cut for a while."""
    file = write_pipeline(folder, broker, seed)
    expected, chance = Undisturbed(file), random.Random(seed)

    def disturb() -> None:
        proxy.heal()
        if chance.random() < 0.5:
            proxy.cut()

    faults = carry_under_fault(file, chance, disturb, proxy.heal, reader_first=reader_first)
    print(f"seed {seed}: {faults} faults")  # noqa: T201 (shown with -rP, and when it fails)
    assert_as_undisturbed(file, expected)


@pytest.mark.xdist_group("mosquitto")
@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("number", range(ROUNDS))
def test_over_mqtt(tmp_path: Path, mosquitto: Mosquitto, toxiproxy: Toxiproxy, number: int, version: str) -> None:
    seed = SEED + number
    proxy = toxiproxy.proxy(f"mqtt{version}-{number}", mosquitto.port)
    url = f"mqtt://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{proxy.port}?version={version}"
    carry(tmp_path, f'{{url: "{url}", name: "faulty{version}-{seed}"}}', seed, proxy, reader_first=True)


@pytest.mark.xdist_group("mosquitto")
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_bounded_run_over_mqtt_ends_with_everything_decided(here: Path, mosquitto: Mosquitto, version: str) -> None:
    """Though the server keeps nothing for a reader that it does not know, the producer begins at once."""
    url = f"mqtt://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{mosquitto.port}?version={version}"
    edit(here / "p.yaml", "rules:", f'broker: {{url: "{url}", name: "bounded{version}"}}\nlateness: 0s\nrules:')
    found = tocsin("run", "p.yaml")
    assert found.exit_code == 0, found.stderr
    assert "1 dead letter," in found.stderr
    assert tocsin("alerts", "ledger", "p.yaml").stdout == LEDGER


@pytest.mark.xdist_group("pubsub")
@pytest.mark.parametrize("number", range(ROUNDS))
def test_over_pubsub(
    tmp_path: Path, pubsub: PubSub, toxiproxy: Toxiproxy, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = SEED + number
    proxy = toxiproxy.proxy(f"pubsub{number}", int(pubsub.address.rpartition(":")[2]))
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{proxy.port}")
    carry(tmp_path, f'{{url: "pubsub://kitchen?deadline=10", name: "faulty{seed}"}}', seed, proxy)
