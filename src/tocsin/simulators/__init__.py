"""Simulators: made-up recordings of real systems, one file each, named as in `tocsin simulate`.

A simulator is a frozen dataclass whose fields are its settings, `seed` among them, and whose
`lines()` gives the text of the recording with its line ends.  The same settings give the same
bytes, so an example can be made again and a test can count on it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Protocol


class Simulator(Protocol):
    """What every simulator can do."""

    def lines(self) -> Iterator[str]:
        """The recording, line by line, header first; write it without translating line ends."""


def names() -> list[str]:
    """Every simulator there is, as a user writes it: `heart-rate` is heart_rate.py."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Callable[..., Simulator]:
    """The simulator of that name: `load("heart-rate")(seed=7)`; KeyError if there is none."""
    if name not in names():
        raise KeyError(name)
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    simulator: Callable[..., Simulator] = getattr(module, name.title().replace("-", ""))
    return simulator
