"""Several processes over one store: who owns what, fair shares, and the fence."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from listed import HOT, batch_of, ledger_of, step_of, store_in
from tocsin.address import Address
from tocsin.checkpoint import resume
from tocsin.connectors import Broker, Source, open_source
from tocsin.engine import Engine
from tocsin.errors import SetupError, StoreError, TakenOver, TocsinError
from tocsin.instant import SECOND
from tocsin.pipeline import Decider
from tocsin.reading import Series
from tocsin.rule import parse_rules
from tocsin.runners.layout import fit
from tocsin.runners.local import replay_admitted
from tocsin.runners.owned import Consuming
from tocsin.runners.owning import Owning
from tocsin.runners.share import Share, fair
from tocsin.stores import open_store, owner
from tocsin.stores.sql import SqlStore
from tocsin.unit import Unit
from tocsin.watermark import Watermark

if TYPE_CHECKING:
    from tocsin.runners.events import Events

UNITS = [Unit(str(number), (str(number),)) for number in range(5)]


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    return store_in(tmp_path)


@pytest.fixture
def other() -> Iterator[str]:
    """A process that is alive, and not this one; 0 is a start that nobody knows."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield f"{socket.gethostname()}:{process.pid}:0"
    process.kill()
    process.wait()


def as_process(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("tocsin.stores.owner.this_process", lambda: name)
    monkeypatch.setattr("tocsin.runners.share.this_process", lambda: name)


def test_alone_everything_is_ours(store: SqlStore) -> None:
    desk = store.desk()
    assert Share(desk, UNITS).look(set()) == (UNITS, [], [])
    desk.close()


@pytest.mark.parametrize(
    ("members", "have", "own", "expected"),
    [
        (["a"], {}, 0, 5),
        (["a", "b"], {"b": 5}, 0, 2),
        (["b", "a"], {}, 5, 3),
        (["a", "b", "c"], {"b": 3, "c": 2}, 0, 1),
        (["c", "a", "b"], {"b": 3}, 2, 2),
        (["a", "b", "c", "d", "e", "f"], dict.fromkeys("bcdef", 1), 0, 0),
    ],
)
def test_a_fair_share_is_as_much_as_any_other_has_but_for_one_and_moves_nothing_without_need(
    members: list[str], have: dict[str, int], own: int, expected: int
) -> None:
    assert fair(members, Counter(have), own, len(UNITS)) == expected


def test_whoever_comes_second_gets_what_the_first_gives_up(
    store: SqlStore, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = store.desk(), store.desk()
    writers = {unit.name: first.writer(Series(), unit.name, politely=True) for unit in UNITS}
    for writer in writers.values():
        writer.take_over()
    me = owner.this_process()
    as_process(monkeypatch, other)
    take, give, in_the_way = Share(second, UNITS).look([])
    assert (take, give, {found.process for found in in_the_way}) == ([], [], {me})
    as_process(monkeypatch, me)
    take, give, _ = Share(first, UNITS).look(list(writers))
    assert (take, give) == ([], ["3", "4"])
    for name in give:
        first.release(writers[name])
    as_process(monkeypatch, other)
    assert Share(second, UNITS).look([])[:2] == (UNITS[3:], [])
    second.close()
    as_process(monkeypatch, me)
    first.close()


def test_what_somebody_alive_owns_is_not_taken_politely_and_otherwise_fenced(
    store: SqlStore, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = store.desk(), store.desk()
    series = Series()
    writer = mine.writer(series, "0")
    writer.take_over()
    as_process(monkeypatch, other)
    with pytest.raises(TakenOver, match="another process has taken over partition 0 of the pipeline"):
        theirs.writer(Series(), "0", politely=True).take_over()
    theirs.writer(Series(), "0").take_over()
    with pytest.raises(TakenOver):
        writer.save(step_of(batch_of([("a", 0, 1)], series)))
    assert store.counts()["readings"] == 0


def test_of_steps_that_are_saved_together_all_or_none_are(
    store: SqlStore, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, theirs = store.desk(), store.desk()
    known = [(desk.writer(series, name), series) for name, series in (("0", Series()), ("1", Series()))]
    for writer, _ in known:
        writer.take_over()
    steps = [(writer, step_of(batch_of([("a", 0, 1)], series))) for writer, series in known]
    assert desk.save(steps) == [0, 0]
    assert (store.counts()["readings"], store.counts()["devices"]) == (2, 1)
    as_process(monkeypatch, other)
    theirs.writer(Series(), "1").take_over()
    steps = [(writer, step_of(batch_of([("a", 1, 1)], series))) for writer, series in known]
    with pytest.raises(TakenOver, match="partition 1 of"):
        desk.save(steps)
    assert store.counts()["readings"] == 2


def test_each_unit_gets_its_own_series_back(store: SqlStore) -> None:
    """Both know device a, and neither sees what the other stored."""
    desk = store.desk()
    for name, value in (("0", 1.0), ("1", 2.0)):
        series = Series()
        writer = desk.writer(series, name)
        writer.take_over()
        writer.save(step_of(batch_of([("a", 0, value), (f"only-{name}", 0, value)], series)))
    again = desk.writer(Series(), "1")
    again.take_over()
    found = again.readings()
    assert {
        (found.series.describe(int(code))[0], value) for code, value in zip(found.code, found.value, strict=True)
    } == {
        ("a", 2.0),
        ("only-1", 2.0),
    }
    desk.close()


def test_a_member_that_is_gone_is_no_longer_counted(
    store: SqlStore, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = store.desk(), store.desk()
    me = owner.this_process()
    as_process(monkeypatch, other)
    second.meet()
    as_process(monkeypatch, me)
    assert first.meet()[0] == [me, other]
    now = time.time_ns()
    monkeypatch.setattr("tocsin.stores.owner.time.time_ns", lambda: now + owner.LEASE + 1)
    assert first.meet()[0] == [me]


def test_what_two_units_admitted_is_decided_once_more_by_each_for_itself(store: SqlStore) -> None:
    """Both engines call their first device by the same number, and it is another one."""
    rules, desk = parse_rules(HOT, None), store.desk()
    for name, device in (("0", "a"), ("1", "b")):
        engine = Engine(rules, Series())
        writer = desk.writer(engine.series, name)
        start = resume(writer, rules, engine)
        clock = Watermark(0)
        batch = batch_of([(device, 0, 99), (device, 60, 1)], engine.series)
        flags = clock.admit(batch)
        clock.end()
        decider = Decider(rules, engine, clock, {"line": 1}, start.counted)
        writer.save(decider.decide(batch, flags))
    desk.close()
    outcome, found = replay_admitted(rules, lambda _: Engine(rules, Series()), store)
    assert ledger_of(found) == ledger_of(store)
    assert {dict(move.key)["device"] for move in found.transitions()} == {"a", "b"}
    assert outcome.stats.readings == 4


def test_a_unit_that_was_owned_and_never_given_anything_does_not_bind_the_store(store: SqlStore) -> None:
    """As after a start with a partition too many: what was there before is right again."""
    rules, desk, position = parse_rules(HOT, None), store.desk(), {"broker": consuming().broker.identity}
    for name in "012":
        engine = Engine(rules, Series())
        writer = desk.writer(engine.series, name)
        decider = Decider(rules, engine, clock := Watermark(0), position, resume(writer, rules, engine).counted)
        batch = batch_of([("a", 0, 99)] if name != "2" else [], engine.series)
        writer.save(decider.decide(batch, clock.admit(batch)))
    fit(desk, consuming("0", "1"))
    with pytest.raises(
        SetupError, match=r"decided each by itself, and now .* all together.* `partitions` of `broker:` or"
    ):
        fit(desk, consuming(""))
    desk.close()


@pytest.mark.parametrize("now", [("0", "1", "2"), ("0", "1", "2", "3")])
@pytest.mark.parametrize("filled", [{"0"}, {"0", "1", "2"}])
def test_a_store_that_was_filled_from_another_number_of_partitions_is_refused_though_all_is_taken(
    store: SqlStore, filled: set[str], now: tuple[str, ...]
) -> None:
    """Also if only some of them have ever held a reading."""
    rules, desk, before = parse_rules(HOT, None), store.desk(), ("0", "1", "2")
    for name in before:
        engine = Engine(rules, Series())
        writer = desk.writer(engine.series, name)
        counted = resume(writer, rules, engine).counted
        decider = Decider(rules, engine, clock := Watermark(0), {**consuming(*before).way, "partitions": {}}, counted)
        batch = batch_of([("a", 0, 99)] if name in filled else [], engine.series)
        writer.save(decider.decide(batch, clock.admit(batch)))
    if now == before:
        fit(desk, consuming(*now))
    else:
        with pytest.raises(SetupError, match=r"filled from 3 partitions.*`broker:` has 4.*Put `partitions: 3` back"):
            fit(desk, consuming(*now))
    desk.close()


def test_whoever_looks_needs_no_lock_and_whoever_writes_waits_for_it_as_long_as_wanted(store: SqlStore) -> None:
    """Another process may be frozen in the middle of a transaction."""
    asked = []

    def wait(error: TocsinError) -> bool:
        asked.append(str(error))
        if len(asked) == 2:
            frozen.rollback()
        return True

    frozen = sqlite3.connect(store.url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    frozen.execute("BEGIN IMMEDIATE")
    again = open_store(store.url, "test")
    desk = again.desk(wait)
    assert (desk.owners(), desk.origins(), desk.checkpoints()) == ([], [], {})
    desk.writer(Series()).take_over()
    assert len(asked) == 2
    assert "the database is locked" in asked[0]
    desk.close()


def test_who_stands_by_says_so_once(store: SqlStore, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner renews its lease meanwhile, and is the same."""
    me, theirs = owner.this_process(), store.desk()
    told: list[str] = []
    as_process(monkeypatch, other)
    writer = theirs.writer(Series())
    writer.take_over()
    as_process(monkeypatch, me)
    owning = Owning(consuming(), source(), store.desk(), cast("Events", Told(told)), lambda _: None)
    for _ in range(3):
        owning.agree()
        with theirs.transaction(StoreError) as connection:
            owner.hold(connection, [writer.claim])
    theirs.release(writer)
    owning.agree()
    assert told == ["standing by", "taken over"]


def test_partitions_that_came_are_told_in_the_order_in_which_people_count(store: SqlStore) -> None:
    """Also names that begin with numbers and those that hold them, and digits of others' scripts are letters."""
    told: list[str] = []
    events = cast("Events", SimpleNamespace(info=lambda _, message, **__: told.append(message)))
    owning = Owning(consuming(), source(), store.desk(), events, lambda _: None)
    owning._tell("partitions gained", "ours now", ["10", "1", "0", "2"])
    owning._tell("partitions gained", "ours now", ["q-10", "7", "q-9", "q-²", "q"])
    owning._tell("partitions gained", "ours now", [str(number) for number in range(9, -1, -1)])
    assert told == [
        "partitions ours now: 0, 1, 2, 10",
        "partitions ours now: 7, q, q-9, q-10, q-²",
        "partitions ours now: 0, 1, 2, 3, 4, 5, 6, 7 and 2 more",
    ]


class Told:
    """Events by their names."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def info(self, event: str, *_: object, **__: object) -> None:
        self._told.append(event)


def consuming(*names: str) -> Consuming:
    rules = parse_rules(HOT, None)
    broker = Broker(Address("journal", "", path="none"), "p", names or ("0",))
    units = [Unit(name, (name or "0",)) for name in names or [""]]
    return Consuming("p", rules, units, lambda _: Engine(rules, Series()), 0, 0, SECOND, broker, Path("none"))


def source() -> Source:
    return open_source(Broker(Address("journal", "", path="none"), "p"), "p")
