"""Migrates an empty database, or a store of an older program, to this program's schema.

A new store is made in one transaction, from the schema and without a revision
(`auditsvc.store.make`); a store that is there is migrated in one for each revision, each of which
excludes all writers: a migration that is killed continues with the revision where it was. What
moves all rows comes after the last one, in steps (`auditsvc.store.moving`). Alembic's revisions
are in the package `auditsvc.migrations`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect

from auditsvc.errors import StoreError
from auditsvc.store import make, moving
from auditsvc.store.database import empty_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from auditsvc.store.database import Database


REVISION: Final = "SELECT max(version_num) FROM alembic_version"
"""Gives the revision, where there is one."""


def bring_up(database: Database, connection: Connection) -> tuple[str | None, str]:
    """Migrate by one revision; give the revision before (None: there was no store) and after.

    A new store is made as all of them make it.
    StoreError if the store was made by a newer program.
    """
    known = revisions()
    empty = database.empty(connection)
    before = current_revision(connection)
    if before is not None and before not in known:
        raise StoreError(
            f"the store {database.place} was made by a newer auditsvc (schema {before})",
            "install that version or a newer one",
        )
    if before is None:
        make.tables(connection, known[-1])
    elif before != known[-1]:
        database.unhurried(connection)
        after = known[known.index(before) + 1]
        _upgrade(connection, after)
        if after != known[-1]:
            return before, after
    if empty:
        database.furnish(connection)
    return before, known[-1]


def check_schema(database: Database, connection: Connection) -> None:
    """Check that the store has the schema of this program; StoreError otherwise."""
    found = current_revision(connection)
    if problem := schema_problem(database.place, found):
        raise problem
    if moving.is_under_way(connection):
        raise StoreError(
            f"the store {database.place}: its rows are just moved to a newer schema",
            "wait for `auditsvc migrate`, or start it: it goes on where it was",
        )


def schema_problem(place: str, found: str | None) -> StoreError | None:
    """Give what is wrong with a store of this revision (None: it has no schema)."""
    known = revisions()
    if found == known[-1]:
        return None
    if found is None:
        return empty_store(place)
    if found in known:
        return StoreError(
            f"the store {place} has the schema of an older auditsvc ({found})",
            "bring it up to date with `auditsvc migrate`",
        )
    return StoreError(
        f"the store {place} was made by a newer auditsvc (schema {found})",
        "install that version or a newer one",
    )


def revisions() -> list[str]:
    """Revisions of this program, oldest first: the numbers that their files begin with."""
    folder = files("auditsvc.migrations") / "versions"
    return sorted(entry.name[:4] for entry in folder.iterdir() if entry.name[:4].isdigit())


def current_revision(connection: Connection) -> str | None:
    """Give the revision that Alembic recorded in the database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _upgrade(connection: Connection, to: str) -> None:
    # Imported only if needed: Alembic is large, and the service runs for a long time.
    upgrade: Callable[[Connection, str], None] = import_module("auditsvc.store.upgrade").upgrade
    upgrade(connection, to)
