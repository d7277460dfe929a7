"""Rows of `story` of an SQLite store: each value is asked of the view's statement but once.

Who did it is of the call's context. What was done follows from the call's number, how it failed,
the arguments that the story tells, and the other records. Most stories differ only in the files
and the program that they name, so the statement is asked with marks in the place of these; where
its answer is a mark, it stands for the call's own text. A sentence that has something of its own
is asked for by itself.
"""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.call_rows import as_table, shared
from auditsvc.arrow.calls import STORY, Calls, listed
from auditsvc.arrow.groups import Groups
from auditsvc.arrow.json_rows import Where, parsed, read_rows
from auditsvc.arrow.path_rows import Paths
from auditsvc.store.views import story_of_calls, story_of_others
from auditsvc.store.views.dialect import SQLITE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

_PLAIN: Final = ("event_id", "time")
_WHO: Final = (*("host", "pid", "auid", "uid", "ses", "actor", "as_user", "how", "key"),)
_TEXTS: Final = ("object", "object2")
_SENTENCE: Final = "sentence"
_RECORDS: Final = {
    "sockaddr": "seq, address",
    "exec": "0, argv",
    "record": "type, seq || ' ' || fields",
}
"""The tables of a call's other records: columns that tell all of a row."""
_MANY: Final = 2
_Most = tuple[int, ...]
"""Of each of `_RECORDS`: how many rows a call has there; `_MANY` for more than one."""
_MARKS: Final = {name: secrets.token_hex(16) for name in ("first", "last", "comm")}
"""What no log has."""
_GIVEN: Final = (
    "(SELECT y.*, json_extract(k.value, '$[1]') AS first, json_extract(k.value, '$[2]') AS last,"
    " json_extract(k.value, '$[3]') AS in_folder, json_extract(k.value, '$[4]') AS comm"
    " FROM json_each(:calls) k CROSS JOIN syscall y ON y.id = json_extract(k.value, '$[0]'))"
)


def story_rows(
    connection: Connection,
    slices: Iterable[Calls],
    where: Where,
    values: Mapping[str, str],
    fields: Sequence[pa.Field],
) -> pa.Table:
    """Give rows of `story` in the order of ids, with these fields.

    `values`: an expression of the view's row `v` for each; NULL for one without.
    """
    tables = [pa.schema(fields).empty_table()]
    tables += [_Stories(connection, calls, values, fields).rows() for calls in slices]
    sql = story_of_others(SQLITE, f"WHERE {where.text.replace('v.event_id', 'e.id')}")
    rows = Where("1 = 1", where.values)
    lone = parsed(read_rows(connection, f"({sql})", values, where=rows, order="1"), fields)
    if not len(lone):
        return pa.concat_tables(tables).combine_chunks()
    return pa.concat_tables([*tables, lone]).sort_by("event_id").combine_chunks()


class _Stories:
    """The stories of some calls."""

    def __init__(
        self,
        connection: Connection,
        calls: Calls,
        values: Mapping[str, str],
        fields: Sequence[pa.Field],
    ) -> None:
        self._connection, self._calls, self._values = connection, calls, values
        self._kinds = {each.name: each for each in fields}

    def rows(self) -> pa.Table:
        """Give the rows, in the order of ids."""
        calls, values = self._calls, self._values
        found = {
            name: calls.column(name, self._kinds[name].type) for name in _PLAIN if name in values
        }
        who = [calls.context, *calls.named()]
        if names := [name for name in _WHO if name in values]:
            found |= shared(calls.ids, who, lambda ids: self._asked(names, ids))
        if names := [name for name in values if name not in found]:
            found |= self._told(names, who)
        return as_table(found, self._kinds, len(calls))

    def _told(
        self, names: Sequence[str], who: Sequence[pa.Array]
    ) -> dict[str, pa.Array | pa.ChunkedArray]:
        """Give what was done, with the call's own texts in the place of marks."""
        calls = self._calls
        of_records, most = _records(self._connection, calls)
        told = [*calls.told(STORY), *calls.failed, of_records]
        if not any(name in (*_TEXTS, _SENTENCE, "object_kind") for name in names):
            return shared(calls.ids, told, lambda ids: self._asked(names, ids))
        files = Paths(self._connection, calls).told()
        comm = calls.of_contexts("comm", "(SELECT t.value FROM text t WHERE t.id = c.comm)")
        comm = pc.if_else(pc.equal(comm.cast(pa.string()), ""), None, comm.cast(pa.string()))
        last = pc.if_else(
            pc.fill_null(pc.equal(files.first, files.last), False), _MARKS["first"], _MARKS["last"]
        )
        marks = {
            "first": pc.if_else(pc.is_valid(files.first), _MARKS["first"], None),
            "last": pc.if_else(pc.is_valid(files.last), last, None),
            "in_folder": files.in_folder,
            "comm": pc.if_else(pc.is_valid(comm), _MARKS["comm"], None),
        }
        groups = Groups([*told, *marks.values()], len(calls))
        asked = self._asked_with_marks(names, groups.firsts, marks, most)
        found = dict(zip(names, groups.spread(asked).select(names).columns, strict=True))
        texts = {"first": files.first, "last": files.last, "comm": comm}
        for name in _TEXTS:
            for mark, text in texts.items():
                if name in found:
                    is_mark = pc.fill_null(pc.equal(found[name], _MARKS[mark]), False)
                    found[name] = pc.if_else(is_mark, text, found[name])
        if _SENTENCE in found:
            keys = [*who, *told, files.first, files.last, files.in_folder]
            found[_SENTENCE] = self._sentences(found[_SENTENCE], keys)
        return found

    def _sentences(self, sentences: pa.ChunkedArray, keys: Sequence[pa.Array]) -> pa.Array:
        """Give the sentences that are not NULL as they are without marks."""
        places = pc.indices_nonzero(pc.is_valid(sentences)).cast(pa.int64())
        if not len(places):
            return sentences
        own = shared(
            self._calls.ids.take(places),
            [each.take(places) for each in keys],
            lambda ids: self._asked([_SENTENCE], ids),
        )[_SENTENCE]
        every = pa.array(range(len(sentences)), pa.int64())
        return pc.take(own, pc.index_in(every, value_set=places))

    def _asked(self, names: Sequence[str], ids: pa.Array) -> pa.Table:
        """Ask for columns of some calls, in the order of ids."""
        sql = story_of_calls(SQLITE, "WHERE s.id IN (SELECT k.value FROM json_each(:ids) k)")
        return self._read(names, sql, Where("1 = 1", {"ids": listed(ids)}))

    def _asked_with_marks(
        self,
        names: Sequence[str],
        places: pa.Array,
        marks: Mapping[str, pa.Array],
        most: pa.Array,
    ) -> pa.Table:
        """Ask for columns of the calls at some places.

        Those whose other records are in the same tables are asked for together: what a table would
        say is not looked for in calls that have nothing there, which are most.
        """
        columns = [self._calls.ids, *marks.values()]
        given = list(zip(*(each.take(places).to_pylist() for each in columns), strict=True))
        groups: dict[_Most, list[int]] = defaultdict(list)
        for place, kind in enumerate(most.take(places).to_pylist()):
            groups[_counts(kind)].append(place)
        parts = []
        for of, group in groups.items():
            sql = story_of_calls(SQLITE, "", dict(zip(_RECORDS, of, strict=True)), _GIVEN)
            calls = json.dumps([given[place] for place in group])
            parts.append(self._read(names, sql, Where("1 = 1", {"calls": calls})))
        asked = pa.array([place for group in groups.values() for place in group], pa.int64())
        return pa.concat_tables(parts).take(pc.sort_indices(asked))

    def _read(self, names: Sequence[str], sql: str, where: Where) -> pa.Table:
        wanted = {name: self._values[name] for name in names}
        rows = read_rows(self._connection, f"({sql})", wanted, where=where, order="v.event_id")
        return parsed(rows, [self._kinds[name] for name in names])


def _records(connection: Connection, calls: Calls) -> tuple[pa.Array, pa.Array]:
    """Give numbers of each call: one for all that its other records say, and one for `_Most`."""
    within = calls.within
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for number, (table, columns) in enumerate(_RECORDS.items()):
        rows = within.run(
            connection,
            f"SELECT event, {columns} FROM {table} WHERE {within.text}",  # noqa: S608 - ours
        )
        for row in rows:
            found[row[0]].append((number, *row[1:]))
    kinds: dict[tuple[Any, ...], int] = {(): 0}
    events = pa.array(found, pa.int64())
    every = [kinds.setdefault(tuple(each), len(kinds)) for each in found.values()]
    most = [_number(each) for each in found.values()]
    places = pc.index_in(calls.ids, value_set=events)
    of_all, of_most = (
        pc.fill_null(pc.take(pa.array(each, pa.int64()), places), 0) for each in (every, most)
    )
    return of_all, of_most


def _number(rows: Sequence[tuple[Any, ...]]) -> int:
    """Give `_Most` as one number."""
    number = 0
    for table in range(len(_RECORDS)):
        number = number * (_MANY + 1) + min(sum(each[0] == table for each in rows), _MANY)
    return number


def _counts(number: int) -> _Most:
    """Give `_Most` of its number."""
    found = []
    for _ in _RECORDS:
        number, count = divmod(number, _MANY + 1)
        found.append(count)
    return tuple(reversed(found))
