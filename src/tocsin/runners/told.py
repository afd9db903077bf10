"""A part that another process has started: what it is told on standard input, and what it answers on standard output.

    ──▶ {"producer": …, "numbers": {…}}     everything is published: end when all of it has been taken
    ──▶ (closed)                            whoever started this is gone, however it went: end
    ◀── {"event": "connected"}              the consumer is there, the producer may begin
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
        threading.Thread(target=self._listen, name="told", daemon=True).start()

    def begin(self) -> None:
        """Say that the consumer is connected."""
        _say({"event": "connected"})

    def published(self, published: Published) -> None:
        """Say that the source has ended, and how far this producer has come."""
        _say({"event": "published", "producer": published.producer, "numbers": dict(published.numbers)})

    def _listen(self) -> None:
        """Until the pipe closes.  It is read without Python's buffer, whose lock a thread would keep from an exit."""
        rest = b""
        while found := os.read(STDIN, 1 << 16):
            *lines, rest = (rest + found).split(b"\n")
            for line in lines:
                self.ended = Until(**json.loads(line))
        os.kill(os.getpid(), signal.SIGTERM)


def _say(word: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()
