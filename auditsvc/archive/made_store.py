"""A store for a while, of the events that archive and store have of a time: for reports.

    with made_store(settings, Wanted(span)) as url:
        with make_report(url, question) as answer: ...

A report reads the tables of a store, which an archive has not. So these are made again of its
views, in an SQLite file of a temporary folder: what reports ask of events, and no more (no
arguments of calls, no argv). The ledger, the sources and the hosts are those of the store itself,
so that what stands under a report is the same. Ids of texts, files, addresses and contexts are
other ones than in the store.

`thin` is a time of which only programs, remote hosts and events without a call are asked for:
of it the first call of each context counts, and the first use of each address.

Invariants: of the archive and the store nothing but rows is read, by one transaction. Memory is
that of DuckDB's limit and of `_AT_ONCE` events, or of those of one hour if these are more; the
file is as large as a store of these events, and what does not fit is refused before the disk is
full.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from auditsvc.archive.manifest import listing
from auditsvc.archive.place import open_place
from auditsvc.archive.rows import columns_by_view
from auditsvc.archive.source import Source, make_base
from auditsvc.archive.views import ARCHIVED, BASE, STORE_ONLY
from auditsvc.arrow.engine import engine, lock
from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.decode.reference.records import parse_address
from auditsvc.decode.reference.rows import LITTLE_ENDIAN
from auditsvc.decode.states import PARTIAL, STATE_REASON
from auditsvc.errors import ArchiveError
from auditsvc.store import activity, open_store
from auditsvc.store.database import reading
from auditsvc.store.databases import file_url
from auditsvc.store.partitions import DAY
from auditsvc.store.read.limits import NO_LIMITS
from auditsvc.store.read.time_span import ALL, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import duckdb
    from sqlalchemy import Connection

    from auditsvc.config import Settings
    from auditsvc.store.read.limits import Limits

_AT_ONCE: Final = 250_000
"""Events of a step."""
_ROOM: Final = 1 << 28
"""Bytes that stay free on the disk."""
_FETCH: Final = 10_000
_HOUR: Final = 3600
_KEPT: Final = ("source", "ledger_entry", "host", "arch_name", "syscall_name", "record_type")
"""Tables that are those of the store."""
_COLUMNS: Final = {
    "syscalls": (
        *("event_id", "host", "time", "serial", "arch", "nr", "success", "exit", "state", "items"),
        *("pid", "auid", "uid", "euid", "tty", "ses", "comm", "exe", "key", "cwd"),
    ),
    "events": (
        *("event_id", "host", "time", "serial", "type", "pid", "uid", "auid", "ses", "fields"),
    ),
    "partials": ("event_id", "reason"),
    "origins": ("event_id", "kind", "source"),
    "sockaddrs": ("event_id", "family", "address", "port", "path"),
    "records": ("event_id", "seq", "type", "fields"),
    "paths": ("event_id", "item", "name", "nametype"),
}
"""What is read of the views."""
_BESIDE: Final = ("SYSCALL", "PATH", "SOCKADDR")
"""Types that the view `records` has for what stands in columns."""
_TEXTS: Final = ("tty", "comm", "exe", "key", "cwd", "extra")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a report asks for."""

    span: Span = ALL
    thin: Span | None = None
    with_names: bool = False
    """Whether the names of users are asked for that were logged (ENRICHED)."""


@contextmanager
def made_store(settings: Settings, wanted: Wanted, limits: Limits = NO_LIMITS) -> Iterator[str]:
    """Give the URL of such a store, which is deleted after the block.

    QueryError, StoreError, ArchiveError, ConfigError if there is no archive.
    """
    place = open_place(settings.archive)
    names = listing(place.sizes())
    with (
        tempfile.TemporaryDirectory(prefix="auditsvc-report-") as folder,
        open_store(settings.store, create=False, read=True) as store,
        reading(store.database) as connection,
    ):
        file = Path(folder) / "store.db"
        url = file_url(file)
        open_store(url).close()
        views = columns_by_view(connection, (*ARCHIVED, *STORE_ONLY))
        source = Source(place, names, connection, views)
        with closing(sqlite3.connect(file, isolation_level=None)) as target:
            making = _Making(source, connection, target, wanted, Path(folder))
            with engine(limits) as duck:
                making.run(duck, limits)
        yield url


def _key(*values: str) -> str:
    """Give the expression of an id of these values."""
    return f"(hash({', '.join(values)}) >> 1)::BIGINT"


_CONTEXT: Final = ("host", "arch", *_COLUMNS["syscalls"][10:], "extra")
"""What a context is made of: all but its id."""
_MS: Final = "(epoch_ms(time) % 1000)::INTEGER"


@dataclass
class _Making:
    """Fills one store."""

    source: Source
    connection: Connection
    target: sqlite3.Connection
    wanted: Wanted
    folder: Path
    _steps: int = 0
    _sources: dict[tuple[str, str], int] = field(default_factory=dict)
    _addresses: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def run(self, duck: duckdb.DuckDBPyConnection, limits: Limits) -> None:
        """Fill it."""
        self.target.execute("PRAGMA journal_mode = OFF")
        self.target.execute("PRAGMA synchronous = OFF")
        indexes = self._drop_indexes()
        self.target.execute("BEGIN")
        self._copy_kept(duck)
        days = self._days()
        lock(duck, self._files(days), limits)
        for day in days:
            for span in self._spans(duck, day):
                self._step(duck, span)
        self._reviews(duck)
        for statement in indexes:
            self.target.execute(statement)
        self.target.execute(
            f"INSERT INTO activity_row ({activity.KEY}, calls) {activity.counted_calls('1 = 1')}"
        )
        self.target.execute(activity.COUNT_CONTEXTS)
        self.target.execute("COMMIT")

    # --- what is there --------------------------------------------------------------------

    @property
    def _whole(self) -> Span:
        thin = self.wanted.thin
        return self.wanted.span if thin is None else self.wanted.span.either(thin)

    def _days(self) -> list[int]:
        """Give the days that have events."""
        found = set(self.source.names.parts())
        for ids in self.source.hot_ids():
            for table in ("syscall", "event"):
                sql = (
                    f"SELECT DISTINCT (id >> {SERIAL_BITS}) / {DAY} FROM {table}"  # noqa: S608 - ours
                    f" WHERE id BETWEEN {ids.low} AND {ids.high}"
                )
                found.update(row[0] for row in self.connection.exec_driver_sql(sql))
        low, high = self._whole.low // DAY, self._whole.high // DAY
        return sorted(day for day in found if low <= day <= high)

    def _files(self, days: Sequence[int]) -> list[str]:
        """Give the files of this host that may be read."""
        _, start = self.source.place.files()
        if self.source.place.folder is None:
            return []
        views = (*_COLUMNS, "access")
        return [
            start + name
            for view in views
            for name in self.source.names.files(view, None if view == "access" else days)
        ]

    def _spans(self, duck: duckdb.DuckDBPyConnection, day: int) -> Iterator[Span]:
        """Give the steps of a day: whole hours that together have so many events."""
        counts: Counter[int] = Counter()
        for span in self.source.hot_ids():
            for table in ("syscall", "event"):
                low = max(span.low, (day * DAY) << SERIAL_BITS)
                high = min(span.high, (((day + 1) * DAY) << SERIAL_BITS) - 1)
                sql = (
                    f"SELECT (id >> {SERIAL_BITS}) / {_HOUR}, count(*) FROM {table}"  # noqa: S608 - ours
                    f" WHERE id BETWEEN {low} AND {high} GROUP BY 1"
                )
                counts.update(dict(map(tuple, self.connection.exec_driver_sql(sql))))
        for view in BASE:
            text = self.source.archived(duck, view, ["event_id"], [day], f"day_{view}_{day}")
            if text is not None:
                sql = f"SELECT (event_id >> {SERIAL_BITS}) // {_HOUR}, count(*) FROM ({text}) GROUP BY 1"  # noqa: E501, S608 - ours
                counts.update(dict(duck.execute(sql).fetchall()))
        first, number = None, 0
        for hour in sorted(counts):
            if first is not None and number + counts[hour] > _AT_ONCE:
                yield Span(first * _HOUR, hour * _HOUR - 1)
                first, number = None, 0
            first = hour if first is None else first
            number += counts[hour]
        if first is not None:
            yield Span(first * _HOUR, (day + 1) * DAY - 1)

    # --- what is copied -------------------------------------------------------------------

    def _copy_kept(self, duck: duckdb.DuckDBPyConnection) -> None:
        for table in _KEPT:
            result = self.connection.exec_driver_sql(f"SELECT * FROM {table}")  # noqa: S608 - ours
            columns = list(result.keys())
            rows = [tuple(row) for row in result]
            self.target.execute(f"DELETE FROM {table}")  # noqa: S608 - ours
            self._insert(table, columns, rows)
            if table in ("host", "arch_name", "record_type"):
                kinds = pa.schema([(columns[0], pa.int64()), (columns[1], pa.string())])
                given = [[row[n] for row in rows] for n in (0, 1)]
                duck.register("given", pa.table(given, schema=kinds))
                duck.execute(f"CREATE TABLE {table} AS SELECT * FROM given")  # noqa: S608 - ours
                duck.unregister("given")
            if table == "source":
                places = [columns.index(name) for name in ("kind", "name", "id")]
                self._sources = {(row[k], row[n]): row[i] for row in rows for k, n, i in [places]}

    def _drop_indexes(self) -> list[str]:
        """Drop the indexes; gives the statements that make them."""
        found = self.target.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        for name, _ in found:
            self.target.execute(f'DROP INDEX "{name}"')
        return [sql for _, sql in found]

    def _insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        marks = ", ".join("?" * len(columns))
        listed = ", ".join(f'"{name}"' for name in columns)
        sql = f"INSERT OR IGNORE INTO {table} ({listed}) VALUES ({marks})"  # noqa: S608 - ours
        self.target.executemany(sql, rows)

    def _move(self, duck: duckdb.DuckDBPyConnection, table: str, columns: str, sql: str) -> None:
        """Insert the rows of a question."""
        cursor = duck.execute(sql)
        while rows := cursor.fetchmany(_FETCH):
            self._insert(table, columns.split(), rows)

    # --- a step ---------------------------------------------------------------------------

    def _step(self, duck: duckdb.DuckDBPyConnection, hours: Span) -> None:
        """Copy the events of some hours."""
        thin = self.wanted.thin
        for part, is_thin in ((self.wanted.span, False), (thin, True)):
            if part is None:
                continue
            span = hours.both(part)
            if span.low <= span.high:
                if shutil.disk_usage(self.folder).free < _ROOM:
                    raise ArchiveError(
                        f"there is no room in {self.folder.parent} for a store of that time",
                        "give a shorter time, or TMPDIR=/FOLDER on a larger disk",
                    )
                self._copy(duck, span, is_thin=is_thin)

    def _copy(self, duck: duckdb.DuckDBPyConnection, span: Span, *, is_thin: bool) -> None:
        self._steps += 1
        made = {view: f"{view}_{self._steps}" for view in _COLUMNS}
        for view, name in made.items():
            make_base(duck, self.source, view, _COLUMNS[view], span, f"all_{name}")
            self._narrow(duck, name, span)
        try:
            self._contexts(duck, made, is_thin=is_thin)
            self._lone(duck, made)
            self._children(duck, made, is_thin=is_thin)
        finally:
            duck.execute("DROP TABLE IF EXISTS ctx; DROP TABLE IF EXISTS calls")
            for name in made.values():
                duck.unregister(f"far_all_{name}")
                duck.execute(
                    f"DROP TABLE IF EXISTS {name}; DROP VIEW IF EXISTS all_{name};"
                    f" DROP TABLE IF EXISTS hot_all_{name}"
                )

    def _narrow(self, duck: duckdb.DuckDBPyConnection, name: str, span: Span) -> None:
        """Read the rows of these seconds."""
        low, high = span.low << SERIAL_BITS, (span.high << SERIAL_BITS) | SERIAL_MASK
        where = f"event_id BETWEEN {low} AND {high}"
        duck.execute(f"CREATE TABLE {name} AS SELECT * FROM all_{name} WHERE {where}")  # noqa: S608 - ours

    def _contexts(
        self, duck: duckdb.DuckDBPyConnection, made: dict[str, str], *, is_thin: bool
    ) -> None:
        extra, join = "NULL::VARCHAR", ""
        if self.wanted.with_names:
            extra = "x.extra"
            join = (
                f" LEFT JOIN (SELECT event_id, any_value(fields) AS extra FROM {made['records']}"  # noqa: S608 - ours
                " WHERE type = 'SYSCALL' GROUP BY event_id) x ON x.event_id = s.event_id"
            )
        columns = ", ".join(f"s.{name}" for name in _CONTEXT if name != "extra")
        names = ", ".join(_CONTEXT)
        duck.execute(
            f"CREATE TABLE calls AS SELECT *, {_key(*_CONTEXT)} AS context FROM ("  # noqa: S608 - ours
            f"SELECT s.event_id, s.time, s.serial, s.nr, s.success, s.exit, s.state, s.items,"
            f" {columns}, {extra} AS extra FROM {made['syscalls']} s{join}) s"
        )
        duck.execute(f"CREATE TABLE ctx AS SELECT DISTINCT context AS id, {names} FROM calls")  # noqa: S608 - ours
        self._texts(
            duck,
            f"SELECT unnest([{', '.join(_TEXTS)}]) AS v FROM ctx",  # noqa: S608 - ours
        )
        shown = ", ".join(
            f"CASE WHEN c.{name} IS NOT NULL THEN {_key(f'c.{name}')} END"
            if name in _TEXTS
            else f"c.{name}"
            for name in _CONTEXT[2:]
        )
        self._move(
            duck,
            "context",
            f"id {' '.join(_CONTEXT)}",
            f"SELECT c.id, h.id, a.arch, {shown} FROM ctx c JOIN host h ON h.name = c.host"  # noqa: S608 - ours
            " JOIN arch_name a ON a.name = c.arch",
        )
        source = "calls"
        if is_thin:
            several = _of_several(made["sockaddrs"])
            source = (
                "(SELECT DISTINCT ON (context) * FROM calls"  # noqa: S608 - ours
                f" UNION SELECT * FROM calls WHERE event_id IN ({several}))"
            )
        state = "CASE state WHEN 'complete' THEN 0 WHEN 'no_exit' THEN 1 ELSE 2 END"
        self._move(
            duck,
            "syscall",
            "id ms serial nr a0 a1 a2 a3 success exit state items context",
            f"SELECT event_id, {_MS}, serial, nr, 0, 0, 0, 0, success::INTEGER, exit, {state},"  # noqa: S608 - ours
            f" items, context FROM {source} ORDER BY event_id",
        )

    def _lone(self, duck: duckdb.DuckDBPyConnection, made: dict[str, str]) -> None:
        self._texts(duck, f"SELECT fields AS v FROM {made['events']}")  # noqa: S608 - ours
        whens = " ".join(f"WHEN '{reason}' THEN {code}" for code, reason in STATE_REASON.items())
        self._move(
            duck,
            "event",
            "id host ms serial type pid uid auid ses state fields",
            f"SELECT e.event_id, h.id, {_MS}, e.serial, coalesce(t.type, -1), e.pid, e.uid, e.auid,"  # noqa: S608 - ours
            f" e.ses, CASE WHEN q.event_id IS NULL THEN 0 ELSE CASE q.reason {whens}"
            f" ELSE {PARTIAL} END END, {_key('e.fields')}"
            f" FROM {made['events']} e JOIN host h ON h.name = e.host"
            " LEFT JOIN record_type t ON t.name = e.type"
            f" LEFT JOIN {made['partials']} q ON q.event_id = e.event_id ORDER BY e.event_id",
        )
        ranges = duck.execute(
            "SELECT min(event_id), max(event_id), kind, source FROM ("  # noqa: S608 - ours
            "SELECT *, row_number() OVER (ORDER BY event_id)"
            " - row_number() OVER (PARTITION BY kind, source ORDER BY event_id) AS island"
            f" FROM {made['origins']}) WHERE kind IS DISTINCT FROM 'spool'"
            " GROUP BY kind, source, island"
        ).fetchall()
        rows = [(low, high, self._sources.get((kind, name))) for low, high, kind, name in ranges]
        self._insert("origin", ("low", "high", "source"), rows)

    def _children(
        self, duck: duckdb.DuckDBPyConnection, made: dict[str, str], *, is_thin: bool
    ) -> None:
        several, address = _of_several(made["sockaddrs"]), _key("family", "address", "port", "path")
        self._move(
            duck,
            "address",
            "id family address port path saddr",
            f"SELECT DISTINCT {address}, family, address, port, path, '' FROM {made['sockaddrs']}",  # noqa: S608 - ours
        )
        only = f"FROM {made['sockaddrs']} WHERE event_id NOT IN ({several})"
        uses = f"SELECT event_id, 0, {address}, 1 {only} ORDER BY event_id"
        if is_thin:
            uses = f"SELECT min(event_id), 0, {address}, 1 {only} GROUP BY 3 ORDER BY 1"
        self._move(duck, "sockaddr", "event seq address settled", uses)
        self._several(duck, made, several)
        if is_thin:
            return
        file = _key("name", "nametype")
        self._texts(duck, f"SELECT name AS v FROM {made['paths']}")  # noqa: S608 - ours
        self._move(
            duck,
            "file",
            "id name nametype",
            f"SELECT DISTINCT {file}, CASE WHEN name IS NOT NULL THEN {_key('name')} END, nametype"  # noqa: S608 - ours
            f" FROM {made['paths']}",
        )
        seq = "row_number() OVER (PARTITION BY event_id ORDER BY item) - 1"
        self._move(
            duck,
            "path",
            "event seq item file settled",
            f"SELECT event_id, {seq} AS seq, item, {file}, 1 FROM {made['paths']}"  # noqa: S608 - ours
            " ORDER BY event_id, seq",
        )
        others = f"FROM {made['records']} r WHERE r.type NOT IN {_BESIDE}"
        self._texts(duck, f"SELECT r.fields AS v {others}")
        self._move(
            duck,
            "record",
            "event type seq fields",
            f"SELECT r.event_id, t.type, r.seq, {_key('r.fields')} FROM {made['records']} r"  # noqa: S608 - ours
            " JOIN record_type t ON t.name = r.type"
            f" WHERE r.type NOT IN {_BESIDE} ORDER BY 1, 2, 3",
        )

    def _several(self, duck: duckdb.DuckDBPyConnection, made: dict[str, str], several: str) -> None:
        """Copy the addresses of events with several, in the order that their records tell."""
        sql = (
            "SELECT r.event_id, r.seq, r.fields, a.arch"  # noqa: S608 - ours
            f" FROM {made['records']} r LEFT JOIN {made['syscalls']} s ON s.event_id = r.event_id"
            " LEFT JOIN arch_name a ON a.name = s.arch"
            f" WHERE r.type = 'SOCKADDR' AND r.event_id IN ({several})"
        )
        for event, seq, fields, arch in duck.execute(sql).fetchall():
            told = json.loads(fields)
            if list(told) != ["saddr"] or not isinstance(told["saddr"], str):
                continue  # a record that says more, which is a row of its own, too
            is_little = arch is None or arch & LITTLE_ENDIAN != 0
            row = tuple(parse_address(told["saddr"].encode(), little_endian=is_little))
            number = self._addresses.get(row)
            if number is None:
                number = self._addresses[row] = -1 - len(self._addresses)
                columns = ("id", "family", "address", "port", "path", "saddr")
                self._insert("address", columns, [(number, *row)])
            values = [(event, seq, number, 1)]
            self._insert("sockaddr", ("event", "seq", "address", "settled"), values)

    def _texts(self, duck: duckdb.DuckDBPyConnection, values: str) -> None:
        """Insert texts; `values` selects them as `v`."""
        self._move(
            duck,
            "text",
            "id value",
            f"SELECT DISTINCT {_key('v')}, v FROM ({values}) WHERE v IS NOT NULL",  # noqa: S608 - ours
        )

    # --- who has reviewed -----------------------------------------------------------------

    def _reviews(self, duck: duckdb.DuckDBPyConnection) -> None:
        """Copy who reviewed a report, which was after its time: a table in the place of a view."""
        columns = self.source.views["access"]
        make_base(duck, self.source, "access", columns, ALL, "all_access")
        listed = ", ".join(f'"{name}"' for name in columns)
        self.target.execute("DROP VIEW access")
        self.target.execute(f"CREATE TABLE access ({listed})")
        shown = ", ".join(
            f"CAST({name} AS VARCHAR)" if name in ("time", "ended_at") else f'"{name}"'
            for name in columns
        )
        self._move(
            duck,
            "access",
            " ".join(columns),
            f"SELECT {shown} FROM all_access WHERE command = 'review'",  # noqa: S608 - ours
        )


def _of_several(sockaddrs: str) -> str:
    return f"SELECT event_id FROM {sockaddrs} GROUP BY event_id HAVING count(*) > 1"  # noqa: S608 - ours
