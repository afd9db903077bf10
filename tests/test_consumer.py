"""The consumer's half: what is taken, what is acknowledged, and what goes to the dead letters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tocsin.codecs.readings import Decoder
from tocsin.consumer import GAP_PATIENCE, Consumer
from tocsin.engine import Engine
from tocsin.message import JSON, Kind, Message
from tocsin.origin import Origins
from tocsin.pipeline import Decider
from tocsin.reading import Series
from tocsin.rule import parse_rules
from tocsin.stores import open_store
from tocsin.stores.sql import SqlStore

NOON = 1_700_000_000


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    return open_store(f"sqlite:///{tmp_path}/p.db", "p")


@pytest.fixture
def consumer(store: SqlStore) -> Consumer:
    series, rules = Series(), parse_rules([{"alert": "Hot", "expr": "temp > 80"}])
    origins = Origins(["0"], 0, 300 * 10**9, now=0, is_log=False)
    writer = store.writer(series)
    writer.take_over()
    decider = Decider(rules, Engine(rules, series), origins, writer)
    return Consumer(decider, origins, Decoder(series).decode, "amqp:p", rereadable=False)


def message(seq: int, value: object = 81, producer: str = "p", kind: str = Kind.READINGS) -> Message:
    body = json.dumps({"device": "a", "metric": "temp", "time": (NOON + seq) * 10**9, "value": value}).encode()
    return Message(body, "0", JSON, producer, seq, kind, position=seq)


def moves(store: SqlStore) -> list[tuple[int, str]]:
    return [(move.time // 10**9 - NOON, move.to.name.lower()) for move in store.transitions()]


def test_a_step_is_decided_and_saved_and_then_acknowledged(consumer: Consumer, store: SqlStore) -> None:
    sent = [message(0), message(1, 70), message(2, 70)]
    assert consumer.take(sent, now=1) == sent
    assert moves(store) == [(0, "firing"), (1, "resolved")]
    assert store.counts()["readings"] == 3


def test_a_redelivery_changes_nothing_and_is_acknowledged(consumer: Consumer, store: SqlStore) -> None:
    sent = [message(0), message(1, 70), message(2, 70)]
    consumer.take(sent, now=1)
    assert consumer.take(sent, now=2) == sent
    assert moves(store) == [(0, "firing"), (1, "resolved")]
    assert consumer.decider.stats.readings == 3


def test_behind_a_gap_nothing_is_decided_or_acknowledged_until_it_fills(consumer: Consumer, store: SqlStore) -> None:
    late, rest = message(1, 70), [message(0), message(2, 70), message(3, 70)]
    assert consumer.take(rest, now=1) == rest[:1]
    assert moves(store) == []
    assert consumer.take([late], now=2) == [*rest[1:], late]
    assert moves(store) == [(0, "firing"), (1, "resolved")]


def test_a_gap_that_lasts_is_given_up(consumer: Consumer, store: SqlStore) -> None:
    sent = [message(0), message(2, 70), message(3, 70)]
    consumer.take(sent, now=1)
    assert consumer.wait(now=GAP_PATIENCE) == []
    assert consumer.wait(now=GAP_PATIENCE + 2) == sent[1:]
    assert consumer.origins.lost == 1
    assert moves(store) == [(0, "firing"), (2, "resolved")]


def test_what_cannot_be_read_is_kept_once_with_its_place(consumer: Consumer, store: SqlStore) -> None:
    consumer.take([message(0, "hot"), message(1)], now=1)
    consumer.take([message(0, "hot")], now=2)
    (letter,) = store.dead_letters()
    assert letter.data == message(0, "hot").body
    assert letter.place == {"broker": "amqp:p", "partition": "0", "producer": "p", "seq": 0}
    assert store.counts()["readings"] == 1


def test_a_message_that_nobody_understands_is_kept_too(consumer: Consumer, store: SqlStore) -> None:
    consumer.take([message(0, kind="prophecy"), message(1, kind=Kind.REJECTS), message(2)], now=1)
    assert ["kind 'prophecy'" in store.dead_letters()[0].reason, store.dead_letters()[1].place["seq"]] == [True, 1]
    assert store.counts()["readings"] == 1


def test_foreign_messages_all_count_and_a_repeated_reading_is_one(consumer: Consumer, store: SqlStore) -> None:
    foreign = [message(seq, producer="")._replace(seq=-1) for seq in (0, 1, 1)]
    assert consumer.take(foreign, now=1) == foreign
    assert store.counts()["readings"] == 2
    assert consumer.decider.stats.repeats == 1
