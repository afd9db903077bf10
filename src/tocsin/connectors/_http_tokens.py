"""The token in a request, wherever its client puts it.

InfluxDB's second API has it in a header.  Its first knows only a user and a password, in the address or in HTTP's own
Basic form: there the password is the token, and the user is not looked at.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from starlette.requests import Request


def tokens(request: Request, *, passwords: bool) -> Iterator[bytes]:
    """What a request gives as its token; `passwords` says whether the first API's ways count."""
    kind, _, rest = request.headers.get("authorization", "").partition(" ")
    if kind.lower() in ("bearer", "token"):
        yield rest.strip().encode("latin-1")
    if passwords and kind.lower() == "basic":
        yield from _basic(rest)
    if passwords and "p" in request.query_params:
        yield request.query_params["p"].encode()


def _basic(text: str) -> Iterator[bytes]:
    try:
        _, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
    except (ValueError, binascii.Error):  # which lets nobody in
        return
    if colon:
        yield password
