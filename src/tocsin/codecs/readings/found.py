"""What a poll's messages held: readings, of each its message, and what could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tocsin.reading import Batch, Series
from tocsin.record import Reject

Places = npt.NDArray[np.int64]
Body = tuple[int, bytes]
"""A message's place among those that are decoded, and what it holds."""
Fault = tuple[int, Reject]
"""The place of a message among those that are decoded, and what in it could not be read."""


class Found(NamedTuple):
    """Readings in the order of their messages, of each the place of its message, and rejects in that order too.

    A reject's `place` names the `element` of an array or a table, or the `line`, from 1; it is empty for a whole message.
    """

    batch: Batch
    message_of: Places
    rejects: list[Fault]

    @staticmethod
    def nothing(series: Series, rejects: list[Fault]) -> Found:
        """No reading at all."""
        return Found(Batch.empty(series), np.empty(0, np.int64), rejects)

    @staticmethod
    def join(series: Series, parts: Sequence[Found]) -> Found:
        """Several parts of one poll as one, in the order of the messages."""
        rejects = sorted((fault for part in parts for fault in part.rejects), key=lambda fault: fault[0])
        full = [part for part in parts if len(part.batch)]
        if len(full) < 2:
            return full[0]._replace(rejects=rejects) if full else Found.nothing(series, rejects)
        batch = Batch.join([part.batch for part in full])
        message_of = np.concatenate([part.message_of for part in full])
        order = np.argsort(message_of, kind="stable")
        return Found(batch.take(order), message_of[order], rejects)


def whole(body: bytes, reason: str) -> Reject:
    """The reject of a whole message."""
    return Reject(body, {}, reason)
