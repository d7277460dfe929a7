"""The store in a PostgreSQL database.

Many writers may share one database. Rows of events are inserted by binary COPY; a writer
that finds a used key starts its transaction again, exclusively. A lock on `store_info`, which
ends with the transaction, separates writers: those that only add rows hold it ROW EXCLUSIVE,
one that must check keys before it adds rows SHARE ROW EXCLUSIVE. So two writers can never
give one id to an event of `syscall` and one of `event`.

The tables of facts have partitions by day (`auditsvc.store.partitions`). Rows of one day are
copied into its partition itself.

No reader blocks a writer: a role with only SELECT can lock a table ACCESS SHARE and no higher
(LockTableAclCheck in lockcmds.c), which conflicts with neither mode. (Any role could take an
advisory lock.) Other waits of a writer (a migration waits for readers) end with an error.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import errors
from sqlalchemy import BigInteger, Integer, LargeBinary, SmallInteger, Text, create_engine, exc

from auditsvc.errors import AbsentError, ForeignError, RefusedError, StoreError
from auditsvc.store import objects, objects_postgres, partitions
from auditsvc.store.database import Contested, column_list, first_line, transaction
from auditsvc.store.partitions import DAY, day_of
from auditsvc.store.schema import ARGUMENTS, FACTS, syscall, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import URL, Column, Connection, Table

    from auditsvc.decode.batch import Batch, PackedRows, Row
    from auditsvc.store.partitions import Part

_OURS: Final = "store_info"
# Alone also against who holds it shared; ACCESS SHARE, a reader's, is in conflict with neither.
_SHARED, _ALONE = "ROW EXCLUSIVE", "SHARE ROW EXCLUSIVE"
_CONNECT_SECONDS: Final = 10
# From so many rows, or bytes of them, a table to copy into is worth its making.
_MANY: Final = 500
_MANY_BYTES: Final = 50_000

# Most particular first: LargeBinary and Text are siblings, BigInteger is an Integer.
_TYPES: Final = (
    (SmallInteger, "int2"),
    (BigInteger, "int8"),
    (Integer, "int4"),
    (LargeBinary, "bytea"),
    (Text, "text"),
)

# A server that kills idle writers must not keep their locks for ever, a writer that the
# network cut off must notice, and none waits without an end.
TABLES: Final = (
    "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')"
    " AND relnamespace = quote_ident(current_schema())::regnamespace"
)
"""Gives what is in the schema, for `Postgres.check`."""

_SETTINGS: Final = (
    "-c application_name=auditsvc -c idle_in_transaction_session_timeout=120s"
    " -c lock_timeout=30s -c statement_timeout=300s"
    " -c client_min_messages=warning -c jit=off"
)

_READ_ONLY: Final = " -c default_transaction_read_only=on"

# Options of libpq that must not be shown.
_SECRETS: Final = ("password", "sslpassword")

# Parts of the messages of libpq and the server when a connection is refused: there is
# no SQLSTATE then.
_REFUSALS: Final = (
    ("password", "wrong user name or password", "check the URL, PGPASSWORD or ~/.pgpass"),
    ("pg_hba.conf", "the server does not let us in", "check pg_hba.conf on the server"),
    ("does not exist", "there is no such database or user", "make it: `createdb NAME`"),
    ("onnection refused", "no server answers there", "check the host, the port and the server"),
    ("No such file", "no server answers there", "check the socket folder and the server"),
    ("could not translate host name", "the host is not known", "check the host's name"),
    ("failed to resolve host", "the host is not known", "check the host's name"),
    ("timeout", "the server does not answer", "check the network and the host"),
)

# Of these, what may pass.
_ABSENT: Final = ("no server answers", "the server does not answer")

DENIED: Final = "42501"
MAY_READ: Final = (
    "let the role read: USAGE on the schema, SELECT on its tables (packaging/postgres-roles.sql)"
)
"""What to do if who only reads may not."""

# SQLSTATE or its class -> (what is wrong, what to do).
_MEANINGS: Final = {
    "53100": ("its disk is full", "free some space on the server; nothing was half stored"),
    "25006": ("it is read-only", "give the primary's URL, not a standby's"),
    "55P03": ("another session keeps its tables locked", "see which by `auditsvc doctor`"),
    "57014": ("it did not do in time what it was asked for", "see what it does: `auditsvc doctor`"),
    DENIED: ("permission is denied", "grant the role CREATE and its own tables"),
    "40": ("other writers were in the way", "try again"),
    "53": ("it has no resources left", "check connections and memory on the server"),
}
_CONTESTED: Final = (errors.UniqueViolation, errors.DeadlockDetected)
_CREATED: Final = (errors.DuplicateTable, errors.DuplicateObject)
"""What a second writer meets, beside a key that is taken, where both make the store."""
# Data exception, integrity constraint, program limit exceeded.
_REFUSED: Final = ("22", "23", "54")
_PASSING: Final = ("08", "40", "57P", "57014", "55P03", "53", "25P03")


class Postgres:
    """A store in a PostgreSQL database."""

    takes_packed = True

    def __init__(self, url: URL, *, read: bool = False) -> None:
        shown = url.set(drivername="postgresql").difference_update_query(_SECRETS)
        self.place = shown.render_as_string(hide_password=True)
        self._read = read
        self._made = False
        self._watched = False
        self._parts: list[Part] = []
        """Partitions, as they were; some may have been dropped since."""
        self.engine = create_engine(
            url,
            isolation_level="READ COMMITTED",
            # For each connection from the pool: a returned one is reset to READ WRITE.
            execution_options={"postgresql_readonly": True} if read else {},
            pool_size=1,
            max_overflow=1,
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "options": _SETTINGS + (_READ_ONLY if read else ""),
                "keepalives_idle": 30,
                "tcp_user_timeout": 60_000,
            },
        )

    def prepare(self, *, create: bool) -> None:
        """Check that the server can be reached and, unless `create`, that the store exists."""
        with transaction(self) as connection:
            self.check(connection.exec_driver_sql(TABLES), create=create)

    def check(self, tables: Iterable[Sequence[object]], *, create: bool = False) -> None:
        """Check, by the rows of the statement TABLES, that it is ours or empty."""
        if not self._is_ours(tables) and not create:
            raise AbsentError(
                f"there is no store at {self.place}",
                "`auditsvc run` or `ingest` makes one; if it is being made just now, try again",
            )

    @contextmanager
    def begin(self, *, alone: bool) -> Iterator[Connection]:
        """Open a transaction; `alone` waits for the others to end and keeps new ones out.

        Where no store is yet there is nothing to lock: Contested if another made it meanwhile.
        """
        locked = False
        try:
            with transaction(self) as connection:
                locked = self._lock(connection, _ALONE if alone else _SHARED)
                self._see_own(connection)
                yield connection
        except StoreError as error:
            cause = error.__cause__
            cause = cause.orig if isinstance(cause, exc.DBAPIError) else cause
            if isinstance(cause, _CONTESTED) and not (alone and locked):
                raise Contested from error
            if isinstance(cause, _CREATED) and not locked:
                raise Contested from error
            raise

    def _lock(self, connection: Connection, mode: str) -> bool:
        """Keep other writers out as far as `mode` does; False if there is no store to lock."""
        if not self._made:
            exists = f"SELECT to_regclass('{_OURS}') IS NOT NULL"
            self._made = bool(connection.exec_driver_sql(exists).scalar())
        if self._made:
            connection.exec_driver_sql(f"LOCK TABLE {_OURS} IN {mode} MODE")
        return self._made

    def strangers(self, connection: Connection, *, whole: bool) -> list[str]:
        """Name what is in the schema and not ours."""
        found = list(objects_postgres.strangers(connection, whole=whole))
        self._watched = whole and not found
        return found

    def _see_own(self, connection: Connection) -> None:
        """See that nothing has come that would run at a write, or take it elsewhere."""
        if self._watched and connection.exec_driver_sql(objects_postgres.SUSPECT).first():
            objects.refuse(self, objects_postgres.strangers(connection, whole=False))

    def unhurried(self, connection: Connection) -> None:
        """Let this transaction take its time: that of a migration, or of `verify`."""
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")

    def relieve(self) -> str:
        """Do nothing: what old versions of rows take is the server's to clean."""
        return ""

    def empty(self, connection: Connection) -> bool:
        """Whether there is nothing in it; StoreError if what is there is not ours."""
        return not self._is_ours(connection.exec_driver_sql(TABLES))

    def _is_ours(self, tables: Iterable[Sequence[object]]) -> bool:
        """Whether these are tables of a store; False if there are none."""
        found = {name for (name,) in tables}
        if found and _OURS not in found:
            raise ForeignError(
                f"{self.place} holds tables of another program",
                "make a database of its own: `createdb NAME`",
            )
        return bool(found)

    def let_go(self) -> None:
        """Do nothing: the server has the memory."""

    def furnish(self, connection: Connection) -> None:
        """Do nothing: PostgreSQL collects its statistics itself."""

    def insert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows by binary COPY; Contested if a key is taken."""
        if table in FACTS:
            self._ensure(connection, (row[0] for row in rows))
        _copy(connection, table.name, table, rows)

    def pack(self, packed: PackedRows) -> None:
        """Do nothing: the rows of each table are made when they are inserted."""

    def stage(self, connection: Connection, packed: PackedRows) -> None:
        """Do nothing, as above."""

    def insert_new(self, connection: Connection, table: Table, packed: PackedRows) -> bool:
        """Insert the rows that are not stored yet; False if they are few, or an id is used."""
        data = packed.copy(table.name)
        if len(data) < _MANY_BYTES:
            return False
        with _stage(connection, table, data) as stage:
            added = _move(connection, table, stage)
            count = connection.exec_driver_sql(f"SELECT count(*) FROM {stage}").scalar()  # noqa: S608
            if added == count:
                return True
            other = connection.exec_driver_sql(
                f"SELECT 1 FROM {stage} new JOIN {table.name} there ON there.id = new.id"  # noqa: S608
                " WHERE there.* IS DISTINCT FROM new.* LIMIT 1"
            )
            return other.first() is None

    def insert_facts(self, connection: Connection, batch: Batch) -> None:
        """Insert the rows of all tables of facts; Contested if a key is taken."""
        span = batch.facts.all_span()
        if span is None:
            return
        part = next((part for part in self._parts if part.holds(span)), None)
        if part is None or not partitions.is_there(connection, part):
            self._ensure(connection, batch.facts.ids())
            part = next((part for part in self._parts if part.holds(span)), None)
        for table in FACTS:
            if table.name not in batch.facts:
                continue
            name = part.name(table.name) if part else table.name
            if batch.packed:
                _copy_data(connection, name, table, batch.packed.copy(table.name))
            else:
                _copy(connection, name, table, batch.facts[table.name])

    def _ensure(self, connection: Connection, ids: Iterable[object]) -> None:
        """Make the partitions of events that have none."""
        days = {day_of(each) for each in ids if isinstance(each, int)}
        self._parts = partitions.ensure(connection, days, int(time.time()) // DAY)

    def insert_absent(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        """Insert the rows whose key is free; give how many those were."""
        # In one order for all writers, so that none waits for one that waits for it.
        ordered = sorted(map(_with_text, rows) if table is text else rows, key=_first)
        if len(ordered) < _MANY:
            columns = column_list(table)
            arrays = ", ".join(f"%s::{_type(column)}[]" for column in table.columns)
            statement = (
                f"INSERT INTO {table.name} ({columns})"  # noqa: S608 - names of the schema
                f" SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING"
            )
            values = tuple(list(column) for column in zip(*ordered, strict=True))
            return connection.exec_driver_sql(statement, values).rowcount
        with _stage(connection, table, ordered) as stage:
            return _move(connection, table, stage)

    def fetch(
        self, connection: Connection, table: Table, key: str, values: Iterable[int]
    ) -> Sequence[Row]:
        """Give the rows whose column `key` is among `values`, in no order."""
        statement = f"SELECT {column_list(table)} FROM {table.name} WHERE {key} = ANY(%s)"  # noqa: S608
        rows = connection.exec_driver_sql(statement, (list(values),))
        return list(self.shown(table, rows))

    def shown(self, table: Table, rows: Iterable[Row]) -> Iterable[Row]:
        """Give a call's arguments, which are stored as bytes, as numbers."""
        return map(_as_numbers if table is syscall else tuple, rows)

    def delete(self, connection: Connection, table: Table, key: str, values: Iterable[int]) -> None:
        """Delete the rows whose column `key` is among `values`."""
        statement = f"DELETE FROM {table.name} WHERE {key} = ANY(%s)"  # noqa: S608
        connection.exec_driver_sql(statement, (list(values),))

    def explain(self, error: Exception) -> StoreError:
        """Explain a SQLSTATE, or the refusal of a connection."""
        cause = error.orig if isinstance(error, exc.DBAPIError) else error
        state = getattr(cause, "sqlstate", None)
        where = f"the store {self.place}"
        if state is None and isinstance(cause, psycopg.OperationalError):
            message = str(cause)
            for word, what, hint in _REFUSALS:
                if word in message:
                    return StoreError(f"{where}: {what}", hint, retryable=what.startswith(_ABSENT))
            return StoreError(
                f"{where}: the connection was lost ({first_line(error)})",
                "check the server and the network",
                retryable=True,
            )
        code = state or ""
        what, hint = _MEANINGS.get(code) or _MEANINGS.get(code[:2]) or (first_line(error), "")
        if code == DENIED and self._read:
            hint = MAY_READ
        # Before it is sent: a text with NUL, a number that fits no column.
        if code.startswith(_REFUSED) or (not code and isinstance(cause, psycopg.DataError)):
            return RefusedError(f"{where}: {what}", hint)
        return StoreError(f"{where}: {what}", hint, retryable=code.startswith(_PASSING))


def _copy(connection: Connection, name: str, table: Table, rows: Sequence[Row]) -> None:
    """Copy rows into the table `name`, which has the columns of `table`."""
    with _copying(connection, name, table) as copy:
        copy.set_types([_type(column) for column in table.columns])
        write = copy.write_row
        for row in map(_as_bytes, rows) if table is syscall else rows:
            write(row)


def _copy_data(connection: Connection, name: str, table: Table, data: bytes) -> None:
    """Copy rows, in the format of binary COPY, into the table `name`."""
    with _copying(connection, name, table) as copy:
        copy.write(data)


@contextmanager
def _stage(connection: Connection, table: Table, rows: Sequence[Row] | bytes) -> Iterator[str]:
    """Put rows into a temporary table; gives its name."""
    name = f"new_{table.name}"
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} (LIKE {table.name}) ON COMMIT DROP")
    if isinstance(rows, bytes):
        _copy_data(connection, name, table, rows)
    else:
        _copy(connection, name, table, rows)
    yield name
    connection.exec_driver_sql(f"DROP TABLE {name}")


def _move(connection: Connection, table: Table, stage: str) -> int:
    """Insert the staged rows whose key is free; give how many those were."""
    columns = column_list(table)
    # In one order for all writers, so that none waits for one that waits for it.
    moved = connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({columns})"  # noqa: S608 - names of the schema
        f" SELECT {columns} FROM {stage} ORDER BY 1 ON CONFLICT DO NOTHING"
    )
    return moved.rowcount


@contextmanager
def _copying(connection: Connection, name: str, table: Table) -> Iterator[psycopg.Copy]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    statement = f"COPY {name} ({column_list(table)}) FROM STDIN (FORMAT BINARY)"
    with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        yield copy


def _with_text(row: Row) -> Row:
    """Give a row of `text` with its text as such."""
    value = row[1]
    return (row[0], value.decode(), row[2]) if isinstance(value, bytes) else row


def _first(row: Row) -> str | int:
    assert isinstance(row[0], int | str)
    return row[0]


_PLACES: Final = slice(*(syscall.columns.keys().index(ARGUMENTS[n]) + bool(n) for n in (0, -1)))
"""Where a call's arguments are in its row."""
_SIGN, _BITS = 1 << 63, 64


def _as_bytes(row: Row) -> Row:
    """Give a call's row as it is stored: its arguments as bytes."""
    arguments = []
    for value in row[_PLACES]:
        assert isinstance(value, int)
        unsigned = value % (1 << _BITS)
        arguments.append(unsigned.to_bytes((unsigned.bit_length() + 7) // 8, "big"))
    return (*row[: _PLACES.start], *arguments, *row[_PLACES.stop :])


def _as_numbers(row: Sequence[object]) -> Row:
    """Undo `_as_bytes`."""
    numbers = []
    for value in row[_PLACES]:
        assert isinstance(value, bytes)
        unsigned = int.from_bytes(value, "big")
        numbers.append(unsigned - (1 << _BITS) if unsigned >= _SIGN else unsigned)
    return (*row[: _PLACES.start], *numbers, *row[_PLACES.stop :])


def _type(column: Column[object]) -> str:
    if column.name in ARGUMENTS and column.table is syscall:
        return "bytea"
    return next(name for kind, name in _TYPES if isinstance(column.type, kind))


def make_database(url: URL, *, read: bool) -> Postgres:
    """For `auditsvc.store.databases`."""
    return Postgres(url, read=read)
