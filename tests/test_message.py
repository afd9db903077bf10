"""What travels beside a message's body, there and back."""

from __future__ import annotations

import pytest

from tocsin.message import CONTENT_TYPE, JSON, STAMP, Kind, Message, headers_of, message_of


def received(headers: dict[str, str], body: bytes = b"", partition: str = "0") -> Message:
    """What is made of a message with these headers."""
    return message_of(body, headers.get(CONTENT_TYPE, ""), headers.get(STAMP, ""), partition)


def test_a_message_comes_back_as_it_was_sent() -> None:
    sent = Message(b"{}", "3", JSON, "smoker-1a2b", 17, Kind.READINGS, -5, arrival=1_700_000_000_000_000_000)
    assert received(headers_of(sent), b"{}", "3") == sent


def test_a_word_without_readings_comes_back_too() -> None:
    sent = Message(b"", "0", "", "p", 0, Kind.END, 1_700_000_000_000_000_000)
    assert received(headers_of(sent)) == sent


def test_a_producer_may_have_any_name() -> None:
    sent = Message(b"", producer="k\u00e4se; 1;2;", seq=3)
    assert received(headers_of(sent)) == sent


def test_all_that_travels_beside_a_body_is_two_headers() -> None:
    sent = Message(b"{}", "3", JSON, "smoker-1a2b", 17, watermark=-5)
    assert headers_of(sent) == {"content-type": "application/json", "tocsin": "1;readings;-5;;17;smoker-1a2b"}


@pytest.mark.parametrize(
    "headers",
    [{}, {"tocsin": ""}, {"tocsin": "1;readings;;;;"}, {"tocsin": "1;readings;;;x;p"}, {"tocsin": "1;readings;;;4;"},
     {"tocsin": "1"}, {"tocsin": "1;;p"}, {"tocsin": "1;readings;x;;-4;p"}],
)  # fmt: skip
def test_a_message_that_does_not_say_its_origin_has_none(headers: dict[str, str]) -> None:
    stamp = headers.get("tocsin", "")
    found = message_of(b"1", "", stamp, "q", key="plant/7", broker_id="m1", time=5)
    assert found == Message(b"1", "q", key="plant/7", broker_id="m1", time=5)


@pytest.mark.parametrize("stamp", ["9;readings;;;1;p", "9|p", "9"])
def test_an_unknown_version_is_kept_to_be_judged_with_the_body(stamp: str) -> None:
    assert received({"tocsin": stamp}).version == stamp.partition(";")[0]
