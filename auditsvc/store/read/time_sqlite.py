"""The connection that a query runs on, asked for what the query's ranges of time need."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.read import time_query
from auditsvc.store.read.count_query import put_counts
from auditsvc.store.read.time_order import put_first_rows
from auditsvc.store.read.time_span import ALL, Span
from auditsvc.store.views import NAMES


class _Connection:
    """See `auditsvc.store.read.time_query.Store`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        found = {name: self._columns(name) for name in NAMES}
        # An older store may not have all of them.
        self.columns = {name: columns for name, columns in found.items() if columns}

    def _columns(self, view: str) -> list[str]:
        return [str(row[1]) for row in self._connection.execute(f"PRAGMA table_info({view})")]

    def ask(self, sql: str) -> object:
        found = self._connection.execute(sql).fetchone()
        return None if found is None else found[0]

    def count(self, sql: str) -> int:
        try:
            found = self.ask(sql)
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise
            return 0  # what is wrong is said when the query itself runs
        return found if isinstance(found, int) else 0

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
    sqlite3.Error if SQLite does not take the query: sqlglot takes more than it.
    """
    store = _Connection(connection)
    head, body = time_query.split(sql)
    connection.execute(f"EXPLAIN {body}").close()
    try:
        statement = time_query.parse(body, "sqlite", store.columns)
        if statement is not None:
            statement.period, statement.whole = period, store.whole()
            time_query.put_ranges(statement, datetime.now(UTC), store)
            put_first_rows(statement, store)
            put_counts(statement)
            return head + statement.written()
    except RecursionError:
        pass  # deeper than SQLite takes it, mostly
    if period != ALL:
        raise time_query.not_bounded()
    return sql
