"""Decoding in a thread of its own, a few blocks ahead of the engine.

The queue between them is bounded: a slow store slows the source, and memory does not grow.  The
engine takes everything that is ready at once.  So a slow commit makes the next group larger, and a
file at full speed is saved in groups of some 200,000 readings without anybody counting milliseconds.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Protocol, Self

from tocsin.record import Decoded, Position

BLOCKS = 4
"""Blocks that may wait: enough to even out decoder and engine, some tens of megabytes at most."""
GROUP = 150_000
"""Readings after which a group takes no further block; a block has up to some 200,000."""
PATIENCE = 0.1
"""Seconds after which whoever waits looks whether it should stop."""


class Source(Protocol):
    """What is polled: a connector with its codec."""

    bounded: bool

    def open(self, position: Position | None = None) -> None:
        """Find the source and the place to go on from; raises SetupError before anything is read."""
        ...

    def poll(self, timeout: float = 0.0) -> Decoded | None:
        """What has come, None if nothing has; raises EndOfInput when all is read."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Ahead:
    """An opened source, polled in the background until the `with` ends."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._queue: queue.Queue[Decoded | BaseException] = queue.Queue(BLOCKS)
        self._stop = threading.Event()
        self._quiet_since: float | None = None
        self._thread = threading.Thread(target=self._work, name="decode", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        while self._thread.is_alive():
            self._empty()
            self._thread.join(PATIENCE)

    def take(self) -> list[Decoded]:
        """Everything that is ready, an empty list if nothing comes for a while.

        Raises what polling raised, EndOfInput among it, when all before it has been taken.
        """
        found: list[Decoded] = []
        readings = 0
        while readings < GROUP:
            try:
                item = self._queue.get(timeout=0 if found else PATIENCE)
            except queue.Empty:
                break
            if isinstance(item, BaseException):
                if not found:
                    raise item
                self._queue.put(item)  # the decoder ended with it, so there is room and nothing comes after it
                break
            found.append(item)
            readings += len(item.batch)
        return found

    def quiet(self) -> float:
        """For how many seconds the source has been read to where it now ends, and nothing has come."""
        since = self._quiet_since
        return time.monotonic() - since if since is not None and self._queue.empty() else 0.0

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                found = self._source.poll(PATIENCE)
                if found is not None and (len(found.batch) or found.rejects or found.size):
                    self._quiet_since = None
                    self._put(found)
                elif self._quiet_since is None:
                    self._quiet_since = time.monotonic()
        except BaseException as error:  # noqa: BLE001  it is raised again where the readings are taken
            self._put(error)

    def _put(self, item: Decoded | BaseException) -> None:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=PATIENCE)
            except queue.Full:
                continue
            return

    def _empty(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()
