"""What is done about a part that fails: connect again with back-off, restart with back-off, or give up and tell why."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from tocsin.errors import NotConnected, RetryLater, StoreError, TakenOver

FIRST, LONGEST = 0.1, 15.0
"""Seconds of the first pause, and of the longest; each is up to twice the one before."""
TIMES, WHILE = 4, 300.0
"""How often a part may die within so many seconds until that is what its run ends with."""
STEP = 0.05
"""Seconds after which a pause looks whether to stop."""

log = logging.getLogger("tocsin")


class Reconnecting:
    """Runs something that needs a connection, again and again until it returns."""

    def __init__(self, what: str, stopped: Callable[[], bool]) -> None:
        self._what = what
        self._stopped = stopped
        self._pause = FIRST
        self._away_since: float | None = None
        self._known = False

    def connected(self) -> None:
        """To be called when a connection stands: the next pause is short again."""
        if self._away_since is not None:
            log.info("%s: connected again after %.1f s", self._what, time.monotonic() - self._away_since)
        elif self._pause == FIRST and not self._known:
            log.info("%s: connected", self._what)
        self._known = True
        self._away_since = None
        self._pause = FIRST

    def run(self, work: Callable[[], None], close: Callable[[], None]) -> None:
        """Until `work` returns, or it is told to stop; in between `close`, and a pause."""
        while not self._stopped():
            try:
                work()
                return
            except NotConnected as error:
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    log.warning("%s; trying again until it is there", error)
                close()
            except RetryLater as error:
                log.info("%s; waiting", error)
                close()
            self._wait()

    def _wait(self) -> None:
        """A pause, longer each time and never the same for two processes."""
        until = time.monotonic() + self._pause * random.uniform(0.5, 1.0)
        self._pause = min(LONGEST, 2 * self._pause)
        while time.monotonic() < until and not self._stopped():
            time.sleep(STEP)


def supervise(what: str, work: Callable[[], None], stopped: Callable[[], bool]) -> None:
    """Runs a part until it returns; one that dies of its store is begun again, with back-off, a few times at most.

    `work` makes its parts anew each time.  What keeps failing is raised.
    """
    deaths = Deaths()
    while not stopped():
        try:
            work()
            return
        except TakenOver:
            raise
        except StoreError as error:
            pause = deaths.another()
            if pause is None:
                raise
            log.warning("%s died: %s. Beginning again in %.1f s", what, error, pause)
            until = time.monotonic() + pause
            while time.monotonic() < until and not stopped():
                time.sleep(STEP)


class Deaths:
    """How often a part has died lately: a few times it is begun again, with back-off."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def another(self) -> float | None:
        """It has died once more: the seconds to wait before it is begun again; None if that is too often."""
        now = time.monotonic()
        self._times = [*(then for then in self._times if now - then < WHILE), now]
        return FIRST * 4 ** len(self._times) if len(self._times) <= TIMES else None
