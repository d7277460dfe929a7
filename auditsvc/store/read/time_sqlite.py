"""The connection that a query runs on, asked for what the query's ranges of time need."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.read import time_query
from auditsvc.store.read.count_query import put_counts
from auditsvc.store.read.part_query import put_columns
from auditsvc.store.read.time_order import put_first_rows
from auditsvc.store.read.time_query import Moment
from auditsvc.store.read.time_span import ALL, Span
from auditsvc.store.views import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}")
_SECONDS: Final = 19
"""Characters of a time to its second."""


class _Columns(Mapping[str, Sequence[str]]):
    """The columns of our views, each read when it is asked for: SQLite takes 0.2 ms for one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._found: dict[str, Sequence[str]] = {}

    def __getitem__(self, view: str) -> Sequence[str]:
        if view not in NAMES:
            raise KeyError(view)
        if view not in self._found:
            shown = self._connection.execute(f"PRAGMA table_info({view})")
            self._found[view] = tuple(str(row[1]) for row in shown)
        if not self._found[view]:  # an older store may not have all of them
            raise KeyError(view)
        return self._found[view]

    def __iter__(self) -> Iterator[str]:
        return (view for view in NAMES if view in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Connection:
    """See `auditsvc.store.read.time_query.Store`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.columns: Mapping[str, Sequence[str]] = _Columns(connection)

    def ask(self, sql: str) -> object:
        found = self._connection.execute(sql).fetchone()
        return None if found is None else found[0]

    def count(self, sql: str) -> int:
        found = self._try(sql)
        return found if isinstance(found, int) else 0

    def moment(self, sql: str) -> Moment | None:
        found = self._try(sql)
        if isinstance(found, int):
            return Moment(found >> SERIAL_BITS, str(found))
        if not isinstance(found, str) or not _TIME.fullmatch(found):
            return None
        shown = datetime.strptime(found[:_SECONDS], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        return Moment(int(shown.timestamp()), f"'{found}'")

    def _try(self, sql: str) -> object:
        try:
            return self.ask(sql)
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise
            return None  # what is wrong is said when the query itself runs

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
            put_columns(statement)
            return head + statement.written()
    except RecursionError:
        pass  # deeper than SQLite takes it, mostly
    if period != ALL:
        raise time_query.not_bounded()
    return sql
