"""Calls of an SQLite store as columns of their table, and what makes calls alike.

The views say thousands of times the same: who a process was, its program, what a number means.
So calls are put into groups, a view is asked for one call of each group, and the others get its
values. Here is what columns of views are made of, as columns by which calls are grouped; which
values follow the views alone say.

    calls.context        who made it: all that is in its context
    calls.of_process()   with it: the state of the process, which begins at the points of time at
                         which a sign of it or of its parent, or a control group, is
    calls.of_place()     the same, where control groups were recorded
    calls.named()        the state of the names of accounts
    calls.of_origin()    which origin its id is of
    calls.told(use)      its number, and the arguments of a use; `failed`: how it failed
"""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.columns import TIME
from auditsvc.arrow.groups import Groups
from auditsvc.arrow.sqlite_rows import read_columns
from auditsvc.arrow.where import Where
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.views import OF_ROWS, TOLD
from auditsvc.store.views.names import SOON

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

SLICE: Final = 16_384
"""Calls that are looked at together."""
PLAIN: Final = {
    "event_id": "id",
    "time": "ms",
    **{name: name for name in ("serial", "nr", "success", "exit", "items")},
    **{f"a{n}_number": f"a{n}" for n in range(4)},
}
"""Columns of `syscalls` that are columns of the table."""
_COLUMNS: Final = (*PLAIN.values(), "state", "context")
WORDS, STORY, PART, FOLDER = "words", "story", "part", "dirfd"
"""Uses of arguments: in words; in a story; to tell which of several calls it is; a directory."""
FILES, ROWS = "files", "rows"
"""In `files`; not an argument, but that it says something of the event's other rows there."""
_PLACES: Final = f"""
    SELECT '{WORDS}' AS use, call, place FROM argument_shape
    UNION SELECT '{FOLDER}', call, place FROM argument_shape WHERE kind = 'dirfd'
    UNION SELECT '{STORY}', name, object_place FROM verb WHERE kind = 'call'
    UNION SELECT '{STORY}', name, second_place FROM verb WHERE kind = 'call'
    UNION SELECT '{FILES}', call, place FROM ({TOLD}) told
    UNION SELECT '{ROWS}', call, 0 FROM ({OF_ROWS}) rows
    UNION SELECT u.use, p.call, n.place
        FROM (SELECT '{PART}' AS use UNION SELECT '{WORDS}' UNION SELECT '{STORY}'
            UNION SELECT '{FILES}' UNION SELECT '{ROWS}') u, part_call p,
            (SELECT 0 AS place UNION SELECT 1 UNION SELECT 2 UNION SELECT 3) n
        WHERE u.use <> '{PART}' OR n.place = 0"""  # noqa: S608 - ours
"""The arguments of calls that matter; of one that is several calls all."""
_RECORDS: Final = {
    "sockaddr": "seq || ' ' || address",
    "exec": "CAST(argv AS text)",
    "record": "type || ' ' || seq || ' ' || fields",
}
"""The tables of a call's other records, and what tells all of a row."""


class Records(NamedTuple):
    """Numbers of each call."""

    all: pa.Array
    """One for all that its other records say."""
    tables: pa.Array
    """One for the tables in which they are; see `without`."""


class Calls:
    """Some calls, in the order of their ids."""

    def __init__(self, connection: Connection, rows: pa.Table, scope: Where) -> None:
        """`rows`: with the columns of `_COLUMNS`; `scope`: which events these are the calls of."""
        self._connection = connection
        self.scope = scope
        self._of = {name: rows[name].combine_chunks() for name in rows.column_names}
        self.ids: pa.Array = self._of["id"]
        self.context: pa.Array = self._of["context"]
        self.at = pc.add(pc.multiply(pc.shift_right(self.ids, SERIAL_BITS), 1000), self._of["ms"])
        """Milliseconds since 1970."""
        self.state: pa.Array = self._of["state"]
        self.failed = [
            self._of["success"],
            pc.if_else(pc.equal(self._of["success"], 1), None, self._of["exit"]),
        ]

    def __len__(self) -> int:
        """Give the number of calls."""
        return len(self.ids)

    @property
    def within(self) -> Where:
        """The range of their ids, as a condition on `event`."""
        return Where("event BETWEEN :low AND :high", {"low": self._low, "high": self._high})

    @property
    def _low(self) -> int:
        return int(self.ids[0].as_py()) if len(self) else 0

    @property
    def _high(self) -> int:
        return int(self.ids[-1].as_py()) if len(self) else -1

    def column(self, name: str, kind: pa.DataType) -> pa.Array:
        """Give a column of `PLAIN`."""
        return self.at.cast(TIME) if name == "time" else self._of[PLAIN[name]].cast(kind)

    def of_contexts(self, sql: str, kind: pa.DataType) -> pa.Array:
        """Give what is `sql` on a context `c`, of each call."""
        known = pc.unique(self.context)
        found = self._connection.exec_driver_sql(
            f"SELECT {sql} FROM json_each(:ids) k CROSS JOIN context c ON c.id = k.value"  # noqa: S608
            " ORDER BY k.key",
            {"ids": listed(known)},
        )
        values = pa.array([row[0] for row in found], kind)
        return pc.take(values, pc.index_in(self.context, value_set=known))

    @cached_property
    def _names(self) -> tuple[pa.Array, dict[tuple[int, int], int]]:
        """Of each call the kind of its name; the kinds, by machine and number."""
        parts = [self.of_contexts("c.arch", pa.int64()), self._of["nr"]]
        names = Groups(parts, len(self))
        of = zip(*(each.take(names.firsts).to_pylist() for each in parts), strict=True)
        return names.kinds, {each: kind for kind, each in enumerate(of)}

    @property
    def name(self) -> pa.Array:
        """A number for the call's machine and number."""
        return self._names[0]

    @cached_property
    def _places(self) -> dict[str, dict[int, list[int]]]:
        """Of each use the arguments that matter to it: for each place the names of the calls."""
        _, kinds = self._names
        found = self._connection.exec_driver_sql(
            f"""SELECT p.use, p.place, n.arch, n.nr FROM json_each(:names) k
            CROSS JOIN syscall_name n ON n.arch = json_extract(k.value, '$[0]')
                AND n.nr = json_extract(k.value, '$[1]')
            JOIN ({_PLACES}) p ON p.call = n.name WHERE p.place IS NOT NULL""",  # noqa: S608 - ours
            {"names": json.dumps(list(kinds))},
        )
        places: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for use, place, arch, nr in found:
            places[use][place].append(kinds[arch, nr])
        return places

    def argument(self, use: str, place: int) -> pa.Array:
        """Give an argument of each call, or NULL where it does not matter to a use."""
        names = self._places[use][place] if use in self._places else []
        if not names:
            return pa.nulls(len(self), pa.int64())
        matters = pc.is_in(self.name, value_set=pa.array(names, pa.int64()))
        return pc.if_else(matters, self._of[f"a{place}"], None)

    def told(self, use: str, places: Sequence[int] = range(4)) -> list[pa.Array]:
        """Give the call's name and the arguments that matter to a use."""
        found = [self.name, *(self.argument(use, place) for place in places)]
        return found if use == FOLDER else [*found, self.argument(PART, 0)]

    @cached_property
    def _points(self) -> tuple[pa.Array, pa.Array]:
        """The points at which something about a process begins to hold: by context and time."""
        contexts = pc.unique(self.context)
        low, high = pc.min(self.at).as_py(), pc.max(self.at).as_py()
        found = [
            read_columns(
                self._connection,
                dict.fromkeys(("context", "at"), pa.int64()),
                "SELECT c.id AS context, x.at FROM json_each(:contexts) k"  # noqa: S608 - ours
                f" CROSS JOIN context c ON c.id = k.value CROSS JOIN {table} x"
                f" WHERE x.host = c.host AND x.pid IN ({pids}) AND x.at > :low AND x.at <= :high",
                Where("", {"contexts": listed(contexts), "low": low, "high": high}),
            )
            for table, pids in (("process_sign", "c.pid, c.ppid"), ("process_cgroup", "c.pid"))
        ]
        points = pa.concat_tables(found).combine_chunks()
        return contexts, self._placed(contexts, points["context"], points["at"], low, high)

    @staticmethod
    def _placed(
        contexts: pa.Array, context: pa.Array, at: pa.Array, low: int, high: int
    ) -> pa.Array:
        """Give contexts with times as one number each, in the order of both."""
        span = high - low + 1
        of = pc.index_in(context, value_set=contexts).cast(pa.int64())
        made = pc.add(pc.multiply(of, span), pc.subtract(at, low))
        return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made

    @cached_property
    def records(self) -> Records:
        """What the calls' other records are, beside paths."""
        within, kinds = self.within, {"event": pa.int64(), "told": pa.string()}
        told, tables = [], pa.nulls(len(self), pa.int64()).fill_null(0)
        for number, (table, columns) in enumerate(_RECORDS.items()):
            rows = read_columns(
                self._connection,
                kinds,
                f"SELECT event, group_concat({columns}, ',') AS told FROM {table}"  # noqa: S608 - ours
                f" WHERE {within.text} GROUP BY event",
                within,
            )
            if not len(rows):
                continue
            places = pc.index_in(self.ids, value_set=rows["event"].combine_chunks())
            told.append(pc.take(rows["told"].combine_chunks(), places))
            has_any = pc.is_valid(places).cast(pa.int64())
            tables = pc.add(tables, pc.multiply(has_any, 1 << number))
        return Records(Groups(told, len(self)).kinds, tables)

    def of_process(self) -> list[pa.Array]:
        """Give each call's context, and how many of the points of it are not after the call."""
        contexts, points = self._points
        if not len(points):
            return [self.context]
        low, high = pc.min(self.at).as_py(), pc.max(self.at).as_py()
        placed = self._placed(contexts, self.context, self.at, low, high)
        return [self.context, _not_after(points, placed)]

    def of_place(self) -> list[pa.Array]:
        """Give what tells where a call's process was: nothing, if that was recorded of none."""
        found = self._connection.exec_driver_sql("SELECT 1 FROM process_cgroup LIMIT 1")
        return [] if found.first() is None else self.of_process()

    def named(self) -> list[pa.Array]:
        """Give of each call how many of the points at which a name begins are not after it."""
        low, high = pc.min(self.at).as_py(), pc.max(self.at).as_py()
        found = self._connection.exec_driver_sql(
            "SELECT DISTINCT at FROM account_name WHERE at > :low AND at <= :high",
            {"low": low, "high": high + SOON},
        )
        named = [point for (at,) in found for point in (at, at - SOON)]
        return [_not_after(pa.array(named, pa.int64()), self.at)] if named else []

    def of_origin(self) -> list[pa.Array]:
        """Give of each call how many origins begin or end before it."""
        found = self._connection.exec_driver_sql(
            "SELECT low, high FROM origin WHERE low <= :high AND high >= :low",
            {"low": self._low, "high": self._high},
        )
        points = [point for first, last in found for point in (first, last + 1)]
        return [_not_after(pa.array(points, pa.int64()), self.ids)] if points else []


def without(tables: int) -> list[str]:
    """Give the tables of other records that calls with this number have no row in."""
    return [name for place, name in enumerate(_RECORDS) if not tables & 1 << place]


def _not_after(points: pa.Array, values: pa.Array) -> pa.Array:
    """Give for each value how many of the points are not after it."""
    ordered = points.take(pc.sort_indices(points))
    return pc.search_sorted(ordered, values, side="right").cast(pa.int64())


def listed(ids: pa.Array) -> str:
    """Give numbers as JSON."""
    return json.dumps(ids.to_pylist(), separators=(",", ":"))


def slices(connection: Connection, where: Where, size: int = 0) -> Iterator[Calls]:
    """Read the calls under a condition on `v.event_id`: at least one slice, the last has fewer.

    Each event that fulfils the condition is in the scope of one slice, also one without a call.
    """
    size = size or SLICE
    scope = where
    while True:
        rows = read_columns(
            connection,
            dict.fromkeys(_COLUMNS, pa.int64()),
            f"SELECT {', '.join(f's.{name}' for name in _COLUMNS)} FROM syscall s"  # noqa: S608 - ours
            f" WHERE {scope.on('s.id')} ORDER BY s.id LIMIT :most_calls",
            scope.given(most_calls=size),
        )
        if len(rows) < size:
            yield Calls(connection, rows, scope)
            return
        last = rows["id"][-1].as_py()
        yield Calls(connection, rows, scope.also("v.event_id <= :last_call").given(last_call=last))
        # With `+` a condition chooses no place to begin at, so that it is begun at the next one.
        others = where.text.replace("v.event_id", "+v.event_id")
        scope = Where(f"v.event_id > :after_call AND ({others})", where.values).given(
            after_call=last
        )
