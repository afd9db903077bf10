"""The consumer's half: what is taken, what is acknowledged, and what goes to the dead letters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tocsin.address import parse_address
from tocsin.codecs.readings import Decoder
from tocsin.connectors import Broker
from tocsin.consumer import GAP_PATIENCE, SILENCE_PATIENCE, Consumer, Taken
from tocsin.engine import Engine
from tocsin.message import JSON, Kind, Message, Standing
from tocsin.origin import Origins
from tocsin.pipeline import Decider
from tocsin.reading import Series
from tocsin.rule import parse_rules
from tocsin.runners.owned import BACKLOG, Consuming, Owned
from tocsin.stats import Stats
from tocsin.stores import open_store
from tocsin.stores.sql import SqlStore
from tocsin.stores.writer import Writer
from tocsin.unit import Unit

NOON = 1_700_000_000


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    return open_store(f"sqlite:///{tmp_path}/p.db", "p")


class Saving:
    """A consumer whose steps are saved as they come; what it gives is what may be acknowledged then."""

    def __init__(self, consumer: Consumer, writer: Writer) -> None:
        self.consumer, self.origins, self.stats = consumer, consumer.origins, Stats()
        self._writer = writer

    def take(self, messages: Sequence[Message], now: float) -> list[Message]:
        return self._save(self.consumer.take(messages, now))

    def wait(self, now: float) -> list[Message]:
        return self._save(self.consumer.wait(now))

    def _save(self, taken: Taken) -> list[Message]:
        for step in taken.steps:
            self.stats.add(step, self._writer.save(step))
        return taken.durable


@pytest.fixture
def consumer(store: SqlStore) -> Saving:
    series, rules = Series(), parse_rules([{"alert": "Hot", "expr": "temp > 80"}])
    origins = Origins(["0"], 0, 300 * 10**9, now=0, is_log=False)
    writer = store.writer(series)
    writer.take_over()
    decider = Decider(rules, Engine(rules, series), origins)
    return Saving(Consumer(decider, origins, Decoder(series).decode, {"broker": "amqp:p"}, rereadable=False), writer)


def message(seq: int, value: object = 81, producer: str = "p", kind: str = Kind.READINGS) -> Message:
    body = json.dumps({"device": "a", "metric": "temp", "time": (NOON + seq) * 10**9, "value": value}).encode()
    return Message(body, "0", JSON, producer, seq, kind, position=seq)


def moves(store: SqlStore) -> list[tuple[int, str]]:
    return [(move.time // 10**9 - NOON, move.to.name.lower()) for move in store.transitions()]


def test_a_step_is_decided_and_saved_and_then_acknowledged(consumer: Saving, store: SqlStore) -> None:
    sent = [message(0), message(1, 70), message(2, 70)]
    assert consumer.take(sent, now=1) == sent
    assert moves(store) == [(0, "firing"), (1, "resolved")]
    assert store.counts()["readings"] == 3


def test_a_redelivery_changes_nothing_and_is_acknowledged(consumer: Saving, store: SqlStore) -> None:
    sent = [message(0), message(1, 70), message(2, 70)]
    consumer.take(sent, now=1)
    assert consumer.take(sent, now=2) == sent
    assert moves(store) == [(0, "firing"), (1, "resolved")]
    assert consumer.stats.readings == 3


def test_behind_a_gap_nothing_is_decided_or_acknowledged_until_it_fills(consumer: Saving, store: SqlStore) -> None:
    late, rest = message(1, 70), [message(0), message(2, 70), message(3, 70)]
    assert consumer.take(rest, now=1) == rest[:1]
    assert moves(store) == []
    assert consumer.take([late], now=2) == [*rest[1:], late]
    assert moves(store) == [(0, "firing"), (1, "resolved")]


def test_a_gap_that_lasts_is_given_up(consumer: Saving, store: SqlStore) -> None:
    sent = [message(0), message(2, 70), message(3, 70)]
    consumer.take(sent, now=1)
    assert consumer.wait(now=GAP_PATIENCE) == []
    assert consumer.wait(now=GAP_PATIENCE + 2) == sent[1:]
    assert consumer.origins.lost == 1
    assert moves(store) == [(0, "firing"), (2, "resolved")]


def test_what_cannot_be_read_is_kept_once_with_its_place(consumer: Saving, store: SqlStore) -> None:
    consumer.take([message(0, "hot"), message(1)], now=1)
    consumer.take([message(0, "hot")], now=2)
    (letter,) = store.dead_letters()
    assert letter.data == message(0, "hot").body
    assert letter.place == {"broker": "amqp:p", "partition": "0", "producer": "p", "seq": 0}
    assert store.counts()["readings"] == 1


def test_a_message_that_nobody_understands_is_kept_too(consumer: Saving, store: SqlStore) -> None:
    consumer.take([message(0, kind="prophecy"), message(1, kind=Kind.REJECTS), message(2)], now=1)
    assert ["kind 'prophecy'" in store.dead_letters()[0].reason, store.dead_letters()[1].place["seq"]] == [True, 1]
    assert store.counts()["readings"] == 1


def test_foreign_messages_all_count_and_a_repeated_reading_is_one(consumer: Saving, store: SqlStore) -> None:
    foreign = [message(seq, producer="")._replace(seq=-1) for seq in (0, 1, 1)]
    assert consumer.take(foreign, now=1) == foreign
    assert store.counts()["readings"] == 2
    assert consumer.stats.repeats == 1


def test_a_producer_that_is_not_waited_for_any_more_is_remembered_as_such(consumer: Saving, store: SqlStore) -> None:
    consumer.take([message(0)], now=1)
    before = store.progress().origins
    consumer.wait(now=2 + SILENCE_PATIENCE)
    after = store.progress().origins
    assert [(one.producer, one.standing) for one in (*before, *after)] == [
        ("p", Standing.LIVE),
        ("p", Standing.EXPIRED),
    ]


@pytest.mark.parametrize(("junk", "decided"), [(1, True), (BACKLOG, False)])
@pytest.mark.parametrize("years", [0, 100])
def test_messages_without_a_reading_keep_nobody_from_being_idle(
    store: SqlStore, tmp_path: Path, junk: int, decided: bool, years: int
) -> None:
    """Foreign ones, once a second, or with a reading from the future.  Only where very many come at once others may wait behind them."""
    rules = parse_rules([{"alert": "Hot", "expr": "temp > 80"}])
    unit, broker = Unit("", ("0",)), Broker(parse_address("amqp://h", {}), "p", ("0",))
    parts = Consuming(
        "p",
        rules,
        [unit],
        lambda _: Engine(rules, Series()),
        60 * 10**9,
        10**9,
        5 * 10**9,
        broker,
        tmp_path / "p.journal",
    )
    desk = store.desk(lambda _: False)
    owned = Owned(unit, parts, desk, now=0.0, is_log=False, by_force=True)
    odd = Message(b"junk", "0", JSON)
    if years:
        odd = message(years * 365 * 86_400, producer="")._replace(arrival=NOON * 10**9)
    given = [owned.take([message(0, producer="")], now=1.0)]
    for second in range(2, 9):
        given += [owned.take([odd] * junk, now=float(second)), owned.look(float(second))]
    desk.save([(owned.writer, step) for taken in given for step in taken.steps])
    desk.close(in_order=True)
    assert (moves(store) == [(0, "firing")]) is decided


def test_a_gap_is_given_up_though_what_is_behind_it_was_asked_for_again(consumer: Saving) -> None:
    sent = [message(0), message(2), message(3, 70)]
    consumer.take(sent, now=1)
    for now in range(6, 120, 5):
        consumer.consumer.forget_held(connected=True)
        assert consumer.wait(now) == []
        consumer.take(sent[1:], now)
    assert consumer.wait(now=GAP_PATIENCE + 2) == sent[1:]
    assert consumer.origins.lost == 1


def test_whoever_begins_in_the_middle_of_a_queue_has_lost_nothing(consumer: Saving) -> None:
    sent = [message(7), message(8, 70)]
    assert consumer.take(sent, now=1) == []
    assert consumer.wait(now=GAP_PATIENCE + 2) == sent
    assert consumer.origins.lost == 0


def test_expected_devices_are_waited_for_from_when_the_source_began(consumer: Saving, store: SqlStore) -> None:
    """This partition's first reading comes 5 s after that of another."""
    began = Message(str(NOON * 10**9).encode(), "0", "", "p", 0, Kind.WATERMARK, position=0)
    consumer.take([began, message(5)._replace(seq=1), message(9)._replace(seq=2)], now=1)
    assert [reached.checkpoint.first_time for reached in store.units()] == [NOON * 10**9]
