"""Files that an address names behind its `?`: certificates and tokens.

Only `check` looks whether they are there.  Other commands may run on a machine that has no use for them, as a consumer
has none for the producer's token.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tocsin.address import TLS, parse_address
from tocsin.document import Document
from tocsin.errors import ConfigError, ConfigErrors
from tocsin.shape import is_text

if TYPE_CHECKING:
    from tocsin.config import Config

NEW_TOKEN = "write a token into it, as `openssl rand -hex 32` makes one, or correct the name"  # noqa: S105
NO_CERTIFICATE = "put it there, or correct the name"


def look_for_files(config: Config) -> None:
    """ConfigErrors names each one that is not there, with the place of its address."""
    document = Document.read(config.file, is_text)
    missing = [
        ConfigError(f"`{'.'.join(steps)}`: {said}", document.place(steps))
        for steps, url in _addresses(config)
        for said in _missing(config, url)
    ]
    if missing:
        raise ConfigErrors(missing)


def _addresses(config: Config) -> Iterator[tuple[tuple[str, str], str]]:
    if config.http is not None:
        yield ("source", "http"), config.http
    if config.foreign is not None:
        yield ("source", config.foreign.scheme), config.foreign.url
    if not config.transport.embedded:
        yield ("broker", "url"), config.transport.url


def _missing(config: Config, url: str) -> Iterator[str]:
    address = parse_address(url, {})
    for name in (*TLS, "token_file"):
        told = address.options.get(name)
        if told is not None and not (path := config.file.parent / told).is_file():
            found = "this is no file" if path.exists() else f"there is no file {path}"
            yield f"{address}: ?{name}={told}: {found}: {NO_CERTIFICATE if name in TLS else NEW_TOKEN}"
