"""Columns of numbers of an SQLite store as Arrow arrays, without a Python object a value.

SQLite writes all rows as one text, and Arrow's reader takes the numbers out of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
from pyarrow import csv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from auditsvc.arrow.json_rows import Where

_MOST: Final = 100
"""Columns of one text: SQLite's functions take 127 arguments."""


def read_numbers(
    connection: Connection, columns: Sequence[str], rows: str, where: Where
) -> pa.Table:
    """Read integers, or NULL, by the names that `rows` gives them; `where`: its values.

    `rows`: a SELECT; its order is kept.
    """
    assert len(columns) <= _MOST
    form = ",".join(["%s"] * len(columns))
    told = where.run(
        connection,
        f"SELECT CAST(group_concat(printf('{form}', {', '.join(columns)}), char(10)) AS BLOB)"  # noqa: S608 - ours
        f" FROM ({rows})",
    ).scalar()
    if told is None:
        return pa.schema([(name, pa.int64()) for name in columns]).empty_table()
    return csv.read_csv(
        pa.BufferReader(told),
        read_options=csv.ReadOptions(
            column_names=list(columns), use_threads=False, block_size=len(told) + 1
        ),
        parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.int64())),
    ).combine_chunks()
