"""Rules of every shape and readings that meet their edges, for the laws.

Times lie on a coarse grid that the windows, holds and timers share, so that a reading falls exactly
on the edge of a window, or on the very instant at which a timer is due, about as often as beside it.
Values are few, whole or halves, so that they are often equal and every sum is exact.  Where a
function's result is rounded (a square root, a quotient by seconds), it is compared with numbers that
it cannot hit: two right implementations may differ there by one bit.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from cases import Case
from oracle import Reading
from tocsin.reading import labels_of

SECOND = 1_000_000_000
STEP = 10 * SECOND
START = 1_704_067_200 * SECOND

METRICS = ["a", "b"]
DEVICES = ["d1", "d2", "d3"]
SITES = {"d1": "x", "d2": "x", "d3": "y"}
VALUES = [0.0, 1.0, 2.0, 3.0, -1.0, 0.5]
LIMITS = ["0", "1", "2", "0.5", "-1", "1.5", "3"]
ODD_LIMITS = ["0.0137", "-0.0173", "0.731", "-1.219", "1.377"]

ORDERED = ["first", "last", "drop", "rise", "change", "rate", "slope", "zscore"]
UNORDERED = ["max", "min", "sum", "count", "avg", "median", "quantile", "stddev", "spread"]
ROUNDED = ["rate", "slope", "zscore", "stddev", "quantile"]
CONDITIONS = ["stuck", "missing"]
FUNCTIONS = sorted([*ORDERED, *UNORDERED, *CONDITIONS])

WINDOWS = ["20s", "30s", "1m", "2m", "5m"]
DURATIONS = ["10s", "20s", "30s", "1m", "2m"]

KEYS = [["device"], ["device"], ["device"], ["site", "device"], ["site"], []]


@st.composite
def selectors(draw: st.DrawFn, *, pinned: bool, metric: str | None = None) -> str:
    """A metric with matchers or without; `pinned` names one device."""
    name = metric or draw(st.sampled_from(METRICS))
    if pinned:
        return f'{name}{{device="{draw(st.sampled_from(DEVICES))}"}}'
    some = ['device!="d2"', 'device=~"d[12]"', 'site="x"', 'site!~"y|z"', 'site=""']
    return name + draw(st.sampled_from(["", "", "", "", *("{" + matcher + "}" for matcher in some)]))


@st.composite
def calls(draw: st.DrawFn, function: str, by: list[str], window: str | None = None) -> str:
    """A function over a window."""
    pinned = "device" not in by and function not in [*UNORDERED, "missing"]
    selector = draw(selectors(pinned=pinned))
    quantile = f"{draw(st.sampled_from(['0', '0.25', '0.5', '0.9', '1']))}, " if function == "quantile" else ""
    return f"{function}({quantile}{selector}[{window or draw(st.sampled_from(WINDOWS))}])"


@st.composite
def numbers(draw: st.DrawFn, by: list[str], function: str | None = None, window: str | None = None) -> tuple[str, bool]:
    """A number, and whether it may be rounded."""
    bare = draw(selectors(pinned="device" not in by))
    if function is None:
        function = draw(st.sampled_from([None, None, *ORDERED, *UNORDERED]))
    if function is None or function in CONDITIONS:
        text, rounded = bare, False
    else:
        text, rounded = draw(calls(function, by, window)), function in ROUNDED
    shape = draw(
        st.sampled_from(
            [
                "{}",
                "{}",
                "{}",
                "{}",
                "-{}",
                "{} * 2",
                "{} - {other}",
                "{} / {other}",
                "{other} / {}",
                "{} % 2",
                "{} ^ 2",
            ]
        )
    )
    if rounded and shape not in ("{}", "-{}", "{} * 2"):
        shape = "{}"
    return shape.format(text, other=bare), rounded or "/" in shape


@st.composite
def conditions(draw: st.DrawFn, by: list[str], function: str | None = None, window: str | None = None) -> str:
    """One comparison, `stuck` or `missing`."""
    if function is None and draw(st.integers(0, 5)) == 0:
        function = draw(st.sampled_from(CONDITIONS))
    if function in CONDITIONS:
        return draw(calls(function, by, window))
    number, rounded = draw(numbers(by, function, window))
    limit = draw(st.sampled_from(ODD_LIMITS if rounded else LIMITS))
    if "device" in by and not rounded and draw(st.integers(0, 5)) == 0:
        limit = draw(st.sampled_from(['limit("max", 1)', 'limit("max")']))
    op = draw(st.sampled_from([">", "<", ">=", "<=", "==", "!="] if not rounded else [">", "<"]))
    return f"{number} {op} {limit}" if draw(st.integers(0, 4)) else f"{limit} {op} {number}"


@st.composite
def expressions(draw: st.DrawFn, by: list[str], function: str | None = None, window: str | None = None) -> str:
    """One condition, or two or three joined."""
    first = draw(conditions(by, function, window))
    shape = draw(
        st.sampled_from(
            ["{0}"] * 5
            + ["not {0}", "{0} and {1}", "{0} or {1}", "{0} unless {1}", "{1} unless {0}", "{1} or not {0}"]
            + ["({0} or {1}) and {2}", "{0} or {1} and {2}", "not ({0} and {1})"]
        )
    )
    others = [draw(conditions(by)) if f"{{{place}}}" in shape else "" for place in (1, 2)]
    return shape.format(first, *others)


@st.composite
def levels(draw: st.DrawFn) -> dict[str, Any]:
    """Two or three levels, above or below, some with a clear of their own."""
    side = draw(st.sampled_from(["above", "below"]))
    limits = sorted(draw(st.sets(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]), min_size=2, max_size=3)))
    sign = 1 if side == "above" else -1
    found: dict[str, Any] = {}
    for name, limit in zip(["low", "middle", "high"], limits, strict=False):
        margin = draw(st.sampled_from([None, 0.0, 0.5, 1.0]))
        found[name] = {side: limit} | ({} if margin is None else {"clear": limit - sign * margin})
    return found


@st.composite
def rules(
    draw: st.DrawFn,
    name: str = "R",
    *,
    function: str | None = None,
    window: str | None = None,
    keys: list[list[str]] | None = None,
) -> dict[str, Any]:
    """One rule as a user would write it."""
    by = draw(st.sampled_from(keys or KEYS))
    rule: dict[str, Any] = {"alert": name}
    if function not in CONDITIONS and draw(st.integers(0, 3)) == 0:
        rule["expr"], _ = draw(numbers(by, None if function in ROUNDED else function, window))
        rule["levels"] = draw(levels())
    else:
        rule["expr"] = draw(expressions(by, function, window))
        if draw(st.integers(0, 2)) == 0:
            rule["clear"] = draw(expressions(by))
    hold = draw(st.sampled_from(["none", "none", "duration", "readings", "some"]))
    if hold == "duration":
        rule["for"] = draw(st.sampled_from(DURATIONS))
    elif hold == "readings":
        rule["for"] = f"{draw(st.integers(1, 4))} readings"
    elif hold == "some":
        of = draw(st.integers(2, 5))
        rule["for"] = f"{draw(st.integers(1, of))} of {of} readings"
    if draw(st.booleans()):
        rule["keep_firing_for"] = draw(st.sampled_from(DURATIONS))
    if draw(st.booleans()):
        rule["min_coverage"] = draw(st.sampled_from([0, 0, 0.25, 0.5, 0.9, 1]))
    if draw(st.booleans()):
        rule["on_unknown"] = draw(st.sampled_from(["clear", "clear", "fire", "hold"]))
    if by != ["device"]:
        rule["by"] = by
    return rule


@st.composite
def devices(draw: st.DrawFn) -> Mapping[str, Mapping[str, str]]:
    """The devices that the pipeline file names; `d9` never reports."""
    named = draw(st.sets(st.sampled_from([*DEVICES, "d9"])))
    found = {}
    for name in sorted(named):
        site = draw(st.sampled_from([SITES.get(name, "y"), ""]))
        maximum = draw(st.sampled_from(["", "0", "1.5"]))
        found[name] = dict(labels_of({"site": site, "max": maximum}))
    return found


@st.composite
def streams(draw: st.DrawFn, *, size: int = 40) -> list[Reading]:
    """Readings in order of time, at most one of a device and metric at one time; some devices change their labels."""
    few = draw(st.sampled_from([DEVICES[:1], DEVICES[:1], DEVICES[:2], DEVICES]))
    gap = st.sampled_from([0, 0, 1, 1, 1, 1, 1, 2, 2, 3, 3, 6, 7, 12, 31])
    jitter = draw(st.sampled_from([st.just(0), st.just(0), st.sampled_from([0, 0, 1, 5 * SECOND])]))
    metric = st.sampled_from([*METRICS, METRICS[0]])
    moved = draw(st.sampled_from([st.none(), st.none(), st.sampled_from([None, None, "z", ""])]))
    least = draw(st.sampled_from([1, 10, 20]))
    pick = st.tuples(gap, jitter, st.sampled_from(few), metric, st.sampled_from(VALUES), moved)
    time, found = START, {}
    for steps, offset, device, name, value, site in draw(st.lists(pick, min_size=least, max_size=size)):
        time += steps * STEP + offset
        labels = {"site": SITES[device]} if site is None else {"site": site, "max": "0"}
        found[device, name, time] = Reading(device, name, time, value, labels_of(labels))
    return list(found.values())


@st.composite
def dense_streams(draw: st.DrawFn) -> list[Reading]:
    """Several hundred readings in a window, with silences in between."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    step = draw(st.sampled_from([SECOND // 2, SECOND, 2 * SECOND]))
    few = draw(st.sampled_from([DEVICES[:1], DEVICES[:1], DEVICES]))
    start = START + draw(st.integers(0, 100)) * SECOND
    gaps = draw(st.lists(st.sampled_from([0, 0, 30, 61, 301]), min_size=1, max_size=4))
    time, found = start, []
    for gap in gaps:
        time += gap * SECOND
        for _ in range(draw(st.integers(40, 250)) // len(few)):
            time += step
            present = [device for device in few if chance.random() < 0.8]
            found += [Reading(it, "a", time, chance.choice(VALUES), (("site", SITES[it]),)) for it in present]
            if chance.random() < 0.1:
                found.append(Reading(few[0], "b", time, chance.choice(VALUES), (("site", SITES[few[0]]),)))
    return found or [Reading("d1", "a", time, 1.0, (("site", "x"),))]


@st.composite
def delayed(draw: st.DrawFn, readings: list[Reading], lateness: int) -> list[Reading]:
    """The same readings in another order of arrival, none of them late."""
    delays = [draw(st.integers(0, lateness // SECOND)) * SECOND for _ in readings]
    order = sorted(range(len(readings)), key=lambda place: readings[place].time + delays[place])
    return [readings[place] for place in order]


@st.composite
def disturbed(draw: st.DrawFn, readings: list[Reading]) -> list[Reading]:
    """The same readings with some sent again, some with another value, and some in the wrong place."""
    found = list(readings)
    for _ in range(draw(st.integers(0, 4))):
        again = draw(st.sampled_from(readings))
        value = draw(st.sampled_from([again.value, 9.0]))
        found.insert(draw(st.integers(0, len(found))), replace(again, value=value))
    if len(found) > 1 and draw(st.booleans()):
        place = draw(st.integers(0, len(found) - 2))
        found[place], found[place + 1] = found[place + 1], found[place]
    return found


@st.composite
def cases(
    draw: st.DrawFn,
    *,
    function: str | None = None,
    keys: list[list[str]] | None = None,
    tidy: bool = False,
    dense: bool = False,
    count: int = 2,
) -> Case:
    """A whole case; `tidy` ones have no late, repeated or conflicting reading, though they may come out of order."""
    window = draw(st.sampled_from(["2m", "5m"])) if dense else None
    first = draw(rules("R0", function=function, window=window, keys=keys))
    more = [draw(rules(f"R{place}", keys=keys)) for place in range(1, draw(st.integers(1, count)))]
    readings = draw(dense_streams() if dense else streams())
    lateness = draw(st.sampled_from([0, 0, STEP, 3 * STEP]))
    if lateness and not dense:
        readings = draw(delayed(readings, lateness))
    if not tidy and draw(st.integers(0, 2)) == 0:
        readings = draw(disturbed(readings))
    return Case(
        [first, *more],
        readings,
        draw(devices()) if draw(st.booleans()) else {},
        lateness,
        draw(st.sampled_from([30, 60, 300, 300])) * SECOND,
        draw(st.sampled_from([60, 120, 600, 86_400, 86_400])) * SECOND,
    )


def cuts(most: int = 4) -> st.SearchStrategy[list[int]]:
    """Places at which to cut a log."""
    return st.lists(st.integers(0, 60), max_size=most)
