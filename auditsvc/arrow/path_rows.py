"""The rows of `path` of some calls of an SQLite store, and which of them a story tells."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.calls import FOLDER, Calls, listed
from auditsvc.arrow.groups import Groups
from auditsvc.arrow.json_rows import Where
from auditsvc.arrow.numbers import read_numbers
from auditsvc.store.views import facts_of_files, paths_of_files
from auditsvc.store.views.dialect import SQLITE

if TYPE_CHECKING:
    from sqlalchemy import Connection


class Told(NamedTuple):
    """What a story tells of the files of each of some calls."""

    first: pa.Array
    """A path, or NULL."""
    last: pa.Array
    in_folder: pa.Array
    """1 or 0."""


class Paths:
    """The rows of `path` of some calls, in the order of their ids, their items, and as they came.

    `call`: the place of the call of each.
    """

    def __init__(self, connection: Connection, calls: Calls) -> None:
        self._connection, self._calls = connection, calls
        within = calls.within
        rows = read_numbers(
            connection,
            ("event", "seq", "file"),
            f"SELECT event, seq, file FROM path WHERE {within.text} ORDER BY event, item, seq",  # noqa: S608
            within,
        )
        places = pc.index_in(rows["event"], value_set=calls.ids).cast(pa.int64())
        rows = rows.append_column("call", places)
        if places.null_count:
            rows = rows.filter(pc.is_valid(places))
        rows = rows.combine_chunks()
        self.event, self.seq, self.file, self.call = (
            rows[name].combine_chunks() for name in ("event", "seq", "file", "call")
        )

    def told(self) -> Told:
        """Give what a story tells of the files of each call."""
        known = pc.unique(self.file)
        facts = read_numbers(
            self._connection,
            ("id", "is_named", "is_folder"),
            facts_of_files("json_each(:files)"),
            Where("", {"files": listed(known)}),
        )
        of = pc.index_in(self.file, value_set=facts["id"].combine_chunks())
        is_named = pc.take(facts["is_named"].combine_chunks(), of)
        rows = pa.table({"call": self.call, "at": pa.array(range(len(of)), pa.int64())})
        named = rows.filter(pc.fill_null(pc.equal(is_named, 1), False))
        first, last = (_chosen(named, which) for which in ("min", "max"))
        lowest = _chosen(rows.filter(pc.is_valid(of)), "max")
        is_folder = pc.take(facts["is_folder"].combine_chunks(), of)
        in_folder = pc.take(is_folder, self._of_calls(lowest))
        paths = self._paths(pc.unique(pa.concat_arrays([first[1], last[1]])))
        return Told(
            pc.take(paths, self._of_calls(first)),
            pc.take(paths, self._of_calls(last)),
            pc.fill_null(in_folder, 0),
        )

    def _of_calls(self, chosen: tuple[pa.Array, pa.Array]) -> pa.Array:
        """Give for each call the row that was chosen."""
        calls = pa.array(range(len(self._calls)), pa.int64())
        return pc.take(chosen[1], pc.index_in(calls, value_set=chosen[0]))

    @cached_property
    def _keys(self) -> list[pa.Array]:
        """What a path is made of: the file, the working directory, the call and its directories."""
        cwd = self._calls.of_contexts("cwd", "c.cwd")
        of_call = [cwd, *self._calls.told(FOLDER)]
        return [self.file, *(pc.take(each, self.call) for each in of_call)]

    def _paths(self, rows: pa.Array) -> pa.Array:
        """Give the paths of some rows, and NULL for the others."""
        groups = Groups([pc.take(each, rows) for each in self._keys], len(rows))
        chosen = rows.take(groups.firsts)
        keys = zip(
            self.event.take(chosen).to_pylist(), self.seq.take(chosen).to_pylist(), strict=True
        )
        found = self._connection.exec_driver_sql(
            paths_of_files(
                SQLITE,
                "json_each(:rows) k CROSS JOIN path p ON p.event = json_extract(k.value, '$[0]')"
                " AND p.seq = json_extract(k.value, '$[1]')",
            )
            + " ORDER BY k.key",
            {"rows": json.dumps(list(keys))},
        )
        paths = pa.array([path for (path,) in found], pa.string())
        places = pc.index_in(pa.array(range(len(self.file)), pa.int64()), value_set=rows)
        return pc.take(paths, pc.take(groups.kinds, places))


def _chosen(rows: pa.Table, which: str) -> tuple[pa.Array, pa.Array]:
    """Give the calls that have such rows, and of each the first (`min`) or last (`max`)."""
    found = rows.group_by("call", use_threads=False).aggregate([("at", which)])
    return found["call"].combine_chunks(), found[f"at_{which}"].combine_chunks()
