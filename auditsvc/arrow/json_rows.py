"""Rows of a view on PostgreSQL as an Arrow table, by JSON that the database writes.

Arrow's reader parses it: there is one Python object a row, and none a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
from pyarrow import json

from auditsvc.arrow.columns import as_read, given

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

    from auditsvc.arrow.where import Where

_SECOND: Final = "YYYY-MM-DD HH24:MI:SS"
_FORMS: Final = {
    **dict.fromkeys(("time", "ended", "began", "ended_at"), f"{_SECOND}.MS"),
    **dict.fromkeys(("hour", "since", "pruned_at"), _SECOND),
}
"""How SQLite shows the columns that PostgreSQL has as moments."""


def read_table(
    connection: Connection,
    view: str,
    values: Mapping[str, str],
    fields: Sequence[pa.Field],
    *,
    where: Where,
    order: str,
) -> pa.Table:
    """See `auditsvc.arrow.rows.read_table`."""
    texts = kinds_of(connection, view)
    shown = ", ".join(f"{_plain(texts, name, of)} AS {name}" for name, of in values.items())
    inner = f"SELECT {shown} FROM {view} v WHERE {where.text} ORDER BY {order}"  # noqa: S608 - of this package's text
    rows = where.run(connection, f"SELECT row_to_json(q)::text FROM ({inner}) q")  # noqa: S608
    return _parsed([row[0].encode() for row in rows], fields)


def _parsed(rows: Collection[bytes], fields: Sequence[pa.Field]) -> pa.Table:
    """Read JSON objects as a table with these fields."""
    schema = pa.schema(fields)
    if not rows:
        return schema.empty_table()
    data = b"\n".join(rows)
    plain = pa.schema([pa.field(each.name, as_read(each.type)) for each in fields])
    table = json.read_json(
        pa.BufferReader(data),
        read_options=json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=json.ParseOptions(explicit_schema=plain, unexpected_field_behavior="error"),
    ).select(plain.names)
    return pa.table(
        [given(table[each.name], each.type) for each in fields], schema=schema
    ).combine_chunks()


def kinds_of(connection: Connection, view: str) -> dict[str, str]:
    """Give the types of a view's columns on PostgreSQL, in the order of the columns."""
    found = connection.exec_driver_sql(
        "SELECT attname, atttypid::regtype::text FROM pg_attribute"  # noqa: S608 - ours
        f" WHERE attrelid = '{view}'::regclass AND attnum > 0 ORDER BY attnum"
    )
    return {str(name): str(kind) for name, kind in found}


def _plain(kinds: Mapping[str, str], name: str, value: str) -> str:
    """Give an expression of what JSON can have, the same from both databases."""
    kind = kinds.get(name, "")
    if kind.startswith("timestamp"):
        return f"to_char({value} AT TIME ZONE 'UTC', '{_FORMS.get(name, _FORMS['time'])}')"
    if kind == "boolean":
        return f"{value}::int"
    return f"{value}::text" if kind in ("jsonb", "date", "inet") else value
