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

import json
import os
import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from pyarrow import dataset, parquet
from sqlglot import exp
from sqlglot.errors import SqlglotError

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
from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.errors import ArchiveError, QueryError
from auditsvc.evidence.store_facts import identity_in
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.partitions import DAY, day_of
from auditsvc.store.read import time_query
from auditsvc.store.read.limits import NO_LIMITS
from auditsvc.store.read.result import ONLY_READS, Result
from auditsvc.store.read.time_span import ALL, END, Span
from auditsvc.store.write import archived

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from auditsvc.archive.place import Place
    from auditsvc.config import Settings
    from auditsvc.decode.batch import Row
    from auditsvc.store.read.limits import Limits

_MEMORY: Final = 1 << 30
_FETCH: Final = 2000
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
        question = _Question(sql, views, period)
        source = _Source(place, names, connection, views)
        engine = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
        late = limits.late()
        timer = threading.Timer(limits.seconds, engine.interrupt) if limits.seconds else None
        try:
            if timer is not None:
                timer.daemon = True
                timer.start()
            files = _make_views(engine, source, question)
            _lock(engine, files, limits)
            cursor = engine.execute(question.text)
            columns = tuple(str(each[0]) for each in cursor.description or ())
            yield Result(columns, _rows(cursor))
        except duckdb.InterruptException as error:
            raise late from error
        except (duckdb.Error, pa.ArrowException) as error:
            raise QueryError(*_described(error)) from error
        finally:
            if timer is not None:
                timer.cancel()
            engine.close()


# --- the query ----------------------------------------------------------------------------


class _Question:
    """A query, which views it asks, and in DuckDB's words."""

    def __init__(self, sql: str, views: Mapping[str, Sequence[str]], period: Span) -> None:
        head, body = time_query.split(sql.strip().rstrip(";"))
        if not body.strip():
            raise QueryError("the SQL is empty", "try: SELECT * FROM syscalls LIMIT 10")
        try:
            body.encode()
            statement = time_query.parse(body, "sqlite", views)
            if statement is None:
                raise QueryError("the SQL cannot be read, or is no SELECT", ONLY_READS)
            statement.period = period
            time_query.put_ranges(statement, datetime.now(UTC), _Clock(views))
            statement.dialect = "duckdb"  # SQLite's hints mean nothing to it
            self.spans = self._spans(statement, views)
            root = sqlglot.parse_one(statement.written(), read="sqlite")
            self.columns = _named(root, views)
            text = root.transform(_as_duckdb).sql("duckdb")
        except (SqlglotError, RecursionError, UnicodeError) as error:
            raise QueryError("the SQL cannot be read", str(error).partition("\n")[0]) from error
        self.text = f"EXPLAIN {text}" if head else text

    @staticmethod
    def _spans(
        statement: time_query.Statement, views: Mapping[str, Sequence[str]]
    ) -> dict[str, Span]:
        """Give for each view the seconds of which it is asked."""
        found: dict[str, Span] = {}
        for table in statement.root.find_all(exp.Table):
            name = table.name.lower()
            if name not in views:
                continue
            span = statement.spans.get(id(table), ALL)
            if statement.is_view(table):
                span = span.both(statement.period)
            found[name] = found[name].either(span) if name in found else span
        return found


class _Clock:
    """What the query's ranges need of a store (`auditsvc.store.read.time_query`).

    Only what SQLite says of a constant, as `datetime('now', '-1 day')`.
    """

    def __init__(self, columns: Mapping[str, Sequence[str]]) -> None:
        self.columns = columns

    @staticmethod
    def ask(sql: str) -> object:
        """Give the value of an expression without a table; None for any other."""
        return _constant(sql)

    @staticmethod
    def count(sql: str) -> int:
        """Give 0: it is not known."""
        del sql
        return 0

    @staticmethod
    def moment(sql: str) -> time_query.Moment | None:
        """Give None: it is not known."""
        del sql
        return None


def _constant(sql: str) -> object:
    """Give the value of a query on SQLite that reads no table; None if it is another."""
    connection = sqlite3.connect(":memory:")
    try:
        found = connection.execute(sql).fetchone()
        return None if found is None else found[0]
    except sqlite3.Error:
        return None
    finally:
        connection.close()


def _named(root: exp.Expr, views: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Give for each view the columns that the query may need."""
    words = {each.name.lower() for each in root.find_all(exp.Identifier)}
    tables = {each.alias_or_name.lower() for each in root.find_all(exp.Table)}
    stars = any(not isinstance(each.parent, exp.Count) for each in root.find_all(exp.Star))
    natural = any(each.method for each in root.find_all(exp.Join))
    rows = any(each.name.lower() in tables for each in root.find_all(exp.Column))
    if stars or natural or rows:
        return {view: set(columns) for view, columns in views.items()}
    return {
        view: {each for each in columns if each in words} | {columns[0]}
        for view, columns in views.items()
    }


_HINTS: Final = ("likelihood", "likely", "unlikely")
"""Functions by which SQLite's planner is told how many rows there are."""


def _as_duckdb(node: exp.Expr) -> exp.Expr:
    """Write what has the same form in both, and another meaning."""
    if type(node) is exp.Like:  # SQLite's does not distinguish upper and lower case
        return exp.ILike(this=node.this, expression=node.expression)
    if isinstance(node, exp.Anonymous) and node.name.lower() in _HINTS:
        told: exp.Expr = node.expressions[0]
        return told
    if isinstance(node, exp.JSONExtractScalar | exp.JSONExtract) and not isinstance(
        node.parent, exp.Paren
    ):  # binds less than a comparison there
        return exp.Paren(this=node)
    return node


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


def _make_views(
    engine: duckdb.DuckDBPyConnection, source: _Source, question: _Question
) -> list[str]:
    """Make the views that the question asks; gives the files of this host that they read."""
    files: list[str] = []
    engine.execute("SET TimeZone = 'UTC'")
    for view, span in question.spans.items():
        columns = [name for name in source.views[view] if name in question.columns[view]]
        if view == "all_events":
            files += _base(engine, source, "syscalls", _of_calls(columns), span, "calls_of_all")
        stored = _stored(view, columns, source.views[view])
        files += _base(engine, source, view, stored, span, f"stored_{view}")
        engine.execute(f'CREATE VIEW "{view}" AS {_select(view, columns)}')
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
    engine: duckdb.DuckDBPyConnection,
    source: _Source,
    view: str,
    columns: Sequence[str],
    span: Span,
    name: str,
) -> list[str]:
    """Make the stored rows of a view, of archive and store; gives the files of this host."""
    files = [] if view in STORE_ONLY else source.files(view, span)
    hot = source.hot(view, columns, span)
    engine.register("given", hot)
    engine.execute(f"CREATE TABLE hot_{name} AS SELECT * FROM given")  # noqa: S608 - ours
    engine.unregister("given")
    listed = ", ".join(f'"{each}"' for each in columns)
    text = f"SELECT {listed} FROM hot_{name}"  # noqa: S608 - ours
    system, start = source.place.files()
    paths = [start + each for each in files]
    if paths and source.place.folder is not None:
        names = ", ".join(_quoted(each) for each in paths)
        text += f" UNION ALL SELECT {listed} FROM read_parquet([{names}], union_by_name = true)"  # noqa: S608
    elif paths:
        schema = pa.schema([field(view, each) for each in stored_columns(view, source.views[view])])
        engine.register(f"far_{name}", dataset.dataset(paths, schema, "parquet", system))
        text += f" UNION ALL SELECT {listed} FROM far_{name}"  # noqa: S608
    engine.execute(f"CREATE VIEW {name} AS {text}")
    return paths if source.place.folder is not None else []


def _lock(engine: duckdb.DuckDBPyConnection, files: Iterable[str], limits: Limits) -> None:
    """Set the limits, leave nothing but these files to be opened, and lock the settings."""
    allowed = ", ".join(_quoted(each) for each in sorted(set(files)))
    for statement in (
        f"SET memory_limit = '{max(limits.memory, _MEMORY)}B'",
        f"SET threads = {os.cpu_count() or 1}",
        "SET temp_directory = ''",
        # Arrow's files, as of a bucket, do not take the filters of a join.
        "SET disabled_optimizers = 'join_filter_pushdown'",
        "SET default_null_order = 'nulls_first_on_asc_last_on_desc'",
        "SET integer_division = true",
        "SET autoinstall_known_extensions = false",
        "SET autoload_known_extensions = false",
        "SET allow_community_extensions = false",
        f"SET allowed_paths = [{allowed}]",
        "SET enable_external_access = false",
        "SET lock_configuration = true",
    ):
        engine.execute(statement)


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    while page := cursor.fetchmany(_FETCH):
        for row in page:
            yield tuple(_value(each) for each in row)


def _value(value: Any) -> Any:
    """Give a value as SQLite has it."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return json.dumps(value, default=str) if isinstance(value, list | dict | tuple) else value


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _described(error: Exception) -> tuple[str, str]:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    refused = isinstance(error, duckdb.PermissionException | duckdb.InvalidInputException)
    return lines[0], ONLY_READS if refused else ""
