"""What stands in a store's schema beside what we made, or in place of it.

A trigger, a rule or an index on an expression is code of another's that runs at our writes, as
us; a foreign table takes our rows elsewhere; a changed view shows another evidence than there
is. So each is named before anything is written, and then nothing is.

Ours are the tables, columns and indexes of `auditsvc.store.schema` and the views of
`auditsvc.store.views`, as their statements make them. Further views hinder nobody and are left
to the administrator. Who can write all of a database can also make this look right: against
that stands the spool beside it.
"""

from __future__ import annotations

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
    """StoreError that names what is there and is not ours.

    `whole`: the schema is that of this program, so that tables, indexes and views can be
    compared too; else only what would run at a write.
    """
    refuse(database, database.strangers(connection, whole=whole))


def refuse(database: Database, found: Iterable[str]) -> None:
    """StoreError if anything was found."""
    if named := sorted(found):
        raise StoreError(
            f"the store {database.place} holds what auditsvc did not make: {', '.join(named)}",
            "see who made it, then drop it; a view of ours that is dropped is made again",
        )


def view_bodies(dialect: str) -> dict[str, str]:
    """Statements that make each of our views, by its name."""
    begin = "CREATE VIEW "
    return {
        statement.removeprefix(begin).split()[0]: statement
        for statement in views.statements(dialect)
        if statement.startswith(begin)
    }


def same_text(one: str, other: str) -> bool:
    """Whether two statements differ in blanks at the most."""
    return one.split() == other.split()
