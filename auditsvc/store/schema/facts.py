"""The facts: rows of integers for each event.

On PostgreSQL the columns of a table of facts stand in the order of their width, so that none is
padded, and its rows in partitions by the day of their event (auditsvc.store.partitions). The
order of rows as tuples is the one here, on both databases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex, CreateTable

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.schema.base import Table, after_create, big, key, metadata

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import DDLCompiler


def _argument(name: str) -> Column[Any]:
    """Make the column of a call's argument: a number; on PostgreSQL its bytes, big-endian.

    Without leading zero bytes, so that an argument has 1 to 9 bytes there, and mostly 2 or 3.
    """
    return Column(name, BigInteger().with_variant(LargeBinary, "postgresql"), nullable=False)


# PostgreSQL only: what the views show as `time`, to be indexed. Every function in it is
# immutable, which `timestamptz + interval` is not. A float of seconds has steps of 0.24 us until
# 2106 and of 0.95 us until 2242, and to_timestamp rounds to whole us: milliseconds stay exact.
# SQLite needs no such index: a query's range of time becomes a range of ids there
# (auditsvc.store.read.time_query).
TIME: Final = f"to_timestamp(({{0}} >> {SERIAL_BITS})::float8 + {{1}}::float8 / 1000)"
"""Format of an event's id and its milliseconds."""
TIME_INDEX: Final = {
    f"{_name}_time": f"CREATE INDEX {_name}_time ON {_name} (({TIME.format('id', 'ms')}))"
    for _name in ("syscall", "event")
}

syscall = Table(
    "syscall",
    key("id"),
    Column("ms", SmallInteger, nullable=False),
    big("serial", nullable=False),
    Column("nr", Integer, nullable=False),
    _argument("a0"),
    _argument("a1"),
    _argument("a2"),
    _argument("a3"),
    Column("success", SmallInteger),  # 1, 0, or NULL where the task ended inside the call
    big("exit"),
    Column("state", SmallInteger, nullable=False),
    Column("items", Integer, nullable=False),
    big("context", nullable=False),
    Index("syscall_context_nr", "context", "nr"),
)
Index(
    "syscall_failed",
    syscall.c.exit,
    sqlite_where=syscall.c.success == 0,
)
Index(
    "syscall_partial",
    syscall.c.state,
    sqlite_where=syscall.c.state >= 2,
)

exec_ = Table(
    "exec",
    key("event"),
    big("argv", nullable=False),  # JSON list; `raw` of the text joins the bytes with NUL
)

path = Table(
    "path",
    big("event", primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),  # order of arrival, from 0
    Column("item", Integer),
    big("file", nullable=False),
    sqlite_with_rowid=False,
)
sockaddr = Table(
    "sockaddr",
    big("event", primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    big("address", nullable=False),
    sqlite_with_rowid=False,
)

# On SQLite an index whose keys come in no order costs a page of the disk for each row of a
# small transaction. So a row of `path` or `sockaddr` is first in an index by groups of 256
# serials, where all new rows stand together; when there are many, they are *settled*: put into
# a *run* of the index by files, or addresses (auditsvc.store.write.settle). A run has the rows
# of some 100,000 events that came together, and a new run comes after all others, so that what
# is written together lies together, in a store of any size; SQLite looks for a file in each
# group, or run, that there is. `settled` is the run's number, or NULL, and none of the columns
# that writers know.
GROUP_BITS: Final = 8
"""Bits of an event's id that are the place in its group."""
SETTLED: Final = {path.name: "file", sockaddr.name: "address"}
"""Tables whose rows are settled, and what their index is for."""
SETTLED_INDEXES: Final = {
    _table: {
        "sqlite": {
            f"{_table}_{_column}": f"CREATE INDEX {_table}_{_column} ON {_table}"
            f" (settled, {_column}) WHERE settled IS NOT NULL",
            f"{_table}_recent": f"CREATE INDEX {_table}_recent ON {_table}"
            f" (event >> {GROUP_BITS}, {_column}) WHERE settled IS NULL",
        },
        "postgresql": {
            f"{_table}_{_column}": f"CREATE INDEX {_table}_{_column} ON {_table} ({_column})",
        },
    }
    for _table, _column in SETTLED.items()
}
"""By table and database: the indexes' statements by name."""
for _name, _of_databases in SETTLED_INDEXES.items():
    for _dialect, _indexes in _of_databases.items():
        _added = [f"ALTER TABLE {_name} ADD COLUMN settled INTEGER"] if _dialect == "sqlite" else []
        for _statement in (*_added, *_indexes.values()):
            after_create(metadata.tables[_name], _statement, _dialect)

event = Table(
    "event",
    key("id"),
    big("host", nullable=False),
    Column("ms", SmallInteger, nullable=False),
    big("serial", nullable=False),
    Column("type", Integer, nullable=False),
    big("pid"),
    big("uid"),
    big("auid"),
    big("ses"),
    Column("state", SmallInteger, nullable=False),
    big("fields", nullable=False),
    Index("event_type", "type"),
)
Index(
    "event_partial",
    event.c.state,
    sqlite_where=event.c.state >= 2,
)

LOGIN_TYPES: Final = (1006, 1106, 1112)
"""LOGIN, USER_END, USER_LOGIN: what a session is told by (the view `logins`)."""
_login = event.c.type.in_(LOGIN_TYPES)
Index("event_login", event.c.ses, event.c.id, sqlite_where=_login)
USER_LOGIN: Final = 1112
# SQLite only: logins by what they say. Those that failed are found by their texts, if these are
# few (auditsvc.store.views.logins); on PostgreSQL each partition would be asked for each text.
USER_LOGIN_INDEX: Final = (
    f"CREATE INDEX event_user_login ON event (type, fields) WHERE type = {USER_LOGIN}"
)
after_create(event, USER_LOGIN_INDEX, "sqlite")

for _name, _facts in (("syscall", syscall), ("event", event)):
    after_create(_facts, TIME_INDEX[f"{_name}_time"], "postgresql")

# `seq` counts the records of one type within the event, from 0.
record = Table(
    "record",
    big("event", primary_key=True, autoincrement=False),
    Column("type", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    big("fields", nullable=False),
    sqlite_with_rowid=False,
)

# Records in the middle of a call that views ask for by their type: rare ones, so that the index
# is small.
TOLD_TYPES: Final = (
    *(1006, 1107, 1305, 1325, 1326, 1328, 1330, 1334, 1336),
    *(1400, 1401, 1403, 1404, 1405, 1420, 1421, 1422, 1423, 1502, 1503, 1505, 1700, 1807),
)
"""LOGIN, USER_AVC, CONFIG_CHANGE, NETFILTER_CFG, SECCOMP, FEATURE_CHANGE, KERN_MODULE, BPF,
URINGOP; AVC, SELINUX_ERR, MAC_*, IPE_*, LANDLOCK_ACCESS, APPARMOR_ALLOWED, APPARMOR_DENIED,
APPARMOR_STATUS, ANOM_PROMISCUOUS, INTEGRITY_POLICY_RULE.
"""
_told = record.c.type.in_(TOLD_TYPES)
Index("record_told", record.c.type, record.c.event, sqlite_where=_told)

FACTS = (syscall, exec_, path, sockaddr, event, record)
"""Tables that a decoder makes rows for, in addition to the dimensions."""

ARGUMENTS: Final = ("a0", "a1", "a2", "a3")
"""Columns of `syscall` that are bytes on PostgreSQL."""


def width(column: Column[Any]) -> int:
    """Give the bytes of a fact's integer on PostgreSQL; 0: they vary."""
    if column.name in ARGUMENTS:
        return 0
    return next(size for kind, size in _WIDTHS if isinstance(column.type, kind))


_WIDTHS: Final = ((SmallInteger, 2), (BigInteger, 8), (Integer, 4))
"""Most particular first: BigInteger is an Integer."""


# What PostgreSQL alone is told, it is told when it is there: an option of its own at a table or
# an index would load its dialect and all that is under it, in each command of whoever has SQLite.
@compiles(CreateTable, "postgresql")
def _create(made: CreateTable, compiler: DDLCompiler, **options: Any) -> str:
    table = made.element
    if table in FACTS:
        made.columns.sort(key=lambda each: -width(each.element))
        column = "id" if "id" in table.c else "event"
        table.dialect_options["postgresql"]["partition_by"] = f"RANGE ({column})"
    return str(compiler.visit_create_table(made, **options))  # type: ignore[no-untyped-call]


@compiles(CreateIndex, "postgresql")
def _create_index(made: CreateIndex, compiler: DDLCompiler, **options: Any) -> str:
    index = made.element
    if index.table in FACTS:
        index.dialect_options["postgresql"]["where"] = index.dialect_options["sqlite"]["where"]
    return str(compiler.visit_create_index(made, **options))  # type: ignore[no-untyped-call]
