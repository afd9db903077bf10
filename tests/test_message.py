"""What travels beside a message's body, there and back."""

from __future__ import annotations

import pytest

from tocsin.message import JSON, Kind, Message, headers_of, message_of


def test_a_message_comes_back_as_it_was_sent() -> None:
    sent = Message(b"{}", "3", JSON, "smoker-1a2b", 17, Kind.READINGS, -5)
    assert message_of(b"{}", headers_of(sent), partition="3") == sent


def test_a_word_without_readings_comes_back_too() -> None:
    sent = Message(b"", "0", "", "p", 0, Kind.END, 1_700_000_000_000_000_000)
    assert message_of(b"", headers_of(sent), partition="0") == sent


@pytest.mark.parametrize(
    "headers",
    [{}, {"tocsin-producer": "p"}, {"tocsin-producer": "p", "tocsin-seq": "x"}, {"tocsin-seq": "4"}],
)
def test_a_message_that_does_not_say_its_origin_has_none(headers: dict[str, str]) -> None:
    received = message_of(b"1", headers, partition="q", key="plant/7", broker_id="m1", time=5)
    assert received == Message(b"1", "q", key="plant/7", broker_id="m1", time=5)


def test_an_unknown_version_is_kept_to_be_judged_with_the_body() -> None:
    assert message_of(b"1", {"tocsin-version": "9"}, partition="0").version == "9"
