"""The tables of accesses that no service has recorded (`auditsvc.access.tables`)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Integer, Text

from auditsvc.store.schema.base import Table, after_create, big, key, metadata

# Accesses that no service has recorded (auditsvc.access.tables): readers of PostgreSQL insert
# them, on SQLite they come from a file. `id` and `at` are made like ids of events. `role` and
# `client` are the server's word.
access_entry = Table(
    "access_entry",
    key("id"),
    Column("ms", Integer, nullable=False),
    Column("host", Text, nullable=False),
    *(big(name) for name in ("pid", "uid", "auid", "ses")),
    Column("name", Text),
    Column("command", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("sql", Text),
    Column("role", Text),
    Column("client", Text),
)
access_end = Table(
    "access_end",
    big("id", primary_key=True, autoincrement=False),
    # In the key, so that nobody can put an end in the place of another's; "" on SQLite.
    Column("role", Text, primary_key=True),
    big("at", nullable=False),
    Column("ms", Integer, nullable=False),
    big("rows"),
    Column("ended", Text, nullable=False),
    sqlite_with_rowid=False,
)
SESSION: Final = {
    ("access_entry", "role"): "SESSION_USER",
    ("access_entry", "client"): "host(inet_client_addr())",
    ("access_end", "role"): "SESSION_USER",
}
"""Columns that PostgreSQL itself fills in, and how."""
for (_name, _column), _value in SESSION.items():
    _default = f"ALTER TABLE {_name} ALTER COLUMN {_column} SET DEFAULT {_value}"
    after_create(metadata.tables[_name], _default, "postgresql")
