"""The views of a store and their columns, as its database knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import inspect
from sqlalchemy.engine.reflection import ObjectKind

from auditsvc.store import open_store
from auditsvc.store.database import reading

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ReflectedColumn


class Column(NamedTuple):
    """A column; `type` is the database's own name of it, "" if it has none."""

    name: str
    type: str


def views_of(url: str) -> dict[str, tuple[Column, ...]]:
    """Give the columns of all views, by name; StoreError."""
    with open_store(url, read=True) as store, reading(store.database) as connection:
        found = inspect(connection).get_multi_columns(kind=ObjectKind.VIEW)
    return {
        view: tuple(_column(each) for each in columns)
        for (_, view), columns in sorted(found.items(), key=lambda item: item[0][1])
    }


def _column(found: ReflectedColumn) -> Column:
    kind = str(found["type"]).lower()
    return Column(found["name"], "" if kind == "null" else kind)
