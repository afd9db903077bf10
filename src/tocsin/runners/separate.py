"""Producer and consumer as two processes, started and looked after by a third.

    tocsin run --separate ──┬──▶ tocsin watch       first: the store may not fit, or somebody else be in its place
                            └──▶ tocsin publish     sends once the consumer is connected: a broker may keep nothing
                                                    for a reader that it does not know

One that is killed is started again, with back-off; one that ends with an error has tried what can be tried by
itself, so it is started again only while its errors differ.  Both are in sessions of their own: Ctrl-C reaches
this process alone, which asks them to end once.  They end too when it is gone without a word (`told.py`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tocsin.runners.events import Events
from tocsin.runners.stop import Stop
from tocsin.runners.supervise import STEP, Deaths

Show = Callable[[str, str], None]
"""Takes the name of a part and a line that it says to people."""

FINAL = (2, 78)
"""Exit codes after which the same again would end the same way: wrong usage, and wrong before the first reading."""
FAREWELL = 60.0
"""Seconds that a part may take to end when it was asked to."""


class Part:
    """One of the two processes, over all its lives."""

    def __init__(self, name: str, options: list[str], events: Events, show: Show) -> None:
        self.name = name
        self.words: dict[str, dict[str, Any]] = {}
        """What it has said to us in this life, by event."""
        self._command = [sys.executable, "-m", "tocsin", name, *options, "--supervised"]
        self._events = events
        self._show = show
        self._deaths = Deaths()
        self._process: subprocess.Popen[str] | None = None
        self._pumps: list[threading.Thread] = []
        self._last_words = self._error = ""
        self._again = 0.0

    def start(self) -> None:
        """Begin a life."""
        self.words, self._last_words = {}, ""
        self._process = subprocess.Popen(  # noqa: S603 (our own command)
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._pumps = [
            threading.Thread(target=pump, args=[stream], daemon=True)
            for pump, stream in ((self._hear, self._process.stdout), (self._pass_on, self._process.stderr))
        ]
        for pump in self._pumps:
            pump.start()

    def look(self) -> int | None:
        """Its exit code, once it has ended for good; one that died is begun again when its pause is over."""
        if self._process is None:
            if self._again and time.monotonic() >= self._again:
                self.start()
            return None
        code = self._process.poll()
        if code is None:
            return None
        self._finish()
        if code == 0 or code in FINAL or (code > 0 and self._last_words == self._error):
            return code
        self._error = self._last_words
        pause = self._deaths.another()
        if pause is None:
            return code if code > 0 else 128 - code
        died = f"was ended by signal {-code}" if code < 0 else "died"
        self._events.warning(
            "died", f"`tocsin {self.name}` {died}. Beginning again in {pause:.1f} s",
            exit_code=code, again_seconds=round(pause, 1),
        )  # fmt: skip
        self._again = time.monotonic() + pause
        return None

    def tell(self, word: Mapping[str, Any]) -> None:
        """Say something to it; one that is just dying does not hear it, and is told again in its next life."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(json.dumps(word) + "\n")
                self._process.stdin.flush()

    @property
    def lives(self) -> subprocess.Popen[str] | None:
        """The process of its present life."""
        return self._process

    def ask_to_end(self) -> None:
        """Ask it to end after the step in hand."""
        if self._process is not None:
            self._process.terminate()

    def end(self, patience: float) -> None:
        """Wait until it has ended, and end it if that takes too long."""
        if self._process is None:
            return
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._finish()

    def _finish(self) -> None:
        """This life is over: hear the rest of what it said."""
        assert self._process is not None
        for pump in self._pumps:
            pump.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._process = None

    def _hear(self, stream: IO[str]) -> None:
        for line in stream:
            with suppress(ValueError):  # a library that prints says nothing to us
                word = json.loads(line)
                self.words[word.pop("event")] = word

    def _pass_on(self, stream: IO[str]) -> None:
        for line in stream:
            self._show(self.name, line.rstrip("\n"))
            self._last_words = _said(line)


def _said(line: str) -> str:
    """What a line says, without its time where it is JSON."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line.rstrip("\n")


PARTS = {"watch": "consumer", "publish": "producer"}


def run(pipeline: str, file: Path, options: list[str], show: Show) -> int:
    """Both, until the source has ended and everything was taken, or this process is told to stop; the exit code."""
    consumer, producer = (
        Part(name, [str(file), *options], Events(pipeline, part), show) for name, part in PARTS.items()
    )
    patience = 0.0
    with Stop() as stop:
        try:
            code = _drive(consumer, producer, stop)
            patience = FAREWELL
        finally:  # whatever has happened, neither goes on alone
            for part in (producer, consumer):
                part.ask_to_end()
            for part in (producer, consumer):
                part.end(patience)
    return code


def _drive(consumer: Part, producer: Part, stop: Stop) -> int:
    """Look after both until one has ended for good."""
    published: dict[str, Any] | None = None
    told: subprocess.Popen[str] | None = None
    may_send: subprocess.Popen[str] | None = None
    begun = connected = False
    consumer.start()
    while stop.signal is None:
        connected = connected or "connected" in consumer.words
        if not begun and "begun" in consumer.words:
            begun = True
            producer.start()
        if connected and may_send is not producer.lives and producer.lives is not None:
            may_send = producer.lives
            producer.tell({"send": True})
        if begun and published is None:
            code = producer.look()
            if code:
                return code
            if code == 0:
                published = producer.words["published"]
        if published is not None and told is not consumer.lives and consumer.lives is not None:
            told = consumer.lives
            consumer.tell(published)
        code = consumer.look()
        if code is not None:
            return code
        time.sleep(STEP)
    return 128 + stop.signal
