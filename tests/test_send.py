"""Out of the spool: how much may be on its way, and that the rest follows as it is confirmed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tocsin.address import parse_address
from tocsin.connectors import Broker
from tocsin.connectors.journal import Journal
from tocsin.message import Message
from tocsin.runners import send
from tocsin.runners.events import Events
from tocsin.runners.send import Sender

BROKER = Broker(parse_address("amqp://localhost", {}), "p")
LOOK_BYTES = 6 << 20
"""More than what one look at the journal gives: that is 4 MB and a message."""


class Slow:
    """A broker that confirms nothing for some asking, and then a message each time."""

    def __init__(self, patience: int) -> None:
        self.taken: list[Message] = []
        self.most = self.asked = self.done = 0
        self._patience = patience

    def open(self) -> None:
        pass

    def send(self, messages: Sequence[Message]) -> None:
        self.taken += messages
        self.most = max(self.most, sum(len(message.body) for message in self.taken[self.done :]))

    def confirmed(self, _timeout: float) -> int:
        self.asked += 1
        if self.asked <= self._patience or self.done == len(self.taken):
            return 0
        self.done += 1
        return 1

    def close(self) -> None:
        pass


def test_no_more_bytes_are_on_their_way_than_a_client_may_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [bytes([number]) * (1 << 20) for number in range(60)]
    spool = Journal(tmp_path / "p.spool")
    spool.producer("p").append([Message(body) for body in bodies], {})
    sink, fed = Slow(patience=30), threading.Event()
    fed.set()
    monkeypatch.setattr(send, "open_sink", lambda _: sink)
    Sender(tmp_path / "p.spool", BROKER, Events("p", "producer"), lambda: False, fed).run()
    assert sink.asked > 60
    assert send.WINDOW_BYTES <= sink.most <= send.WINDOW_BYTES + LOOK_BYTES
    assert [message.body for message in sink.taken] == bodies
    assert spool.waiting() == 0


@pytest.mark.parametrize(("patience", "left"), [(5, 0), (10**9, 9)])
def test_a_stop_gives_the_last_messages_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int, left: int
) -> None:
    """So that they do not wait in the spool for the next start; from a broker that confirms nothing it goes all the same."""
    spool = Journal(tmp_path / "p.spool")
    spool.producer("p").append([Message(bytes([number])) for number in range(9)], {})
    sink, fed = Slow(patience), threading.Event()
    fed.set()
    monkeypatch.setattr(send, "open_sink", lambda _: sink)
    monkeypatch.setattr(send, "LAST", 60.0 if left == 0 else 0.05)
    Sender(tmp_path / "p.spool", BROKER, Events("p", "producer"), lambda: sink.asked > 0, fed).run()
    assert spool.waiting() == left
