"""Tocsin: readings in, alerts out.

`detect(frame, rules)` finds the alerts in a frame of readings; `Engine(rules)` decides a stream that a
program feeds itself.  The command `tocsin` does the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tocsin.frame import Engine, detect

__all__ = ["Engine", "__version__", "detect"]
__version__ = "0.1.0"


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """The Python face, imported when it is first asked for: the command line seldom needs it."""
    if name in ("Engine", "detect"):
        return getattr(import_module("tocsin.frame"), name)
    raise AttributeError(f"module 'tocsin' has no attribute '{name}'")
