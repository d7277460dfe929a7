"""The rows of `path` of some calls of an SQLite store, and the files that stories tell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.calls import FOLDER, Calls
from auditsvc.arrow.columns import field_of
from auditsvc.arrow.groups import Groups
from auditsvc.arrow.rows import read_table
from auditsvc.arrow.sqlite_rows import read_columns
from auditsvc.arrow.where import Where
from auditsvc.store.views import FILE_TEXT, IS_FOLDER, IS_NAMED, paths
from auditsvc.store.views.dialect import SQLITE

if TYPE_CHECKING:
    from sqlalchemy import Connection

ASKED: Final = (
    "(SELECT y.*, k.key AS asked FROM json_each(:rows) k CROSS JOIN path y"
    " ON y.event = json_extract(k.value, '$[0]') AND y.seq = json_extract(k.value, '$[1]'))"
)
"""Rows of `path` that are asked for (`Paths.named`), in the place of all."""
_PATHS: Final = f"({paths(SQLITE, ASKED)})"
_AT: Final = "at"
OF_FILE: Final = (
    *("name", "path", "nametype", "inode", "dev", "mode", "ouid", "ogid", "rdev", "obj"),
)
"""Columns of the view `paths` about the file."""
_IS_NAMED, _IS_FOLDER, _TEXT = "is_named", "is_folder", "text"
_VALUES: Final = {
    **{name: f"v.{name}" for name in OF_FILE},
    _IS_NAMED: f"({IS_NAMED.format(name='v.name', nametype='v.nametype')})",
    _IS_FOLDER: f"({IS_FOLDER.format(mode='v.mode')})",
    _TEXT: FILE_TEXT.format(path="v.path", name="v.name"),
}
_FIELDS: Final = [
    *map(field_of, OF_FILE),
    *(pa.field(name, pa.int64()) for name in (_IS_NAMED, _IS_FOLDER)),
    pa.field(_TEXT, pa.string()),
]


class Told(NamedTuple):
    """What a story tells of the files of each of some calls."""

    first: pa.Array
    """A path, or NULL."""
    last: pa.Array
    in_folder: pa.Array
    """1 or 0."""


class Paths:
    """Rows of `path`, in the order of ids, items, and as they came.

    `rows` has the columns `event`, `item`, `seq`, `file`, and `call`: the place of the call.
    """

    def __init__(
        self,
        connection: Connection,
        calls: Calls,
        rows: pa.Table | None = None,
        files: pa.Table | None = None,
    ) -> None:
        """`rows`: without them those of all events that are in the scope of the calls."""
        self.connection, self.calls, self._rows, self._files = connection, calls, rows, files

    @property
    def rows(self) -> pa.Table:
        """The rows, which are read when they are first asked for."""
        if self._rows is None:
            scope = self.calls.scope
            rows = read_columns(
                self.connection,
                dict.fromkeys(("event", "item", "seq", "file"), pa.int64()),
                f"SELECT event, item, seq, file FROM path WHERE {scope.on('event')}"  # noqa: S608
                " ORDER BY event, item, seq",
                scope,
            )
            call = pc.index_in(rows["event"], value_set=self.calls.ids).cast(pa.int64())
            self._rows = rows.append_column("call", call).combine_chunks()
        return self._rows

    @property
    def files(self) -> pa.Table:
        """What the view `paths` says of the file of each row, and what stories make of that.

        `files` says the same of the rows that it has; tests hold both to their views.
        """
        if self._files is None:
            cwd = self.calls.of_contexts("c.cwd", pa.int64())
            of_call = [pc.take(each, self["call"]) for each in (cwd, *self.calls.told(FOLDER))]
            groups = Groups([self["file"], *of_call], len(self))
            self._files = groups.spread(self._asked(groups.firsts))
        return self._files

    def _asked(self, places: pa.Array) -> pa.Table:
        where = Where("1 = 1", {"rows": self.named(places)})
        return read_table(self.connection, _PATHS, _VALUES, _FIELDS, where=where, order="v.asked")

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.rows)

    def __getitem__(self, column: str) -> pa.Array:
        """Give a column."""
        return self.rows[column].combine_chunks()

    def chosen(self, is_chosen: pa.Array) -> Paths:
        """Give some of the rows."""
        rows, files = (each.filter(is_chosen).combine_chunks() for each in (self.rows, self.files))
        return Paths(self.connection, self.calls, rows, files)

    def named(self, places: pa.Array) -> str:
        """Name the rows at some places for `ASKED`."""
        keys = (self[name].take(places).to_pylist() for name in ("event", "seq"))
        return json.dumps(list(zip(*keys, strict=True)))

    def told(self) -> Told:
        """Give what a story tells of the files of each call."""
        rows = pa.table({"call": self["call"], _AT: pa.array(range(len(self)), pa.int64())})
        is_of_call = pc.is_valid(self["call"])
        named = rows.filter(pc.and_(is_of_call, pc.equal(self.files[_IS_NAMED], 1)))
        first, last = (self._of_calls(named, which) for which in ("min", "max"))
        lowest = self._of_calls(rows.filter(is_of_call), "max")
        text, is_folder = (self.files[name].combine_chunks() for name in (_TEXT, _IS_FOLDER))
        return Told(
            pc.take(text, first), pc.take(text, last), pc.fill_null(pc.take(is_folder, lowest), 0)
        )

    def _of_calls(self, rows: pa.Table, which: str) -> pa.Array:
        """Give for each call the first (`min`) or last (`max`) of its rows among some."""
        found = rows.group_by("call", use_threads=False).aggregate([(_AT, which)])
        calls = pa.array(range(len(self.calls)), pa.int64())
        places = pc.index_in(calls, value_set=found["call"].combine_chunks())
        return pc.take(found[f"{_AT}_{which}"].combine_chunks(), places)
