"""HTTP's wire for uvicorn, with a limit to how long it waits.

uvicorn itself waits for ever for a request's first line and headers, and for the rest of a body that was answered early.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class Patient(H11Protocol):
    """A connection that is closed after `patience` seconds in which no request was under way."""

    patience = 10.0
    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client is there, and has said nothing yet."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """It has said something; only a whole head of a request begins one."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._is_busy():
            self._stop()
        elif self._closing is None:
            self._closing = self.loop.call_later(self.patience, self._close)

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _stop(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def _close(self) -> None:
        self._closing = None
        if not self._is_busy():
            self.transport.close()


def protocol(patience: float) -> type[asyncio.Protocol]:
    """The class of connections with so much patience."""
    return type("Patient", (Patient,), {"patience": patience})
