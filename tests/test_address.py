"""Addresses of servers, and that their secrets stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.address import parse_address


def test_an_address_is_taken_apart() -> None:
    found = parse_address("amqps://me:p%40ss@host:5671/v%2Fh?ca=ca.pem&heartbeat=5", {}, Path("/etc/t"))
    assert (found.scheme, found.host, found.port, found.path) == ("amqps", "host", 5671, "v/h")
    assert (found.user, found.password) == ("me", "p@ss")
    assert found.tls_file("ca") == "/etc/t/ca.pem"
    assert found.options["heartbeat"] == "5"


def test_neither_its_text_nor_its_repr_shows_the_password() -> None:
    found = parse_address("mqtt://me:hidden@host/x", {})
    assert str(found) == "mqtt://host/x"
    assert "hidden" not in repr(found)


def test_who_asks_may_stand_in_the_environment() -> None:
    found = parse_address("kafka://host:9092", {"TOCSIN_BROKER_USER": "u", "TOCSIN_BROKER_PASSWORD": "w"})
    assert (found.user, found.password) == ("u", "w")


def test_the_address_itself_wins() -> None:
    assert parse_address("kafka://a:b@host", {"TOCSIN_BROKER_USER": "u", "TOCSIN_BROKER_PASSWORD": "w"}).user == "a"


def test_a_password_may_stand_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("w\n")
    assert parse_address("kafka://host", {"TOCSIN_BROKER_PASSWORD_FILE": str(secret)}).password == "w"  # noqa: S105
    with pytest.raises(ValueError, match="none cannot be read: No such file or directory: correct its name"):
        parse_address("kafka://host", {"TOCSIN_BROKER_PASSWORD_FILE": str(tmp_path / "none")})
    secret.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="secret is not text: write the password into it"):
        parse_address("kafka://host", {"TOCSIN_BROKER_PASSWORD_FILE": str(secret)})


@pytest.mark.parametrize("text", ["host:5672", "amqp://", "amqp://host:port", "amqp://[::1"])
def test_what_is_no_address_is_said_without_its_secret(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        parse_address(text.replace("://", "://u:hidden@") if "@" not in text else text, {})


@pytest.mark.parametrize(
    ("text", "kind", "example"),
    [
        ("127.0.0.1:8086", "http", "http://127.0.0.1:8086. A port"),
        ("http://127.0.0.1:port", "amqp", "http://127.0.0.1:8086. In"),
        ("kafkas://", "amqp", "kafka://host:9092. In"),
        ("localhost", "mqtt", "mqtt://host:1883. In"),
    ],
)
def test_an_address_of_the_same_kind_is_the_example(text: str, kind: str, example: str) -> None:
    with pytest.raises(ValueError, match=f"expected one as in {example}"):
        parse_address(text, {}, kind=kind)


@pytest.mark.parametrize(
    "secret",
    ["hid/den", "hid?den", "hid#den", "5/hidden", "5?hidden", "5#hidden", "hid[den", "[hid]den", "hid\u2100den"],
)
def test_a_password_with_a_sign_that_ends_it_is_refused_and_not_shown(secret: str) -> None:
    """`amqp://u:5/hidden@h` would be the host u, at whose port 5 there is a path with the password in it."""
    with pytest.raises(ValueError, match="write @ as %40, / as %2F") as said:
        parse_address(f"amqp://u:{secret}@host", {})
    assert "hid" not in str(said.value)
    assert said.value.__suppress_context__ or said.value.__context__ is None


def test_several_servers_of_one_cluster_stand_with_commas() -> None:
    found = parse_address("kafka://me:a,b@h1:9092,[::1]:9093,h3/x", {})
    assert (found.host, found.port, found.user, found.password) == ("h1", 9092, "me", "a,b")
    assert found.servers == ("h1:9092", "[::1]:9093", "h3")
    assert str(found) == "kafka://h1:9092,[::1]:9093,h3/x"


@pytest.mark.parametrize("servers", ["h1,", ",h2", "h1,h2:port"])
def test_a_server_in_a_list_must_be_one(servers: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        parse_address(f"kafka://{servers}", {})
