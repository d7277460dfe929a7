"""The files of one part of a day, written row group by row group beside each other.

    part = Part(folder, columns)
    part.add(connection, ids)         # events in the order of ids, each once
    files = part.finish(connection, ids_of_the_day, seen=7)

Rows are in the order of ids, so a row group is a span of time. Ids and times are coded by their
differences; arguments and results of calls are mostly different numbers, which a dictionary
only makes larger.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from auditsvc.archive.manifest import File
from auditsvc.archive.rows import (
    CALL_COLUMNS,
    added,
    count_calls,
    read_view,
    stored_columns,
)
from auditsvc.archive.views import BASE, COUNTED, LASTING, OF_EVENTS, SEEN, field
from auditsvc.arrow.view_rows import WHOLE, Views

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from auditsvc.archive.views import Ids

_GROUP: Final = 1 << 17
"""Rows of a row group."""
_LEVEL: Final = 9
_STEADY: Final = ("event_id", "serial", "time", "process_id", "began_event_id", "inode", SEEN)
"""Columns that mostly grow."""
_VARIED: Final = (*(f"a{n}_number" for n in range(4)), "exit")
_PIECE: Final = 1 << 20
_MOST_COUNTS: Final = 64
"""Counts of calls that wait to be added."""


class Part:
    """The files of one part, in a folder of this host."""

    def __init__(
        self, folder: Path, columns: Mapping[str, Sequence[str]], known: pa.Array | None = None
    ) -> None:
        """`columns`: of the views; `known`: ids of events that are not to be added."""
        self.events = 0
        self._folder = folder
        self._columns = columns
        self._known = known
        self._writers: dict[str, parquet.ParquetWriter] = {}
        self._waiting: dict[str, list[pa.Table]] = {}
        self._rows: dict[str, int] = {}
        self._counts: list[pa.Table] = []

    def add(self, connection: Connection, ids: Ids) -> int:
        """Add the events with these ids; gives how many were new.

        TooMuchError if they have no room together: then nothing is added.
        """
        new, views = 0, Views(connection, WHOLE)
        found = {
            view: read_view(views, view, stored_columns(view, self._columns[view]), ids)
            for view in OF_EVENTS
        }
        for view, read in found.items():
            rows = read
            if self._known is not None:
                rows = rows.filter(pc.invert(pc.is_in(rows["event_id"], value_set=self._known)))
            self._take(view, rows)
            if view in BASE:
                new += len(rows)
            if view == "syscalls" and len(rows):
                self._counts.append(count_calls(rows.select(CALL_COLUMNS)))
        if len(self._counts) > _MOST_COUNTS:
            self._counts = [added(self._counts)]
        self.events += new
        return new

    def finish(self, connection: Connection, ids: Ids, seen: int) -> dict[str, Path]:
        """Add what began or ended on the day, and end all files; gives them by their views."""
        for view in LASTING:
            columns = self._columns[view]
            rows = read_view(Views(connection), view, columns, ids)
            number = pa.array([seen] * len(rows), pa.int64())
            self._take(view, rows.append_column(field(view, SEEN), number))
        if self._counts:
            self._take(
                COUNTED, added(self._counts).select(stored_columns(COUNTED, self._columns[COUNTED]))
            )
        for view in list(self._waiting):
            self._write(view)
        for writer in self._writers.values():
            writer.close()
        return {view: self._path(view) for view in self._writers}

    def file(self, view: str, name: str) -> File:
        """Describe a finished file that will have this name."""
        path = self._path(view)
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
        return File(name, view, self._rows[view], path.stat().st_size, digest.hexdigest())

    def _path(self, view: str) -> Path:
        return self._folder / f"{view}.parquet"

    def _take(self, view: str, rows: pa.Table) -> None:
        if not len(rows):
            return
        waiting = self._waiting.setdefault(view, [])
        waiting.append(rows)
        self._rows[view] = self._rows.get(view, 0) + len(rows)
        if sum(map(len, waiting)) >= _GROUP:
            self._write(view)

    def _write(self, view: str) -> None:
        waiting = self._waiting.pop(view)
        rows = pa.concat_tables(waiting)
        if view not in self._writers:
            self._writers[view] = make_writer(self._path(view), rows.schema)
        self._writers[view].write_table(rows, row_group_size=_GROUP)


def make_writer(path: Path, schema: pa.Schema) -> parquet.ParquetWriter:
    """Make a writer of files of the archive."""
    names = schema.names
    steady = [name for name in names if name in _STEADY]
    return parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=[name for name in names if name not in (*_STEADY, *_VARIED)],
        column_encoding=dict.fromkeys(steady, "DELTA_BINARY_PACKED"),
        write_page_index=True,
    )
