"""Rows of an SQLite store as an Arrow table, without a Python object a value.

The native core gives SQLite an aggregate function that puts the values into Arrow's buffers
(`native/src/sqlite.rs`). Without it, or where Python's SQLite loads no extension, the driver's rows
are taken; both ways give the same. TooMuchError if a column has no room (`auditsvc.arrow.room`).
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
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType

    from sqlalchemy import Connection

    from auditsvc.arrow.where import Where

_MOST: Final = 100
"""Columns of one call of the function: SQLite's take 127 arguments."""
_ROWS: Final = 10_000
"""Rows that are Python objects at once."""
_KINDS: Final = {pa.int64(): "i", pa.string(): "t"}
_TYPES: Final = {pa.int64(): int, pa.string(): str}
_LOADED: Final = "auditsvc_columns"


def read_columns(
    connection: Connection, kinds: Mapping[str, pa.DataType], rows: str, where: Where
) -> pa.Table:
    """Read columns of 64-bit integers or texts, by the names that `rows` gives them.

    `rows`: a SELECT; its order is kept. `where`: its values.
    """
    native = _loaded(connection)
    if native is None:
        return _by_driver(connection, kinds, rows, where)
    names = list(kinds)
    parts = [names[at : at + _MOST] for at in range(0, len(names), _MOST)]
    calls = ", ".join(
        f"{_LOADED}('{''.join(_KINDS[kinds[name]] for name in part)}', {', '.join(part)})"
        for part in parts
    )
    try:
        made = where.run(connection, f"SELECT {calls} FROM ({rows})").one()  # noqa: S608 - ours
    except exc.OperationalError as error:
        if str(error.orig) == TOO_MUCH:
            raise TooMuchError(TOO_MUCH) from error
        raise
    arrays: list[pa.Array] = []
    for part, number in zip(parts, made, strict=True):
        if number is None:
            arrays += [pa.array([], kinds[name]) for name in part]
            continue
        count, columns = native.take_columns(number)
        arrays += [
            pa.Array.from_buffers(kinds[name], count, list(map(_buffer, buffers)), nulls)
            for name, (nulls, buffers) in zip(part, columns, strict=True)
        ]
    return pa.table(arrays, names=names)


def _buffer(data: bytes | None) -> pa.Buffer | None:
    return None if data is None else pa.py_buffer(data)


def _by_driver(
    connection: Connection, kinds: Mapping[str, pa.DataType], rows: str, where: Where
) -> pa.Table:
    """Read the same by Python objects."""
    schema = pa.schema(kinds.items())
    found = where.run(connection, f"SELECT {', '.join(kinds)} FROM ({rows})")  # noqa: S608 - ours
    return pa.concat_tables([schema.empty_table(), *_pages(iter(found), schema)]).combine_chunks()


def _pages(rows: Iterator[Any], schema: pa.Schema) -> Iterator[pa.Table]:
    while page := list(islice(rows, _ROWS)):
        columns = zip(*page, strict=True)
        arrays = [_array(each, kind) for each, kind in zip(columns, schema.types, strict=True)]
        yield pa.table(arrays, schema)


def _array(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    """Give a column; Arrow itself would take 1.5 as 1."""
    if not {type(value) for value in values} <= {_TYPES[kind], type(None)}:
        raise StoreError(
            f"the store has a value in a column of {kind} that is none",
            "another program changed it: see `auditsvc verify`",
        )
    made = pa.array(values, kind)
    check_room(made.nbytes)
    return made


def _loaded(connection: Connection) -> ModuleType | None:
    """Give the native core if this connection has its function."""
    info = connection.info
    if _LOADED not in info:
        info[_LOADED] = _load(connection)
    native: ModuleType | None = info[_LOADED]
    return native


def _load(connection: Connection) -> ModuleType | None:
    native = native_core()
    driver = connection.connection.driver_connection
    # Python can be built without these methods.
    if native is None or not native.__file__ or not hasattr(driver, "enable_load_extension"):
        return None
    assert isinstance(driver, sqlite3.Connection)
    driver.enable_load_extension(True)
    try:
        driver.load_extension(native.__file__)
    except sqlite3.OperationalError:  # this SQLite loads none
        return None
    finally:
        driver.enable_load_extension(False)
    return native
