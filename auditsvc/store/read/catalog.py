"""The views of a store and their columns, as its database knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import inspect
from sqlalchemy.engine.reflection import ObjectKind

from auditsvc.store import open_store
from auditsvc.store.database import reading

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ReflectedColumn


_NUMBERS: Final = {
    "access": {"rows"},
    "activity": {"auid", "uid", "success", "errno", "calls"},
    "connections": {"fd"},
    "coverage": {"threads", "covered"},
    "denials": {"enforced"},
    "logins": {"auid", "ses", "pid", "user_login_event_id", "end_event_id"},
    "processes": {"process_id", "parent_id", "began_event_id", "exit_code", "signal"},
    "syscalls": {"process_id"},
    "tamper": {"evidence_event_id"},
}
"""Of what is an expression in a view SQLite knows no type: here are the integers, all else is text.

Held to docs/sql.md by a test.
"""


class Column(NamedTuple):
    """A column; `type` is the database's own name of it."""

    name: str
    type: str


def views_of(url: str) -> dict[str, tuple[Column, ...]]:
    """Give the columns of all views, by name; StoreError."""
    with open_store(url, read=True) as store, reading(store.database) as connection:
        found = inspect(connection).get_multi_columns(kind=ObjectKind.VIEW)
    return {
        view: tuple(_column(view, each) for each in columns)
        for (_, view), columns in sorted(found.items(), key=lambda item: item[0][1])
    }


def _column(view: str, found: ReflectedColumn) -> Column:
    kind = str(found["type"]).lower()
    if kind == "null":
        kind = "integer" if found["name"] in _NUMBERS.get(view, ()) else "text"
    return Column(found["name"], kind)
