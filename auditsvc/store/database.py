"""The interface of a database: one transaction at a time, rows in bulk.

`auditsvc.store.sqlite` and `auditsvc.store.postgres` implement it. Every method except
`begin` works within the transaction that `begin` opened and does not catch the driver's
exceptions; `begin` turns them into StoreError.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from sqlalchemy import exc

from auditsvc.errors import AbsentError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine, Table

    from auditsvc.decode.batch import Batch, PackedRows, Row
    from auditsvc.errors import StoreError

READS: Final = "auditsvc_reads"
"""Execution option of connections that only read."""


class Contested(Exception):  # noqa: N818 - no error, and never seen outside the store
    """A key is used already, or another writer is active: write again, exclusively."""


class Database(Protocol):
    """One database, with the operations of the store."""

    engine: Engine
    place: str
    """Its name in messages: a path, or a URL without its password."""
    takes_packed: bool
    """Whether it can use the bulk formats of a batch; else rows are inserted as tuples."""

    def prepare(self, *, create: bool) -> None:
        """Check that the database can be reached and is ours or empty; StoreError otherwise."""

    def begin(self, *, alone: bool) -> AbstractContextManager[Connection]:
        """Open a transaction that commits at the end; `alone` keeps all other writers out."""

    def empty(self, connection: Connection) -> bool:
        """Whether there is nothing in it; StoreError if what is there is not ours."""

    def strangers(self, connection: Connection, *, whole: bool) -> list[str]:
        """Name what is in the schema and not ours (`auditsvc.store.objects`).

        Once `whole` found nothing, `begin` sees that nothing of the kind comes later.
        """

    def unhurried(self, connection: Connection) -> None:
        """Let this transaction take its time: that of a migration, or of `verify`."""

    def relieve(self) -> str:
        """Keep the database small, between transactions; give what hinders that, "" if nothing."""

    def let_go(self) -> None:
        """Give back memory that is kept for the next transaction."""

    def furnish(self, connection: Connection) -> None:
        """Do what a new store needs beside its tables."""

    def insert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows; Contested if a key is taken."""

    def pack(self, packed: PackedRows) -> None:
        """Prepare what `stage` needs, outside of a transaction."""

    def stage(self, connection: Connection, packed: PackedRows) -> None:
        """Make the rows of a batch available to `insert_new` and `insert_facts`."""

    def insert_new(self, connection: Connection, table: Table, packed: PackedRows) -> bool:
        """Insert the dimension rows of a staged batch that are not stored yet.

        False if an id is used for other content, or if there are so few rows that checking
        each one is faster: some or none are inserted then.
        """

    def insert_facts(self, connection: Connection, batch: Batch) -> None:
        """Insert the rows of all tables of facts, staged or not; Contested if a key is used."""

    def insert_absent(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        """Insert the rows whose key is not used yet; gives their number.

        A text may be given as its bytes in UTF-8.
        """

    def fetch(
        self, connection: Connection, table: Table, key: str, values: Iterable[int]
    ) -> Sequence[Row]:
        """Give the rows whose column `key` is among `values`, in no order."""

    def shown(self, table: Table, rows: Iterable[Row]) -> Iterable[Row]:
        """Give rows that were selected as `fetch` gives them."""

    def delete(self, connection: Connection, table: Table, key: str, values: Iterable[int]) -> None:
        """Delete the rows whose column `key` is among `values`."""

    def explain(self, error: Exception) -> StoreError:
        """Explain a driver's error in one line, with a hint."""


@contextmanager
def transaction(database: Database, statements: Iterable[str] = ()) -> Iterator[Connection]:
    """Run `statements` and the block in one transaction, with errors explained."""
    try:
        with database.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
            yield connection
    except exc.DBAPIError as error:
        raise database.explain(error) from error
    except database.engine.dialect.loaded_dbapi.Error as error:  # COPY does not use SQLAlchemy
        raise database.explain(error) from error
    except (
        ArithmeticError,
        ValueError,
    ) as error:  # of a driver: it cannot convert a number or text
        raise RefusedError(f"the store {database.place}: {first_line(error)}") from error


@contextmanager
def reading(database: Database) -> Iterator[Connection]:
    """Open a transaction that only reads, and keeps no writer out; errors are explained."""
    options: dict[str, object] = {READS: True}
    if database.engine.dialect.name == "postgresql":
        # All its statements see the same store, as they do on SQLite.
        options |= {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
    try:
        with database.engine.connect() as connection:
            yield connection.execution_options(**options)
    except exc.DBAPIError as error:
        raise database.explain(error) from error


def empty_store(place: str) -> AbsentError:
    """Give the error of a store without a schema: its file or database is there already."""
    return AbsentError(
        f"there is no store at {place} yet: it is being made, or never was",
        "try again; `auditsvc run` or `ingest` makes one",
    )


def column_list(table: Table) -> str:
    """Give a table's columns as SQL."""
    return ", ".join(f'"{column.name}"' for column in table.columns)


def first_line(error: Exception) -> str:
    """Give the first line of a driver's message, without SQLAlchemy's additions."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]
