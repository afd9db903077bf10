"""Times and durations as people write them; inside they are int64 nanoseconds, UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000_000
NEVER = 2**63 - 1
"""After every event time; also stands for 'no timer is running'."""
LONG_AGO = -(2**63)
"""Before every event time; also stands for 'has not happened'."""
EARLIEST, LATEST = -8_520_336_000 * SECOND, 7_258_118_400 * SECOND
"""Event times lie from 1700 to 2200, so that no window and no timer reaches past what 64 bits hold."""
YEARS = "the years 1700 to 2199"

UNITS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3_600 * SECOND,
    "d": 86_400 * SECOND,
    "w": 604_800 * SECOND,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d|w)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_duration(text: str) -> int:
    """Nanoseconds in `2m30s`, `500ms`, `1.5h`, `7d`.

    Raises ValueError with a sentence that says what was expected.
    """
    total, end = 0, 0
    while end < len(text):
        part = _PART.match(text, end)
        if part is None:
            raise ValueError(
                f"'{text}' is not a duration: expected a number and a unit, as in 500ms, 90s, 2m30s, 1h or 7d"
            )
        number, unit = part.groups()
        total += round(float(number) * UNITS[unit]) if "." in number else int(number) * UNITS[unit]
        end = part.end()
    if not text:
        raise ValueError("an empty duration: expected a number and a unit, as in 90s or 2m30s")
    return total


def format_duration(nanoseconds: int) -> str:
    """The shortest usual way to write it: `2m30s`, `7d`, `500ms`, `0s`."""
    if nanoseconds == 0:
        return "0s"
    parts, rest = [], nanoseconds
    for unit in ("d", "h", "m", "s", "ms", "us", "ns"):
        count, rest = divmod(rest, UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def format_time(nanoseconds: int) -> str:
    """ISO 8601 in UTC with Z, to the nanosecond and without trailing zeros."""
    seconds, fraction = divmod(nanoseconds, SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    if fraction:
        text += f".{fraction:09d}".rstrip("0")
    return text + "Z"


def parse_time(text: str) -> int:
    """Nanoseconds of an ISO 8601 time; without a zone it is UTC. Raises ValueError."""
    match = re.fullmatch(r"(.+?)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)?", text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not an ISO 8601 time")
    # Apart, because together `2024-01-01+02:00` would be read as two o'clock.
    zone = datetime.fromisoformat("2000-01-01T00:00:00" + (match[3] or "Z")).tzinfo
    delta = datetime.fromisoformat(match[1]).replace(tzinfo=zone) - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND + int((match[2] or "0").ljust(9, "0"))
