"""What is done about a part that fails: connect again with back-off, restart with back-off, or give up and tell why."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tocsin.errors import NotConnected, RetryLater, SetupError, StoreError, TakenOver
from tocsin.runners.events import Events

FIRST, LONGEST = 0.1, 15.0
"""Seconds of the first pause, and of the longest; each is up to twice the one before."""
TIMES, WHILE = 4, 300.0
"""How often a part may die within so many seconds until that is what its run ends with."""
PATIENT = 2.0
"""Seconds of the longest pause where somebody is there and asks for patience."""
AGAIN = 30.0
"""Seconds between two lines that somebody asks for patience, which may be asked ten times a second."""
STEP = 0.05
"""Seconds after which a pause looks whether to stop."""


class Reconnecting:
    """Runs something that needs a connection, again and again until it returns."""

    def __init__(self, what: str, events: Events, stopped: Callable[[], bool]) -> None:
        self._what = what
        self._events = events.of(broker=what)
        self._stopped = stopped
        self._pause = self._patience = FIRST
        self._away_since: float | None = None
        self._known = False
        self._tell_again = 0.0

    def connected(self) -> None:
        """To be called when a connection stands: the next pause is short again."""
        if self._away_since is not None:
            away = time.monotonic() - self._away_since
            self._events.info(
                "connected again", f"{self._what}: connected again after {away:.1f} s", away_seconds=round(away, 1)
            )
        elif self._pause == FIRST and not self._known:
            self._events.info("connected", f"{self._what}: the {self._events.part} is connected")
        self._known = True
        self._away_since = None
        self._pause = FIRST

    def run(self, work: Callable[[], None], close: Callable[[], None]) -> None:
        """Until `work` returns, or it is told to stop; in between `close`, and a pause."""
        while not self._stopped():
            began = time.monotonic()
            try:
                work()
                return
            except NotConnected as error:
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    self._events.warning(
                        "connection lost", f"{error}; trying again until it is there", error=str(error)
                    )
                close()
                self._wait(self._pause)
                self._pause = min(LONGEST, 2 * self._pause)
            except RetryLater as error:
                if time.monotonic() >= self._tell_again:
                    self._tell_again = time.monotonic() + AGAIN
                    self._events.info("waiting", f"{error}; waiting", error=str(error))
                close()
                # To have connected is no progress here: only to have worked for a while.
                self._patience = FIRST if time.monotonic() - began > LONGEST else min(PATIENT, 2 * self._patience)
                self._wait(self._patience)

    def _wait(self, pause: float) -> None:
        """A pause, never the same for two processes."""
        until = time.monotonic() + pause * random.uniform(0.5, 1.0)
        while time.monotonic() < until and not self._stopped():
            time.sleep(STEP)


def supervise(events: Events, work: Callable[[], None], stopped: Callable[[], bool]) -> None:
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
        except (StoreError, SetupError) as error:
            if isinstance(error, SetupError) and not deaths.any:
                raise  # it was wrong from the beginning; later it may be what is left of a fault, as of a full disk
            pause = deaths.another()
            if pause is None and isinstance(error, SetupError):
                raise StoreError(str(error)) from error
            if pause is None:
                raise
            events.warning(
                "died", f"the {events.part} died: {error}. Beginning again in {pause:.1f} s",
                error=str(error), again_seconds=round(pause, 1),
            )  # fmt: skip
            until = time.monotonic() + pause
            while time.monotonic() < until and not stopped():
                time.sleep(STEP)


class Deaths:
    """How often a part has died lately: a few times it is begun again, with back-off."""

    def __init__(self) -> None:
        self._times: list[float] = []

    @property
    def any(self) -> bool:
        """Whether it has died at all lately."""
        return bool(self._times)

    def another(self) -> float | None:
        """It has died once more: the seconds to wait before it is begun again; None if that is too often."""
        now = time.monotonic()
        self._times = [*(then for then in self._times if now - then < WHILE), now]
        return FIRST * 4 ** len(self._times) if len(self._times) <= TIMES else None
