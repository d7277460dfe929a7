"""One reading statement on SQLite: the file opened read-only, and an authorizer."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

from auditsvc.errors import QueryError
from auditsvc.store.migrate import REVISION, schema_problem
from auditsvc.store.read.limits import stopped
from auditsvc.store.read.parsed import MAY_BE_BOUNDED, MAY_COUNT, MAY_SUM
from auditsvc.store.read.result import ONLY_READS, Result
from auditsvc.store.read.session import LOADED
from auditsvc.store.read.time_span import ALL
from auditsvc.store.sqlite import SQLite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

    from auditsvc.errors import StoreError
    from auditsvc.store.read.limits import Limits
    from auditsvc.store.read.time_span import Span

_INSTRUCTIONS: Final = 1_000_000  # of SQLite's, between two looks at signals

_VALUE_BYTES: Final = 64 << 20

_ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_PRAGMAS: Final = {
    *("table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo"),
    *("database_list", "application_id", "user_version", "data_version", "schema_version"),
}
_OF_THE_FILE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR}
"""Errors that are not the statement's."""
_text: Final = partial(str, encoding="utf-8", errors="backslashreplace")
"""Text of a cast or of another program may have bytes that are not UTF-8: shown as \\xHH."""

_FORBIDDEN_FUNCTIONS: Final = {"load_extension", "fts3_tokenizer"}


class Session:
    """A connection; see `auditsvc.store.read.session.Session`."""

    def __init__(self, url: URL, limits: Limits) -> None:
        del limits  # each statement has its own
        self._database = database = SQLite(url)
        database.prepare(create=False)
        try:
            self._connection = database.open_reader()
        except sqlite3.Error as error:
            raise database.explain(error) from error
        try:
            # SQLite makes these two at their first use, by what looks like a write.
            self._connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")
        except sqlite3.Error as error:
            self.close()
            raise QueryError(*_describe_sqlite(error)) from error
        self._connection.text_factory = _text

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def loaded(self) -> object:
        """Give what is another value after each transaction that loaded something."""
        try:
            return self._connection.execute(LOADED).fetchall()
        except sqlite3.Error as error:
            raise self._database.explain(error) from error

    @contextmanager
    def run(self, sql: str, limits: Limits, period: Span) -> Iterator[Result]:
        """Run one statement, in a transaction of its own."""
        connection, deadline = self._connection, limits.deadline()
        try:
            _bound(connection, limits)
            # What is asked before the statement, for its ranges, is of the same state of the store.
            connection.execute("BEGIN")
            connection.set_authorizer(_authorize)
            # Python runs signal handlers only between its own steps, and so in this one.
            connection.set_progress_handler(
                lambda: time.monotonic() > deadline or limits.is_stopped, _INSTRUCTIONS
            )
            may_gain = (MAY_BE_BOUNDED, MAY_COUNT, MAY_SUM)
            if period != ALL or any(each.search(sql) for each in may_gain):
                # Only then: sqlglot is large, and the service asks for other things all the time.
                ranges = import_module("auditsvc.store.read.time_sqlite")
                sql = ranges.with_ranges(connection, sql, period)
            cursor = connection.execute(sql)
            if cursor.description is None:
                raise QueryError("the statement gives no rows", ONLY_READS)
            names = tuple(column[0] for column in cursor.description)
            yield Result(names, limits.within(cursor, deadline))
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            if limits.is_stopped:
                raise stopped() from error
            if time.monotonic() > deadline:
                raise limits.late() from error
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                # SQLite took it for its own; so it does with the error of an alarm, which knows.
                raise KeyboardInterrupt from error
            if "no such" in str(error) and (problem := self._schema_problem()):
                raise problem from error
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_FILE:
                wrong = self._database.explain(error)
                raise QueryError(wrong.what, wrong.hint) from error
            raise QueryError(*_describe_sqlite(error)) from error
        finally:
            connection.set_progress_handler(None, 0)
            connection.set_authorizer(None)
            with suppress(sqlite3.Error):  # of a file that is damaged or gone, as was said
                connection.rollback()

    def _schema_problem(self) -> StoreError | None:
        """Give what is wrong with the schema: it may be of another version, or be made now."""
        found = None
        with suppress(sqlite3.Error):
            (found,) = self._connection.execute(REVISION).fetchone()
        return schema_problem(self._database.place, found)


def _bound(connection: sqlite3.Connection, limits: Limits) -> None:
    """Bound what one value, and all of SQLite in this process, may take of memory."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    if limits.memory:
        # At the soft limit cached pages are freed; at the hard one the statement fails.
        connection.execute(f"PRAGMA soft_heap_limit = {limits.memory // 2}")
        connection.execute(f"PRAGMA hard_heap_limit = {limits.memory}")


def _authorize(
    action: int, first: str | None, second: str | None, _schema: str | None, _via: str | None
) -> int:
    """Let a statement read and nothing else (https://sqlite.org/c3ref/set_authorizer.html)."""
    if action in _ALLOWED:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and second not in _FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() in _PRAGMAS:
        reads = second is None or not (first or "").endswith(("_id", "_version"))
        return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_DENY


def _describe_sqlite(error: Exception) -> tuple[str, str]:
    code, said = getattr(error, "sqlite_errorcode", 0), str(error).removesuffix(".")
    refused = code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY) or any(
        words in said for words in ("one statement", "cannot modify")
    )
    return said, ONLY_READS if refused else ""
