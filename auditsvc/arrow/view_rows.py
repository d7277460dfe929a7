"""Rows of any view as Arrow tables.

    views = Views(connection)
    rows = views.rows("syscalls", {"exe": "v.exe"}, fields, where, "event_id")

Of calls in an SQLite store, each value is asked but once (`call_rows`, `story_rows`); calls that
several views are asked for are read once. All is to be read in one transaction, so nothing changes
between.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final

from auditsvc.arrow import calls as of_calls
from auditsvc.arrow.call_rows import call_rows
from auditsvc.arrow.path_rows import file_rows, path_rows
from auditsvc.arrow.paths import Paths
from auditsvc.arrow.record_rows import record_rows
from auditsvc.arrow.rows import read_table
from auditsvc.arrow.story_rows import story_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa
    from sqlalchemy import Connection

    from auditsvc.arrow.where import Where


WHOLE: Final = 1 << 16
"""Calls that are read together by who reads a part of a store, and less where that has no room."""


class Views:
    """The views of a store, in one transaction."""

    def __init__(self, connection: Connection, size: int = 0) -> None:
        """`size`: most calls that are read together, if not `SLICE`; fewer of them are kept."""
        self.connection = connection
        self._size = size
        self._known: tuple[Where, list[Paths]] | None = None

    def rows(
        self,
        view: str,
        values: Mapping[str, str],
        fields: Sequence[pa.Field],
        where: Where,
        order: str,
    ) -> pa.Table:
        """Give rows of a view with these fields; those that are not in `values` are NULL.

        `where`: a condition; on events, it says so by `v.event_id` alone.
        """
        if self.connection.dialect.name == "sqlite":
            if view == "syscalls":
                calls = (each.calls for each in self._slices(where))
                return call_rows(self.connection, calls, values, fields)
            if view == "story":
                return story_rows(self.connection, self._slices(where), where, values, fields)
            if view == "paths":
                return path_rows(self._slices(where), values, fields)
            if view == "files":
                return file_rows(self._slices(where), values, fields)
            if view == "records":
                return record_rows(self._slices(where), values, fields)
        return read_table(self.connection, view, values, fields, where=where, order=order)

    def _slices(self, where: Where) -> Iterable[Paths]:
        """Give the calls with their paths; they are kept if they are few."""
        if self._known is not None and self._known[0] == where:
            return self._known[1]
        self._known = None
        size = self._size or of_calls.SLICE
        calls = of_calls.slices(self.connection, where, size)
        slices = (Paths(self.connection, each) for each in calls)
        first = next(slices)
        if len(first.calls) < size:
            self._known = (where, [first])
            return self._known[1]
        return chain([first], slices)
