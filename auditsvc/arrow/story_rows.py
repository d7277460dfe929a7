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
from functools import cache
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.call_rows import as_table, shared
from auditsvc.arrow.calls import STORY, listed, without
from auditsvc.arrow.groups import Groups
from auditsvc.arrow.rows import read_table
from auditsvc.arrow.where import Where
from auditsvc.store.views import story_of_calls, story_of_others
from auditsvc.store.views.dialect import SQLITE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from auditsvc.arrow.paths import Paths

_PLAIN: Final = ("event_id", "time")
_WHO: Final = (*("host", "pid", "auid", "uid", "ses", "actor", "as_user", "how", "key"),)
_TEXTS: Final = ("object", "object2")
_SENTENCE: Final = "sentence"
_MARKS: Final = {name: secrets.token_hex(16) for name in ("first", "last", "comm")}
"""What no log has."""
_GIVEN: Final = (
    "(SELECT y.*, json_extract(k.value, '$[1]') AS first, json_extract(k.value, '$[2]') AS last,"
    " json_extract(k.value, '$[3]') AS in_folder, json_extract(k.value, '$[4]') AS comm"
    " FROM json_each(:calls) k CROSS JOIN syscall y ON y.id = json_extract(k.value, '$[0]'))"
)
_OF_IDS: Final = story_of_calls(SQLITE, "WHERE s.id IN (SELECT k.value FROM json_each(:ids) k)")


@cache
def _with_marks(tables: int) -> str:
    """Give the statement for calls whose other records are in some tables (`calls.without`)."""
    return story_of_calls(SQLITE, "", without(tables), _GIVEN)


def story_rows(
    connection: Connection,
    slices: Iterable[Paths],
    where: Where,
    values: Mapping[str, str],
    fields: Sequence[pa.Field],
) -> pa.Table:
    """Give rows of `story` in the order of ids, with these fields.

    `values`: an expression of the view's row `v` for each; NULL for one without.
    """
    tables = [pa.schema(fields).empty_table()]
    tables += [_Stories(each, values, fields).rows() for each in slices if len(each.calls)]
    sql = story_of_others(SQLITE, f"WHERE {where.text.replace('v.event_id', 'e.id')}")
    rows = Where("1 = 1", where.values)
    lone = read_table(connection, f"({sql})", values, fields, where=rows, order="1")
    if not len(lone):
        return pa.concat_tables(tables).combine_chunks()
    return pa.concat_tables([*tables, lone]).sort_by("event_id").combine_chunks()


class _Stories:
    """The stories of some calls."""

    def __init__(self, paths: Paths, values: Mapping[str, str], fields: Sequence[pa.Field]) -> None:
        self._paths, self._values = paths, values
        self._connection, self._calls = paths.connection, paths.calls
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
        told = [*calls.told(STORY), *calls.failed, calls.records.all]
        if not any(name in (*_TEXTS, _SENTENCE, "object_kind") for name in names):
            return shared(calls.ids, told, lambda ids: self._asked(names, ids))
        files = self._paths.told()
        comm = calls.of_contexts(
            "(SELECT nullif(t.value, '') FROM text t WHERE t.id = c.comm)", pa.string()
        )
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
        asked = self._asked_with_marks(names, groups.firsts, marks)
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
        every = pa.arange(0, len(sentences))
        return pc.take(own, pc.index_in(every, value_set=places))

    def _asked(self, names: Sequence[str], ids: pa.Array) -> pa.Table:
        """Ask for columns of some calls, in the order of ids."""
        return self._read(names, _OF_IDS, Where("1 = 1", {"ids": listed(ids)}))

    def _asked_with_marks(
        self,
        names: Sequence[str],
        places: pa.Array,
        marks: Mapping[str, pa.Array],
    ) -> pa.Table:
        """Ask for columns of the calls at some places.

        Those whose other records are in the same tables are asked for together: what a table would
        say is not looked for in calls that have nothing there, which are most.
        """
        columns = [self._calls.ids, *marks.values()]
        given = list(zip(*(each.take(places).to_pylist() for each in columns), strict=True))
        groups: dict[int, list[int]] = defaultdict(list)
        for place, tables in enumerate(self._calls.records.tables.take(places).to_pylist()):
            groups[tables].append(place)
        parts = []
        for tables, group in groups.items():
            sql = _with_marks(tables)
            calls = json.dumps([given[place] for place in group])
            parts.append(self._read(names, sql, Where("1 = 1", {"calls": calls})))
        asked = pa.array([place for group in groups.values() for place in group], pa.int64())
        return pa.concat_tables(parts).take(pc.sort_indices(asked))

    def _read(self, names: Sequence[str], sql: str, where: Where) -> pa.Table:
        wanted = {name: self._values[name] for name in names}
        fields = [self._kinds[name] for name in names]
        return read_table(
            self._connection, f"({sql})", wanted, fields, where=where, order="v.event_id"
        )
