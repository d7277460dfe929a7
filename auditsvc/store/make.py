"""Makes the tables of a new store at once, at this program's revision.

    auditsvc.store.schema -> CREATE TABLE ..., CREATE INDEX ...

The revisions of `auditsvc.migrations` are for stores that are there. That both ways give the same
objects, a test holds on each database (docs/decisions/0035-new-stores.md).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    Column,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    create_mock_engine,
)

from auditsvc.store.objects import REVISION_TABLE
from auditsvc.store.schema import metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection

_REVISION: Final = Table(
    REVISION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{REVISION_TABLE}_pkc"),
)
"""Alembic's own (its MigrationContext makes it so)."""


def tables(connection: Connection, revision: str) -> None:
    """Make all tables and indexes, and record the revision as Alembic does.

    The database's error if one of them is there.
    """
    dialect = connection.dialect
    for statement in _statements(f"{dialect.name}+{dialect.driver}"):
        connection.exec_driver_sql(statement)
    connection.execute(_REVISION.insert().values(version_num=revision))


@cache
def _statements(driver: str) -> list[str]:
    """Give what makes them; SQLAlchemy needs 25 ms for that, and SQLite 5 to do it."""
    made: list[str] = []

    def keep(statement: Any, *_: Any, **__: Any) -> None:
        made.append(str(statement.compile(dialect=engine.dialect)))

    engine = create_mock_engine(f"{driver}://", keep)
    for each in (metadata, _REVISION.metadata):
        each.create_all(engine, checkfirst=False)
    return made
