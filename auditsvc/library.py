"""auditsvc as a library: a log or a store, asked in SQL or read as Arrow.

    import auditsvc

    with auditsvc.read_log("/var/log/audit/audit.log") as log:
        for event in log.events(columns=["time", "exe", "syscall", "paths"]): ...
        table = log.query("SELECT exe, count(*) AS n FROM syscalls GROUP BY exe").arrow()

    with auditsvc.open_store("sqlite:////var/lib/auditsvc/auditsvc.db") as store:
        store.query("SELECT * FROM logins", since="yesterday").pandas()
        for batch in store.batches(since="-1h"): ...

The views and their columns are those of docs/sql.md. Rows of a query need nothing beside
auditsvc; events and Arrow need pyarrow (`pip install auditsvc[arrow]`), `pandas` and `polars`
these packages. Every failure is an `auditsvc.errors.AuditsvcError`.

Nothing is ever written to a store: it is opened read-only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from auditsvc import arrow
from auditsvc.access.client import recording
from auditsvc.config import load_settings
from auditsvc.ingest.ingest import Ingest
from auditsvc.store import open_store as _open_store
from auditsvc.store.databases import file_url
from auditsvc.store.read.period import period_of
from auditsvc.store.read.result import Result, distinct
from auditsvc.store.read.sql import run_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from os import PathLike
    from types import TracebackType
    from typing import Self

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from auditsvc.arrow.events import Events
    from auditsvc.config import Settings
    from auditsvc.decode.batch import Row
    from auditsvc.store.read.time_span import Span

__all__ = ["Answer", "Reader", "open_store", "read_log"]

When = str | datetime | None
"""A time: as `--since` takes it (UTC), or a datetime (UTC if it has no zone)."""
_SIZE: Final = 16_384


class Answer:
    """The rows of a query, all of them."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Row]) -> None:
        self.columns = tuple(columns)
        """Their names."""
        self.rows = rows
        """Tuples; values are the database driver's."""

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def dicts(self) -> list[dict[str, Any]]:
        """Give each row by the names of the columns; a name that is there twice has a number."""
        names = distinct(self.columns)
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def arrow(self) -> pa.Table:
        """Give the rows as an Arrow table; ConfigError if pyarrow is not installed."""
        table: pa.Table = arrow.use("auditsvc.arrow.answer").table_of(
            Result(self.columns, self.rows)
        )
        return table

    def pandas(self) -> pd.DataFrame:
        """Give the rows as a frame of pandas; ConfigError if it is not installed."""
        table = self.arrow()
        arrow.use("pandas")
        return table.to_pandas()

    def polars(self) -> pl.DataFrame:
        """Give the rows as a frame of polars; ConfigError if it is not installed."""
        table = self.arrow()
        frame: pl.DataFrame = arrow.use("polars").from_arrow(table)
        return frame


class Reader:
    """A store that is read; `open_store` and `read_log` make one. Close it, or use `with`."""

    def __init__(
        self,
        settings: Settings,
        close: Callable[[], None],
        problems: Iterable[str] = (),
        *,
        is_recorded: bool = True,
    ) -> None:
        """`is_recorded`: that it was asked is recorded as of all readers (docs/sql.md)."""
        self._settings = settings
        self._store = _open_store(settings.store, create=False, read=True)
        self._close = close
        self._is_recorded = is_recorded
        self.problems = tuple(problems)
        """What was wrong with a log, a line each: lines that are no records, a damaged end."""

    def query(self, sql: str, *, since: When = None, until: When = None) -> Answer:
        """Ask one statement of SQL; QueryError says in one line what is wrong with it.

        `since` and `until` bound the views, as those of `auditsvc query` do.
        """
        span = _span(since, until)
        if not self._is_recorded:
            with run_query(self._settings.store, sql, period=span, views_only=True) as result:
                return Answer(result.columns, list(result))
        with (
            recording(self._settings, "library", "", sql) as access,
            run_query(self._settings.store, sql, period=span, views_only=True) as result,
        ):
            return Answer(result.columns, list(access.counted(result)))

    def events(
        self, columns: Sequence[str] | None = None, *, since: When = None, until: When = None
    ) -> Iterator[dict[str, Any]]:
        """Give whole events one by one, as dictionaries, in the order of time and serial."""
        for batch in self.batches(columns, since=since, until=until):
            yield from batch.to_pylist()

    def batches(
        self,
        columns: Sequence[str] | None = None,
        *,
        since: When = None,
        until: When = None,
        size: int = _SIZE,
    ) -> Iterator[pa.RecordBatch]:
        """Give whole events as Arrow batches of at most `size`: one wide row an event.

        The columns are described in `auditsvc.arrow.events`; those that are not asked for
        cost nothing.
        """
        return self._recorded(self._events(columns, since, until), size)

    def table(
        self, columns: Sequence[str] | None = None, *, since: When = None, until: When = None
    ) -> pa.Table:
        """Give whole events as one Arrow table."""
        return self.reader(columns, since=since, until=until).read_all()

    def reader(
        self,
        columns: Sequence[str] | None = None,
        *,
        since: When = None,
        until: When = None,
        size: int = _SIZE,
    ) -> pa.RecordBatchReader:
        """Give the batches as a reader with a schema, which DuckDB, polars and others take."""
        events = self._events(columns, since, until)
        return events.reader(self._recorded(events, size))

    def _events(self, columns: Sequence[str] | None, since: When, until: When) -> Events:
        made = arrow.use("auditsvc.arrow.events").Events
        events: Events = made(self._store.database, _span(since, until), columns)
        return events

    def _recorded(self, events: Events, size: int) -> Iterator[pa.RecordBatch]:
        if not self._is_recorded:
            yield from events.batches(size)
            return
        with recording(self._settings, "library", events.shown, None) as access:
            for batch in events.batches(size):
                access.rows += len(batch)
                yield batch

    def close(self) -> None:
        """Close the store; of a log, delete what was made of it."""
        self._store.close()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_store(url: str | None = None) -> Reader:
    """Open a store to read it; without a URL that of the settings. StoreError if it is not there.

    URLs are SQLAlchemy's: `sqlite:////PATH`, `postgresql://USER@HOST/DATABASE`.
    """
    return Reader(load_settings(store=url), _nothing)


def read_log(
    *paths: str | PathLike[str], host: str | None = None, folder: str | PathLike[str] | None = None
) -> Reader:
    """Read log files, plain or compressed, without a store of theirs.

    `host`: of records without `node=`; default: this one. The events are put in a file that is
    deleted with the reader, in `folder` (default: that for temporary files); it takes about half
    of the log's size. SpoolError if a file cannot be read; what was wrong with a part of one is
    in `problems`.
    """
    made = TemporaryDirectory(prefix="auditsvc-", dir=folder)
    try:
        url = file_url(Path(made.name) / "log.db")
        settings = load_settings(store=url, host=host)
        job = Ingest(settings, [Path(path) for path in paths])
        job.run(lambda _: None)
        problems = [*job.notes, *map(str, job.errors)]
        return Reader(settings, made.cleanup, problems, is_recorded=False)
    except BaseException:
        made.cleanup()
        raise


def _nothing() -> None:
    """Leave a store as it is."""


def _span(since: When, until: When) -> Span:
    return period_of(_words(since), _words(until))


def _words(when: When) -> str | None:
    if not isinstance(when, datetime):
        return when
    moment = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S")
