"""Rows of views as Arrow tables; of calls, in an SQLite store, each value is asked but once.

    rows = view_rows(connection, "syscalls", {"exe": "v.exe"}, fields, where, "event_id")

A process makes thousands of calls, and most of what the views say of one they say of all: who it
was, its program, unit, names and parent. So calls are put into groups, the view is asked for one
call of each group, and the others get its values. What a call has for itself is read from its row.

The views alone say what a column is; here is only what it is made of:

* `_OF_PROCESS`: of the call's context and of its time, in which it changes only where a sign of the
  process or of its parent, a control group, a name or an origin begins to hold (`_changes`).
* `_OF_CALL`: of the call's number, its state, how it failed, and the arguments that have words.
* `_PLAIN`: columns of the table `syscall`, and `time`: the id's second and the millisecond.
* `argv` is of the table `exec`. What is named nowhere here is asked for each call.
* `story`: of the context, names, the same of the call, and the ids in its other records.

All is read in one transaction, so nothing changes between.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.columns import TIME
from auditsvc.arrow.json_rows import parsed, read_rows
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.views import story_of_calls, story_of_others
from auditsvc.store.views.dialect import SQLITE
from auditsvc.store.views.names import SOON

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    _Ask = Callable[[Sequence[str], Sequence[int]], pa.Table]

_SLICE: Final = 16_384
"""Calls that are in memory as Python's numbers."""
_AT_ONCE: Final = 8192
"""Ids in one statement."""
_PLAIN: Final = {
    "event_id": "id",
    "time": "ms",
    **{name: name for name in ("serial", "nr", "success", "exit", "items")},
    **{f"a{n}_number": f"a{n}" for n in range(4)},
}
"""Columns of the view that are columns of the table."""
_COLUMNS: Final = (*_PLAIN.values(), "state", "context", "arch")
_IDS: Final = (
    *("ppid", "pid", "auid", "uid", "gid", "euid", "suid", "fsuid", "egid", "sgid", "fsgid"),
    "ses",
)
_NAMED: Final = tuple(f"{each}_name" for each in ("auid", "uid", "gid", "euid", "egid"))
_OF_PROCESS: Final = frozenset(
    (
        *("host", "arch", *_IDS, "tty", "comm", "exe", "subj", "key", "cwd", "proctitle"),
        *("process_id", "parent_exe", "parent_argv", *_NAMED, "unit", "container"),
        *("type", "origin_kind", "origin_source"),
    )
)
_OF_CALL: Final = frozenset(
    ("syscall", *(f"a{n}_words" for n in range(4)), "errno", "state", "partial_reason")
)
_STORY_PLAIN: Final = ("event_id", "time")
_PLACES: Final = (
    "SELECT call, place FROM argument_shape"
    " UNION SELECT name, object_place FROM verb WHERE kind = 'call'"
    " UNION SELECT name, second_place FROM verb WHERE kind = 'call'"
    " UNION SELECT call, n FROM part_call,"
    " (SELECT 0 AS n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3)"
)
"""The arguments that a call's words depend on; of one that is several calls all."""
_RECORDS: Final = {
    "path": "item, seq, file",
    "sockaddr": "0, seq, address",
    "exec": "0, 0, argv",
    "record": "type, seq, fields",
}
"""The tables of a call's other records: columns that tell all of a row."""
_MANY: Final = 2
_NONE: Final = (0,) * len(_RECORDS)
_Most = tuple[int, ...]
"""Of each of `_RECORDS`: how many rows a call has there; `_MANY` for more than one."""


class _Calls:
    """Some calls, in the order of their ids."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        """`rows`: with the columns of `_COLUMNS`."""
        self._of = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True))
        self.ids: Sequence[int] = self._of["id"]
        self.at = [
            (each >> SERIAL_BITS) * 1000 + ms
            for each, ms in zip(self.ids, self._of["ms"], strict=True)
        ]
        """Milliseconds since 1970."""
        self.contexts: Sequence[int] = self._of["context"]
        self.states: Sequence[int] = self._of["state"]
        self.names = list(zip(self._of["arch"], self._of["nr"], strict=True))
        self.arguments = list(zip(*(self._of[f"a{n}"] for n in range(4)), strict=True))
        self.failures = [
            None if success else (success, exit_)
            for success, exit_ in zip(self._of["success"], self._of["exit"], strict=True)
        ]
        """None if it succeeded."""

    def column(self, name: str, kind: pa.DataType) -> pa.Array:
        """Give a column of `_PLAIN`."""
        if name == "time":
            return pa.array(self.at, pa.int64()).cast(TIME)
        return pa.array(self._of[_PLAIN[name]], pa.int64()).cast(kind)


def view_rows(  # noqa: PLR0917 - as `read_rows`
    connection: Connection,
    view: str,
    values: Mapping[str, str],
    fields: Sequence[pa.Field],
    where: str,
    order: str,
) -> pa.Table:
    """Give rows of any view with these fields; those that are not in `values` are NULL.

    `where`: a condition; on events, it says so by `v.event_id` alone.
    """
    if connection.dialect.name == "sqlite" and view in _SHARED:
        assert order == "event_id"
        return _SHARED[view](connection, values, fields, where)
    return parsed(read_rows(connection, view, values, where=where, order=order), fields)


def call_rows(
    connection: Connection, values: Mapping[str, str], fields: Sequence[pa.Field], where: str
) -> pa.Table:
    """Give rows of `syscalls` in the order of ids; see `view_rows`."""
    kinds = {each.name: each for each in fields}
    tables = [
        _rows(connection, calls, values, kinds).select(list(kinds))
        for calls in _slices(connection, where)
    ]
    return pa.concat_tables([pa.schema(fields).empty_table(), *tables]).combine_chunks()


def story_rows(
    connection: Connection, values: Mapping[str, str], fields: Sequence[pa.Field], where: str
) -> pa.Table:
    """Give rows of `story` in the order of ids; see `view_rows`."""
    kinds = {each.name: each for each in fields}
    names = [name for name in values if name not in _STORY_PLAIN]
    tables = [pa.schema(fields).empty_table()]
    for calls in _slices(connection, where):
        others = list(_others(connection, calls))
        told = zip(calls.contexts, _told(connection, calls), others, strict=True)
        keys = zip(told, _named(connection, calls), strict=False)
        most = dict(zip(calls.ids, map(_most, others), strict=True))
        ask = partial(_asked_story, connection, values, kinds, most)
        found = _columns(_Groups(keys), calls.ids, names, ask)
        found |= {
            name: calls.column(name, kinds[name].type) for name in _STORY_PLAIN if name in values
        }
        tables.append(_table(found, kinds, len(calls.ids)))
    sql = story_of_others(SQLITE, f"WHERE {where.replace('v.event_id', 'e.id')}")
    lone = parsed(read_rows(connection, f"({sql})", values, where="1 = 1", order="1"), fields)
    if not len(lone):
        return pa.concat_tables(tables).combine_chunks()
    return pa.concat_tables([*tables, lone]).sort_by("event_id").combine_chunks()


_SHARED: Final = {"syscalls": call_rows, "story": story_rows}


def _slices(connection: Connection, where: str) -> Iterator[_Calls]:
    """Read the rows of calls."""
    columns = ", ".join(f"{'c' if name == 'arch' else 's'}.{name}" for name in _COLUMNS)
    found = connection.exec_driver_sql(
        f"SELECT {columns} FROM syscall s JOIN context c ON c.id = s.context"  # noqa: S608 - ours
        f" WHERE {where.replace('v.event_id', 's.id')} ORDER BY s.id"
    )
    for rows in found.partitions(_SLICE):
        yield _Calls(rows)


def _rows(
    connection: Connection,
    calls: _Calls,
    values: Mapping[str, str],
    kinds: Mapping[str, pa.Field],
) -> pa.Table:
    ids = calls.ids
    found = {name: calls.column(name, kinds[name].type) for name in _PLAIN if name in values}
    ask = partial(_asked, connection, values, kinds, _view)
    if names := [name for name in values if name in _OF_PROCESS]:
        found |= _columns(_Groups(_changes(connection, calls)), ids, names, ask)
    if names := [name for name in values if name in _OF_CALL]:
        places = _Groups(zip(_told(connection, calls), calls.states, strict=True))
        found |= _columns(places, ids, names, ask)
    if "argv" in values:
        found |= _argv(connection, ids, ask)
    if names := [name for name in values if name not in found]:
        found |= _columns(_Groups(ids), ids, names, ask)
    return _table(found, kinds, len(ids))


def _table(
    found: Mapping[str, pa.Array | pa.ChunkedArray], kinds: Mapping[str, pa.Field], count: int
) -> pa.Table:
    columns = [found.get(name, pa.nulls(count, each.type)) for name, each in kinds.items()]
    return pa.table(columns, pa.schema(kinds.values()))


class _Groups:
    """Which of some things are alike: the places of the first of each kind, and each one's kind."""

    def __init__(self, keys: Iterable[Hashable]) -> None:
        kinds: dict[Hashable, int] = {}
        self.firsts: list[int] = []
        self.kinds: list[int] = []
        for place, key in enumerate(keys):
            kind = kinds.setdefault(key, len(kinds))
            if kind == len(self.firsts):
                self.firsts.append(place)
            self.kinds.append(kind)


def _columns(
    groups: _Groups, ids: Sequence[int], names: Sequence[str], ask: _Ask
) -> dict[str, pa.ChunkedArray]:
    """Ask for columns of the first of each group; gives them for all."""
    rows = ask(names, [ids[place] for place in groups.firsts])
    if len(groups.firsts) < len(groups.kinds):
        rows = rows.take(pa.array(groups.kinds, pa.int64()))
    return {name: rows[name] for name in names}


def _asked(  # noqa: PLR0917 - the first four are of one question, and bound
    connection: Connection,
    values: Mapping[str, str],
    kinds: Mapping[str, pa.Field],
    source: Callable[[str], tuple[str, str]],
    names: Sequence[str],
    ids: Sequence[int],
) -> pa.Table:
    """Ask for columns of some calls, in the order of ids."""
    wanted = {name: values[name] for name in names}
    rows: list[bytes] = []
    for start in range(0, len(ids), _AT_ONCE):
        view, where = source(_listed(ids[start : start + _AT_ONCE]))
        rows += read_rows(connection, view, wanted, where=where, order="v.event_id")
    return parsed(rows, [kinds[name] for name in names])


def _view(listed: str) -> tuple[str, str]:
    return "syscalls", f"v.event_id IN ({listed})"


def _asked_story(  # noqa: PLR0917 - as `_asked`
    connection: Connection,
    values: Mapping[str, str],
    kinds: Mapping[str, pa.Field],
    most: Mapping[int, _Most],
    names: Sequence[str],
    ids: Sequence[int],
) -> pa.Table:
    """Ask for columns of the story of some calls, in the order of ids.

    Those whose other records are in the same tables are asked for together: what a table would
    say is not looked for in calls that have nothing there, which are most.
    """
    groups: dict[_Most, list[int]] = defaultdict(list)
    for each in ids:
        groups[most[each]].append(each)
    parts = [
        _asked(connection, values, kinds, partial(_story, of), names, group)
        for of, group in groups.items()
    ]
    asked = pa.array([each for group in groups.values() for each in group], pa.int64())
    return pa.concat_tables(parts).take(pc.sort_indices(asked))


def _story(most: _Most, listed: str) -> tuple[str, str]:
    where = f"WHERE s.id IN ({listed})"
    return f"({story_of_calls(SQLITE, where, dict(zip(_RECORDS, most, strict=True)))})", "1 = 1"


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(map(str, ids))


def _argv(connection: Connection, ids: Sequence[int], ask: _Ask) -> dict[str, pa.Array]:
    """Give the arguments of the calls that are execs."""
    within = f"event BETWEEN {ids[0]:d} AND {ids[-1]:d}"
    found = connection.exec_driver_sql(f"SELECT event FROM exec WHERE {within}")  # noqa: S608 - ours
    known = dict(zip(ids, range(len(ids)), strict=True))
    execs = sorted(event for (event,) in found if event in known)
    rows = ask(["argv"], execs)["argv"].combine_chunks()
    places = pa.array([known[event] for event in execs], pa.int64())
    back = pc.index_in(pa.array(range(len(ids)), pa.int64()), value_set=places)
    return {"argv": rows.take(back)}


# --- what makes a difference ------------------------------------------------------------------


def _changes(connection: Connection, calls: _Calls) -> Iterator[tuple[int, int, int, int]]:
    """Give of each call what the columns of its process are made of.

    That is its context, its state of a process, and how many of the points at which something
    begins to hold are not after it, by time and by id.
    """
    low, high = min(calls.at), max(calls.at)
    points: dict[int, list[int]] = defaultdict(list)
    contexts = _listed(sorted(set(calls.contexts)))
    for table, pids in (("process_sign", "c.pid, c.ppid"), ("process_cgroup", "c.pid")):
        rows = connection.exec_driver_sql(
            f"SELECT c.id, x.at FROM context c CROSS JOIN {table} x"  # noqa: S608 - ours
            f" WHERE c.id IN ({contexts}) AND x.host = c.host AND x.pid IN ({pids})"
            f" AND x.at > {low:d} AND x.at <= {high:d}"
        )
        for context, at in rows:
            points[context].append(at)
    for each in points.values():
        each.sort()
    origins = connection.exec_driver_sql(
        f"SELECT low, high FROM origin WHERE low <= {calls.ids[-1]} AND high >= {calls.ids[0]}"  # noqa: S608 - ours
    )
    ranges = sorted(point for first, last in origins for point in (first, last + 1))
    of_process = (
        bisect_right(points[context], at) if context in points else 0
        for context, at in zip(calls.contexts, calls.at, strict=True)
    )
    of_origin = (bisect_right(ranges, each) for each in calls.ids) if ranges else repeat(0)
    return zip(calls.contexts, of_process, _named(connection, calls), of_origin, strict=False)


def _named(connection: Connection, calls: _Calls) -> Iterable[int]:
    """Give of each call how many of the points at which a name begins to hold are not after it."""
    low, high = min(calls.at), max(calls.at)
    named: list[int] = []
    for (at,) in connection.exec_driver_sql(
        f"SELECT DISTINCT at FROM account_name WHERE at > {low:d} AND at <= {high + SOON:d}"  # noqa: S608 - ours
    ):
        named += (at, at - SOON)
    named.sort()
    return (bisect_right(named, at) for at in calls.at) if named else repeat(0)


def _told(connection: Connection, calls: _Calls) -> Iterator[Hashable]:
    """Give of each call what its words are made of: its number, how it failed, some arguments."""
    places: dict[tuple[int, int], list[int]] = {each: [] for each in set(calls.names)}
    listed = ", ".join(f"({arch:d}, {nr:d})" for arch, nr in places)
    found = connection.exec_driver_sql(
        f"SELECT n.arch, n.nr, k.place FROM ({_PLACES}) k"  # noqa: S608 - ours
        " JOIN syscall_name n ON n.name = k.call"
        f" WHERE k.place IS NOT NULL AND (n.arch, n.nr) IN (VALUES {listed})"
    )
    for arch, nr, place in found:
        places[arch, nr].append(place)
    for name, arguments, failure in zip(calls.names, calls.arguments, calls.failures, strict=True):
        if told := places[name]:
            yield name, failure, tuple(arguments[place] for place in told)
        else:
            yield name, failure


def _most(others: Sequence[tuple[Any, ...]]) -> _Most:
    """Give how many rows a call's other records have in each table: none, one, or more."""
    if not others:
        return _NONE
    found = [each[0] for each in others]
    return tuple([min(found.count(table), _MANY) for table in _RECORDS])


def _others(connection: Connection, calls: _Calls) -> Iterator[tuple[tuple[Any, ...], ...]]:
    """Give of each call the ids in its other records, each with its table."""
    within = f"event BETWEEN {calls.ids[0]:d} AND {calls.ids[-1]:d}"
    parts = " UNION ALL ".join(
        f"SELECT event, '{table}', {columns} FROM {table} WHERE {within}"  # noqa: S608 - ours
        for table, columns in _RECORDS.items()
    )
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for event, *ids in connection.exec_driver_sql(parts):
        found[event].append(tuple(ids))
    return (tuple(found[each]) if each in found else () for each in calls.ids)
