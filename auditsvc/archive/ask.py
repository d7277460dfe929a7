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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset, parquet

from auditsvc.archive.manifest import Listing, day_of_date, listing, parse
from auditsvc.archive.place import open_place
from auditsvc.archive.rows import (
    CALL,
    CALL_COLUMNS,
    added,
    columns_by_view,
    count_calls,
    needed,
    read_view,
    shown,
    stored_columns,
)
from auditsvc.archive.views import (
    ARCHIVED,
    BASE,
    COUNTED,
    LASTING,
    SEEN,
    STORE_ONLY,
    Ids,
    field,
    ids_of_days,
)
from auditsvc.arrow.engine import answer, engine, lock, quoted
from auditsvc.arrow.question import Question
from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.errors import ArchiveError
from auditsvc.evidence.store_facts import identity_in
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.partitions import DAY, day_of
from auditsvc.store.read.limits import NO_LIMITS
from auditsvc.store.read.time_span import ALL, END, Span
from auditsvc.store.write import archived

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import duckdb
    from sqlalchemy import Connection

    from auditsvc.archive.place import Place
    from auditsvc.config import Settings
    from auditsvc.store.read.limits import Limits
    from auditsvc.store.read.result import Result

_NEWEST: Final = 1 << 62
_LAST_ID: Final = (END << SERIAL_BITS) | SERIAL_MASK


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
        source = _Source(place, names, connection, views)
        with engine(limits) as duck:
            files = _make_views(duck, source, question)
            lock(duck, files, limits)
            yield answer(duck, question.text)


# --- where the rows are -------------------------------------------------------------------


@dataclass(frozen=True)
class _Hot:
    """Rows of the store: ids of events, and those of them that the archive has."""

    ids: Ids
    known: pa.Array | None = None


class _Source:
    """Archive and store, for one query."""

    def __init__(
        self,
        place: Place,
        names: Listing,
        connection: Connection,
        views: Mapping[str, Sequence[str]],
    ) -> None:
        self.place, self.names, self.views = place, names, views
        self._connection = connection
        self.through = -1
        seq = 0
        if names.last is not None:
            last = parse(place.read(names.last.name))
            if last.store != identity_in(connection):
                raise ArchiveError(
                    f"the archive {place.shown} is another store's", "give its store: --store URL"
                )
            self.through, seq = day_of_date(last.through), last.seq
        self._hot = [_Hot(Ids(ids_of_days(self.through + 1, self.through + 1).low, _LAST_ID))]
        self._hot += self._late(seq)

    def _late(self, seq: int) -> Iterator[_Hot]:
        """Give what arrived late for days of the archive, and is not in it yet."""
        if self.through < 0:
            return
        whole = [(0, ids_of_days(self.through, self.through).high)]
        state = archived.read(self._connection)
        # Without a state nobody has noted what arrived.
        ranges = whole if state is None else archived.late(self._connection, self.through, seq)
        for low, high in ranges:
            yield _Hot(Ids(low, high), self.ids_known(range(day_of(low), day_of(high) + 1)))

    def ids_known(self, days: Collection[int]) -> pa.Array:
        """Give the ids of the events that the archive has of some days."""
        files, start = self.place.files()
        found = [
            parquet.read_table(start + name, columns=["event_id"], filesystem=files)["event_id"]
            for view in BASE
            for name in self.names.files(view, days)
        ]
        return pa.chunked_array([c for each in found for c in each.chunks], pa.int64())

    def files(self, view: str, span: Span) -> list[str]:
        """Give the files of a view that can have events of these seconds."""
        if view in LASTING or view == COUNTED:
            return self.names.files(view)
        first, last = span.low // DAY, span.high // DAY
        return self.names.files(view, range(first, last + 1))

    def hot(self, view: str, columns: Sequence[str], span: Span) -> pa.Table:
        """Read rows of a view that only the store has, with these stored columns."""
        if view in STORE_ONLY:
            return read_view(self._connection, view, columns, Ids(0, 0))
        if view == COUNTED:
            calls = self.hot("syscalls", CALL_COLUMNS, ALL)
            return added([count_calls(calls)]) if len(calls) else self._none(view, columns)
        parts = [self._none(view, columns)]
        low, high = span.low << SERIAL_BITS, (span.high << SERIAL_BITS) | SERIAL_MASK
        for each in self._hot:
            ids = each.ids
            if view not in LASTING:
                ids = Ids(max(ids.low, low), min(ids.high, high))
            if ids.low > ids.high:
                continue
            wanted = columns
            if each.known is not None and "event_id" not in columns and view not in LASTING:
                wanted = (*columns, "event_id")
            rows = read_view(self._connection, view, wanted, ids)
            if view in LASTING:
                number = pa.array([_NEWEST] * len(rows), pa.int64())
                rows = rows.append_column(field(view, SEEN), number)
            elif each.known is not None:
                rows = rows.filter(pc.invert(pc.is_in(rows["event_id"], value_set=each.known)))
            parts.append(rows.select(columns))
        return pa.concat_tables(parts)

    def _none(self, view: str, columns: Sequence[str]) -> pa.Table:
        return pa.schema([field(view, name) for name in columns]).empty_table()


# --- DuckDB -------------------------------------------------------------------------------


def _make_views(duck: duckdb.DuckDBPyConnection, source: _Source, question: Question) -> list[str]:
    """Make the views that the question asks; gives the files of this host that they read."""
    files: list[str] = []
    for view, span in question.spans.items():
        columns = [name for name in source.views[view] if name in question.columns[view]]
        if view == "all_events":
            files += _base(duck, source, "syscalls", _of_calls(columns), span, "calls_of_all")
        stored = _stored(view, columns, source.views[view])
        files += _base(duck, source, view, stored, span, f"stored_{view}")
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


def _base(  # noqa: PLR0917 - a relation has so many parts
    duck: duckdb.DuckDBPyConnection,
    source: _Source,
    view: str,
    columns: Sequence[str],
    span: Span,
    name: str,
) -> list[str]:
    """Make the stored rows of a view, of archive and store; gives the files of this host."""
    files = [] if view in STORE_ONLY else source.files(view, span)
    hot = source.hot(view, columns, span)
    duck.register("given", hot)
    duck.execute(f"CREATE TABLE hot_{name} AS SELECT * FROM given")  # noqa: S608 - ours
    duck.unregister("given")
    listed = ", ".join(f'"{each}"' for each in columns)
    text = f"SELECT {listed} FROM hot_{name}"  # noqa: S608 - ours
    system, start = source.place.files()
    paths = [start + each for each in files]
    if paths and source.place.folder is not None:
        names = ", ".join(quoted(each) for each in paths)
        text += f" UNION ALL SELECT {listed} FROM read_parquet([{names}], union_by_name = true)"  # noqa: S608
    elif paths:
        schema = pa.schema([field(view, each) for each in stored_columns(view, source.views[view])])
        duck.register(f"far_{name}", dataset.dataset(paths, schema, "parquet", system))
        text += f" UNION ALL SELECT {listed} FROM far_{name}"  # noqa: S608
    duck.execute(f"CREATE VIEW {name} AS {text}")
    return paths if source.place.folder is not None else []
