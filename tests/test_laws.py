"""The laws that every function and every shape of rule keeps, on made-up rules and readings.

How readings were batched, in which order they came within the lateness, whether the process was
stopped and resumed, and how keys were partitioned never changes the alerts; and they are those that
the oracle finds, which knows nothing of batches.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cases import Case, Feed, assert_same_alerts, assert_same_ledger, pieces
from oracle import Alert, Reading, admit, labels_of
from strategies import FUNCTIONS, SECOND, SITES, STEP, cases, cuts, delayed
from tocsin import functions
from tocsin.rule import partition_labels

Law = TypeVar("Law", bound=Callable[..., None])

PER_FUNCTION = pytest.mark.parametrize("function", FUNCTIONS)


def examples(count: int) -> Callable[[Law], Law]:
    """How many made-up cases: the same in every run, unless TOCSIN_LAWS=20 asks for twenty times as many new ones."""
    times = int(os.environ.get("TOCSIN_LAWS", "0"))
    return settings(
        max_examples=count * (times or 1),
        derandomize=not times,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def undisturbed(case: Case) -> Feed:
    """The whole case as one batch."""
    return Feed(case).finish()


def assert_same(one: Feed, other: Feed) -> None:
    """Two runs of the engine agree in every byte."""
    assert one.ledger() == other.ledger()
    assert one.alerts() == other.alerts()


def test_every_function_is_put_to_the_laws() -> None:
    assert functions.names() == FUNCTIONS


@PER_FUNCTION
@examples(12)
@given(data=st.data())
def test_the_engine_decides_what_the_oracle_decides(function: str, data: st.DataObject) -> None:
    check_oracle(data.draw(cases(function=function)))


@PER_FUNCTION
@examples(2)
@given(data=st.data())
def test_the_engine_decides_what_the_oracle_decides_in_windows_of_hundreds(function: str, data: st.DataObject) -> None:
    check_oracle(data.draw(cases(function=function, dense=True, count=1)))


def check_oracle(case: Case) -> None:
    run, expected = undisturbed(case), case.by_oracle()
    assert_same_ledger(run.ledger(), expected.ledger())
    assert_same_alerts(run.alerts(), expected.alerts)
    assert run.engine.counts() == expected.counts
    assert [flag.name.lower() for flag in run.flags] == [flag for _, flag in admit(case.readings, case.lateness)]


@examples(60)
@given(cases(), cuts(), st.lists(st.booleans(), max_size=8))
def test_how_readings_were_batched_changes_nothing(case: Case, cut: list[int], decide: list[bool]) -> None:
    """Nor does it when the engine learns of the watermark batches later."""
    feed = Feed(case)
    for count, now in zip_longest(pieces(len(case.readings), cut), decide[: len(cut)], fillvalue=True):
        feed.take(count, decide=now)
    assert_same(feed.finish(), undisturbed(case))


@examples(20)
@given(cases())
def test_one_reading_at_a_time_gives_what_all_at_once_give(case: Case) -> None:
    feed = Feed(case)
    for _ in case.readings:
        feed.take(1)
    assert_same(feed.finish(), undisturbed(case))
    assert feed.flags == undisturbed(case).flags


def go_on(feed: Feed) -> None:
    """Nothing happened in between."""


@pytest.mark.parametrize("between", [go_on, Feed.resume_from_snapshot, Feed.resume_from_store])
@examples(30)
@given(case=cases(tidy=True), steps=st.lists(st.integers(0, 40), max_size=4))
def test_the_steps_of_the_watermark_change_nothing(
    between: Callable[[Feed], None], case: Case, steps: list[int]
) -> None:
    """Whether readings wait in the engine for long, and whether it is stopped with readings that wait or timers that run."""
    feed = Feed(case)
    feed.take(decide=False)
    for watermark in sorted(min(it.time for it in case.readings) + step * STEP for step in steps):
        if watermark <= feed.watermark.end():
            feed.advance(watermark)
            between(feed)
    assert_same(feed.finish(), undisturbed(case))


@examples(60)
@given(data=st.data())
def test_the_order_of_arrival_within_the_lateness_changes_nothing(data: st.DataObject) -> None:
    case = data.draw(cases(tidy=True))
    lateness = data.draw(st.sampled_from([10, 30, 100])) * SECOND
    in_order = replace(case, readings=sorted(case.readings, key=lambda it: it.time), lateness=lateness)
    shuffled = replace(in_order, readings=data.draw(delayed(list(in_order.readings), lateness)))
    feed = Feed(shuffled)
    feed.take(data.draw(st.integers(0, 40)))
    assert_same(feed.finish(), undisturbed(in_order))


@examples(60)
@given(cases(), cuts())
def test_stopping_and_resuming_from_a_snapshot_changes_nothing(case: Case, cut: list[int]) -> None:
    feed = Feed(case)
    for count in pieces(len(case.readings), cut):
        feed.take(count)
        feed.resume_from_snapshot()
    assert_same(feed.finish(), undisturbed(case))


@examples(60)
@given(cases(), cuts())
def test_stopping_and_resuming_from_what_the_store_has_changes_nothing(case: Case, cut: list[int]) -> None:
    feed = Feed(case)
    for count in pieces(len(case.readings), cut):
        feed.take(count)
        feed.resume_from_store()
    assert_same(feed.finish(), undisturbed(case))


@examples(10)
@given(cases(dense=True, count=1), st.lists(st.integers(0, 400), max_size=3))
def test_a_window_of_hundreds_keeps_the_laws(case: Case, cut: list[int]) -> None:
    resume = [Feed.resume_from_snapshot, Feed.resume_from_store]
    feed = Feed(case)
    for place, count in enumerate(pieces(len(case.readings), cut)):
        feed.take(count)
        resume[place % 2](feed)
    assert_same(feed.finish(), undisturbed(case))


@examples(50)
@given(cases(tidy=True, keys=[["device"], ["site", "device"], ["site"]]))
def test_partitions_give_the_union_of_their_ledgers(case: Case) -> None:
    case = replace(case, devices={name: {"site": SITES.get(name, "y"), **own} for name, own in case.devices.items()})
    whole = undisturbed(case)
    times = [it.time for it in case.readings]
    feeds = [Feed(part, min(times)).finish(max(times)) for part in partitions(case)]
    together = sorted((line for feed in feeds for line in feed.transitions), key=lambda it: (it.time, it.rule, it.key))
    assert [line.ledger() for line in together] == whole.ledger()
    assert sorted((alert for feed in feeds for alert in feed.alerts()), key=in_order) == whole.alerts()


def in_order(alert: Alert) -> tuple[int, str, object]:
    return alert.since, alert.rule, alert.key


def partitions(case: Case) -> list[Case]:
    """The case cut by the labels that every rule's key has; a device of the file reports in one part alone."""
    by = partition_labels(case.parsed)

    def partition(device: str, own: Sequence[tuple[str, str]] = ()) -> tuple[str, ...]:
        labels = labels_of(device, dict(own), case.devices)
        return tuple(labels.get(name, "") for name in by)

    readings: dict[tuple[str, ...], list[Reading]] = {}
    devices: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for reading in case.readings:
        readings.setdefault(partition(reading.device, reading.labels), []).append(reading)
    for name, labels in case.devices.items():
        devices.setdefault(partition(name), {})[name] = dict(labels)
    return [
        replace(case, readings=readings.get(part, []), devices=devices.get(part, {}))
        for part in sorted(set(readings) | set(devices))
    ]
