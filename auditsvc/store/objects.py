"""Finds foreign objects in a store's schema, and changed ones.

A trigger, a rule or an index on an expression is foreign code that runs at our writes, with
our rights; a foreign table stores our rows elsewhere; a changed view shows false evidence. So
such objects are reported before anything is written, and then nothing is written.

Ours are the tables, columns and indexes of `auditsvc.store.schema` and the views of
`auditsvc.store.views`, as their statements make them. Additional views are harmless and are
left to the administrator. A user who can write everything in a database can also hide such
changes; the spool protects against that.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from auditsvc.errors import StoreError
from auditsvc.store import views
from auditsvc.store.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from auditsvc.store.database import Database

REVISION_TABLE: Final = "alembic_version"
TABLES: Final = frozenset((*metadata.tables, REVISION_TABLE))
INDEXES: Final = {
    str(index.name): index for table in metadata.tables.values() for index in table.indexes
}


def refuse_strangers(database: Database, connection: Connection, *, whole: bool) -> None:
    """StoreError with the names of foreign objects.

    `whole`: the schema is that of this program, so that tables, indexes and views can be
    compared too; else only code that would run at a write is searched.
    """
    refuse(database, database.strangers(connection, whole=whole))


def refuse(database: Database, found: Iterable[str]) -> None:
    """StoreError if anything was found."""
    if named := sorted(found):
        raise StoreError(
            f"the store {database.place} holds what auditsvc did not make: {', '.join(named)}",
            "see who made it, then drop it; a view of ours that is dropped is made again",
        )


@cache
def view_bodies(dialect: str) -> dict[str, str]:
    """Give the statements that make our views, by name."""
    begin = "CREATE VIEW "
    return {
        statement.removeprefix(begin).split()[0]: statement
        for statement in views.statements(dialect)
        if statement.startswith(begin)
    }


def same_text(one: str, other: str) -> bool:
    """Whether two statements are equal except for white space."""
    return one == other or one.split() == other.split()
