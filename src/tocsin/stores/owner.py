"""Who owns a pipeline: one process, by a row with an epoch and a lease.

Owning it raises the epoch, and every transaction begins by looking whether the epoch is still ours: so a process that
was frozen and wakes after another has taken over can save nothing.  The lease says until when others wait; a
process that ends gives it back, and one of this machine that is no more has lost it.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from tocsin.stores.tables import owners

LEASE = 10 * 10**9
"""Nanoseconds for which a process that says nothing more still owns what it owned."""
RENEW = 2.0
"""Seconds after which an owner that had nothing to save renews its lease."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that owns a pipeline, and until when (nanoseconds on the wall)."""

    process: str
    lease: int

    @property
    def alive(self) -> bool:
        """Whether others have to wait."""
        return self.lease > time.time_ns() and not _is_gone(self.process)

    def __str__(self) -> str:
        host, number, _ = self.process.rsplit(":", 2)
        return f"process {number} on {host}"


def owner_of(connection: Connection, pipeline: str) -> Owner | None:
    """Who owns a pipeline, or owned it last; None if nobody ever did."""
    row = connection.execute(select(owners).where(owners.c.pipeline == pipeline)).one_or_none()
    return None if row is None else Owner(row.process, row.lease)


def claim(connection: Connection, pipeline: str) -> int:
    """Own it from now on; the epoch by which that is known."""
    own = owners.c.pipeline == pipeline
    epoch = connection.execute(select(owners.c.epoch).where(own)).scalar()
    values = {"process": this_process(), "lease": time.time_ns() + LEASE}
    if epoch is None:
        connection.execute(insert(owners).values(pipeline=pipeline, epoch=1, **values))
        return 1
    connection.execute(update(owners).where(own).values(epoch=epoch + 1, **values))
    return int(epoch) + 1


def hold(connection: Connection, pipeline: str, epoch: int, lease: int = LEASE) -> bool:
    """Renew the lease, for no time at all to give it back; False if another process owns the pipeline."""
    own = (owners.c.pipeline == pipeline) & (owners.c.epoch == epoch)
    return connection.execute(update(owners).where(own).values(lease=time.time_ns() + lease)).rowcount == 1


def this_process() -> str:
    """Host, number and start of this process: no other has had all three."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid()) or 0}"


def _is_gone(process: str) -> bool:
    """Whether a process of this machine is known to be no more."""
    host, number, started = process.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return started not in {"0", str(_started(int(number)))}


def _started(number: int) -> int | None:
    """When a process was started, in ticks since the machine was; None where that cannot be told."""
    try:
        return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None
