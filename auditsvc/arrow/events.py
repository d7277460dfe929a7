"""Whole events of a store as Arrow batches: one wide row an event, in the order of ids.

A row has the columns of `syscalls`, with `type` (`SYSCALL`) and `fields` of `events`, and the
columns `BESIDE` of `auditsvc.arrow.columns`; then `paths`, `sockaddrs` and `records`, lists of
structs with the columns of the views of these names. An event without a SYSCALL has NULL in
the columns that only calls have.

The rows are those of the views, asked from the views themselves, so both always say the same
(`auditsvc.arrow.view_rows`). A column that is not asked for is not looked up.

All batches show one state of the store. Memory is that of one batch.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.columns import BESIDE, LISTS, field_of
from auditsvc.arrow.rows import columns_of
from auditsvc.arrow.view_rows import WHOLE, Views
from auditsvc.arrow.where import Where
from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.errors import TooMuchError, UsageError
from auditsvc.store.database import reading
from auditsvc.store.read.time_span import ALL, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import Connection

    from auditsvc.store.database import Database

SIZE: Final = 16_384
"""Events of a batch."""
_FIRST: Final = ("event_id", "host", "time", "serial", "type")
_LIST_ORDER: Final = {
    "paths": "item, name, nametype, inode",
    "sockaddrs": "family, address, port, path",
    "records": "type, seq, fields",
}
"""So that a list is the same whenever it is read, from both databases."""


class Events:
    """The events of a store in a span of seconds; `columns`: only these, in this order."""

    def __init__(
        self, database: Database, span: Span = ALL, columns: Sequence[str] | None = None
    ) -> None:
        """UsageError for a column that there is not."""
        self._database = database
        self._span = span
        with reading(database) as connection:
            self._of_view = {
                view: columns_of(connection, view) for view in ("syscalls", "events", *LISTS)
            }
        if columns is not None and (unknown := [c for c in columns if c not in self._known]):
            raise UsageError(
                f"events have no column {unknown[0]}", f"they have {', '.join(self._known)}"
            )
        self._columns = self._known if columns is None else tuple(columns)

    @cached_property
    def _known(self) -> tuple[str, ...]:
        calls = [c for c in self._of_view["syscalls"] if c not in _FIRST]
        lone = [c for c in self._of_view["events"] if c not in (*_FIRST, *calls)]
        beside = [name for names in BESIDE.values() for name in names.values()]
        return (*_FIRST, *calls, *lone, *beside, *LISTS)

    @cached_property
    def schema(self) -> pa.Schema:
        """The schema of every batch."""
        return pa.schema([self._field(name) for name in self._columns])

    def _field(self, name: str) -> pa.Field:
        if name not in LISTS:
            return field_of(name)
        return pa.field(name, pa.list_(self._struct(name)))

    def _struct(self, view: str) -> pa.DataType:
        return pa.struct([field_of(c) for c in self._of_view[view] if c != "event_id"])

    def batches(self, size: int = SIZE) -> Iterator[pa.RecordBatch]:
        """Give the batches, of at most `size` events; StoreError."""
        low, high = self._span.low << SERIAL_BITS, (self._span.high << SERIAL_BITS) | SERIAL_MASK
        after, most = low - 1, size
        with reading(self._database) as connection:
            while (last := last_id(connection, after, high, most)) is not None:
                try:
                    rows = self.rows(Views(connection, WHOLE), _between(after, last))
                except TooMuchError:
                    if most < 2:
                        raise
                    most //= 2
                    continue
                yield from rows.to_batches()
                after, most = last, min(size, most * 2)

    def reader(self, batches: Iterable[pa.RecordBatch] | None = None) -> pa.RecordBatchReader:
        """Give the batches as Arrow's reader, which other libraries take."""
        found = self.batches() if batches is None else batches
        return pa.RecordBatchReader.from_batches(self.schema, found)

    @property
    def shown(self) -> str:
        """What is read, for the record of accesses."""
        bounds = " ".join(self._span.conditions)
        return f"{bounds} {' '.join(self._columns)}".strip()

    def rows(self, views: Views, where: Where) -> pa.Table:
        """Give the rows of the events under a condition on `v.event_id`, in the order of ids."""
        plain = ["event_id", *(c for c in self._columns if c not in (*LISTS, "event_id"))]
        calls = self._rows(views, "syscalls", plain, where)
        lone = self._rows(views, "events", plain, where)
        rows = pa.concat_tables([calls, lone])
        if len(lone):
            rows = rows.sort_by("event_id")
        rows = rows.combine_chunks()
        for view in LISTS:
            if view in self._columns:
                found = self._list(views, view, rows["event_id"], where)
                rows = rows.append_column(self._field(view), found)
        return rows.select(list(self._columns)).cast(self.schema).combine_chunks()

    def _rows(self, views: Views, view: str, columns: Sequence[str], where: Where) -> pa.Table:
        """Give rows of a view of events with these columns; NULL where it has not the column."""
        values = {c: c for c in columns if c in self._of_view[view]}
        if view == "syscalls" and "type" in columns:
            values["type"] = "'SYSCALL'"
        for other, names in BESIDE.items():
            for name, alias in names.items():
                if alias in columns:
                    values[alias] = (
                        f"(SELECT o.{name} FROM {other} o WHERE o.event_id = v.event_id)"  # noqa: S608 - ours
                    )
        fields = [field_of(name) for name in columns]
        return views.rows(view, values, fields, where, "event_id")

    def _list(self, views: Views, view: str, ids: pa.ChunkedArray, where: Where) -> pa.Array:
        """Give the rows of a view as a list for each event."""
        values = {c: c for c in self._of_view[view]}
        order = f"event_id, {_LIST_ORDER[view]}"
        fields = [field_of(name) for name in values]
        rows = views.rows(view, values, fields, where, order)
        return listed(rows, ids, self._struct(view))


def listed(
    rows: pa.Table, ids: pa.ChunkedArray, kind: pa.StructType, key: str = "event_id"
) -> pa.Array:
    """Give the rows of each event as a list of structs.

    `rows` have the event's id in `key` and the struct's columns; both are in the order of ids.
    """
    parts = [rows[each.name].cast(each.type).combine_chunks() for each in kind]
    made = pa.StructArray.from_arrays(parts, fields=kind)
    if not len(rows):
        return pa.ListArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), len(ids) + 1), made)
    of_event = rows[key].combine_chunks().value_counts()
    places = pc.index_in(ids, value_set=of_event.field("values"))
    counts = pc.fill_null(pc.take(of_event.field("counts"), places), 0)
    ends = pc.cast(pc.cumulative_sum(counts), pa.int32()).combine_chunks()
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    return pa.ListArray.from_arrays(offsets, made)


def _between(after: int, last: int) -> Where:
    values = {"after": after, "last": last}
    return Where("v.event_id > :after AND v.event_id <= :last", values)


def last_id(connection: Connection, after: int, high: int, size: int) -> int | None:
    """Give the last id of the next `size` events after an id; None if there are no more."""
    within = f"id > {after:d} AND id <= {high:d}"
    parts = " UNION ALL ".join(
        f"SELECT id FROM (SELECT id FROM {table} WHERE {within} ORDER BY id LIMIT {size:d}) {table}_ids"  # noqa: E501, S608 - ours
        for table in ("syscall", "event")
    )
    found = connection.exec_driver_sql(
        f"SELECT max(id) FROM (SELECT id FROM ({parts}) both_of_them ORDER BY id LIMIT {size:d}) q"  # noqa: S608
    ).scalar()
    return None if found is None else int(found)
