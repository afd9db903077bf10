"""Alerts and their moves as columns of the tables, and how many rows are put in at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Table

from tocsin.alert import State
from tocsin.moves import REASONS, MoveRows, OpenRows, RuleMoves, Standing, happened, known
from tocsin.stores.rows import Row

WORDS = tuple(state.name.lower() for state in State)
_PARAMETERS = 999
"""The oldest SQLite allows so many in a statement."""


def alert_columns(told: RuleMoves, standing: Standing) -> tuple[Iterable[Any], ...]:
    """The columns of `alerts` from since on."""
    return (
        standing.since.tolist(),
        map(WORDS.__getitem__, standing.state.tolist()),
        happened(standing.fired),
        happened(standing.until),
        map(told.levels.__getitem__, standing.level.tolist()),
        known(standing.value),
        known(standing.peak),
        known(standing.last),
        map(REASONS.__getitem__, standing.reason.tolist()),
    )


def move_columns(told: RuleMoves, moves: MoveRows) -> tuple[Iterable[Any], ...]:
    """The columns of `transitions` from time on."""
    return (
        moves.time.tolist(),
        moves.since.tolist(),
        map(WORDS.__getitem__, moves.from_.tolist()),
        map(WORDS.__getitem__, moves.to.tolist()),
        map(told.levels.__getitem__, moves.level.tolist()),
        known(moves.value),
        map(REASONS.__getitem__, moves.reason.tolist()),
    )


def held_bodies(told: RuleMoves, keys: Sequence[str], standing: Standing, opened: OpenRows) -> list[str]:
    """All of each open alert as JSON, its hold's memory included: a list with the columns of `alerts`, and the memory."""
    rule = json.dumps(told.rule, ensure_ascii=False)
    levels = _written(told.levels)
    columns = (
        _written(keys),
        standing.since.tolist(),
        map(WORDS.__getitem__, standing.state.tolist()),
        _written(happened(standing.fired)),
        map(levels.__getitem__, standing.level.tolist()),
        *(_written(known(column)) for column in (standing.value, standing.peak, standing.last)),
    )
    return [
        f'[0, {rule}, {key}, {since}, "{state}", {fired}, null, {level}, {value}, {peak}, {last}, "", '
        f'{{"count": {count}, "deadline": {deadline}, "heard": {heard}, "position": {position}, '
        f'"ring": {json.dumps(ring) if ring else "[]"}}}]'
        for key, since, state, fired, level, value, peak, last, (count, deadline, heard, position, ring) in zip(
            *columns, opened.memory(), strict=True
        )
    ]


def insert_rows(cursor: Any, how: str, table: Table, rows: Sequence[Row]) -> None:
    """Put many rows in, several in one statement: the interpreter is then asked once a statement and not once a row."""
    width = len(table.c)
    one, most = f"({', '.join('?' * width)})", _PARAMETERS // width
    for start in range(0, len(rows), most):
        part = rows[start : start + most]
        cursor.execute(
            f"{how} INTO {table.name} VALUES {', '.join([one] * len(part))}", list(chain.from_iterable(part))
        )


def _written(column: Iterable[Any]) -> list[str]:
    """A column as JSON; a text of it may hold anything but a line end."""
    text = json.dumps(list(column), ensure_ascii=False, separators=("\n", ": "))[1:-1]
    return text.split("\n") if text else []
