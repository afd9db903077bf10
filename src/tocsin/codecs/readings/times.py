"""Times in messages: ISO 8601 with a zone, or an integer of nanoseconds."""

from __future__ import annotations

import pyarrow as pa

from tocsin.codecs._times import READ, Mask, iso
from tocsin.instant import EARLIEST, LATEST
from tocsin.reading import Times

NEAR_1970 = 10**17
"""An integer nearer to 1970 than this (three years) counts no nanoseconds, but something longer."""

_SHOWN = 80
_EXAMPLE = "expected ISO 8601 with a zone, as in 2024-01-31T12:00:00Z, or an integer of nanoseconds since 1970"


def from_text(texts: pa.Array) -> tuple[Times, Mask]:
    """The instant of every text, and which have none."""
    times, local, states = iso(texts)
    return times, (states != READ) | local | outside(times)


def from_integers(times: Times) -> tuple[Times, Mask]:
    """The instants, and which are none."""
    return times, outside(times) | ((times > -NEAR_1970) & (times < NEAR_1970))


def outside(times: Times) -> Mask:
    """Which instants lie where the engine cannot take them."""
    mask: Mask = (times < EARLIEST) | (times >= LATEST)
    return mask


def why(time: object) -> str:
    """Why this is not a reading's time, and what would be; '' if it is one."""
    if time is None:
        return f"'time' is missing: {_EXAMPLE}"
    if isinstance(time, str):
        return _why_text(time)
    if isinstance(time, bool) or not isinstance(time, int):
        return f"'time' {time} is neither a text nor an integer: {_EXAMPLE}"
    if abs(time) < NEAR_1970:
        return f"'time' {time} is too small for nanoseconds, it may be in seconds: {_EXAMPLE}"
    return "" if EARLIEST <= time < LATEST else f"'time' {time} lies outside the years 1700 to 2199: {_EXAMPLE}"


def _why_text(time: str) -> str:
    times, local, states = iso(pa.array([time]))
    time = time[:_SHOWN]
    if states[0] != READ:
        return f"'time' '{time}' cannot be read: {_EXAMPLE}"
    if local[0]:
        return f"'time' '{time}' says no zone: add Z if it is UTC, or an offset, as in 2024-01-31T12:00:00+02:00"
    return f"'time' '{time}' lies outside the years 1700 to 2199" if outside(times)[0] else ""
