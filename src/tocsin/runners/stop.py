"""Ctrl-C and SIGTERM: a wish to stop after the step in hand."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Self


class Stop:
    """Takes Ctrl-C and SIGTERM as a wish to stop; a second one stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, object] = {}

    def asked(self) -> bool:
        """Whether to stop after the step in hand."""
        return self.signal is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
