"""What to do where processes die again and again before they can save anything: find the message that kills them.

After the third death in a row messages are taken one by one, and the store knows which is next.  If three processes in a row
die at that one, a child of this process tries it; and if that dies too, it is set aside: it becomes a dead letter, unread.  Only
deaths count that come between being given messages and saving something of them, and a kill from outside, which may find the same
message again and again where each start takes long, does not find the child.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tocsin.message import Kind, Message

if TYPE_CHECKING:
    from tocsin.stores.writer import Desk, Writer

DEATHS = 3
"""Owners in a row that died before they had saved anything, from which on a message is searched for; or, at one, has been found."""


TRIAL, LOOK = 60.0, 0.01
"""Seconds that a child has for a message, and between two looks whether it is done."""


class Poison:
    """The search in one unit, over the first messages that come; `is_over` when there is none, or no more.

    `take` is what processes died of, if they did.  `rereadable` says that positions are the broker's own, and stay.
    """

    def __init__(self, desk: Desk, writer: Writer, take: Callable[[Message], object], *, rereadable: bool) -> None:
        self._take = take
        self._desk = desk
        self._writer = writer
        self._rereadable = rereadable
        claim = writer.claim
        self._found = claim.suspect if claim.deaths >= DEATHS else ""
        self.is_over = claim.deaths < DEATHS and not claim.suspect

    def one_by_one(self, messages: Sequence[Message]) -> Iterator[Message]:
        """Each message when it is to be taken and saved, alone; the one that was found is marked as poison."""
        for message in messages:
            name = _name(message, rereadable=self._rereadable)
            if name == self._found and ends_a_process(lambda: self._take(message)):  # noqa: B023 (done at once)
                yield message._replace(kind=Kind.POISON)
            else:
                self._desk.suspect(self._writer, name)
                yield message
        self.is_over = True


def ends_a_process(work: Callable[[], object]) -> bool:
    """Whether a process that does this ends by it: tried in a child, which leaves nothing behind."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)  # also where it raised something: that has not ended it
    deadline = time.monotonic() + TRIAL
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status != 0
        time.sleep(LOOK)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _name(message: Message, *, rereadable: bool) -> str:
    """What tells a message from others, and stays when it comes again."""
    if message.producer:
        return f"{message.partition}/{message.producer}/{message.seq}"
    if rereadable or message.broker_id:
        return f"{message.partition}/{message.broker_id or message.position}"
    return f"{message.partition}/{hashlib.sha256(message.body).hexdigest()}"
