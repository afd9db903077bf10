"""A part that another process has started: what it is told on standard input, and what it answers on standard output.

    ──▶ {"producer": …, "numbers": {…}}     everything is published: end when all of it has been taken
    ──▶ {"send": true}                      the broker knows the consumer: what is in the spool may be sent
    ──▶ (closed)                            whoever started this is gone, however it went: end
    ◀── {"event": "begun"}                  the consumer has begun, so may the producer
    ◀── {"event": "connected"}              the consumer is connected
    ◀── {"event": "published", …}           the producer has come to its source's end

An object a line.  A closed pipe is the one word that even a process that was killed at once still says.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from tocsin.runners.ending import Until
from tocsin.runners.publish import Published

STDIN = 0


class Told:
    """What this process has been told so far; it takes the place of a producer beside the consumer."""

    def __init__(self) -> None:
        self.ended: Until | None = None
        """Who has published everything, once that was said."""
        self.error: BaseException | None = None
        """Of a producer elsewhere nothing is known but what is said."""
        self.may_send = threading.Event()
        threading.Thread(target=self._listen, name="told", daemon=True).start()

    def begin(self) -> None:
        """Say that the consumer has begun."""
        _say({"event": "begun"})

    def connected(self) -> None:
        """Say that it is connected."""
        _say({"event": "connected"})

    def published(self, published: Published) -> None:
        """Say that the source has ended, and how far this producer has come."""
        _say({"event": "published", "producer": published.producer, "numbers": dict(published.numbers)})

    def _listen(self) -> None:
        """Until the pipe closes.  It is read without Python's buffer, whose lock a thread would keep from an exit."""
        rest = b""
        while found := os.read(STDIN, 1 << 16):
            *lines, rest = (rest + found).split(b"\n")
            for word in map(json.loads, lines):
                if "send" in word:
                    self.may_send.set()
                else:
                    self.ended = Until(**word)
        os.kill(os.getpid(), signal.SIGTERM)


def _say(word: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()
