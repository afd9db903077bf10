"""The compiled inner loops: pure functions on arrays, no object of ours among their arguments.

They are compiled on first use (some seconds, once) and cached beside the code, or in the user's
cache folder where that cannot be written.  None of them holds the interpreter lock.

A kernel that allocates nothing is `compiled` without reference counting: arrays belong to the caller,
and counting them again at every inner call cost more than the work (an alert's move took 300 ns with
it and takes 40 without).  Division follows IEEE 754: what is not finite is dealt with as unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

Kernel = Callable[..., Any]

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

_njit: Any = njit  # its stubs do not know every option

compiled: Callable[[Kernel], Kernel] = _njit(**_OPTIONS, _nrt=False)
inlined: Callable[[Kernel], Kernel] = _njit(**_OPTIONS, _nrt=False, forceinline=True)
allocating: Callable[[Kernel], Kernel] = _njit(**_OPTIONS)
