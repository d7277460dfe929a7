"""What the parts of the schema are made with: the metadata, tables and their usual columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Integer, MetaData
from sqlalchemy import Table as _Table

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
