"""Accesses that the service did not record: in two tables of the store, for INSERT only.

On PostgreSQL readers insert into them. `role` and `client` are the server's word on the session:
who may insert the other columns alone (docs/sql.md has the GRANT) can neither set these, nor
change or end the row of another role. On SQLite the rows come from the file beside the store
(`auditsvc.access.pending`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text as sql

from auditsvc.access.entry import make_id, storable
from auditsvc.store.database import transaction
from auditsvc.store.schema import access_end, access_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Table

    from auditsvc.access.entry import Asked, Ended, Reader
    from auditsvc.store.database import Database

_IMPATIENT: Final = ("SET LOCAL lock_timeout = '2s'", "SET LOCAL statement_timeout = '2s'")
"""No question waits longer for its record."""


def entry_values(asked: Asked, reader: Reader) -> dict[str, Any]:
    """Give the columns of an access that begins now."""
    made, ms = make_id()
    texts = {"command": asked.command, "options": asked.options, "sql": asked.sql}
    return {"id": made, "ms": ms, **asdict(reader), **texts}


def end_values(entry: int, ended: Ended) -> dict[str, Any]:
    """Give the columns of an access's end, which is now."""
    at, ms = make_id()
    return {"id": entry, "at": at, "ms": ms, "rows": ended.rows, "ended": ended.how}


def insert_entry(database: Database, values: Mapping[str, Any]) -> None:
    """Insert the beginning of an access on PostgreSQL, with no right but INSERT; StoreError."""
    _insert(database, access_entry, values)


def insert_end(database: Database, values: Mapping[str, Any]) -> None:
    """Insert its end, likewise."""
    _insert(database, access_end, values)


def _insert(database: Database, table: Table, values: Mapping[str, Any]) -> None:
    columns = ", ".join(values)
    given = ", ".join(f":{name}" for name in values)
    with transaction(database, _IMPATIENT) as connection:
        connection.execute(
            sql(f"INSERT INTO {table.name} ({columns}) VALUES ({given})"),  # noqa: S608 - ours
            {name: storable(value) for name, value in values.items()},
        )
