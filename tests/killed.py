"""A command of ours that is killed, as by kill -9, when it is about to answer a post whose readings are durable.

python tests/killed.py run FILE
"""

from __future__ import annotations

import os
import signal

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tocsin.cli import main


def die_before_answering() -> None:
    answer = Response.__call__

    async def die(self: Response, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST" and self.status_code == 204:
            os.kill(os.getpid(), signal.SIGKILL)
        await answer(self, scope, receive, send)

    Response.__call__ = die  # type: ignore[method-assign]


if __name__ == "__main__":
    die_before_answering()
    main()
