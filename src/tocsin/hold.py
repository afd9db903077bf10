"""For how long a condition must be true before its alert fires: a time, or a number of readings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tocsin.errors import ConfigError
from tocsin.expression import LONGEST
from tocsin.instant import parse_duration

_READINGS = re.compile(r"(?:(\d{1,9})\s+of\s+)?(\d{1,9})\s+readings?")
_MOST = 100_000
"""The times of the last N evaluations are kept for every key."""


@dataclass(frozen=True, slots=True)
class ForDuration:
    """`for: 3m`: true at every evaluation for that long."""

    nanoseconds: int


@dataclass(frozen=True, slots=True)
class ForReadings:
    """`for: 3 of 5 readings`: true at so many of the last evaluations; `3 readings` are three in a row.

    Three in a row begin anew with the first that is false, where three of three stay pending while
    one of the last three is true.
    """

    needed: int
    of: int
    in_a_row: bool = False


Hold = ForDuration | ForReadings


def parse_hold(text: object) -> Hold | None:
    """What `for` says; None where a single true evaluation is enough. ConfigError with a remedy."""
    match = _READINGS.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        return _hold_for(text)
    needed, of = int(match[1] or match[2]), int(match[2])
    if not 1 <= needed <= of <= _MOST:
        expected = f"expected 'M of N readings' with M from 1 to N, and N at most {_MOST}"
        raise ConfigError(f"'{text}' can never come true: {expected}")
    return ForReadings(needed, of, in_a_row=match[1] is None) if of > 1 else None


def parse_timer(text: object) -> int:
    """Nanoseconds of a time that an alert may take, 0s included. ConfigError with a remedy."""
    if not isinstance(text, str):
        raise ConfigError(f"expected a duration, as in 90s, 3m or 1h, not {text!r}")
    try:
        nanoseconds = parse_duration(text.strip())
    except OverflowError:
        nanoseconds = LONGEST + 1
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if nanoseconds > LONGEST:
        raise ConfigError(f"{text} is too long: expected at most 3650d")
    return nanoseconds


def _hold_for(text: object) -> Hold | None:
    try:
        nanoseconds = parse_timer(text)
    except ConfigError as error:
        raise ConfigError(f"{error}; or a number of readings, as in '3 readings' or '3 of 5 readings'") from None
    return ForDuration(nanoseconds) if nanoseconds else None
