"""How rows are inserted into SQLite: the statements, and which batches need another."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from auditsvc.store import file_counts
from auditsvc.store.database import column_list
from auditsvc.store.schema import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Table

    from auditsvc.decode.batch import Batch, Row

_ROWS_A_STATEMENT: Final = 20
_BULK: Final = 10_000
"""Events. Each run is one more place where SQLite looks for a file, so a run has many."""
_LONG: Final = 1 << 20
"""Bytes of a value that are not kept in memory longer than needed."""


def is_run(batch: Batch) -> bool:
    """Whether a batch is so large that its rows are a run: then they are settled at once."""
    return batch.facts.count >= _BULK


def new_run(table: str) -> str:
    """Give the query for the number of a new run of a table: behind all that were counted, too."""
    last = f"SELECT max(settled) FROM {table} WHERE settled IS NOT NULL"  # noqa: S608 - of the schema
    return f"SELECT max(coalesce(({last}), 0), {file_counts.LAST}) + 1"


def insert_many(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows with statements of many rows each: the driver's cost is per statement."""
    whole = len(rows) // _ROWS_A_STATEMENT * _ROWS_A_STATEMENT
    if whole:
        flat = chain.from_iterable(rows[:whole])
        width = len(table.columns) * _ROWS_A_STATEMENT
        several = list(zip(*[flat] * width, strict=True))
        statement = _insert_or_fail(table, _ROWS_A_STATEMENT)
        connection.exec_driver_sql(statement, several)
    if rest := list(rows[whole:]):
        connection.exec_driver_sql(_insert(table), rest)


def insert_absent(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Insert the rows whose key is free; give how many those were."""
    statement = f"{_insert_or_fail(table)} ON CONFLICT DO NOTHING"
    long = [row for row in rows if _is_long(row)] if table is text else []
    if not long:
        return connection.exec_driver_sql(statement, list(rows)).rowcount
    short = [row for row in rows if not _is_long(row)]
    count = connection.exec_driver_sql(statement, short).rowcount if short else 0
    statement = statement.replace("(?, ?, ", "(?, CAST(? AS TEXT), ")
    for row_id, value, raw in long:
        # As bytes: a text that was written keeps those in memory, too.
        data = value.encode() if isinstance(value, str) else value
        count += connection.exec_driver_sql(statement, (row_id, data, raw)).rowcount
    # The driver keeps the statement, and with it the values of its last row.
    connection.exec_driver_sql(statement, (long[-1][0], b"", None))
    return count


def _is_long(row: Row) -> bool:
    """Whether a value of a row is long."""
    return any(isinstance(value, str | bytes) and len(value) > _LONG for value in row)


def _insert_or_fail(table: Table, count: int = 1) -> str:
    """Give a statement that, after an error, keeps the rows it has inserted (OR FAIL).

    The whole transaction is rolled back anyway. A statement that could be undone alone would
    need a copy in memory of each page that it changes, which are many in a batch.
    """
    return _insert(table, count).replace("INSERT", "INSERT OR FAIL", 1)


def _insert(table: Table, count: int = 1) -> str:
    marks = ", ".join([f"({', '.join('?' * len(table.columns))})"] * count)
    return f"INSERT INTO {table.name} ({column_list(table)}) VALUES {marks}"  # noqa: S608
