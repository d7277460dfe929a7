"""The Arrow types of the views' columns, by name, and the lists of a wide row.

A `time` is a timestamp in milliseconds, UTC; `success` is boolean; numbers have 64 bits; all
else is text: JSON too (`argv`, `fields`), as in the views of SQLite.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

TIME: Final = pa.timestamp("ms", tz="UTC")

_IDS: Final = (
    *("ppid", "pid", "auid", "uid", "gid", "euid", "suid", "fsuid", "egid", "sgid", "fsgid"),
    *("ses", "ouid", "ogid"),
)
_NUMBERS: Final = (
    *("event_id", "serial", "nr", "exit", "items", "process_id", "item", "inode", "port", "seq"),
    *(f"a{n}_number" for n in range(4)),
)
TYPES: Final[dict[str, pa.DataType]] = {
    **dict.fromkeys((*_IDS, *_NUMBERS), pa.int64()),
    "time": TIME,
    "success": pa.bool_(),
}
"""Types by the name of the column; a column that is not here is text."""

LISTS: Final = ("paths", "sockaddrs", "records")
"""Views that are a list of structs in the row of their event."""
BESIDE: Final = {
    "partials": {"reason": "partial_reason"},
    "origins": {"kind": "origin_kind", "source": "origin_source"},
}
"""Views with one row an event: their columns, and what these are called in the wide row."""


def type_of(column: str) -> pa.DataType:
    """Give the type of a view's column."""
    return TYPES.get(column, pa.string())


def field_of(column: str) -> pa.Field:
    """Give the field of a view's column."""
    return pa.field(column, type_of(column))


def as_read(kind: pa.DataType) -> pa.DataType:
    """Give the type in which JSON has a value of this type."""
    if kind == TIME:
        return pa.timestamp("ms")
    return pa.int64() if kind == pa.bool_() else kind


def given(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Give what was read, as text or in the type of `as_read`, with its own type."""
    if column.type == kind:
        return column
    if kind == TIME:
        return pc.assume_timezone(pc.cast(column, pa.timestamp("ms")), "UTC")
    return pc.cast(column, kind)
