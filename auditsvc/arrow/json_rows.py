"""Rows of a view as an Arrow table, by JSON that the database writes and Arrow's reader parses.

There is one Python object a row, and none a value. `values` are SQL expressions on a row `v` of
the view, by the name of the column that they become.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json

from auditsvc.arrow.columns import TIME, as_read

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection, CursorResult

_OBJECT: Final = 60
"""Columns of one JSON object: SQLite's functions take 127 arguments."""
_SECOND: Final = "YYYY-MM-DD HH24:MI:SS"
_FORMS: Final = {
    **dict.fromkeys(("time", "ended", "began", "ended_at"), f"{_SECOND}.MS"),
    **dict.fromkeys(("hour", "since", "pruned_at"), _SECOND),
}
"""How SQLite shows the columns that PostgreSQL has as moments."""


_NAMED: Final = re.compile(r"(?<![:\w]):([a-z]\w*)")


@dataclass(frozen=True, slots=True)
class Where:
    """A condition; `:name` in it stands for the number or text that `values` has of that name.

    Of the texts with names SQLite plans each but once for a connection: to plan a question of the
    views takes it milliseconds.
    """

    text: str
    values: Mapping[str, int | str] = field(default_factory=dict)

    def also(self, text: str) -> Where:
        """Give the condition that another holds, too."""
        return Where(f"({self.text}) AND {text}", self.values)

    def on(self, column: str) -> str:
        """Give the text of a condition on `v.event_id` for another column."""
        return f"({self.text.replace('v.event_id', column)})"

    def given(self, **values: int | str) -> Where:
        """Give the condition with more values."""
        return Where(self.text, {**self.values, **values})

    def run(self, connection: Connection, sql: str) -> CursorResult[Any]:
        """Run a statement that has this condition's text in it."""
        if connection.dialect.name == "sqlite":
            return connection.exec_driver_sql(sql, dict(self.values))
        return connection.exec_driver_sql(
            _NAMED.sub(lambda found: f"{self.values[found[1]]:d}", sql) if self.values else sql
        )


def columns_of(connection: Connection, view: str) -> tuple[str, ...]:
    """Give the names of a view's columns."""
    # Not by a query of the view: to plan one takes 13 times as long, on SQLite 3 times.
    if connection.dialect.name != "sqlite":
        return tuple(_kinds(connection, view))
    found = connection.exec_driver_sql(f'PRAGMA main.table_info("{view}")')
    return tuple(row[1] for row in found)


def read_rows(
    connection: Connection, view: str, values: Mapping[str, str], *, where: Where, order: str
) -> Sequence[bytes]:
    """Give a JSON object for each row of a view; on SQLite also of a subquery in its place."""
    is_sqlite = connection.dialect.name == "sqlite"
    texts = {} if is_sqlite else _kinds(connection, view)
    shown = ", ".join(f"{_plain(texts, name, of)} AS {name}" for name, of in values.items())
    inner = f"SELECT {shown} FROM {view} v WHERE {where.text} ORDER BY {order}"  # noqa: S608 - of this package's text
    if not is_sqlite:
        rows = where.run(connection, f"SELECT row_to_json(q)::text FROM ({inner}) q")  # noqa: S608
        return [row[0].encode() for row in rows]
    names = list(values)
    groups = [names[at : at + _OBJECT] for at in range(0, len(names), _OBJECT)]
    pairs = [", ".join(f"'{name}', {name}" for name in group) for group in groups]
    objects = ", ".join(f"CAST(json_object({each}) AS BLOB)" for each in pairs)
    found = where.run(connection, f"SELECT {objects} FROM ({inner})").fetchall()  # noqa: S608 - as above
    if len(groups) == 1:
        return [row[0] for row in found]
    return [b"{%b}" % b",".join(part[1:-1] for part in row) for row in found]


def parsed(rows: Collection[bytes], fields: Sequence[pa.Field]) -> pa.Table:
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
        [_given(table[each.name], each.type) for each in fields], schema=schema
    ).combine_chunks()


def _given(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type == kind:
        return column
    if kind == TIME:
        return pc.assume_timezone(column, "UTC")
    return pc.cast(column, kind)


def _kinds(connection: Connection, view: str) -> dict[str, str]:
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
