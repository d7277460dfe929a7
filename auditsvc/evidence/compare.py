"""Compares a decoder's batch with the rows of the store.

    comparer = make_comparer(database)
    with comparer.transaction() as connection:
        found = comparer.compare(connection, batch)   # Differing(events, dimensions)

A row is equal if its key and every column are. SQLite compares by itself, with the batch as a
database in memory; for other databases, and for a batch of the reference decoder, the rows are
read and compared here.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sqlalchemy import create_engine, exc

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.database import reading
from auditsvc.store.schema import DIMENSIONS, FACTS
from auditsvc.store.sqlite import SQLite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Table

    from auditsvc.decode.batch import Batch, Row
    from auditsvc.store.database import Database

DAY: Final = 86400
MOST: Final = 10_000
"""Rows of each table that are named, at most."""
_STAGE: Final = "staged"

Counts = Counter[tuple[str, int]]
"""Rows by table and day (since 1970-01-01, UTC)."""


class Differing(NamedTuple):
    """What of a batch is not in the store as it is in the batch."""

    events: set[int]
    """Ids of events."""
    dimensions: list[tuple[str, int]]
    """Table and id of dimension rows."""
    rows: Counts
    """All rows of the batch's events."""


class Comparer(Protocol):
    """Compares batches with one store."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """Open a transaction that only reads."""

    def compare(self, connection: Connection, batch: Batch) -> Differing:
        """Compare a batch."""

    def damage(self) -> list[str]:
        """Say what the database itself finds damaged: indexes and pages."""


def make_comparer(database: Database, *, beside_loading: bool = False) -> Comparer:
    """Make the comparer for a database that was opened for reading.

    `beside_loading`: with little memory, in the process that also loads.
    """
    if isinstance(database, SQLite) and database.takes_packed:
        return _InSqlite(database, beside_loading=beside_loading)
    return _ByRows(database)


def key_of(table: Table) -> str:
    """Give the column of a table of facts that is the event's id."""
    return "id" if "id" in table.columns else "event"


def day_of(event_id: int) -> int:
    """Give an event's day (since 1970-01-01, UTC)."""
    return (event_id >> SERIAL_BITS) // DAY


def ids_of(day: int) -> tuple[int, int]:
    """Give the lowest and the highest id of a day's events."""
    return (day * DAY) << SERIAL_BITS, (((day + 1) * DAY) << SERIAL_BITS) - 1


class _ByRows:
    """Reads the rows of the batch's events, and compares them: in both directions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def transaction(self) -> AbstractContextManager[Connection]:
        return reading(self._database)

    def compare(self, connection: Connection, batch: Batch) -> Differing:
        events: set[int] = set()
        rows: Counts = Counter()
        ids = batch.facts.ids()
        for table in FACTS:
            given = batch.facts.get(table.name, [])
            rows.update((table.name, day_of(number(row[0]))) for row in given)
            stored = self._database.fetch(connection, table, key_of(table), ids) if ids else []
            events |= _others(given, stored)
        return Differing(events, self._dimensions(connection, batch.dimensions), rows)

    def damage(self) -> list[str]:
        return []  # PostgreSQL needs an extension for that

    def _dimensions(
        self, connection: Connection, given: Mapping[str, list[Row]]
    ) -> list[tuple[str, int]]:
        found = []
        for table in DIMENSIONS:
            rows = given.get(table.name, [])
            if rows:
                ids = [number(row[0]) for row in rows]
                stored = set(map(_plain, self._database.fetch(connection, table, "id", ids)))
                found += [(table.name, number(row[0])) for row in rows if _plain(row) not in stored]
        return found


class _InSqlite(_ByRows):
    """Has SQLite compare a packed batch; what the store has beside is counted by the caller."""

    def __init__(self, database: SQLite, *, beside_loading: bool) -> None:
        super().__init__(database)
        # A batch is attached, which a connection for queries does not let be done.
        self._engine = create_engine(
            "sqlite://", creator=lambda: _connect(database, is_small=beside_loading)
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except (exc.DBAPIError, sqlite3.Error) as error:
            raise self._database.explain(error) from error

    def compare(self, connection: Connection, batch: Batch) -> Differing:
        if batch.packed is None:
            return super().compare(connection, batch)
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute(f"ATTACH ':memory:' AS {_STAGE}")
        driver.deserialize(batch.packed.image(), name=_STAGE)
        try:
            return self._compare_staged(driver, batch)
        finally:
            driver.execute(f"DETACH {_STAGE}")

    def damage(self) -> list[str]:
        with self.transaction() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars().all()
        return [str(each) for each in found if each != "ok"]

    def _compare_staged(self, driver: sqlite3.Connection, batch: Batch) -> Differing:
        events: set[int] = set()
        rows: Counts = Counter()
        for table in FACTS:
            if table.name not in batch.facts:
                continue
            key = key_of(table)
            events.update(each for (each,) in _missing(driver, table, key))
            counted = driver.execute(
                f"SELECT ({key} >> {SERIAL_BITS}) / {DAY}, count(*)"  # noqa: S608 - names of the schema
                f" FROM {_STAGE}.{table.name} GROUP BY 1"
            )
            rows.update({(table.name, day): count for day, count in counted})
        dimensions = [
            (table.name, each)
            for table in DIMENSIONS
            if table.name in batch.dimensions
            for (each,) in _missing(driver, table, "id")
        ]
        return Differing(events, dimensions, rows)


def _missing(driver: sqlite3.Connection, table: Table, key: str) -> Iterable[tuple[int]]:
    """Give the keys of staged rows that are not in the store with the same columns."""
    columns = [f'"{column.name}"' for column in table.columns]
    names = {column.name for column in table.primary_key}
    same = " AND ".join(
        f"there.{column} {'=' if column.strip(chr(34)) in names else 'IS'} new.{column}"
        for column in columns
    )
    return driver.execute(
        f"SELECT new.{key} FROM {_STAGE}.{table.name} new WHERE NOT EXISTS"  # noqa: S608 - as above
        f" (SELECT 1 FROM main.{table.name} there WHERE {same}) LIMIT {MOST}"
    ).fetchall()


def _connect(database: SQLite, *, is_small: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        database.uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30
    )
    if is_small:  # pages that are mapped count as the process's memory, too
        connection.execute("PRAGMA cache_size = -8192")
        return connection
    connection.execute("PRAGMA cache_size = -65536")
    connection.execute("PRAGMA mmap_size = 4294967296")
    return connection


def _others(given: Iterable[Row], stored: Iterable[Row]) -> set[int]:
    """Give the ids of events whose rows are others; a row has a key, so the store has it once."""
    by_event: dict[int, list[set[Row]]] = defaultdict(lambda: [set(), set()])
    for which, rows in enumerate((given, stored)):
        for row in rows:
            by_event[number(row[0])][which].add(_plain(row))
    return {event for event, (one, other) in by_event.items() if one != other}


def _plain(row: Row) -> Row:
    return tuple(bytes(each) if isinstance(each, memoryview) else each for each in row)


def number(value: object) -> int:
    """Give an id that is a column's value."""
    assert isinstance(value, int)
    return value
