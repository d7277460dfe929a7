"""The tables with names of machines, calls, types of records and errors.

Every stored arch, and every stored pair of arch and number, has a row; without a name
its name is the number, so that the views need no expression, with which the index on
the name could not be used.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Text

from auditsvc.store.schema.base import Table, key

arch_name = Table(
    "arch_name",
    key("arch"),
    Column("name", Text, nullable=False),
)
syscall_name = Table(
    "syscall_name",
    Column("arch", BigInteger, primary_key=True, autoincrement=False),
    Column("nr", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Index("syscall_name_name", "name"),
    sqlite_with_rowid=False,
)
record_type = Table(
    "record_type",
    Column("type", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
)
errno_name = Table(
    "errno_name",
    Column("errno", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
)
