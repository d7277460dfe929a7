"""The connection that a query runs on, asked for what the query's ranges of time need."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.read import time_query
from auditsvc.store.read.time_order import put_first_rows
from auditsvc.store.read.time_span import ALL, Span
from auditsvc.store.views import NAMES

if TYPE_CHECKING:
    import sqlite3


class _Connection:
    """See `auditsvc.store.read.time_query.Store`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.columns = {name: self._columns(name) for name in NAMES}

    def _columns(self, view: str) -> list[str]:
        return [str(row[1]) for row in self._connection.execute(f"PRAGMA table_info({view})")]

    def ask(self, sql: str) -> object:
        found = self._connection.execute(sql).fetchone()
        return None if found is None else found[0]

    def whole(self) -> Span:
        """Give the seconds that the store has events of."""
        ends = [
            self.ask(f"SELECT {end}(id) >> {SERIAL_BITS} FROM {table}")  # noqa: S608 - names of ours
            for table in ("syscall", "event")
            for end in ("min", "max")
        ]
        found = [each for each in ends if isinstance(each, int)]
        return Span(min(found), max(found)) if found else ALL


def with_ranges(connection: sqlite3.Connection, sql: str, period: Span) -> str:
    """Give the query with the ranges of its conditions on time, and of `period`.

    The connection is in a transaction, so that what is counted here is there when it runs.
    """
    store = _Connection(connection)
    head, body = time_query.split(sql)
    statement = time_query.parse(body, "sqlite", store.columns)
    if statement is None:
        if period != ALL:
            raise time_query.not_bounded()
        return sql
    statement.period, statement.whole = period, store.whole()
    time_query.put_ranges(statement, datetime.now(UTC), store)
    put_first_rows(statement, store)
    return head + statement.written()
