"""Who owns a unit: one process, by a row with an epoch and a lease.

Owning it raises the epoch, and every transaction begins by looking whether the epoch is still ours: so a process that
was frozen and wakes after another has taken over can save nothing.  The lease says until when others wait; a
process that ends gives it back, and one of this machine that is no more has lost it.

Processes that share the units of one pipeline know each other by rows with leases of their own (`members`).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select, update

from tocsin.stores.tables import members, units

LEASE = 10 * 10**9
"""Nanoseconds for which a process that says nothing more still owns what it owned."""
NOBODY = "::"
"""Who owns what was given back."""
RENEW = 2.0
"""Seconds after which an owner that had nothing to save renews its lease."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that owns a unit, or owned it last, and until when (nanoseconds on the wall)."""

    unit: str
    process: str
    lease: int

    @property
    def alive(self) -> bool:
        """Whether others have to wait."""
        return _is_alive(self.process, self.lease)

    @property
    def silent(self) -> bool:
        """Whether it is a process of this machine that goes on without renewing its lease: its broker is away, or it is frozen."""
        is_here = self.process.rsplit(":", 2)[0] == socket.gethostname()
        return is_here and not self.alive and not _is_gone(self.process)

    def __str__(self) -> str:
        host, number, _ = self.process.rsplit(":", 2)
        return f"process {number} on {host}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A unit that this process owns: its number in the store, and the epoch by which that is known.

    `deaths` of owners in a row came over messages before anything was saved, at the message `suspect`, if it is known.
    """

    number: int
    epoch: int
    deaths: int = 0
    suspect: str = ""


def owners_of(connection: Connection) -> list[Owner]:
    """Who owns each unit, or owned it last, in the order in which they were first owned."""
    rows = connection.execute(select(units.c.name, units.c.process, units.c.lease).order_by(units.c.number))
    return [Owner(*row) for row in rows]


def is_taken(connection: Connection, unit: str) -> bool:
    """Whether another process owns a unit, and may be alive."""
    owned = [owner for owner in owners_of(connection) if owner.unit == unit]
    return any(owner.alive and owner.process != this_process() for owner in owned)


def claim(connection: Connection, unit: str) -> Claim:
    """Own a unit from now on; whoever owned it before can save no more."""
    own = units.c.name == unit
    row = connection.execute(select(units).where(own)).one_or_none()
    values = {"process": this_process(), "lease": time.time_ns() + LEASE}
    if row is None:
        last = connection.execute(select(func.max(units.c.number))).scalar()
        made = Claim(0 if last is None else last + 1, 1)
        values |= {"number": made.number, "name": unit, "epoch": made.epoch, "deaths": 0, "suspect": "", "taking": 0}
        connection.execute(insert(units).values(values))
        return made
    is_death = row.process != NOBODY and row.taking
    made = Claim(row.number, row.epoch + 1, row.deaths + bool(is_death), row.suspect)
    connection.execute(update(units).where(own).values(epoch=made.epoch, deaths=made.deaths, taking=0, **values))
    return made


def hold(connection: Connection, claims: Sequence[Claim], *, saving: bool = False) -> bool:
    """Renew leases; False if another process owns one of the units.  `saving` ends a row of deaths."""
    forget = ", deaths = 0, suspect = ''" if saving else ""
    return _update(connection, f"lease = ?{forget}", time.time_ns() + LEASE, claims)


def release(connection: Connection, claims: Sequence[Claim]) -> None:
    """Give units back: nobody needs to wait for them."""
    _update(connection, f"process = '{NOBODY}', lease = ?", 0, claims)


def depose(connection: Connection) -> None:
    """Let nobody own any unit: whoever did can save no more."""
    connection.execute(update(units).values(epoch=units.c.epoch + 1, process=NOBODY, lease=0))


def take(connection: Connection, claims: Sequence[Claim]) -> bool:
    """Note that messages are taken from now on; False if another process owns one of the units."""
    return _update(connection, "taking = ?", 1, claims)


def suspect(connection: Connection, claim: Claim, message: str) -> bool:
    """Note the message that is taken next, by itself; deaths at others do not count.  False if another process owns the unit."""
    change = "deaths = CASE WHEN suspect = ?1 THEN deaths ELSE 0 END, suspect = ?1, taking = 1"
    return _update(connection, change, message, [claim])


def _update(connection: Connection, change: str, value: object, claims: Sequence[Claim]) -> bool:
    statement = f"UPDATE units SET {change} WHERE number = ? AND epoch = ?"  # noqa: S608 (our own words)
    rows = [(value, claim.number, claim.epoch) for claim in claims]
    return not rows or connection.connection.cursor().executemany(statement, rows).rowcount == len(rows)


def members_of(connection: Connection) -> dict[str, int]:
    """The processes that share the units, or once did, each with its lease."""
    return {row.process: row.lease for row in connection.execute(select(members))}


def is_due(known: Mapping[str, int]) -> bool:
    """Whether this process has to tell the others that it is there."""
    return known.get(this_process(), 0) < time.time_ns() + LEASE - RENEW * 10**9


def meet(connection: Connection) -> dict[str, int]:
    """Be one of the processes that share the units; returns all that there are, and forgets those that are gone."""
    known = {process: lease for process, lease in members_of(connection).items() if _is_alive(process, lease)}
    known[this_process()] = time.time_ns() + LEASE
    connection.execute(delete(members))
    connection.execute(insert(members), [{"process": process, "lease": lease} for process, lease in known.items()])
    return known


def alive(known: Mapping[str, int]) -> list[str]:
    """Those of the members that are there, this process first."""
    others = [process for process, lease in known.items() if process != this_process() and _is_alive(process, lease)]
    return [this_process(), *others]


def leave(connection: Connection) -> None:
    """Be none of them any more."""
    connection.execute(delete(members).where(members.c.process == this_process()))


def this_process() -> str:
    """Host, number and start of this process: no other has had all three."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid()) or 0}"


def _is_alive(process: str, lease: int) -> bool:
    return lease > time.time_ns() and not _is_gone(process)


def _is_gone(process: str) -> bool:
    """Whether a process of this machine is known to be no more."""
    host, number, started = process.rsplit(":", 2)
    if process == NOBODY or host != socket.gethostname():
        return process == NOBODY
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
