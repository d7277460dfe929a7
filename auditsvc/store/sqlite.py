"""The store in one SQLite file.

WAL, so that readers and the one writer do not wait for each other; synchronous FULL, so
that a committed transaction survives a power failure; mode 0600, because the rows show
what all users of the host did (SQLite gives `-wal` and `-shm` the mode of the file).
`application_id` distinguishes our files from those of other programs.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import QueuePool, create_engine, event, exc

from auditsvc.errors import AbsentError, ForeignError, StoreError, of_system
from auditsvc.host.file_locks import lock_holders
from auditsvc.host.files import UnsafeError, check_exists, folder_of, make_folder, open_file
from auditsvc.host.processes import name_of
from auditsvc.store import objects, objects_sqlite
from auditsvc.store.database import READS, Contested, column_list, empty_store, transaction
from auditsvc.store.migrate import REVISION
from auditsvc.store.schema import FACTS, SETTLED
from auditsvc.store.space import let_shrink
from auditsvc.store.sqlite_errors import HINTS, damaged, explained
from auditsvc.store.sqlite_insert import insert_absent, insert_many, is_run, new_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import URL, Connection, Table

    from auditsvc.decode.batch import Batch, PackedRows, Row

APPLICATION_ID: Final = 0x61756474  # "audt"
BUSY_SECONDS: Final = 30.0
_READER_BUSY_SECONDS: Final = 2.0
"""How long who only reads, or looks whose file it is, waits for a program that lets nobody read."""
_CACHE_KIB: Final = 12288
_STAGE: Final = "staged"
"""Name of the attached database with a batch's rows."""
_READ_LOCKS: Final = range(123, 128)
"""WAL_READ_LOCK(0) to (4)."""
_WRITE_LOCKS: Final = range(120, 123)
"""WAL_WRITE_LOCK, WAL_CKPT_LOCK and WAL_RECOVER_LOCK: SQLite holds them alone, never shared."""
_PAGE: Final = 2048
"""Small: a small transaction changes a few rows of each page that it writes."""
_WAL_BYTES: Final = 32 << 20
"""Of the write-ahead log before a checkpoint copies it to the file. A frequently changed page is
written to the log by every transaction, but to the file once."""

WAL_BOUND: Final = 128 << 20
"""Bytes of log above which somebody who reads for long is told."""
_RELIEVE_EVERY: Final = 5.0

# Row counts for the planner, fixed so that plans are the same on all hosts: a store has
# far fewer contexts than calls, and each has many calls. Without these counts SQLite
# scans all calls to find a program (docs/decisions/0002-store.md).
_STATISTICS: Final = (
    ("syscall", "syscall_context_nr", "10000000 100 5"),
    ("syscall", "syscall_failed", "500000 5000"),
    ("syscall", "syscall_partial", "1000 200"),
    ("syscall_name", "syscall_name_name", "4000 9"),
    ("context", None, "100000"),
    ("text", "text_head", "1000000 1"),
    ("file", "file_name", "1000000 2"),
    ("path", "path_file", "5000000 50000 5"),
    ("path", "path_recent", "100000 500 1"),
    ("path", "path", "5000000 2 1"),
    ("address", "address_address", "200000 5"),
    ("sockaddr", "sockaddr_address", "1000000 10000 5"),
    ("sockaddr", "sockaddr_recent", "50000 250 1"),
    ("sockaddr", "sockaddr", "1000000 2 1"),
    ("event", "event_type", "100000 1000"),
    ("event", "event_user_login", "100000 1000 50"),
)

_TAKEN: Final = ("SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID")


class SQLite:
    """A store in an SQLite file; `busy` is how long to wait for another writer, in seconds.

    With `read` the file is opened read-only.
    """

    def __init__(self, url: URL, busy: float = BUSY_SECONDS, *, read: bool = False) -> None:
        if not url.database or url.database == ":memory:":
            raise StoreError(
                "a store in memory would be gone at the end", "give a path: sqlite:////PATH"
            )
        self.path = Path(url.database).absolute()
        self.place = str(self.path)
        # Python can be built without this method.
        self.takes_packed = hasattr(sqlite3.Connection, "deserialize")
        self._busy = busy
        self._opened: tuple[int, int] | None = None
        self._log: tuple[int, int] | None = None
        """Device and inode of the write-ahead log of the connection that is open."""
        self._schema: int | None = None
        """The schema's version (SQLite's count of changes) when it was looked at last."""
        self._revision: str | None = None
        """The migration that the schema was of then."""
        self._relieve_at = 0.0
        self._hindrance = ""
        if read:
            self.engine = create_engine(
                "sqlite://", creator=self.open_reader, poolclass=QueuePool, pool_size=1
            )
        else:
            self.engine = create_engine(url, connect_args={"timeout": busy}, pool_size=1)
            event.listen(self.engine, "connect", self._connect)
        event.listen(self.engine, "begin", _begin)

    def _connect(self, connection: sqlite3.Connection, _: object) -> None:
        self._opened = self._opened or _identity(self.path)
        self._log = None
        connection.isolation_level = None  # transactions begin in _begin
        connection.execute(f"PRAGMA page_size = {_PAGE}")  # for a new file
        self._read_schema(connection)
        let_shrink(connection)
        self._switch_to_wal(connection)
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        for pragma in (
            "synchronous = FULL",
            f"cache_size = -{_CACHE_KIB}",
            "temp_store = MEMORY",
            f"wal_autocheckpoint = {_WAL_BYTES // page_size}",
            f"journal_size_limit = {2 * _WAL_BYTES}",  # once nobody reads in it
        ):
            connection.execute(f"PRAGMA {pragma}")

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        # Here SQLite does not wait if another program is just making the file.
        ends = time.monotonic() + self._busy
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                    raise
                time.sleep(0.02)
            else:
                return

    def prepare(self, *, create: bool) -> None:
        """Make the file, or check that an existing one is ours, before it is changed."""
        doing = "opened"
        try:
            if self._is_there():
                if self._check_empty() and not create:
                    raise empty_store(self.place)
            elif create:
                doing = "made"
                # Its own folder is part of the store; those above must be there.
                folder_of(self.path.parent)
                make_folder(self.path.parent)
                # The mode counts from the first byte on; SQLite itself would use the umask.
                os.close(open_file(self.path, os.O_CREAT | os.O_RDWR))
            else:
                raise AbsentError(
                    f"there is no store at {self.place}", "`auditsvc run` or `ingest` makes one"
                )
        except UnsafeError as error:
            raise ForeignError(f"the store {of_system(error)}") from error
        except OSError as error:
            is_folder = error.errno == errno.EISDIR
            raise StoreError(
                f"the store {self.place} cannot be {doing}: {error.strerror}",
                "name a file in it" if is_folder else HINTS[doing],
            ) from error
        except sqlite3.Error as error:
            raise self.explain(error) from error

    def _is_there(self) -> bool:
        """Whether the file exists; UnsafeError if others may change it, `-wal` or `-shm`."""
        for end in ("-wal", "-shm", "-journal"):
            check_exists(self.path.with_name(self.path.name + end))
        return check_exists(self.path)

    def _is_denied(self) -> bool:
        return os.access(self.path, os.F_OK) and not os.access(self.path, os.R_OK)

    @property
    def uri(self) -> str:
        """How SQLite opens the file for reading alone.

        On a read-only mount it cannot make the files by which readers and writers know of
        each other, and needs none, unless a WAL was left behind: that has rows too.
        """
        still = bool(os.statvfs(self.path).f_flag & os.ST_RDONLY)
        wal = self.path.with_name(f"{self.path.name}-wal")
        if still and not (wal.exists() and wal.stat().st_size):
            return f"{self.path.as_uri()}?mode=ro&immutable=1"
        return f"{self.path.as_uri()}?mode=ro"

    def open_reader(self) -> sqlite3.Connection:
        """Connect read-only; the caller manages transactions."""
        connection = sqlite3.connect(
            self.uri,
            uri=True,
            isolation_level=None,
            timeout=_READER_BUSY_SECONDS,
            check_same_thread=False,
        )
        connection.execute("PRAGMA query_only = ON")
        # The file may be another's work: sqlite.org/security.html. It costs nothing measurable.
        connection.execute("PRAGMA cell_size_check = ON")
        self._read_schema(connection)
        return connection

    def _read_schema(self, connection: sqlite3.Connection) -> None:
        """Have SQLite read the whole schema, which it does once in a connection."""
        try:
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1")
        except UnicodeDecodeError as error:  # SQLite's message shows bytes of a damaged schema
            raise damaged(self.place) from error

    def _check_empty(self) -> bool:
        """Whether there is nothing in the file; StoreError if it is not ours."""
        if self.path.stat().st_size == 0:
            return True
        connection = sqlite3.connect(self.uri, uri=True)
        try:
            connection.execute(f"PRAGMA busy_timeout = {int(_READER_BUSY_SECONDS * 1000)}")
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            if application == APPLICATION_ID:  # both are told by the header
                return not connection.execute("PRAGMA schema_version").fetchone()[0]
            counted = connection.execute("SELECT count(*) FROM sqlite_schema")
            return self._check_owner(application, counted.fetchone()[0])
        finally:
            connection.close()

    def _check_owner(self, application: int, tables: int) -> bool:
        """Give whether the file is empty; StoreError if it is another program's."""
        if application == APPLICATION_ID or (not application and not tables):
            return not tables
        raise ForeignError(
            f"{self.place} is a database of another program", "give another path to --store"
        )

    @contextmanager
    def begin(self, *, alone: bool) -> Iterator[Connection]:
        """Open a transaction; SQLite has one writer at a time anyway."""
        del alone
        with transaction(self) as connection:
            self._see_in_place()
            self._see_own(connection)
            yield connection

    def _see_in_place(self) -> None:
        """See that the files are where they were opened: SQLite would write on into nowhere."""
        if _identity(self.path) != self._opened:
            raise StoreError(
                f"the store {self.place} was taken away or replaced while it was open",
                "put it back",
            )
        log = _identity(self.path.with_name(f"{self.path.name}-wal"))
        self._log = self._log or log
        if log != self._log:
            raise StoreError(
                f"the write-ahead log of the store {self.place} was deleted or replaced while it "
                "was open",
                "see who did it; what can be saved of it is saved",
            )

    def empty(self, connection: Connection) -> bool:
        """Whether there is nothing in it; StoreError if what is there is not ours."""
        application = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
        tables = connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar_one()
        return self._check_owner(application, tables)

    def strangers(self, connection: Connection, *, whole: bool) -> list[str]:
        """Name what is in the schema and not ours."""
        found = list(objects_sqlite.strangers(connection, whole=whole))
        if whole and not found:
            self._schema = self._schema_version(connection)
            self._revision = connection.exec_driver_sql(REVISION).scalar()
        return found

    def _see_own(self, connection: Connection) -> None:
        """Look again at the schema when anybody has changed it."""
        if self._schema is not None and self._schema_version(connection) != self._schema:
            # Not of `revisions`: an upgrade has put the newer program's files there.
            found = connection.exec_driver_sql(REVISION).scalar()
            if found != self._revision:
                raise StoreError(
                    f"the store {self.place} was brought to schema {found} while it was open",
                    "restart this program: it is of an older auditsvc",
                )
            objects.refuse_strangers(self, connection, whole=True)

    @staticmethod
    def _schema_version(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA main.schema_version").scalar_one())

    def let_go(self) -> None:
        """Give back the memory of pages that were read or written."""
        connection = self.engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA shrink_memory")
        finally:
            connection.close()

    def unhurried(self, connection: Connection) -> None:
        """Do nothing: no statement is ended for its time."""

    @property
    def wal_bytes(self) -> int:
        """Bytes of the write-ahead log; 0 if there is none."""
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except OSError:
            return 0

    def readers(self, *, own: bool = False) -> list[int]:
        """Processes that are reading in the write-ahead log, as far as they can be seen.

        Each holds one of the bytes WAL_READ_LOCK of the shared memory (sqlite.org/walformat.html).
        `own`: this process too, if another thread of it reads.
        """
        return lock_holders(self.path.with_name(f"{self.path.name}-shm"), _READ_LOCKS, own=own)

    def blockers(self) -> list[int]:
        """Processes that keep writers out by a shared lock, which no program takes by SQLite.

        Who may only read the shared memory can take one (fcntl(2) asks for no more).
        """
        shared = self.path.with_name(f"{self.path.name}-shm")
        return lock_holders(shared, _WRITE_LOCKS, shared=True)

    def relieve(self) -> str:
        """Empty a write-ahead log that has grown too large; give who keeps it from being emptied.

        A reader keeps what was there when it began, and all that came after.
        """
        if self.wal_bytes <= WAL_BOUND:
            self._hindrance = ""
        elif time.monotonic() >= self._relieve_at:
            self._relieve_at = time.monotonic() + _RELIEVE_EVERY
            self._empty_log()
            who = " and ".join(
                "the service itself (for the archive or the fleet)"
                if pid == os.getpid()
                else f"pid {pid} ({name_of(pid)})"
                for pid in self.readers(own=True)
            )
            self._hindrance = (
                f"the write-ahead log of {self.place} is larger than {WAL_BOUND >> 20} MiB: "
                f"{who or 'another program'} has been reading for long"
                if self.wal_bytes > WAL_BOUND
                else ""
            )
        return self._hindrance

    def _empty_log(self) -> None:
        connection = self.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout = 0")  # who reads is not waited for
            cursor.execute("PRAGMA main.wal_checkpoint(TRUNCATE)").fetchall()
            cursor.execute(f"PRAGMA busy_timeout = {int(self._busy * 1000)}")
        except sqlite3.Error as error:
            raise self.explain(error) from error
        finally:
            connection.close()

    def furnish(self, connection: Connection) -> None:
        """Mark the file as ours and give the planner its statistics."""
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.exec_driver_sql("ANALYZE sqlite_schema")  # makes sqlite_stat1
        connection.exec_driver_sql("DELETE FROM sqlite_stat1")
        connection.exec_driver_sql("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", list(_STATISTICS))

    def insert(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows; Contested if a key is taken."""
        with _contested():
            insert_many(connection, table, rows)

    def pack(self, packed: PackedRows) -> None:
        """Have the image made."""
        packed.pack()

    def stage(self, connection: Connection, packed: PackedRows) -> None:
        """Attach the image as a database in memory, until the next transaction begins."""
        connection.exec_driver_sql(f"ATTACH ':memory:' AS {_STAGE}")
        connection.info[_STAGE] = True
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.deserialize(packed.image(), name=_STAGE)

    def insert_new(self, connection: Connection, table: Table, packed: PackedRows) -> bool:
        """Insert the staged rows that are not there; False if an id stands for other content."""
        del packed  # it is staged
        staged, columns = f"{_STAGE}.{table.name}", column_list(table)
        added = connection.exec_driver_sql(
            f"INSERT OR FAIL INTO main.{table.name} ({columns})"  # noqa: S608 - names of the schema
            f" SELECT {columns} FROM {staged} WHERE true ON CONFLICT DO NOTHING"
        )
        if added.rowcount == connection.exec_driver_sql(f"SELECT count(*) FROM {staged}").scalar():  # noqa: S608
            return True
        others = " OR ".join(
            f'there."{column.name}" IS NOT new."{column.name}"' for column in table.columns
        )
        other = connection.exec_driver_sql(
            f"SELECT 1 FROM {staged} new JOIN main.{table.name} there ON there.id = new.id"  # noqa: S608
            f" WHERE {others} LIMIT 1"
        )
        return other.first() is None

    def insert_facts(self, connection: Connection, batch: Batch) -> None:
        """Insert the rows of all tables of facts, staged or not; Contested if a key is taken."""
        with _contested():
            for table in FACTS:
                if table.name not in batch.facts:
                    continue
                if not batch.packed:
                    insert_many(connection, table, batch.facts[table.name])
                    continue
                columns = column_list(table)
                into = shown = columns
                if table.name in SETTLED and is_run(batch):
                    run = connection.exec_driver_sql(new_run(table.name)).scalar_one()
                    into, shown = f"{columns}, settled", f"{columns}, {int(run)}"
                connection.exec_driver_sql(
                    f"INSERT OR FAIL INTO main.{table.name} ({into})"  # noqa: S608 - as above
                    f" SELECT {shown} FROM {_STAGE}.{table.name}"
                )

    def insert_absent(self, connection: Connection, table: Table, rows: Sequence[Row]) -> int:
        """Insert the rows whose key is free; give how many those were."""
        return insert_absent(connection, table, rows)

    def fetch(
        self, connection: Connection, table: Table, key: str, values: Iterable[int]
    ) -> Sequence[Row]:
        """Give the rows whose column `key` is among `values`, in no order."""
        statement = (
            f"SELECT {column_list(table)} FROM {table.name}"  # noqa: S608 - names of the schema
            f" WHERE {key} IN (SELECT value FROM json_each(?))"
        )
        found = connection.exec_driver_sql(statement, (json.dumps(list(values)),))
        return [tuple(row) for row in found]

    def shown(self, table: Table, rows: Iterable[Row]) -> Iterable[Row]:
        """Give rows that were selected as `fetch` gives them: they are so already."""
        del table
        return rows

    def delete(self, connection: Connection, table: Table, key: str, values: Iterable[int]) -> None:
        """Delete the rows whose column `key` is among `values`."""
        statement = (
            f"DELETE FROM {table.name}"  # noqa: S608 - names of the schema
            f" WHERE {key} IN (SELECT value FROM json_each(?))"
        )
        connection.exec_driver_sql(statement, (json.dumps(list(values)),))

    def explain(self, error: Exception) -> StoreError:
        """Say what an error of SQLite's means."""
        return explained(error, self.place, is_denied=self._is_denied)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _begin(connection: Connection) -> None:
    if connection.info.pop(_STAGE, False):  # it could not go while its rows were being read
        connection.exec_driver_sql(f"DETACH {_STAGE}")
    # A transaction that begins as a reader cannot wait for a writer without failing.
    reads = connection.get_execution_options().get(READS, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def _contested() -> Iterator[None]:
    try:
        yield
    except exc.IntegrityError as error:
        if error.orig.sqlite_errorname not in _TAKEN:  # type: ignore[union-attr]
            raise
        raise Contested from error


def make_database(url: URL, *, read: bool) -> SQLite:
    """For `auditsvc.store.databases`."""
    return SQLite(url, read=read)
