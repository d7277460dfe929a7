"""What the store asks of a database: one transaction at a time, rows in bulk.

`auditsvc.store.sqlite` and `auditsvc.store.postgres` are the two that there are.
Every method but `begin` works inside the transaction that `begin` opened, and
lets the driver's exceptions pass; `begin` turns them into StoreError.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from sqlalchemy import exc

from auditsvc.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine, Table

    from auditsvc.decode.batch import Batch, Row, Whole
    from auditsvc.errors import StoreError

READS: Final = "auditsvc_reads"
"""Execution option of connections that only read."""


class Contested(Exception):  # noqa: N818 - no error, and never seen outside the store
    """A key is taken, or another writer is in the way: write again, alone, and look first."""


class Database(Protocol):
    """One database and how it is spoken to."""

    engine: Engine
    place: str
    """How messages call it: a path, or a URL without its password."""
    takes_whole: bool
    """Whether it takes a batch's rows whole; else they must come one by one."""

    def prepare(self, *, create: bool) -> None:
        """See that the database can be reached and is ours or empty; StoreError otherwise."""

    def begin(self, *, alone: bool) -> AbstractContextManager[Connection]:
        """Open a transaction that commits at the end; `alone` keeps all other writers out."""

    def empty(self, connection: Connection) -> bool:
        """Whether there is nothing in it; StoreError if what is there is not ours."""

    def strangers(self, connection: Connection, *, whole: bool) -> list[str]:
        """Name what is in the schema and not ours (`auditsvc.store.objects`).

        Once `whole` found nothing, `begin` sees that nothing of the kind comes later.
        """

    def unhurried(self, connection: Connection) -> None:
        """Let the statements of this transaction take their time: those of a migration."""

    def relieve(self) -> str:
        """Keep the database small, between transactions; give what hinders that, "" if nothing."""

    def settle(self, connection: Connection) -> None:
        """Do what a new store needs beside its tables."""

    def insert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows; Contested if a key is taken."""

    def pack(self, whole: Whole) -> None:
        """Make ready what `stage` needs and what no transaction need wait for."""

    def stage(self, connection: Connection, whole: Whole) -> None:
        """Have the rows of a batch at hand, for `insert_new` and `insert_facts`."""

    def insert_new(self, connection: Connection, table: Table, whole: Whole) -> bool:
        """Insert the dimension rows of a staged batch that are not there.

        False if an id stands for other content, or if the rows are so few that they are
        better looked at one by one: some or none are inserted then.
        """

    def insert_facts(self, connection: Connection, batch: Batch) -> None:
        """Insert the rows of all tables of facts, staged or not; Contested if a key is taken."""

    def insert_absent(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        """Insert the rows whose key is free; give how many those were."""

    def fetch(
        self, connection: Connection, table: Table, key: str, values: Iterable[int]
    ) -> Sequence[Row]:
        """Give the rows whose column `key` is among `values`, in no order."""

    def delete(self, connection: Connection, table: Table, key: str, values: Iterable[int]) -> None:
        """Delete the rows whose column `key` is among `values`."""

    def explain(self, error: Exception) -> StoreError:
        """Say in one line what a driver's error means and what to do."""


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
    except database.engine.dialect.loaded_dbapi.Error as error:  # COPY goes past SQLAlchemy
        raise database.explain(error) from error
    except (ArithmeticError, ValueError) as error:  # a driver's: a number or text has no form
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


def column_list(table: Table) -> str:
    """Give a table's columns as SQL."""
    return ", ".join(f'"{column.name}"' for column in table.columns)


def first_line(error: Exception) -> str:
    """Give the first line of a driver's message, without SQLAlchemy's additions."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0]
