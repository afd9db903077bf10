"""The servers that several benchmarks measure with: the tests' own, started for the run, with a name for each broker."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

BROKERS = ("journal", "rabbitmq", "kafka")


@contextmanager
def served(broker: str) -> Iterator[str]:
    """What `broker:` of a pipeline file says, while its server runs; `services.Missing` if it cannot be had."""
    if broker == "journal":
        yield broker
        return
    from services.kafka import Kafka
    from services.rabbitmq import RabbitMQ

    with tempfile.TemporaryDirectory() as folder:
        server = {"rabbitmq": RabbitMQ, "kafka": Kafka}[broker](Path(folder))
        server.start()
        try:
            yield server.url
        finally:
            server.stop()
