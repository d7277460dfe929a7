"""The rows of `path` of some calls of an SQLite store, and the files that stories tell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.columns import field_of
from auditsvc.arrow.full_paths import FullPaths
from auditsvc.arrow.rows import read_table
from auditsvc.arrow.where import Where
from auditsvc.store.views import IS_FOLDER, IS_NAMED, paths, stored_paths
from auditsvc.store.views.dialect import SQLITE

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from auditsvc.arrow.calls import Calls

ASKED: Final = (
    "(SELECT y.*, k.key AS asked FROM json_each(:rows) k CROSS JOIN path y"
    " ON y.event = json_extract(k.value, '$[0]') AND y.seq = json_extract(k.value, '$[1]'))"
)
"""Rows of `path` that are asked for (`Paths.named`), in the place of all."""
_PATHS: Final = f"({paths(SQLITE, ASKED)})"
_AT: Final = "at"
_OF_ROW: Final = ("event", "item", "seq", "file", "extra")
_PATH: Final = "path"
OF_FILE: Final = (
    *("name", _PATH, "nametype", "inode", "dev", "mode", "ouid", "ogid", "rdev", "obj"),
)
"""Columns of the view `paths` about the file."""
_IS_NAMED, _IS_FOLDER = "is_named", "is_folder"
_VALUES: Final = {
    **{name: f"v.{name}" for name in (*_OF_ROW[1:], *OF_FILE) if name != _PATH},
    _OF_ROW[0]: "v.event_id",
    _IS_NAMED: f"({IS_NAMED.format(name='v.name', nametype='v.nametype')})",
    _IS_FOLDER: f"({IS_FOLDER.format(mode='v.mode')})",
}
_FIELDS: Final = [
    *(pa.field(name, pa.int64()) for name in (*_OF_ROW, _IS_NAMED, _IS_FOLDER)),
    *(field_of(name) for name in OF_FILE if name != _PATH),
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

    `rows` has the columns `event`, `item`, `seq`, the ids `file` and `extra`, the columns of
    `OF_FILE` but for `path`, and `call`: the place of the call.
    """

    def __init__(
        self,
        connection: Connection,
        calls: Calls,
        rows: pa.Table | None = None,
        full: pa.Array | None = None,
    ) -> None:
        """`rows`: without them those of all events that are in the scope of the calls."""
        self.connection, self.calls, self._rows, self._full = connection, calls, rows, full

    @property
    def rows(self) -> pa.Table:
        """The rows, which are read when they are first asked for."""
        if self._rows is None:
            scope = self.calls.scope
            sql = f"({stored_paths(SQLITE, scope.on('p.event'))})"
            rows = read_table(
                self.connection,
                sql,
                _VALUES,
                _FIELDS,
                where=Where("1 = 1", scope.values),
                order="v.event_id, v.seq",
            )
            rows = _in_order_of_items(rows)
            call = pc.index_in(rows["event"], value_set=self.calls.ids).cast(pa.int64())
            self._rows = rows.append_column("call", call).combine_chunks()
        return self._rows

    @property
    def full(self) -> pa.Array:
        """The paths (`FullPaths`)."""
        if self._full is None:
            self._full = FullPaths(self).all()
        return self._full

    def asked(self, places: pa.Array) -> pa.Array:
        """Ask the view for the paths of the rows at some places."""
        where = Where("1 = 1", {"rows": self.named(places)})
        values = {_PATH: f"v.{_PATH}"}
        found = read_table(
            self.connection, _PATHS, values, [field_of(_PATH)], where=where, order="v.asked"
        )
        return found[_PATH].combine_chunks()

    def of_file(self, name: str) -> pa.Array:
        """Give a column of `OF_FILE`.

        `files` says the same of the rows that it has; tests hold both to their views.
        """
        return self.full if name == _PATH else self[name]

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.rows)

    def __getitem__(self, column: str) -> pa.Array:
        """Give a column."""
        return self.rows[column].combine_chunks()

    def chosen(self, is_chosen: pa.Array) -> Paths:
        """Give some of the rows."""
        rows = self.rows.filter(is_chosen).combine_chunks()
        return Paths(self.connection, self.calls, rows, self.full.filter(is_chosen))

    def named(self, places: pa.Array, rows: pa.Table | None = None) -> str:
        """Name the rows at some places, of these or of `rows`, for `ASKED`."""
        of = self.rows if rows is None else rows
        keys = (of[name].take(places).to_pylist() for name in ("event", "seq"))
        return json.dumps(list(zip(*keys, strict=True)))

    def told(self) -> Told:
        """Give what a story tells of the files of each call."""
        rows = pa.table({"call": self["call"], _AT: pa.arange(0, len(self))})
        is_of_call = pc.is_valid(self["call"])
        named = rows.filter(pc.and_(is_of_call, pc.equal(self[_IS_NAMED], 1)))
        first, last = (self._of_calls(named, which) for which in ("min", "max"))
        lowest = self._of_calls(rows.filter(is_of_call), "max")
        text, is_folder = pc.coalesce(self.full, self["name"]), self[_IS_FOLDER]
        return Told(
            pc.take(text, first), pc.take(text, last), pc.fill_null(pc.take(is_folder, lowest), 0)
        )

    def _of_calls(self, rows: pa.Table, which: str) -> pa.Array:
        """Give for each call the first (`min`) or last (`max`) of its rows among some."""
        found = rows.group_by("call", use_threads=False).aggregate([(_AT, which)])
        calls = pa.arange(0, len(self.calls))
        places = pc.index_in(calls, value_set=found["call"].combine_chunks())
        return pc.take(found[f"{_AT}_{which}"].combine_chunks(), places)


def _in_order_of_items(rows: pa.Table) -> pa.Table:
    """Give rows, which are in the order of events and as they came, in that of their items."""
    event, item = (rows[name].combine_chunks() for name in ("event", "item"))
    is_same = pc.equal(event[1:], event[:-1])
    is_before = pc.less(item[1:], item[:-1])
    is_unordered = pc.or_kleene(is_before, pc.is_null(item[1:]))
    if not pc.any(pc.and_(is_same, pc.fill_null(is_unordered, False))).as_py():
        return rows
    keys = [(name, "ascending", "at_start") for name in ("event", "item", "seq")]
    return rows.take(pc.sort_indices(rows, sort_keys=keys))
