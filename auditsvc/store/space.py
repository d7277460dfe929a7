"""The room that a store takes on its disk, and giving it back.

SQLite: what is deleted leaves free pages in the file, which are used again. A file that was made
with auto_vacuum = INCREMENTAL can give them back, some at a time; an older one only if it is
written anew (`rewrite`). PostgreSQL: the server uses the room again after its vacuum and
gives back only what is free at a file's end; how much is free is not known to us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.store.database import reading
from auditsvc.store.objects import TABLES

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from auditsvc.store.database import Database

_INCREMENTAL: Final = 2
"""Value of PRAGMA auto_vacuum (sqlite.org/pragma.html#pragma_auto_vacuum)."""


class Space(NamedTuple):
    """Bytes of a store."""

    used: int
    """With rows in them; on PostgreSQL equal to `file`."""
    file: int
    """On the disk, without a write-ahead log."""
    can_shrink: bool
    """Whether the difference can be given back in steps."""
    is_exact: bool
    """Whether `used` becomes less when rows are deleted."""


def space(connection: Connection) -> Space:
    """Measure a store."""
    if connection.dialect.name != "sqlite":
        names = ", ".join(f"'{name}'" for name in sorted(TABLES))
        total = connection.exec_driver_sql(
            "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class"  # noqa: S608 - names of the schema
            " WHERE relnamespace = current_schema()::regnamespace"
            f" AND relkind = 'r' AND (relispartition OR relname IN ({names}))"
        ).scalar_one()
        return Space(int(total), int(total), can_shrink=False, is_exact=False)
    size, count, free, mode = (
        int(connection.exec_driver_sql(f"PRAGMA main.{name}").scalar_one())
        for name in ("page_size", "page_count", "freelist_count", "auto_vacuum")
    )
    return Space((count - free) * size, count * size, mode == _INCREMENTAL, is_exact=True)


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
