"""The room that a store takes on its disk, and giving it back.

SQLite: what is deleted leaves free pages in the file, which are used again. A file that was made
with auto_vacuum = INCREMENTAL can give them back, some at a time; an older one only if it is
written anew (`rewrite`). PostgreSQL: a partition that is dropped gives all of its bytes back. In
other tables the server uses the room of deleted rows again after its vacuum, and gives back only
what is free at a file's end; how much of them has rows is estimated from some of their pages.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import select

from auditsvc.store.database import reading
from auditsvc.store.objects import TABLES
from auditsvc.store.schema import DIMENSIONS, pruned_day, raw

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Table

    from auditsvc.store.database import Database

_INCREMENTAL: Final = 2
"""Value of PRAGMA auto_vacuum (sqlite.org/pragma.html#pragma_auto_vacuum)."""

_SIZES: Final = """
    SELECT relname, pg_relation_size(oid) / 8192, pg_total_relation_size(oid)::bigint
    FROM pg_class
    WHERE relnamespace = quote_ident(current_schema())::regnamespace AND relkind = 'r'
        AND (relispartition OR relname = ANY(%s))"""
_SHRINKING: Final = (*DIMENSIONS, raw)
"""Tables of which single rows are deleted."""
_PAGES: Final = 400
"""So many pages of a table are looked at."""
_FEW: Final = 16
"""Pages of a table that counts whole."""
_PAGE_BYTES: Final = 8192
_ROW_BYTES: Final = 28
"""Beside its columns (storage/bufpage.h, access/htup_details.h)."""
_FULL: Final = 0.95
"""Of a page's bytes, where rows were only added."""


class Space(NamedTuple):
    """Bytes of a store."""

    used: int
    """With rows in them; on PostgreSQL partly estimated, once anything was deleted."""
    file: int
    """On the disk, without a write-ahead log."""
    can_shrink: bool
    """Whether the difference can be given back in steps."""
    is_exact: bool
    """Whether `used` is measured, and not estimated."""


def space(connection: Connection) -> Space:
    """Measure a store."""
    if connection.dialect.name != "sqlite":
        return _on_a_server(connection)
    size, count, free, mode = (
        int(connection.exec_driver_sql(f"PRAGMA main.{name}").scalar_one())
        for name in ("page_size", "page_count", "freelist_count", "auto_vacuum")
    )
    return Space((count - free) * size, count * size, mode == _INCREMENTAL, is_exact=True)


def _on_a_server(connection: Connection) -> Space:
    found = connection.exec_driver_sql(_SIZES, (sorted(TABLES),)).all()
    total = sum(each for _, _, each in found)
    free = 0.0
    if connection.execute(select(pruned_day.c.day).limit(1)).first() is not None:
        for table in _SHRINKING:
            for name, pages, size in found:
                if name == table.name and pages > _FEW:
                    free += size * (1 - _share_with_rows(connection, table, pages))
    return Space(int(total - free), int(total), can_shrink=False, is_exact=False)


def _share_with_rows(connection: Connection, table: Table, pages: int) -> float:
    """Estimate how much of a table's pages has rows, from about `_PAGES` of them."""
    looked_at = min(pages, _PAGES)
    percent = 100 * looked_at / pages
    row = " + ".join(
        f'coalesce(pg_column_size("{name}"), 0)' for name in (each.name for each in table.columns)
    )
    taken = connection.exec_driver_sql(
        f"SELECT coalesce(sum({row} + {_ROW_BYTES}), 0)"  # noqa: S608 - names of the schema
        f" FROM {table.name} TABLESAMPLE SYSTEM ({percent})"
    ).scalar_one()
    return min(1.0, float(taken) / (looked_at * _PAGE_BYTES * _FULL))


def space_of(database: Database) -> Space:
    """Measure a store that is open."""
    with reading(database) as connection:
        return space(connection)


def shrink(connection: Connection, pages: int) -> bool:
    """Move up to so many pages from the file's end to free ones; False if none is free.

    The file gets shorter at the next checkpoint of the write-ahead log.
    """
    driver = connection.connection.driver_connection
    assert driver is not None
    free = int(connection.exec_driver_sql("PRAGMA main.freelist_count").scalar_one())
    for _ in range(min(pages, free)):
        # One a call: Python's driver ends the statement after its first step.
        driver.execute("PRAGMA main.incremental_vacuum(1)").fetchall()
    return free > pages


def let_shrink(connection: sqlite3.Connection) -> None:
    """Have a new file give back what is pruned.

    Only a new one: this takes the lock of a writer. Who finds it taken while the file is empty
    leaves it to the program that makes the file.
    """
    if connection.execute("PRAGMA page_count").fetchone() == (0,):
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")


def rewrite(database: Database) -> None:
    """Write an SQLite file anew: without free pages, and so that it can shrink from then on.

    Needs twice the room of the new file on the store's disk, for the copy and the write-ahead
    log; writers wait. On PostgreSQL does nothing.
    """
    if database.engine.dialect.name != "sqlite":
        return
    with database.begin(alone=True):  # what a store must be, before it is changed
        pass
    connection = database.engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA main.auto_vacuum = INCREMENTAL")
        # The copy is a temporary file: not in memory, and where there is room for it.
        cursor.execute("PRAGMA temp_store = FILE")
        folder = str(folder_of(database)).replace("'", "''")
        cursor.execute(f"PRAGMA temp_store_directory = '{folder}'")
        cursor.execute("VACUUM main")
        cursor.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchall()
    except database.engine.dialect.loaded_dbapi.Error as error:
        raise database.explain(error) from error
    finally:
        connection.close()


def folder_of(database: Database) -> Path | None:
    """Give the folder whose disk an SQLite store fills; None for a server's."""
    path: Path | None = getattr(database, "path", None)
    return None if path is None else path.parent
