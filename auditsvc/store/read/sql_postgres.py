"""One reading statement on PostgreSQL: a read-only transaction, and a cursor of the server."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.conninfo import make_conninfo

from auditsvc.errors import QueryError
from auditsvc.store.migrate import REVISION, schema_problem
from auditsvc.store.postgres import DENIED, MAY_READ, TABLES, Postgres
from auditsvc.store.read.limits import stopped
from auditsvc.store.read.parsed import MAY_BE_FIRST, MAY_COUNT
from auditsvc.store.read.postgres_values import take_values
from auditsvc.store.read.result import ONLY_READS, Result
from auditsvc.store.read.session import LOADED
from auditsvc.store.read.time_span import ALL
from auditsvc.store.views import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import URL

    from auditsvc.decode.batch import Row
    from auditsvc.errors import StoreError
    from auditsvc.store.read.limits import Limits
    from auditsvc.store.read.time_span import Span

_FETCH: Final = 2000  # rows that PostgreSQL sends at a time
_CANCEL_SECONDS: Final = 5.0
_ABSENT: Final = ("42P01", "42703")
"""SQLSTATE: a table, or a column, that is not there."""
_SORTS: Final = 8
"""Sorts and hash tables at one time, to which a question's memory is given out."""
_SESSION: Final = {
    "connect_timeout": "10",
    "application_name": "auditsvc query",
    "options": "-c default_transaction_read_only=on -c timezone=UTC -c datestyle=ISO"
    " -c standard_conforming_strings=on"
    # Expressions as long as the views of words have take seconds to compile, and gain nothing.
    " -c jit=off"
    " -c join_collapse_limit=20 -c from_collapse_limit=20 -c cursor_tuple_fraction=1"
    # Views of more than twelve joins are planned by a search of random orders, which at its default
    # effort of 5 takes up to 0.4 s. With 3 it takes half of that and finds plans as good; with 1 it
    # finds worse ones for `search --path` (2.5 million events, all questions of `--only every`).
    " -c geqo_effort=3",
}
_COLUMNS: Final = (
    "SELECT name, attname FROM unnest(%s::text[]) AS name"
    " JOIN pg_attribute ON attrelid = to_regclass(name) WHERE attnum > 0 ORDER BY attnum"
)


class Session:
    """A connection; see `auditsvc.store.read.session.Session`."""

    def __init__(self, url: URL, limits: Limits) -> None:
        self._database = database = Postgres(url, read=True)
        self._view_columns: dict[str, list[str]] | None = None
        arguments = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
        settings = _SESSION | {"options": f"{_SESSION['options']}{_options(limits)}"}
        try:
            self._connection = psycopg.connect(make_conninfo("", **arguments, **settings))
        except psycopg.Error as error:
            raise database.explain(error) from error
        deadline = limits.deadline()
        try:
            self._connection.read_only = True
            take_values(self._connection)
            self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            # The first statement goes on in this transaction: another would be a way more.
            database.check(self._connection.execute(TABLES))
        except psycopg.Error as error:
            self.close()
            if time.monotonic() > deadline:
                raise limits.late() from error
            raise QueryError(*_describe_postgres(error)) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def loaded(self) -> object:
        """Give what is another value after each transaction that loaded something."""
        connection = self._connection
        try:
            connection.rollback()  # nothing is sent where there is no transaction
            connection.autocommit = True
            try:
                return connection.execute(LOADED).fetchall()
            finally:
                connection.autocommit = False
        except psycopg.Error as error:
            raise self._database.explain(error) from error

    @contextmanager
    def run(self, sql: str, limits: Limits, period: Span) -> Iterator[Result]:
        """Run one statement, in a transaction of its own."""
        connection, deadline = self._connection, limits.deadline()
        try:
            if period != ALL:
                # Only then, as sqlglot is large. A condition on `time` is served by an index here.
                time_query = import_module("auditsvc.store.read.time_query")
                sql = time_query.bound(sql, "postgres", self._columns_of_views(), period)
            elif MAY_COUNT.search(sql):
                count_query = import_module("auditsvc.store.read.count_query")
                sql = count_query.counted(sql, "postgres", self._columns_of_views())
            elif MAY_BE_FIRST.search(sql):
                time_postgres = import_module("auditsvc.store.read.time_postgres")
                sql = time_postgres.with_first_rows(connection, sql, self._columns_of_views())
            with _ended_by(limits, connection), _cursor(connection, sql) as (columns, rows):
                yield Result(columns, limits.within(rows, deadline))
        except psycopg.Error as error:
            if limits.is_stopped:
                raise stopped() from error
            if time.monotonic() > deadline:
                raise limits.late() from error
            if error.sqlstate in _ABSENT and (problem := self._schema_problem()):
                raise problem from error
            raise QueryError(*_describe_postgres(error)) from error
        except UnicodeError as error:
            raise QueryError(f"the SQL cannot be sent: {error}", "write it in UTF-8") from error
        finally:
            with suppress(psycopg.Error):  # a connection that is lost has ended its transaction
                connection.rollback()

    def _columns_of_views(self) -> dict[str, list[str]]:
        if self._view_columns is None:
            self._view_columns = _view_columns(self._connection)
        return self._view_columns

    def _schema_problem(self) -> StoreError | None:
        """Give what is wrong with the schema: it may be of another version, or be made now."""
        found = None
        with suppress(psycopg.Error):
            self._connection.rollback()
            row = self._connection.execute(REVISION).fetchone()
            found = row[0] if row else None
        return schema_problem(self._database.place, found)


def _ended_by(limits: Limits, connection: psycopg.Connection) -> AbstractContextManager[None]:
    """Have the server end what runs when it is wanted no more."""

    def cancel() -> None:
        with suppress(psycopg.Error):  # then it ends at its time limit
            connection.cancel_safe(timeout=_CANCEL_SECONDS)

    return nullcontext() if limits.stop is None else limits.stop.calling(cancel)


def _options(limits: Limits) -> str:
    """Have the server end what takes too long, even if we hang; and bound what one sort takes.

    What a statement takes of the disk only a superuser can bound: ALTER ROLE ... SET
    temp_file_limit.
    """
    milliseconds = max(1, int(limits.seconds * 1000))
    settings = {}
    if limits.seconds:
        settings["statement_timeout"] = milliseconds
        settings["idle_in_transaction_session_timeout"] = milliseconds
    if limits.memory:
        settings["work_mem"] = max(64, limits.memory // _SORTS // 1024)
    return "".join(f" -c {name}={value}" for name, value in settings.items())


@contextmanager
def _cursor(
    connection: psycopg.Connection, sql: str
) -> Iterator[tuple[tuple[str, ...], Iterable[Row]]]:
    if re.match(r"\s*EXPLAIN\b", sql, re.IGNORECASE):
        with connection.cursor() as plain:
            plain.execute(sql.encode(), prepare=True)  # prepared, so that it is one statement
            yield _columns(plain), plain
        return
    with connection.cursor("auditsvc_query") as cursor:
        cursor.itersize = _FETCH
        cursor.execute(sql.strip().rstrip(";").encode())
        yield _columns(cursor), cursor


def _view_columns(connection: psycopg.Connection) -> dict[str, list[str]]:
    """Give the columns of those of our views that the store has."""
    found: dict[str, list[str]] = {}
    for view, column in connection.execute(_COLUMNS, (list(NAMES),)):
        found.setdefault(view, []).append(column)
    return found


def _columns(cursor: psycopg.Cursor | psycopg.ServerCursor) -> tuple[str, ...]:
    return tuple(column.name for column in cursor.description or ())


def _describe_postgres(error: psycopg.Error) -> tuple[str, str]:
    diagnosis = error.diag
    message = diagnosis.message_primary or str(error).strip().splitlines()[0]
    refused = error.sqlstate in ("25006", "42601") and not diagnosis.message_hint
    hint = MAY_READ if error.sqlstate == DENIED else ONLY_READS if refused else ""
    return message, diagnosis.message_hint or hint
