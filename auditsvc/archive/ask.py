"""SQL over archive and store as one: DuckDB, and the store's views by their names.

    with run_archive_query(settings, "SELECT exe, count(*) FROM syscalls GROUP BY exe") as result:
        for row in result: ...

The SQL is that of an SQLite store, whatever the store is: it is read as such and rewritten for
DuckDB; the views have the columns of docs/sql.md and SQLite's types (a `time` is text). Each
view is

    the files of the archive, of the days that the query's conditions on time leave
    and what the store has and the archive has not: later days, and late events of archived ones

so no event is there twice. Of the store only the columns are read that the query names.

Invariants: one SELECT; nothing is written; the SQL reaches neither files nor the network: DuckDB
may open the files of these views and no others, and its settings are locked. Time and memory
are limited.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from auditsvc.archive.manifest import listing
from auditsvc.archive.place import open_place
from auditsvc.archive.rows import (
    CALL,
    columns_by_view,
    needed,
    shown,
    stored_columns,
)
from auditsvc.archive.source import Source, make_base
from auditsvc.archive.views import (
    ARCHIVED,
    COUNTED,
    LASTING,
    SEEN,
    STORE_ONLY,
)
from auditsvc.arrow.engine import answer, engine, lock
from auditsvc.arrow.question import Question
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.read.limits import NO_LIMITS
from auditsvc.store.read.time_span import ALL, Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from auditsvc.config import Settings
    from auditsvc.store.read.limits import Limits
    from auditsvc.store.read.result import Result


@contextmanager
def run_archive_query(
    settings: Settings, sql: str, limits: Limits = NO_LIMITS, period: Span = ALL
) -> Iterator[Result]:
    """Run one statement over archive and store; as `auditsvc.store.read.sql.run_query`.

    QueryError, StoreError, ArchiveError, ConfigError if there is no archive.
    """
    place = open_place(settings.archive)
    names = listing(place.sizes())
    with (
        open_store(settings.store, create=False, read=True) as store,
        reading(store.database) as connection,
    ):
        views = columns_by_view(connection, (*ARCHIVED, *STORE_ONLY))
        question = Question(sql, views, period)
        source = Source(place, names, connection, views)
        with engine(limits) as duck:
            files = _make_views(duck, source, question)
            lock(duck, files, limits)
            yield answer(duck, question)


def _make_views(duck: duckdb.DuckDBPyConnection, source: Source, question: Question) -> list[str]:
    """Make the views that the question asks; gives the files of this host that they read."""
    files: list[str] = []
    for view, span in question.spans.items():
        columns = [name for name in source.views[view] if name in question.columns[view]]
        if view == "all_events":
            files += make_base(duck, source, "syscalls", _of_calls(columns), span, "calls_of_all")
        stored = _stored(view, columns, source.views[view])
        files += make_base(duck, source, view, stored, span, f"stored_{view}")
        duck.execute(f'CREATE VIEW "{view}" AS {_select(view, columns)}')
    return files


def _stored(view: str, columns: Sequence[str], all_columns: Sequence[str]) -> list[str]:
    """Give the stored columns that a view is made of."""
    wanted = needed(view, columns)
    if view in LASTING:
        wanted |= {*LASTING[view], SEEN}
    if view == COUNTED:
        wanted = {*all_columns, *CALL}
    return [name for name in stored_columns(view, all_columns) if name in wanted]


_OF_CALL: Final = {"kind": "'call'", "type": "'SYSCALL'"}


def _of_calls(columns: Sequence[str]) -> list[str]:
    """Give the stored columns of `syscalls` of which `all_events` is made."""
    return [name for name in columns if name not in _OF_CALL] or ["event_id"]


def _select(view: str, columns: Sequence[str]) -> str:
    """Give the SQL of a view, of its stored rows."""
    listed = ", ".join(f'{shown(view, name)} AS "{name}"' for name in columns)
    if view == COUNTED:
        keys = ", ".join(f'"{name}"' for name in (*columns, *CALL) if name != "calls")
        inner = f"SELECT {keys}, CAST(sum(calls) AS BIGINT) AS calls FROM stored_activity"  # noqa: S608 - ours
        return f"SELECT {listed} FROM ({inner} GROUP BY ALL)"  # noqa: S608
    text = f"SELECT {listed} FROM stored_{view}"  # noqa: S608
    if view in LASTING:
        key = ", ".join(LASTING[view])
        return f"{text} QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {SEEN} DESC) = 1"
    if view == "all_events":
        calls = ", ".join(
            f'{_OF_CALL.get(name) or shown("syscalls", name)} AS "{name}"' for name in columns
        )
        return f"{text} UNION ALL SELECT {calls} FROM calls_of_all"  # noqa: S608
    return text
