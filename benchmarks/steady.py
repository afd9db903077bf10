"""Readings at a steady rate, published by a process of its own: the producer of `latency.py`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

DEVICES, MOVES = 100, 10
SECOND = 10**9
SETTLING = 2
"""Seconds that are left out of what is measured."""

Row = tuple[int, str, int]
"""Time, device, value."""
Publish = Callable[[Sequence[Row], int], None]
"""Makes readings durable, so many in a message."""


class Steady(NamedTuple):
    """Readings at a rate, each device in turn; its value changes its sign every so many."""

    begin: int
    rate: int

    def row(self, number: int) -> Row:
        """The reading of a number."""
        turn, device = divmod(number, DEVICES)
        return self.due(number), f"d{device}", 1 if (turn + device) // MOVES % 2 else -1

    def due(self, number: int) -> int:
        """When it is to be published: its time."""
        return self.begin + number * SECOND // self.rate

    def opening(self, seconds: float) -> set[int]:
        """The times at which an alert begins, from the settling on."""
        numbers = range(SETTLING * self.rate, int((SETTLING + seconds) * self.rate))
        return {self.due(n) for n in numbers if (n // DEVICES + n % DEVICES) % (2 * MOVES) == MOVES}


def produce(file: Path, orders: Connection, each: int, to_file: bool) -> None:
    """A process: a reading now and then, until it is told to publish at a rate for some seconds."""
    publish = into_file(file.with_name("live.csv")) if to_file else into_journal(file)
    sign = 1
    while not orders.poll(0.1):
        sign = -sign
        publish([(time.time_ns(), "warm", sign)], 1)
    steady, seconds = orders.recv()
    sent, last = 0, int((SETTLING + seconds) * steady.rate) + each
    while sent < last:
        due = min(last, int((time.time_ns() - steady.begin) * steady.rate // SECOND))
        ready = (due - sent) // each * each
        if ready > 0:
            publish([steady.row(number) for number in range(sent, sent + ready)], each)
            sent += ready
        else:
            time.sleep(max(0.0001, (steady.due(sent + each) - time.time_ns()) / SECOND))
    orders.send("published")
    orders.recv()


def into_journal(file: Path) -> Publish:
    """Messages into the journal, or into the spool with a sender behind it."""
    from tocsin.config import load
    from tocsin.connectors.journal import Journal
    from tocsin.message import JSON, Message
    from tocsin.runners.events import Events
    from tocsin.runners.send import Sender

    parts = load(file).publishing()
    log = Journal(parts.journal).producer(parts.name)
    if not parts.embedded:
        sender = Sender(parts.journal, parts.broker, Events(parts.name, "producer"), lambda: False, threading.Event())
        threading.Thread(target=sender.run, daemon=True).start()

    def publish(rows: Sequence[Row], each: int) -> None:
        texts = [
            f'{{"device":"{device}","metric":"m","time":{time_},"value":{value}}}' for time_, device, value in rows
        ]
        bodies = texts if each == 1 else [f"[{','.join(texts[at : at + each])}]" for at in range(0, len(texts), each)]
        messages = [Message(body.encode(), content_type=JSON) for body in bodies]
        messages[-1] = messages[-1]._replace(watermark=rows[-1][0])
        log.append(messages, {})

    return publish


def into_file(file: Path) -> Publish:
    """Lines of a file that grows."""
    lines = file.open("a", buffering=1 << 20)

    def publish(rows: Sequence[Row], _each: int) -> None:
        lines.writelines(f"{time_},{device},{value}\n" for time_, device, value in rows)
        lines.flush()

    return publish
