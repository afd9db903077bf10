"""What programs read of a pipeline that nobody looks at: events with fields, an object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands import edit, process, tocsin
from tocsin.errors import NotConnected, RetryLater, StoreError
from tocsin.instant import SECOND
from tocsin.message import JSON, Message
from tocsin.origin import Origins
from tocsin.runners import events as telling
from tocsin.runners.events import ConsumerReport, Events, ProducerReport, lost
from tocsin.runners.supervise import Reconnecting, supervise
from tocsin.stats import Stats

EVENTS = Events("p", "consumer", broker="amqp://h (p)")


def lines_of(told: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.splitlines()]


def test_every_line_of_a_run_is_an_object_with_time_level_and_message(here: Path) -> None:
    edit(here / "p.yaml", "rules:", "broker: journal\nrules:")
    _, told = process("run", "p.yaml", "--log", "json").communicate(timeout=120)
    found = lines_of(told)
    assert all({"time", "level", "message"} <= line.keys() for line in found)
    assert all(line["time"].endswith("Z") and "T" in line["time"] for line in found)
    by_event = {line["event"]: line for line in found if "event" in line}
    assert (by_event["connected"]["pipeline"], by_event["connected"]["part"]) == ("p", "consumer")
    assert by_event["connected"]["broker"] == "the journal p.journal"
    fired = [line for line in found if line.get("event") == "alert fired"]
    assert [(line["part"], line["rule"], line["key"]["device"]) for line in fired] == [
        ("consumer", "TooHot", who) for who in "aab"
    ]
    assert (by_event["dead letters"]["count"], by_event["dead letters"]["level"]) == (1, "warning")
    summary = by_event["summary"]
    assert (summary["readings"], summary["fired"], summary["resolved"], summary["dead_letters"]) == (7, 3, 2, 1)


def test_what_ends_a_command_is_an_object_too_and_later_commands_speak_as_usual(here: Path) -> None:
    edit(here / "p.yaml", "readings.csv", "none.csv")
    found = tocsin("run", "p.yaml", "--log", "json")
    (line,) = lines_of(found.stderr)
    assert (line["event"], line["level"], line["exit_code"]) == ("failed", "error", 78)
    assert "there is no such file" in line["message"]
    assert tocsin("check", "p.yaml").stdout.startswith("p.yaml: fine")
    assert not tocsin("alerts", "list", "p.yaml").stderr.startswith("{")


def test_a_connection_that_is_lost_and_comes_back_is_told_with_its_broker(heard: list[dict[str, Any]]) -> None:
    begun: list[int] = []
    reconnecting = Reconnecting("amqp://h (p)", Events("p", "producer"), lambda: False)

    def work() -> None:
        reconnecting.connected()
        begun.append(1)
        if len(begun) < 3:
            raise [NotConnected("gone"), RetryLater("full")][len(begun) - 1]

    reconnecting.run(work, lambda: None)
    assert [line["event"] for line in heard] == ["connected", "connection lost", "connected again", "waiting"]
    assert all((line["part"], line["broker"]) == ("producer", "amqp://h (p)") for line in heard)
    assert (heard[1]["level"], heard[1]["error"]) == ("WARNING", "gone")
    assert heard[2]["away_seconds"] >= 0


def test_who_asks_for_patience_again_and_again_is_told_once_and_then_seldom(
    heard: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    reconnecting = Reconnecting("mqtt://h (p)", EVENTS, lambda: False)

    def work() -> None:
        reconnecting.connected()
        tries.append(1)
        if len(tries) == 4:
            monkeypatch.setattr(reconnecting, "_tell_again", 0.0)  # as if half a minute had gone by
        if len(tries) < 6:
            raise RetryLater("nobody has subscribed")

    reconnecting.run(work, lambda: None)
    assert [line["event"] for line in heard] == ["connected", "waiting", "waiting"]


def test_a_part_that_dies_is_told_with_its_error(heard: list[dict[str, Any]]) -> None:
    errors = [StoreError("disk full")]

    def work() -> None:
        if errors:
            raise errors.pop()

    supervise(EVENTS, work, lambda: False)
    assert [(line["event"], line["error"], line["part"]) for line in heard] == [("died", "disk full", "consumer")]


def test_gaps_and_producers_that_are_given_up_are_told_with_who_and_how_many(heard: list[dict[str, Any]]) -> None:
    """Numbers 3 and 4 never come; then nothing comes at all, and in partition 1 nothing ever did."""
    origins = Origins(["0", "1"], 0, SECOND, 0.0, is_log=False)
    origins.take([Message(b"{}", "0", JSON, "a", seq) for seq in (0, 1, 2, 5)], 1.0)
    assert [message.seq for message in origins.give_up(100.0, 50.0)] == [5]
    origins.expire(200.0, 50.0)
    lost(origins.news(), EVENTS)
    assert [(line["event"], line["partition"], line["producer"]) for line in heard] == [
        ("gap given up", "0", "a"),
        ("producer expired", "1", None),
        ("producer expired", "0", "a"),
    ]
    assert heard[0]["lost"] == 2
    assert list(origins.news()) == []


def test_a_line_a_minute_says_how_far_a_consumer_is(
    heard: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "EVERY", 0.0)
    stats = Stats()
    report = ConsumerReport(EVENTS, lambda: 1_700_000_000 * SECOND, stats)
    stats.readings, stats.rejects = 10, 2
    report.close(stats)
    report.close(stats)
    progress = [line for line in heard if line["event"] == "progress"]
    assert (progress[0]["readings"], progress[0]["dead_letters"]) == (10, 2)
    assert progress[0]["watermark"] == "2023-11-14T22:13:20Z"
    assert progress[0]["lag_seconds"] > 0
    assert [line["count"] for line in heard if line["event"] == "dead letters"] == [2]


def test_and_how_much_of_a_producers_waits(heard: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "EVERY", 0.0)
    ProducerReport(EVENTS, lambda: 7).look(100, 1_700_000_000 * SECOND)
    assert [(line["readings"], line["waiting"]) for line in heard] == [(100, 7)]
    assert "rejected" not in heard[0]


def test_and_what_was_posted_and_not_taken(heard: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "EVERY", 0.0)
    ProducerReport(EVENTS, lambda: 7).look(100, 1_700_000_000 * SECOND, 3)
    assert heard[0]["rejected"] == 3
