"""What may stand behind the `?` of an address, for each connector: one table, for `check` and for the connectors.

So a mistake is told when a file is checked, with its place, and not when the first connection is made.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tocsin.address import TLS, Address
from tocsin.errors import SetupError, did_you_mean


@dataclass(frozen=True, slots=True)
class Option:
    """What an option may be: `expected` says it to the user."""

    expected: str
    fits: Callable[[str], bool] = bool
    choices: tuple[str, ...] = ()


def number(most: int, least: int = 1) -> Option:
    """A whole number."""
    return Option(
        f"expected a whole number from {least} to {most}", lambda text: text.isdecimal() and least <= int(text) <= most
    )


def choice(*known: str) -> Option:
    """One of some words."""
    return Option(f"expected {', '.join(known[:-1])} or {known[-1]}", lambda text: text in known, known)


FILE = Option("expected the name of a file")
FILES = dict.fromkeys(TLS, FILE)
SHORT = 65_535

OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "amqp": {"prefetch": number(SHORT), "queue_type": choice("quorum", "classic"), "heartbeat": number(SHORT), **FILES},
    "http": {
        "token_file": FILE,
        "max_bytes": Option("expected bytes, a whole number such as 10000000 for 10 MB", number(2**31 - 1).fits),
        "device": Option("expected the name of a tag"),
    },
    "journal": {},
    "kafka": {
        "mechanism": choice("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
        "replication": number(32_767),
        **FILES,
    },
    "mqtt": {
        "version": choice("5", "3.1.1"),
        "inflight": number(SHORT),
        "expiry": number(2**32 - 1),
        "keepalive": number(SHORT),
        **FILES,
    },
    # The service refuses less than ten seconds; Google's in-memory server does not.
    "pubsub": {
        "ordering": choice("true", "false"),
        "deadline": Option("expected seconds, from 10 to 600", number(600).fits),
    },
}
"""By the scheme, without the s that asks for TLS."""

PLAIN = ("amqp", "kafka")
"""Schemes whose address says by itself whether TLS is spoken: its files are for the one with an s."""


def check_options(address: Address) -> None:
    """SetupError if an option of an address is not known, or cannot be what it is."""
    known = OPTIONS[address.scheme if address.scheme in OPTIONS else address.scheme.removesuffix("s")]
    for name, text in address.options.items():
        if name not in known:
            near = did_you_mean(name, known)
            raise SetupError(f"{address}: there is no option '{name}'.{near} Expected one of {', '.join(known)}")
        if name in TLS and address.scheme in PLAIN:
            raise SetupError(
                f"{address}: ?{name}= is for TLS, which {address.scheme}:// does without: write {address.scheme}s://"
            )
        if not known[name].fits(text):
            near = did_you_mean(text, known[name].choices)
            raise SetupError(f"{address}: ?{name}={text}: {known[name].expected}.{near}")


def is_here(host: str) -> bool:
    """Whether only programs on this machine reach a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_listening(address: Address) -> None:
    """SetupError if nobody, or anyone, could post readings at this address."""
    if address.scheme != "http":
        raise SetupError(
            f"{address}: '{address.scheme}' is not listened for: expected http, as in http://127.0.0.1:8086"
        )
    if "token_file" not in address.options and not is_here(address.host):
        raise SetupError(unguarded(address.host, address.port))


def unguarded(host: str, port: int | None) -> str:
    """What to do about a server that anyone could reach."""
    at = f"http://{host}" if port is None else f"http://{host}:{port}"
    return (
        f"{at}: anyone who reaches this address could post readings: set a token with `?token_file=FILE`, or listen on "
        "127.0.0.1"
    )
