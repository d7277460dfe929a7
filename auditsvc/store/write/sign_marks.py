"""Keeps what the many signs of one process id come to (table `process_mark`).

In: the states of walks through signs (`auditsvc.store.process_lives.State`), one after every
`EVERY` signs. Out: for a change at some time the last of them before it, so that a transaction
reads a bounded number of earlier signs. A state is what all signs up to it come to: one at or
behind a change is deleted in the change's transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.store.process_lives import Life, State
from auditsvc.store.schema import process_mark
from auditsvc.store.sign_sql import form, keyed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

    from auditsvc.store.database import Database
    from auditsvc.store.sign_sql import Process

EVERY = 64

_ANY: Final = "SELECT EXISTS (SELECT 1 FROM process_mark)"
# c: the time of the first change.
_READ: Final = (
    "SELECT m.* FROM {listed} JOIN process_mark m ON m.host = j.a AND m.pid = j.b AND m.at >="
    " coalesce((SELECT x.at FROM process_mark x WHERE x.host = j.a AND x.pid = j.b AND x.at < j.c"
    " ORDER BY x.at DESC LIMIT 1), 0)"
)
_DELETE: Final = "DELETE FROM process_mark WHERE host = ? AND pid = ? AND at >= ?"


class Marks(NamedTuple):
    """Of a process id, the last state before a change, and whether there are some behind it."""

    state: State | None
    has_later: bool


NONE: Final = Marks(None, has_later=False)


def read(connection: Connection, changes: Mapping[Process, int]) -> dict[Process, Marks]:
    """Give the marks of process ids around a time each; those without any are left out."""
    if not connection.exec_driver_sql(_ANY).scalar():
        return {}
    found: dict[Process, Marks] = {}
    keys = [(*process, least) for process, least in changes.items()]
    for host, pid, *columns in keyed(connection, _READ, keys):
        process, state = (host, pid), _state(*columns)
        known, has_later = found.get(process, NONE)
        if state.order[0] >= changes[process]:
            has_later = True
        elif known is None or known.order < state.order:
            known = state
        found[process] = Marks(known, has_later)
    return found


def delete(connection: Connection, changes: Iterable[tuple[Process, int]]) -> None:
    """Delete the marks of process ids from a time on."""
    if gone := [(*process, least) for process, least in changes]:
        connection.exec_driver_sql(form(connection, _DELETE), gone)


def write(
    database: Database, connection: Connection, states: Iterable[tuple[Process, State]]
) -> None:
    """Store new states."""
    if rows := sorted((*process, *_row(state)) for process, state in states):
        database.insert(connection, process_mark, rows)


def _row(state: State) -> tuple[int | None, ...]:
    (at, is_own, low), since, life = state
    known: tuple[int | None, ...] = (None,) * 8
    if life is not None:
        known = (
            *(life.at, life.code, life.ppid, life.ses, life.exe, life.last),
            *(int(life.is_fresh), life.ended),
        )
    return (at, low, int(not is_own), *(since[::2] if since else (None, None)), *known)


def _state(
    at: int,
    low: int,
    is_birth: int,
    since_at: int | None,
    since_low: int | None,
    *known: int | None,
) -> State:
    since = None if since_at is None or since_low is None else (since_at, False, since_low)
    began, code, ppid, ses, exe, last, is_fresh, ended = known
    life = None
    if began is not None and code is not None and last is not None:
        life = Life(began, code, ppid, ses, exe, last, bool(is_fresh), ended)
    return State((at, not is_birth, low), since, life)
