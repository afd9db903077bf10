"""Posts that come while others are being made durable: the next ones, all together.

    posts ──▶ wait ──▶ worker: unpack, decode, one commit ──▶ an answer each

Nothing is waited for on purpose.  A post that comes alone goes to the worker at once; those that come meanwhile are
its next group.  So the more there are, the more of them share a commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")

MOST = 500
"""Posts of one group at most: as many as there are connections."""


class Groups(Generic[Job, Answer]):
    """Hands jobs to a worker thread in groups; `work` gives an answer for each, and never raises."""

    def __init__(self, work: Callable[[list[Job]], list[Answer]], worker: ThreadPoolExecutor) -> None:
        self._work = work
        self._worker = worker
        self._waiting: deque[tuple[Job, asyncio.Future[Answer]]] = deque()
        self._busy = False

    async def done(self, job: Job) -> Answer:
        """The answer for a job, when its group has been worked off."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, answer))
        if not self._busy:
            self._begin()
        return await answer

    def _begin(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        self._busy = True
        working = asyncio.get_running_loop().run_in_executor(self._worker, self._work, [job for job, _ in group])
        working.add_done_callback(lambda done: self._end([answer for _, answer in group], done))

    def _end(self, answers: list[asyncio.Future[Answer]], done: asyncio.Future[list[Answer]]) -> None:
        self._busy = False
        for answer, found in zip(answers, done.result(), strict=True):
            if not answer.done():  # its client may have gone
                answer.set_result(found)
        if self._waiting:
            self._begin()
