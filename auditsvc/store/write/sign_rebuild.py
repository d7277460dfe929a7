"""Makes the signs of processes from the stored events, all of them: for a store of before.

`auditsvc.store.write.signs` keeps them from then on, and must come to the same.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.record.types import ANOM_ABEND
from auditsvc.store.process_lives import ABEND, MOST_PID, SEEN, Sign, beginnings
from auditsvc.store.write.signs import DAY_MS, signs_of_calls

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_AT: Final = f"(({{0}}.id >> {SERIAL_BITS}) * 1000 + {{0}}.ms)"
_LOW: Final = f"({{0}}.id & {SERIAL_MASK})"
_CALL_AT, _CALL_LOW = _AT.format("s"), _LOW.format("s")
_COLUMNS: Final = "host, pid, at, low, kind, ppid, ses, exe"
_PPID: Final = f"CASE WHEN c.ppid BETWEEN 0 AND {MOST_PID} THEN c.ppid END"

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
    f" {_PPID} AS ppid, c.ses, f.day, f.least, c.exe FROM (SELECT s.context,"
    f" {_CALL_AT} / {DAY_MS} AS day,"
    f" min((({_CALL_AT} % {DAY_MS}) << {SERIAL_BITS}) | {_CALL_LOW}) AS least"
    " FROM syscall s GROUP BY 1, 2) f JOIN context c ON c.id = f.context"
    f" WHERE c.pid BETWEEN 1 AND {MOST_PID}) contexts) firsts WHERE n = 1 ON CONFLICT DO NOTHING"
)
_AFTER: Final = "(host, pid) > (?, ?)"
_END: Final = (
    f"SELECT host, pid FROM process_sign WHERE {_AFTER} ORDER BY host, pid LIMIT 1 OFFSET ?"  # noqa: S608 - as above
)
_ROWS: Final = (
    f"SELECT host, pid, at, low, kind, ppid, ses, exe FROM process_sign WHERE {_AFTER}"  # noqa: S608 - as above
    " AND (host, pid) <= (?, ?) ORDER BY host, pid"
)
_UPDATE: Final = (
    "UPDATE process_sign SET begins = ? WHERE host = ? AND pid = ? AND at = ? AND low = ?"
)
_AT_ONCE: Final = 10_000
_MOST: Final = (1 << 63) - 1


def rebuild(connection: Connection) -> None:
    """Make all signs anew, in a transaction without other writers; memory is bounded."""
    connection.exec_driver_sql("DELETE FROM process_sign")
    for statement in (*signs_of_calls(), _ABENDS, _FIRSTS):
        connection.exec_driver_sql(_form(connection, f"{_INSERT}{statement}"))
    after: tuple[int, int] | None = (-1, 0)
    while after is not None:
        after = _judge(connection, after)


def _judge(connection: Connection, after: tuple[int, int]) -> tuple[int, int] | None:
    """Say of some process ids which signs begin a life; give the last, None at the end."""
    end = connection.exec_driver_sql(_form(connection, _END), (*after, _AT_ONCE)).first()
    last = (_MOST, 0) if end is None else (end[0], end[1])
    found = connection.exec_driver_sql(_form(connection, _ROWS), (*after, *last)).all()
    changes = []
    for process, rows in groupby(found, key=_process):
        signs = sorted((Sign(*row[2:]) for row in rows), key=_order)
        changes += [
            (code, *process, sign.at, sign.low)
            for sign, code in zip(signs, beginnings(signs), strict=True)
            if code is not None
        ]
    if changes:
        connection.exec_driver_sql(_form(connection, _UPDATE), changes)
    return None if end is None else last


def _form(connection: Connection, statement: str) -> str:
    """Write a statement as its driver takes it."""
    if connection.dialect.name == "sqlite":
        return statement
    return statement.replace("%", "%%").replace("?", "%s")


def _process(row: Row[tuple[int, ...]]) -> tuple[int, int]:
    return row[0], row[1]


def _order(sign: Sign) -> tuple[int, bool, int]:
    return sign.order
