"""One transaction that reads a store: every statement of a report sees the same rows."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from auditsvc.errors import StoreError
from auditsvc.report.dialect import DIALECTS
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.read.limits import NO_LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

    from auditsvc.report.dialect import Dialect
    from auditsvc.report.kinds import Kinds

_INSTRUCTIONS: Final = 1_000_000
"""Of SQLite's, between two looks at signals: Ctrl-C and a time limit end a long statement."""
# Expressions as long as those of fields take seconds to compile, and gain nothing; millions of
# rows are counted in memory, where PostgreSQL's own 4 MB would have them sorted on the disk.
_POSTGRES: Final = ("jit = off", "work_mem = '64MB'")
_FRACTION: Final = "SELECT set_config('cursor_tuple_fraction', '{}', true)"
_FETCH: Final = 2000
"""Rows that are fetched at a time."""


class Reader:
    """Runs statements on an open store."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.dialect: Dialect = DIALECTS[connection.dialect.name]
        self.kinds: Kinds | None = None
        """What is kept for many sums, if a report has many."""

    def rows(
        self, sql: str, values: Mapping[str, object] | None = None, *, first: float = 1
    ) -> Iterator[tuple[Any, ...]]:
        """Give the rows of a statement as they come; `:name` in it is the value of that name.

        `first`: the part of the rows that counts; PostgreSQL plans a cursor for that, and else
        goes through an index of millions of rows where one pass would do, or the other way.
        """
        if self._connection.dialect.name == "postgresql":
            self._connection.exec_driver_sql(_FRACTION.format(first)).scalar()
        streamed = self._connection.execution_options(stream_results=True, yield_per=_FETCH)
        for row in streamed.execute(text(sql), dict(values or {})):
            yield tuple(row)

    def one(self, sql: str, values: Mapping[str, object] | None = None) -> tuple[Any, ...]:
        """Give the only row."""
        (row,) = self._connection.execute(text(sql), dict(values or {}))
        return tuple(row)


@contextmanager
def open_reader(url: str, limits: Limits = NO_LIMITS) -> Iterator[Reader]:
    """Open a store to read it; StoreError if that is not possible, QueryError if it takes long."""
    deadline = limits.deadline()
    try:
        with (
            open_store(url, create=False, read=True) as store,
            reading(store.database) as connection,
        ):
            driver = connection.connection.driver_connection
            if isinstance(driver, sqlite3.Connection):
                # Python runs signal handlers only between its own steps, and so in this one.
                driver.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS)
            else:
                for setting in _POSTGRES:
                    connection.exec_driver_sql(f"SET LOCAL {setting}")
                if limits.seconds:
                    wait = max(1, int(limits.seconds * 1000))
                    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {wait}")
            yield Reader(connection)
    except StoreError as error:
        if time.monotonic() > deadline:
            raise limits.late() from error
        raise
