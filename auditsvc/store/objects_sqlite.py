"""What in an SQLite store is not ours (`auditsvc.store.objects`): by sqlite_schema's own text."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from auditsvc.store.objects import INDEXES, REVISION_TABLE, TABLES, same_text, view_bodies
from auditsvc.store.schema import (
    SETTLED,
    SETTLED_INDEXES,
    TEXT_INDEX,
    USER_LOGIN_INDEX,
    metadata,
)
from auditsvc.store.schema import text as schema_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

_DIALECT: Final = sqlite.dialect()
_VIRTUAL: Final = re.compile(r"CREATE\s+VIRTUAL\b", re.IGNORECASE)
_CHECK: Final = re.compile(r"\b(?:CHECK|CONFLICT)\b", re.IGNORECASE)
_OF_SQLITE: Final = "sqlite_"
_INDEXES: Final = {
    "text_head": TEXT_INDEX["sqlite"][1],
    "event_user_login": USER_LOGIN_INDEX,
} | {
    name: statement
    for of_databases in SETTLED_INDEXES.values()
    for name, statement in of_databases["sqlite"].items()
}
"""Those that SQLAlchemy does not make."""
_ADDED: Final = {
    schema_text.name: TEXT_INDEX["sqlite"][0].partition(" ADD COLUMN ")[2]
} | dict.fromkeys(SETTLED, "settled INTEGER")
"""Columns that writers do not know, as the migrations add them; SQLite puts them behind the
others."""
_REVISIONS: Final = (
    f"CREATE TABLE {REVISION_TABLE} ( version_num VARCHAR(32) NOT NULL,"
    f" CONSTRAINT {REVISION_TABLE}_pkc PRIMARY KEY (version_num) )"
)
"""Alembic's own."""


def strangers(connection: Connection, *, whole: bool) -> Iterator[str]:
    """Name them."""
    ours = view_bodies("sqlite")
    found = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM main.sqlite_schema")
    for kind, name, table, sql in found.fetchall():
        if kind == "trigger":
            yield f"trigger {name} on {table}"
        elif kind == "table" and _VIRTUAL.match(sql):
            yield f"virtual table {name}"
        elif kind == "table" and _CHECK.search(sql):
            yield f"table {name} (with a check, or a way around one)"
        elif kind == "view" and name in TABLES:
            yield f"view {name} (in a table's place)"
        elif not whole or name.startswith(_OF_SQLITE):
            continue
        elif kind == "view" and name in ours and not same_text(sql, ours[name]):
            yield f"view {name} (changed)"
        elif kind == "table":
            yield from _table(name, sql)
        elif kind == "index":
            yield from _index(name, table, sql)


def _table(name: str, sql: str) -> Iterator[str]:
    """Compare the whole statement: a table is what it says, in each clause.

    What a clause of somebody else does is shown by no pragma: ON CONFLICT IGNORE drops rows
    without a word, COLLATE NOCASE makes two texts one.
    """
    if name not in TABLES:
        yield f"table {name}"
    elif not same_text(sql, _table_text(name)):
        yield f"table {name} (with other columns or clauses)"


@cache
def _table_text(name: str) -> str:
    if name == REVISION_TABLE:
        return _REVISIONS
    made = str(CreateTable(metadata.tables[name]).compile(dialect=_DIALECT))
    if name not in _ADDED:
        return made
    columns, key, rest = made.partition("PRIMARY KEY")
    return f"{columns}{_ADDED[name]}, {key}{rest}"


@cache
def _index_text(name: str) -> str:
    return str(CreateIndex(INDEXES[name]).compile(dialect=_DIALECT))


def _index(name: str, table: str, sql: str) -> Iterator[str]:
    if name in _INDEXES:
        if not same_text(sql, _INDEXES[name]):
            yield f"index {name} on {table} (changed)"
        return
    if name not in INDEXES:
        yield f"index {name} on {table}"
    elif not same_text(sql, _index_text(name)):
        yield f"index {name} on {table} (changed)"
