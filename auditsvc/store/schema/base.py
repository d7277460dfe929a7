"""What the parts of the schema are made with: the metadata, tables and their usual columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import DDL, BigInteger, Column, Integer, MetaData
from sqlalchemy import Table as _Table
from sqlalchemy.event import listen

if TYPE_CHECKING:
    from sqlalchemy.schema import SchemaItem

metadata = MetaData()


def Table(name: str, *items: SchemaItem, **options: Any) -> _Table:  # noqa: N802
    """Make a table of `metadata`; ids are given, so there is no autoincrement."""
    return _Table(name, metadata, *items, **options)


def key(name: str) -> Column[int]:
    """Make a primary key of one 64-bit integer; INTEGER makes it SQLite's rowid."""
    integer = BigInteger().with_variant(Integer, "sqlite")
    return Column(name, integer, primary_key=True, autoincrement=False)


def big(name: str, **options: Any) -> Column[int]:
    """Make a column of 64-bit integers."""
    return Column(name, BigInteger, **options)


def after_create(table: _Table, statement: str, dialect: str) -> None:
    """Have a statement run on a database of this kind when the table was made there."""
    made = DDL(statement)  # type: ignore[no-untyped-call]
    listen(table, "after_create", made.execute_if(dialect=dialect))
