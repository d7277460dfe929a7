"""Makes the signs of processes from the stored events, all of them: for a store of before.

`auditsvc.store.write.signs` keeps them from then on, and must come to the same.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.record.types import ANOM_ABEND
from auditsvc.store.process_lives import ABEND, MOST_PID, SEEN, Sign, beginnings
from auditsvc.store.sign_kinds import select_calls
from auditsvc.store.sign_sql import DAY_MS, PPID, UPDATE, form
from auditsvc.store.views.dialect import POSTGRESQL, with_arguments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import Connection

_AT: Final = f"(({{0}}.id >> {SERIAL_BITS}) * 1000 + {{0}}.ms)"
_LOW: Final = f"({{0}}.id & {SERIAL_MASK})"
_CALL_AT, _CALL_LOW = _AT.format("s"), _LOW.format("s")
_COLUMNS: Final = "host, pid, at, low, kind, ppid, ses, exe"

_INSERT: Final = f"INSERT INTO process_sign ({_COLUMNS}) "
_ABENDS: Final = (
    f"SELECT e.host, e.pid, {_AT.format('e')}, {_LOW.format('e')}, {ABEND}, NULL, NULL, NULL"  # noqa: S608 - of this module's text
    f" FROM event e WHERE e.type = {ANOM_ABEND} AND e.pid BETWEEN 1 AND {MOST_PID}"
)
# The day's first call: milliseconds of the day and `low` in one number, whose least is asked.
# Each context by itself, and those of one process id together.
_FIRSTS: Final = (
    f"SELECT host, pid, day * {DAY_MS} + (least >> {SERIAL_BITS}), least & {SERIAL_MASK}, {SEEN},"  # noqa: S608 - as above
    " ppid, ses, exe FROM (SELECT host, pid, ppid, ses, day, least, exe, row_number() OVER"
    " (PARTITION BY host, pid, ppid, ses, day ORDER BY least) AS n FROM (SELECT c.host, c.pid,"
    f" {PPID} AS ppid, c.ses, f.day, f.least, c.exe FROM (SELECT s.context,"
    f" {_CALL_AT} / {DAY_MS} AS day,"
    f" min((({_CALL_AT} % {DAY_MS}) << {SERIAL_BITS}) | {_CALL_LOW}) AS least"
    " FROM syscall s GROUP BY 1, 2) f JOIN context c ON c.id = f.context"
    f" WHERE c.pid BETWEEN 1 AND {MOST_PID}) contexts) firsts WHERE n = 1 ON CONFLICT DO NOTHING"
)
_BEHIND: Final = "FROM process_sign WHERE (host, pid) > (?, ?)"
_RANGE: Final = f"{_BEHIND} AND (host, pid) <= (?, ?)"
_END: Final = f"SELECT host, pid {_BEHIND} ORDER BY host, pid LIMIT 1 OFFSET ?"
_LAST: Final = f"SELECT host, pid {_BEHIND} ORDER BY host DESC, pid DESC LIMIT 1"
_ROWS: Final = (
    f"SELECT host, pid, begins, at, low, kind, ppid, ses, exe {_RANGE} ORDER BY host, pid"
)
_CHANGED: Final = f"SELECT DISTINCT host, pid {_RANGE} AND at < ?"
_DELETE: Final = f"DELETE {_RANGE} AND at < ?"
# Of what is kept of process ids with many signs: it is made again when they get more.
_SUMMED: Final = tuple(
    f"DELETE FROM {table} WHERE (host, pid) > (?, ?) AND (host, pid) <= (?, ?)"  # noqa: S608 - as above
    for table in ("process_mark", "process_first")
)
_AT_ONCE: Final = 10_000

Process = tuple[int, int]
"""A host's id and a pid."""
BEGIN: Final[Process] = (-1, 0)
"""Before all process ids."""


def rebuild(connection: Connection) -> None:
    """Make all signs anew, in a transaction without other writers; memory is bounded.

    A store of before has no marks; of the same events, those that there are stay right.
    """
    connection.exec_driver_sql("DELETE FROM process_sign")
    for statement in (*of_events(connection), _FIRSTS):
        connection.exec_driver_sql(form(connection, f"{_INSERT}{statement}"))
    after = BEGIN
    while (last := _end(connection, after, _AT_ONCE)) is not None:
        _judge(connection, after, last)
        after = last


def of_events(connection: Connection) -> list[str]:
    """Give a SELECT of the signs of each kind but SEEN that stored events are.

    Columns: host, pid, at, low, kind, ppid, ses, exe.
    """
    statements = [*select_calls(), _ABENDS]
    if _has_bytes(connection):
        return [with_arguments(POSTGRESQL, each) for each in statements]
    return statements


def misjudged(connection: Connection) -> Iterator[tuple[int, int]]:
    """Give the process ids of which a sign is said to begin a life and does not, or the reverse."""
    after = BEGIN
    while (last := _end(connection, after, _AT_ONCE)) is not None:
        for process, known, codes in _judged(connection, after, last):
            if any(code != before for (_, before), code in zip(known, codes, strict=True)):
                yield process
        after = last


def _has_bytes(connection: Connection) -> bool:
    """Whether the arguments of calls are bytes, as on PostgreSQL since schema 0013."""
    asked = (
        "SELECT atttypid = 'bytea'::regtype FROM pg_attribute"
        " WHERE attrelid = to_regclass('syscall') AND attname = 'a0'"
    )
    is_postgres = connection.dialect.name == "postgresql"
    return is_postgres and bool(connection.exec_driver_sql(asked).scalar())


def prune(connection: Connection, at: int, after: Process, rows: int) -> Process | None:
    """Delete signs before a time, of some process ids behind `after`: about so many rows.

    Gives up to which process id, None at the end. What comes later is judged anew.
    """
    last = _end(connection, after, rows)
    if last is None:
        return None
    ends = (*after, *last, at)
    found = connection.exec_driver_sql(form(connection, _CHANGED), ends).all()
    if found:
        connection.exec_driver_sql(form(connection, _DELETE), ends)
        for statement in _SUMMED:
            connection.exec_driver_sql(form(connection, statement), (*after, *last))
        _judge(connection, after, last, {(host, pid) for host, pid in found})
    return last


def _end(connection: Connection, after: Process, rows: int) -> Process | None:
    """Give a process id about so many rows behind another; None if there is none behind it."""
    values = (*after, max(0, rows - 1))
    if found := connection.exec_driver_sql(form(connection, _END), values).first():
        return found[0], found[1]
    found = connection.exec_driver_sql(form(connection, _LAST), after).first()
    return (found[0], found[1]) if found else None


def _judge(
    connection: Connection, after: Process, last: Process, only: Collection[Process] | None = None
) -> None:
    """Say of process ids behind `after`, up to `last`, which signs begin a life."""
    changes: list[tuple[int | None, int, int, int, int]] = []
    for process, known, codes in _judged(connection, after, last, only):
        changes += [
            (code, *process, sign.at, sign.low)
            for (sign, before), code in zip(known, codes, strict=True)
            if code != before
        ]
    if changes:
        connection.exec_driver_sql(form(connection, UPDATE), changes)


def _judged(
    connection: Connection, after: Process, last: Process, only: Collection[Process] | None = None
) -> Iterator[tuple[Process, list[tuple[Sign, int | None]], list[int | None]]]:
    """Give each process id with its signs, what is stored of each, and what each begins."""
    values = (*after, *last)
    found = [tuple(row) for row in connection.exec_driver_sql(form(connection, _ROWS), values)]
    for process, rows in groupby(found, key=_process):
        if only is None or process in only:
            known = sorted(((Sign(*row[3:]), row[2]) for row in rows), key=_order)
            yield process, known, beginnings([sign for sign, _ in known])


def _process(row: Sequence[int]) -> Process:
    return row[0], row[1]


def _order(known: tuple[Sign, int | None]) -> tuple[int, bool, int]:
    return known[0].order
