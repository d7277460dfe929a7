"""The rows of a query as an Arrow table.

A column's type is that of its values: the driver's. A column with the name of a view's column
gets that column's type (`auditsvc.arrow.columns`) if all its values have the form of it. Values
of several types in one column, which SQLite allows, are written as text, and so is JSON.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.columns import TIME, TYPES, type_of
from auditsvc.store.read.result import distinct
from auditsvc.value_text import as_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.store.read.result import Result

_ROWS: Final = 10_000
"""Rows that are Python objects at once."""
_ALIKE: Final[tuple[set[type], ...]] = (
    {str},
    {bytes},
    {bool},
    {datetime},
    {Decimal},
    {int, float},
)
"""Types whose values Arrow takes together."""
_TIME_LENGTH: Final = len("2026-11-29 14:30:00.000")


def table_of(result: Result) -> pa.Table:
    """Give all rows of an answer."""
    rows = iter(result.rows)
    parts: list[list[pa.Array]] = [[] for _ in result.columns]
    while page := list(islice(rows, _ROWS)):
        for column, values in zip(parts, zip(*page, strict=True), strict=True):
            column.append(_array(values))
    names = distinct(result.columns)
    columns = [_shaped(name, _joined(part)) for name, part in zip(names, parts, strict=True)]
    return pa.table(columns, names=names)


def _array(values: Sequence[object]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if not any(kinds <= alike for alike in _ALIKE):
        return _texts(values)
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):  # a number of more than 64 bits
        return _texts(values)


def _texts(values: Sequence[object]) -> pa.Array:
    return pa.array([None if value is None else as_text(value) for value in values], pa.string())


def _joined(parts: Sequence[pa.Array]) -> pa.ChunkedArray:
    """Join the parts of a column; in one type, which is text if there is no other for all."""
    kinds = {part.type for part in parts} - {pa.null()}
    if not kinds:
        return pa.chunked_array(parts, pa.null())
    if kinds == {pa.int64(), pa.float64()}:
        kinds = {pa.float64()}
    if len(kinds) > 1:
        kinds, parts = {pa.string()}, [_texts(part.to_pylist()) for part in parts]
    kind = kinds.pop()
    try:
        return pa.chunked_array([part.cast(kind) for part in parts], kind)
    except pa.ArrowInvalid:  # an integer that a float does not have
        texts = [_texts(part.to_pylist()) for part in parts]
        return pa.chunked_array(texts, pa.string())


def _shaped(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give a column the type of the view's column with its name, if its values have its form."""
    if pa.types.is_null(column.type):
        return column.cast(type_of(name))
    if name not in TYPES or column.type == TYPES[name]:
        return column
    try:
        if TYPES[name] == TIME and pa.types.is_string(column.type):
            whole = pc.all(pc.equal(pc.utf8_length(column), _TIME_LENGTH)).as_py()
            return pc.assume_timezone(column.cast(pa.timestamp("ms")), "UTC") if whole else column
        if TYPES[name] == pa.bool_():
            is_truth = pc.all(pc.is_in(column, pa.array([0, 1, None]))).as_py()
            return column.cast(pa.bool_()) if is_truth else column
        return column.cast(TYPES[name]) if pa.types.is_timestamp(column.type) else column
    except (pa.ArrowException, TypeError):
        return column
