"""SQL over the store: one statement, read-only by construction, rows one by one.

    with run_query(url, "SELECT * FROM syscalls LIMIT 3") as result:
        write_rows(result, Format.JSONL, sys.stdout)

SQLite: the file is opened read-only, and an authorizer refuses everything but
reading. PostgreSQL: a read-only transaction, and a cursor that the server
declares, which takes one SELECT (or VALUES, TABLE, WITH) and nothing else;
EXPLAIN goes through the extended protocol, which takes one statement. A role
that may only read keeps what a superuser's functions could do beside that.

Rows are never all in memory. Values are the driver's; `write_rows` writes times
as `YYYY-MM-DD HH:MM:SS.mmm` (UTC), bytes as hex, and JSON as JSON.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Final, TextIO

import psycopg
from psycopg.conninfo import make_conninfo
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from auditsvc.errors import QueryError
from auditsvc.store import parse_url
from auditsvc.store.postgres import Postgres
from auditsvc.store.sqlite import SQLite
from auditsvc.terminal import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import URL

    from auditsvc.decode.interface import Row

_PAGE: Final = 1000  # rows that a table's widths are made from
_FETCH: Final = 2000  # rows that PostgreSQL sends at a time
_WIDE: Final = 32_000
_INSTRUCTIONS: Final = 1_000_000  # of SQLite's, between two looks at signals

_ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
_PRAGMAS: Final = {
    *("table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo"),
    *("database_list", "application_id", "user_version", "data_version", "schema_version"),
}
_FORBIDDEN_FUNCTIONS: Final = {"load_extension", "fts3_tokenizer"}

# Columns of the views that hold JSON; SQLite has no type that would tell.
_JSON_COLUMNS: Final = {"argv", "fields"}


class Format(Enum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"


@dataclass(frozen=True)
class Result:
    """Column names, and rows to go through once."""

    columns: tuple[str, ...]
    rows: Iterable[Row]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)


@contextmanager
def run_query(url: str, sql: str) -> Iterator[Result]:
    """Run one statement and give its rows; QueryError says in one line what is wrong with it.

    StoreError if the store cannot be reached or is not there.
    """
    parsed = parse_url(url)
    if not sql.strip().rstrip(";").strip():
        raise QueryError("the SQL is empty", "try: SELECT * FROM syscalls LIMIT 10")
    run = _run_sqlite if parsed.get_backend_name() == "sqlite" else _run_postgres
    with run(parsed, sql) as result:
        yield result


# --- SQLite ----------------------------------------------------------------------------


@contextmanager
def _run_sqlite(url: URL, sql: str) -> Iterator[Result]:
    database = SQLite(url)
    database.prepare(create=False)
    try:
        connection = sqlite3.connect(
            f"{database.path.as_uri()}?mode=ro", uri=True, isolation_level=None
        )
    except sqlite3.Error as error:
        raise database.explain(error) from error
    try:
        connection.execute("PRAGMA query_only = ON")
        # SQLite makes these two at their first use, by what looks like a write.
        connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")
        connection.set_authorizer(_authorize)
        # Python runs signal handlers only between its own steps.
        connection.set_progress_handler(lambda: 0, _INSTRUCTIONS)
        cursor = connection.execute(sql)
        if cursor.description is None:
            raise QueryError("the statement gives no rows", _ONLY_READS)
        yield Result(tuple(column[0] for column in cursor.description), cursor)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise QueryError(*_describe_sqlite(error)) from error
    finally:
        connection.close()


_ONLY_READS: Final = "`query` only reads: SELECT, VALUES, WITH or EXPLAIN"


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
    code = getattr(error, "sqlite_errorcode", 0)
    refused = code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY) or "one statement" in str(
        error
    )
    return str(error), _ONLY_READS if refused else ""


# --- PostgreSQL ------------------------------------------------------------------------


_SESSION: Final = {
    "connect_timeout": "10",
    "application_name": "auditsvc query",
    "options": "-c default_transaction_read_only=on -c timezone=UTC"
    " -c join_collapse_limit=20 -c from_collapse_limit=20 -c cursor_tuple_fraction=1",
}


@contextmanager
def _run_postgres(url: URL, sql: str) -> Iterator[Result]:
    database = Postgres(url)
    arguments = {**url.translate_connect_args(username="user", database="dbname"), **url.query}
    try:
        database.prepare(create=False)
        connection = psycopg.connect(make_conninfo("", **arguments, **_SESSION))
    except psycopg.Error as error:
        raise database.explain(error) from error
    finally:
        database.engine.dispose()
    try:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with _cursor(connection, sql) as (columns, rows):
            yield Result(columns, rows)
    except psycopg.Error as error:
        raise QueryError(*_describe_postgres(error)) from error
    finally:
        connection.close()


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


def _columns(cursor: psycopg.Cursor | psycopg.ServerCursor) -> tuple[str, ...]:
    return tuple(column.name for column in cursor.description or ())


def _describe_postgres(error: psycopg.Error) -> tuple[str, str]:
    diagnosis = error.diag
    message = diagnosis.message_primary or str(error).strip().splitlines()[0]
    refused = error.sqlstate in ("25006", "42601") and not diagnosis.message_hint
    return message, diagnosis.message_hint or (_ONLY_READS if refused else "")


# --- writing ---------------------------------------------------------------------------


def write_rows(result: Result, form: Format, out: TextIO) -> None:
    """Write rows as they come; a reader that goes away early (`| head`) is no error."""
    write = {
        Format.TABLE: _write_table,
        Format.CSV: _write_csv,
        Format.JSON: _write_json,
        Format.JSONL: _write_jsonl,
    }[form]
    try:
        write(result, out)
        out.flush()
    except BrokenPipeError:
        # What is buffered can go nowhere; without this the interpreter fails at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)


def _write_table(result: Result, out: TextIO) -> None:
    terminal = out.isatty()
    console = Console(
        file=out, width=None if terminal else _WIDE, highlight=False, soft_wrap=not terminal
    )
    rows = iter(result)
    first = True
    while (page := list(islice(rows, _PAGE))) or first:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=first)
        for n, name in enumerate(result.columns):
            numbers = any(isinstance(row[n], int | float | Decimal) for row in page)
            table.add_column(
                Text(visible(name)), justify="right" if numbers else "left", overflow="fold"
            )
        for row in page:
            table.add_row(*(Text(visible(_plain(value))) for value in row))
        with console.capture() as capture:  # rich would end the program at a closed pipe
            console.print(table)
        out.write(capture.get())
        first = False


def _write_csv(result: Result, out: TextIO) -> None:
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(result.columns)
    for row in result:
        writer.writerow([_plain(value) for value in row])


def _write_json(result: Result, out: TextIO) -> None:
    between = "[\n"
    for line in _objects(result):
        out.write(f"{between}  {line}")
        between = ",\n"
    out.write("[]\n" if between == "[\n" else "\n]\n")


def _write_jsonl(result: Result, out: TextIO) -> None:
    out.writelines(f"{line}\n" for line in _objects(result))


def _objects(result: Result) -> Iterator[str]:
    names = _distinct(result.columns)
    documents = [name in _JSON_COLUMNS for name in result.columns]
    for row in result:
        values = (
            _document(value) if document else value
            for value, document in zip(row, documents, strict=True)
        )
        yield json.dumps(dict(zip(names, values, strict=True)), default=_json, ensure_ascii=False)


def _distinct(columns: Iterable[str]) -> list[str]:
    """Count columns that share a name up: no value of a row may fall out of its object."""
    names: list[str] = []
    for column in columns:
        name, n = column, 1
        while name in names:
            n += 1
            name = f"{column}_{n}"
        names.append(name)
    return names


def _document(value: object) -> object:
    """Read a view's JSON; a text of the user's own making stays one."""
    if not isinstance(value, str) or not value.startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _json(value: object) -> object:
    """Give what JSON has for a value that it does not know."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return _plain(value)


def _plain(value: object) -> str:
    """Write a value as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, datetime):
        utc = value.astimezone(UTC) if value.tzinfo else value
        return utc.strftime("%Y-%m-%d %H:%M:%S.") + f"{utc.microsecond // 1000:03d}"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
