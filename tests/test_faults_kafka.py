"""Killed over Kafka: producer, consumer and the broker itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import (
    GHOSTS,
    ROUNDS,
    SEED,
    Undisturbed,
    assert_as_undisturbed,
    carry_under_fault,
    share_under_fault,
    write_pipeline,
)  # fmt: skip
from services import running
from services.kafka import Kafka

pytestmark = pytest.mark.xdist_group("kafka")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    yield from running(lambda: Kafka(tmp_path_factory.mktemp("kafka")))


@pytest.mark.parametrize("number", range(ROUNDS))
def test_producer_consumer_and_broker_killed(tmp_path: Path, server: Kafka, number: int) -> None:
    seed = SEED + number
    file = write_pipeline(tmp_path, f'{{url: "{server.url}", name: "faulty{seed}", partitions: 2}}', seed)
    expected = Undisturbed(file)
    faults = carry_under_fault(file, random.Random(seed), server.restart)
    print(f"seed {seed}: {faults} faults")  # noqa: T201 (shown with -rP, and when it fails)
    assert_as_undisturbed(file, expected)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_consumers_share_a_topic_while_they_are_killed_and_frozen(
    tmp_path: Path, server: Kafka, number: int
) -> None:
    seed = SEED + number
    broker = f'{{url: "{server.url}", name: "shared{seed}", partitions: 4}}'
    file = write_pipeline(tmp_path, broker, seed, GHOSTS)
    expected = Undisturbed(file)
    faults = share_under_fault(file, random.Random(seed))
    print(f"seed {seed}: {faults} faults")  # noqa: T201 (shown with -rP, and when it fails)
    assert_as_undisturbed(file, expected)
