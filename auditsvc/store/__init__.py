"""The store: events in a database, each exactly once.

    store = open_store("sqlite:////var/lib/auditsvc/auditsvc.db")
    source = store.source("file", "/var/log/audit/audit.log")
    checkpoint = Checkpoint(segment, position, decoder.pending())
    store.write(source.id, decoder.take(), checkpoint, open_records=decoder.open_records)
    store.close()

One writer per Store; any number of Stores may write to one PostgreSQL database, and SQLite
makes them wait for each other. Every failure raises StoreError, and nothing of the
transaction is stored. After that, ask for the source again and continue from its
checkpoint: if the connection was lost, the transaction may have been committed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from auditsvc.errors import StoreError
from auditsvc.store import builtin, moving
from auditsvc.store.database import Contested, empty_store, reading
from auditsvc.store.databases import open_database, parse_url
from auditsvc.store.migrate import bring_up, check_schema, revisions
from auditsvc.store.objects import refuse_strangers
from auditsvc.store.write import sources
from auditsvc.store.write.sources import Checkpoint, Source
from auditsvc.store.write.writer import Writer, WriteResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Connection

    from auditsvc.decode.batch import Batch
    from auditsvc.store.database import Database
    from auditsvc.store.write.revision import Revision

    Progress = Callable[[str, int, int], None]

__all__ = [
    "DEFAULT_URL",
    "Checkpoint",
    "Source",
    "Store",
    "WriteResult",
    "migrate",
    "open_store",
    "parse_url",
]

DEFAULT_URL: Final = "sqlite:////var/lib/auditsvc/auditsvc.db"

_TRIES: Final = 5

_NOTHING: Final[Mapping[str, int]] = {}


def _no_progress(what: str, done: int, total: int) -> None:
    """Show nothing."""


class Store:
    """An open store; `open_store` makes one."""

    def __init__(self, database: Database, secret: bytes) -> None:
        self.database = database
        """For queries by other modules; `engine` is SQLAlchemy's."""
        self.engine = database.engine
        self._writer = Writer(database, secret)
        self.secret = secret
        """Key of the dimension ids, for the decoder: 32 bytes; b"" for a reader."""
        self.place = database.place
        """The store's name in messages, without a password."""

    def source(self, kind: str, name: str, *, is_counted: bool = True) -> Source:
        """Find or make the source with this name; gives it with its checkpoint.

        A source that is not counted gives no lines: the ledger does not show it.
        """
        return self._writer.source(kind, name, is_counted=is_counted)

    def rename_source(self, kind: str, old: str, new: str, at: tuple[str, int]) -> None:
        """Rename a source whose checkpoint is the segment and position `at`, if there is one.

        Nothing is done if a source has the new name already.
        """
        sources.rename(self.database, kind, old, new, at)

    def find(self, kind: str, name: str) -> Source | None:
        """Find the source of this name, None if there is none."""
        return sources.find(self.database, kind, [name]).get(name)

    def find_all(self, kind: str, names: Sequence[str]) -> dict[str, Source]:
        """Find the sources of these names that are there."""
        return sources.find(self.database, kind, names)

    def pack(self, batch: Batch) -> None:
        """Make a batch ready for `write`, which may then be called by another thread."""
        if batch.packed and self.database.takes_packed:
            self.database.pack(batch.packed)

    def write(
        self,
        source_id: int,
        batch: Batch,
        checkpoint: Checkpoint,
        *,
        open_records: int = 0,
        ledger: Mapping[str, int] = _NOTHING,
        origin: int = 0,
        is_trial: bool = False,
        revision: Revision | None = None,
    ) -> WriteResult:
        """Store a batch and its checkpoint in one transaction.

        `open_records` is the decoder's, after the batch; `ledger` is added to the
        batch's own counts; `origin` is where the decoder's input began, in bytes, for
        the positions of raw lines. Events that are already stored add nothing and are
        counted as `duplicate`. ClashError: pin the ids in it and read the lines again;
        RefusedError: the database cannot hold something in the batch; any other
        StoreError is an error of the database. With `is_trial` nothing is stored, and
        the errors are the same. `revision`: rows that replace others, and changes of other
        sources, in the same transaction.
        """
        return self._writer.write(
            source_id,
            batch,
            checkpoint,
            open_records=open_records,
            ledger=ledger,
            origin=origin,
            is_trial=is_trial,
            revision=revision,
        )

    def settle(self, *, all_of_it: bool = False, is_busy: bool = False) -> bool:
        """Settle what waits for it, if it is much or has waited for long, or all of it.

        `is_busy`: events come quickly, so only if it is very much. One transaction, a fraction
        of a second; gives whether another is due. See `auditsvc.store.write.settle`.
        """
        return self._writer.settle(all_of_it=all_of_it, is_busy=is_busy)

    def relieve(self) -> str:
        """Keep the store small, between two writes; give what hinders that, "" if nothing does."""
        return self.database.relieve()

    def close(self) -> None:
        """Close the connection; the store cannot be used after that."""
        self.database.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_store(url: str = DEFAULT_URL, *, create: bool = True, read: bool = False) -> Store:
    """Open a store, bring its schema to this program's, and make it if it is not there.

    With `read` nothing is made, migrated or written: the connection can only read. StoreError
    if the store cannot be reached, if it is not ours, if it is not there and `create` is
    false, or if `read` meets the schema of another version.
    """
    database = open_database(url, read=read)
    try:
        if read:
            database.prepare(create=False)
            with reading(database) as connection:
                check_schema(database, connection)
            return Store(database, b"")
        database.prepare(create=create)
        _, secret = _bring_up(database, create=create)
    except BaseException:
        database.engine.dispose()
        raise
    return Store(database, secret)


def _bring_up(
    database: Database, *, create: bool, progress: Progress = _no_progress
) -> tuple[str | None, bytes]:
    """Give the schema's revision before (None: there was no store), and the secret."""
    known = revisions()
    begun: list[str | None] = []
    tries = _TRIES
    while tries:
        with suppress(Contested):
            with database.begin(alone=True) as connection:
                _refuse_empty(database, connection, create=create)
                refuse_strangers(database, connection, whole=False)
                before, after = bring_up(database, connection)
                begun = begun or [before]
                is_last = after == known[-1]
                if is_last and not moving.is_under_way(connection):
                    return begun[0], _refresh(database, connection)
            if not is_last:
                progress("schema", known.index(after) + 1, len(known))
                continue
            for done, total in moving.steps(database):
                progress("events", done, total)
            with database.begin(alone=True) as connection:
                database.unhurried(connection)
                return begun[0], _refresh(database, connection)
        tries -= 1
    raise StoreError(
        f"the store {database.place}: other programs make it just now", "try again", retryable=True
    )


def _refresh(database: Database, connection: Connection) -> bytes:
    """Make this program's views and names; gives the secret."""
    builtin.refresh(database, connection)
    moving.finish(connection)
    made = builtin.secret(connection)
    refuse_strangers(database, connection, whole=True)
    return made


def _refuse_empty(database: Database, connection: Connection, *, create: bool) -> None:
    """Check that a store exists, not only an empty file or database, before it is changed."""
    if not create and database.empty(connection):
        raise empty_store(database.place)


def migrate(
    url: str = DEFAULT_URL,
    *,
    create: bool = True,
    progress: Progress = _no_progress,
) -> str:
    """Make a store, or bring it to this program's schema; give a line that says what was done.

    `progress` gets what is counted, how much of it is done, and how much there is: revisions of
    the schema, and events where rows must be moved.
    StoreError if the store is not there and `create` is false.
    """
    database = open_database(url)
    try:
        database.prepare(create=create)
        before, _ = _bring_up(database, create=create, progress=progress)
    finally:
        database.engine.dispose()
    after = revisions()[-1]
    if before == after:
        return f"{database.place}: schema {after}, nothing to do"
    return f"{database.place}: schema {after}, before: {before or 'no store'}"
