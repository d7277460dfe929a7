"""The connection that a query on PostgreSQL runs on, asked for what its first rows by time need.

A condition on `time` is served by an index there. But for ORDER BY time LIMIT the server makes
all columns of all rows of a view that is a UNION, before it sorts them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.read import time_query
from auditsvc.store.read.time_order import put_first_rows
from auditsvc.store.read.time_query import Moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TOO_LATE = psycopg.errors.QueryCanceled


class _Connection:
    """See `auditsvc.store.read.time_query.Store`."""

    def __init__(
        self, connection: psycopg.Connection, columns: Mapping[str, Sequence[str]]
    ) -> None:
        self._connection = connection
        self.columns = columns

    def ask(self, sql: str) -> object:
        found = self._connection.execute(sql.encode()).fetchone()
        return None if found is None else found[0]

    def count(self, sql: str) -> int:
        found = self._try(sql)
        return found if isinstance(found, int) else 0

    def moment(self, sql: str) -> Moment | None:
        found = self._try(sql)
        if isinstance(found, int):
            return Moment(found >> SERIAL_BITS, str(found))
        if not isinstance(found, datetime):
            return None
        shown = found.astimezone(UTC)
        return Moment(int(shown.timestamp()), f"TIMESTAMPTZ '{shown.isoformat()}'")

    def _try(self, sql: str) -> object:
        try:
            with self._connection.transaction():  # a savepoint: an error leaves the outer one alone
                return self.ask(sql)
        except _TOO_LATE:
            raise
        except psycopg.Error:
            return None  # what is wrong is said when the query itself runs


def with_first_rows(
    connection: psycopg.Connection, sql: str, columns: Mapping[str, Sequence[str]]
) -> str:
    """Give the query with its views bounded to the first rows by time, if it asks for these.

    The connection is in a transaction that keeps its snapshot, so that what is asked here is
    there when the query runs.
    """
    head, body = time_query.split(sql)
    try:
        statement = time_query.parse(body, "postgres", columns)
        if statement is not None:
            put_first_rows(statement, _Connection(connection, columns))
            return head + statement.written()
    except RecursionError:
        pass
    return sql
