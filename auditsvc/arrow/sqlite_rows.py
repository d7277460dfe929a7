"""Rows of an SQLite store as an Arrow table; few of them are Python objects at once.

The native core puts the values of the driver's rows into Arrow's buffers
(`native/src/columns/`). Without it Arrow makes columns of lists; both ways give the same.
TooMuchError if a column has no room (`auditsvc.arrow.room`).
"""

from __future__ import annotations

import sqlite3
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from sqlalchemy import exc

from auditsvc.arrow.room import TOO_MUCH, check_room
from auditsvc.errors import StoreError, TooMuchError
from auditsvc.native import native_core

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, CursorResult

    from auditsvc.arrow.where import Where

_ROWS: Final = 1_000
"""Rows that are Python objects at once."""
_KINDS: Final = {pa.int64(): "i", pa.string(): "t"}
_TYPES: Final = {pa.int64(): int, pa.string(): str}


def read_columns(
    connection: Connection, kinds: Mapping[str, pa.DataType], rows: str, where: Where
) -> pa.Table:
    """Read columns of 64-bit integers or texts, by the names that `rows` gives them.

    `rows`: a SELECT; its order is kept. `where`: its values.
    """
    statement = f"SELECT {', '.join(kinds)} FROM ({rows})"  # noqa: S608 - ours
    found = where.run(connection, statement)
    native = native_core()
    if native is None:
        return _by_arrow(found, pa.schema(kinds.items()))
    columns = native.Columns("".join(_KINDS[kind] for kind in kinds.values()))
    for page in _tuples(found, statement):
        try:
            columns.add(page)
        except OverflowError as error:
            raise TooMuchError(TOO_MUCH) from error
        except ValueError as error:
            raise _wrong(str(error)) from error
    count, made = columns.take()
    arrays = [
        pa.Array.from_buffers(kind, count, list(map(_buffer, buffers)), nulls)
        for kind, (nulls, buffers) in zip(kinds.values(), made, strict=True)
    ]
    return pa.table(arrays, names=list(kinds))


def _tuples(found: CursorResult[Any], statement: str) -> Iterator[Sequence[Any]]:
    """Give the driver's own rows in pages: each of SQLAlchemy's is an object more."""
    cursor = found.cursor
    try:
        while page := cursor.fetchmany(_ROWS):
            yield page
    except sqlite3.Error as error:
        raise exc.DBAPIError.instance(statement, None, error, sqlite3.Error) from error


def _buffer(data: bytes | None) -> pa.Buffer | None:
    return None if data is None else pa.py_buffer(data)


def _by_arrow(rows: Iterable[Any], schema: pa.Schema) -> pa.Table:
    """Make the same by lists of Python objects."""
    return pa.concat_tables([schema.empty_table(), *_pages(iter(rows), schema)]).combine_chunks()


def _pages(rows: Iterator[Any], schema: pa.Schema) -> Iterator[pa.Table]:
    while page := list(islice(rows, _ROWS)):
        columns = zip(*page, strict=True)
        arrays = [_array(each, kind) for each, kind in zip(columns, schema.types, strict=True)]
        yield pa.table(arrays, schema)


def _array(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    """Give a column; Arrow itself would take 1.5 as 1."""
    if not {type(value) for value in values} <= {_TYPES[kind], type(None)}:
        raise _wrong(f"a column of {kind} has another value")
    made = pa.array(values, kind)
    check_room(made.nbytes)
    return made


def _wrong(what: str) -> StoreError:
    return StoreError(
        f"the store cannot be read: {what}", "another program changed it: see `auditsvc verify`"
    )
