"""What the address of an MQTT server says: the parameters of the session, the port, and TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any, Literal

from tocsin.address import TLS, Address
from tocsin.connectors._options import check_options
from tocsin.errors import NotConnected, SetupError, TocsinError


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters of an address.

    `inflight` messages at most are unacknowledged at a time; a session is kept for `expiry` seconds after its
    client has gone; `keepalive` seconds without a word show that a connection is lost.  The server has the
    last word on all three, and with 3.1.1 it alone decides on the first two.
    """

    version: Literal["5", "3.1.1"] = "5"
    inflight: int = 1000
    expiry: int = 7 * 86_400
    keepalive: int = 20


def settings_of(address: Address) -> Settings:
    """The parameters of an address; SetupError says which one is wrong."""
    check_options(address)
    found: dict[str, Any] = {
        name: text if name == "version" else int(text) for name, text in address.options.items() if name not in TLS
    }
    return Settings(**found)


def port_of(address: Address) -> int:
    """The port that is given, or the usual one."""
    return address.port or (8883 if _encrypted(address) else 1883)


def tls_of(address: Address) -> ssl.SSLContext | None:
    """What TLS needs, if the scheme or one of its files asks for it."""
    if not _encrypted(address):
        return None
    files = {name: file for name in TLS if (file := address.tls_file(name))}
    try:
        context = ssl.create_default_context(cafile=files.get("ca"))
        if "cert" in files or "key" in files:
            context.load_cert_chain(files.get("cert", ""), files.get("key"))
    except OSError as error:
        given = ", ".join(f"{name}={file}" for name, file in files.items())
        raise SetupError(f"{address}: the files for TLS cannot be used ({given}): {error}") from error
    return context


def failed(address: Address, error: OSError) -> TocsinError:
    """Why no connection came about, as one of our errors."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"the server's certificate is not trusted ({error.verify_message}): check ?ca= and the host's name"
        return SetupError(f"{address}: {why}")
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return SetupError(f"{address}: no TLS is spoken there: check the port, or write mqtt://")
    cut = isinstance(error, ConnectionResetError) and _encrypted(address)
    return NotConnected(f"{address}: no connection came about: {error}{'. Is this the port for TLS?' if cut else ''}")


def _encrypted(address: Address) -> bool:
    return address.scheme == "mqtts" or any(address.tls_file(name) for name in TLS)
