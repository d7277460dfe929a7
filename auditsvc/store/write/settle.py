"""Settles what arrived, in bulk: paths and addresses into their indexes, counts into rows.

Uses of files are counted in the same way (`auditsvc.store.file_counts`).

Both cost a page of the disk for nearly every row of a small transaction, and little a row
where tens of thousands go in together, in the order of their keys. So a transaction that
stores events leaves them behind in the order of their arrival, and a transaction of its own
settles them later: all of it or nothing, so that a crash at any moment changes no answer. The
views show both as one. PostgreSQL's indexes take every row at once.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import func, select

from auditsvc.store import activity, file_counts
from auditsvc.store.schema import GROUP_BITS, SETTLED, activity_part, file_part, path, syscall
from auditsvc.store.sqlite_insert import new_run

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from auditsvc.decode.batch import Facts
    from auditsvc.store.database import Database

MANY: Final = 100_000
"""Events that are settled together: so many that few pages are written for each."""
_BUSY_TIMES: Final = 10
"""So many times that wait while events come quickly; then they are settled all the same."""
_LONG: Final = 600.0
"""Seconds after which fewer are settled: a query looks into each group of unsettled paths."""

_LISTED: Final = {
    "sqlite": "json_each(?) AS listed JOIN syscall s ON s.id = listed.value",
    "postgresql": "unnest(%s::bigint[]) AS listed (id) JOIN syscall s USING (id)",
}
_USES: Final = {
    "sqlite": "json_each(?) AS listed CROSS JOIN path p WHERE p.event = listed.value",
    "postgresql": "path p WHERE p.event = ANY(%s)",
}
_HIGHEST: Final = (1 << 63) - 1


class _Statements(NamedTuple):
    """How the rows of a table are settled on SQLite."""

    waiting: str
    last: str
    """The event up to which a number of rows are settled; none: all."""
    settle: str
    in_last_run: str
    new_run: str


def _statements(table: str, column: str) -> _Statements:
    settled = f"{table} WHERE settled IS NOT NULL"
    group = f"event >> {GROUP_BITS}"
    return _Statements(
        f"SELECT count(*) FROM {table} WHERE settled IS NULL",  # noqa: S608 - names of the schema
        f"SELECT (({group}) + 1 << {GROUP_BITS}) - 1 FROM {table} WHERE settled IS NULL"  # noqa: S608
        f" ORDER BY {group}, {column} LIMIT 1 OFFSET ?",
        # In the order of the index, so that each of its pages is changed once. All keys are
        # taken: the rows only say which ones are updated.
        f"INSERT INTO {table} (event, seq, {column}, settled)"  # noqa: S608
        f" SELECT event, seq, {column}, ? FROM {table} WHERE settled IS NULL AND event <= ?"
        f" ORDER BY {column}, event, seq"
        " ON CONFLICT (event, seq) DO UPDATE SET settled = excluded.settled",
        f"SELECT max(settled), count(*) FROM (SELECT settled FROM {table}"  # noqa: S608
        f" WHERE settled = (SELECT max(settled) FROM {settled}) LIMIT ?)",
        new_run(table),
    )


_STATEMENTS: Final = [_statements(*each) for each in SETTLED.items()]


class Settler:
    """Counts calls, and settles; each within a transaction of the caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = database.engine.dialect.name
        self._waiting = 0
        """About how many events wait."""
        self._since = time.monotonic()

    def added(self, connection: Connection, facts: Facts) -> None:
        """Count the calls among stored events; and uses of files, which SQLite counts later."""
        rows = facts.activity() if syscall.name in facts else []
        if rows:
            self._database.insert(connection, activity_part, rows)
        if self._dialect == "postgresql" and path.name in facts:
            self._database.insert(connection, file_part, facts.uses())

    def removed(self, connection: Connection, events: Collection[int]) -> None:
        """Take the calls among events, and uses of files, away, which are still stored."""
        if events:
            ids = list(events)
            values = (json.dumps(ids) if self._dialect == "sqlite" else ids,)
            connection.exec_driver_sql(activity.take_away(_LISTED[self._dialect]), values)
            file_counts.take_away(connection, _USES[self._dialect], values)

    def count(self, connection: Connection) -> None:
        """Count what earlier writers left."""
        self._waiting = connection.scalar(select(func.count()).select_from(activity_part)) or 0
        if self._dialect == "sqlite":
            for table in _STATEMENTS:
                self._waiting += connection.exec_driver_sql(table.waiting).scalar_one()

    def committed(self, events: int) -> None:
        """Note that so many events were stored."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting += events

    @property
    def has_any(self) -> bool:
        """Whether there is something to settle."""
        return self._waiting > 0

    def is_due(self, *, is_busy: bool) -> bool:
        """Whether there is much to settle, or something for long; while busy only very much."""
        if is_busy:
            return self._waiting >= MANY * _BUSY_TIMES
        is_late = time.monotonic() - self._since > _LONG
        return self._waiting > 0 and (self._waiting >= MANY or is_late)

    def settle(self, connection: Connection, *, all_of_it: bool = False) -> bool:
        """Settle the counts and the oldest rows; gives whether there are more."""
        activity.settle(connection)
        is_more = False
        for table in _STATEMENTS if self._dialect == "sqlite" else ():
            last = connection.exec_driver_sql(table.last, (MANY - 1,)).scalar()
            upto = _HIGHEST if last is None else last
            connection.exec_driver_sql(table.settle, (_run(connection, table), upto))
            is_more |= last is not None
        is_more |= file_counts.settle(connection, all_of_it=all_of_it)
        self._waiting = max(1, self._waiting - MANY) if is_more else 0
        return is_more


def _run(connection: Connection, table: _Statements) -> int:
    """Give the last run while it has few rows, else a new one.

    So there are no more runs than the number of rows asks for, at any rate. A run whose uses
    are counted gets no more: it is the last one if those after it were deleted.
    """
    run, rows = connection.exec_driver_sql(table.in_last_run, (MANY,)).one()
    if run is not None and rows < MANY and run > file_counts.last_counted(connection):
        return int(run)
    return int(connection.exec_driver_sql(table.new_run).scalar_one())
