"""The star schema: narrow facts of integers, and dimensions that are written once.

    syscall  --context-->  context --tty, comm, exe, subj, key, cwd, title, extra--> text
       |                      `--host--> host
       |-- exec     (its argv)            --argv-->    text
       |-- path     (its PATH records)    --file-->    file --name, obj, extra--> text
       |-- sockaddr (its addresses)       --address--> address
       `-- record   (all its other records) --fields-> text
    event    (every event without a SYSCALL; path, sockaddr and record hang on it too)

`auditsvc.decode.ids` describes the ids of events and dimensions. Integers are signed 64-bit:
the kernel's unsigned ones are stored as two's complement, and the views show them as the
kernel does. An id of -1 (4294967295, unset) is NULL. A timestamp is split: the second is in
the event's id, `ms` has the milliseconds.

`auditsvc.migrations` must make exactly these tables; a test checks that.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
)
from sqlalchemy.event import listen

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store import schema_base, schema_words
from auditsvc.store.schema_base import Table
from auditsvc.store.schema_base import big as _big
from auditsvc.store.schema_base import key as _key

metadata = schema_base.metadata


def _id() -> Column[int]:
    return _key("id")


# --- the store's own tables ---------------------------------------------------------

store_info = Table(
    "store_info",
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# One row an input: how far it was read, and the lines of events that were open
# there. It changes in the transaction that stores the rows.
source = Table(
    "source",
    _id(),
    Column("kind", Text, nullable=False),  # spool, file, journal; series: files of one log
    Column("name", Text, nullable=False),
    Column("segment", Text, nullable=False),  # identifies the file among those of the same name
    _big("position", nullable=False),  # bytes read of it
    Column("pending", LargeBinary, nullable=False),
    UniqueConstraint("kind", "name", name="source_kind_name"),
)

# The ledger: counts of a source's records by cause, written with the checkpoint.
ledger_entry = Table(
    "ledger_entry",
    _big("source", primary_key=True, autoincrement=False),
    Column("cause", Text, primary_key=True),
    _big("count", nullable=False),
)

# Who reads the store as it grows, and how far each came: it has dealt with the arrivals
# before `seq`, and of `seq` with the events up to `event`. `note` is the reader's own.
consumer = Table(
    "consumer",
    Column("name", Text, primary_key=True),
    _big("seq", nullable=False),
    _big("event", nullable=False),
    Column("note", Text, nullable=False),
)

# What each transaction added, in the order of commit, while there are consumers: the
# events with ids from `low` to `high`, but for those that a later row has.
arrival = Table(
    "arrival",
    _key("seq"),
    _big("low", nullable=False),
    _big("high", nullable=False),
    Index("arrival_low", "low"),
    Index("arrival_high", "high"),
)

# Events that did not come from a spool: those with ids from `low` to `high`. Ranges do not
# overlap; an event in none of them came from a spool. `source` is NULL if an older program,
# which did not record sources, stored the events (auditsvc.store.origins).
origin = Table(
    "origin",
    _key("low"),
    _big("high", nullable=False),
    _big("source"),
)

# What retention deleted (auditsvc.retention): events of a day by their time, and raw lines by
# the day on which they were stored, as they have no time. Days count from 1970-01-01, UTC.
pruned_day = Table(
    "pruned_day",
    _key("day"),
    _big("events", nullable=False),
    _big("lines", nullable=False),
    _big("at", nullable=False),  # second of the last deletion
)

# The day on which each raw line was stored.
raw_day = Table(
    "raw_day",
    _key("raw"),
    _big("day", nullable=False),
    Index("raw_day_day", "day"),
)

# Dimension rows that may be unused, as rows that referred to them were deleted
# (auditsvc.store.write.unused); `kind` is a table's number there.
unused_row = Table(
    "unused_row",
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    _big("id", primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# How the store grows: bytes in use at a moment (second), and bytes that deletions freed since
# the row before.
store_size = Table(
    "store_size",
    _key("time"),
    _big("bytes", nullable=False),
    _big("freed", nullable=False),
)

# Heads of the signed log (auditsvc.evidence), the newest of each spool, by its identity.
evidence_head = Table(
    "evidence_head",
    Column("spool", Text, primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("head", Text, nullable=False),
    sqlite_with_rowid=False,
)

# --- names ---------------------------------------------------------------------------

# Every stored arch, and every stored pair of arch and number, has a row; without a name
# its name is the number, so that the views need no expression, with which the index on
# the name could not be used.

arch_name = Table(
    "arch_name",
    _key("arch"),
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

WORDS: Final = schema_words.TABLES
"""What events did and what numbers mean, in words."""

# --- dimensions ----------------------------------------------------------------------

host = Table("host", _id(), Column("name", Text, nullable=False))

# `value` is the text for people: UTF-8, other bytes as \xHH, NUL in a proctitle as a
# space. `raw` is NULL if `value` is exact; otherwise it has the bytes.
# Values are indexed by their hash on PostgreSQL, by how they begin on SQLite: a whole value
# would stand in the file twice. There the column `head`, which is computed and takes no room,
# is for the index alone; it is none of the columns that are written. A query that compares
# `value` uses the index if it also says `head = substr(value, 1, HEAD)`, as the views do:
# SQLite puts the value that is asked for into it. The column is spelled in another way than
# that (`+ 0`): SQLite 3.40 would take an equal expression from the index that it looks in.
text = Table(
    "text",
    _id(),
    Column("value", Text, nullable=False),
    Column("raw", LargeBinary),
)
HEAD: Final = 200
"""Characters of a text in SQLite's index."""
TEXT_INDEX: Final = {
    "sqlite": (
        f"ALTER TABLE text ADD COLUMN head TEXT AS (substr(value, 1, {HEAD} + 0)) VIRTUAL",
        "CREATE INDEX text_head ON text (head)",
    ),
    "postgresql": ("CREATE INDEX text_value ON text USING hash (value)",),
}
for _dialect, _statements in TEXT_INDEX.items():
    for _statement in _statements:
        made = DDL(_statement)  # type: ignore[no-untyped-call]
        listen(text, "after_create", made.execute_if(dialect=_dialect))

context = Table(
    "context",
    _id(),
    _big("host", nullable=False),
    _big("arch", nullable=False),
    _big("ppid"),
    _big("pid"),
    _big("auid"),
    _big("uid"),
    _big("gid"),
    _big("euid"),
    _big("suid"),
    _big("fsuid"),
    _big("egid"),
    _big("sgid"),
    _big("fsgid"),
    _big("tty"),  # from here on ids of text, except ses
    _big("ses"),
    _big("comm"),
    _big("exe"),
    _big("subj"),
    _big("key"),
    _big("cwd"),
    _big("title"),
    _big("extra"),  # fields that have no column (per=, enriched names), as JSON
)

# `nametype`, `dev`, `mode` and `rdev` are kept as the kernel prints them.
file = Table(
    "file",
    _id(),
    _big("name"),
    Column("nametype", Text),
    _big("inode"),
    Column("dev", Text),
    Column("mode", Text),
    _big("ouid"),
    _big("ogid"),
    Column("rdev", Text),
    _big("obj"),
    _big("extra"),  # cap_* and other fields of the record, as JSON
    Index("file_name", "name"),
)

# `saddr` is the kernel's full hex. `family` is inet, inet6, unix, netlink,
# packet, vsock or the number; `address` and `port` by family:
# inet, inet6: address, port; netlink: groups, pid; packet: hardware address,
# interface; vsock: cid, port. `path`: unix, @ first if abstract.
address = Table(
    "address",
    _id(),
    Column("family", Text),
    Column("address", Text),
    _big("port"),
    Column("path", Text),
    Column("saddr", Text, nullable=False),
    Index("address_address", "address"),
)

# --- facts ---------------------------------------------------------------------------

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
    _id(),
    Column("ms", SmallInteger, nullable=False),
    _big("serial", nullable=False),
    Column("nr", Integer, nullable=False),
    _big("a0", nullable=False),
    _big("a1", nullable=False),
    _big("a2", nullable=False),
    _big("a3", nullable=False),
    Column("success", SmallInteger),  # 1, 0, or NULL where the task ended inside the call
    _big("exit"),
    Column("state", SmallInteger, nullable=False),
    Column("items", Integer, nullable=False),
    _big("context", nullable=False),
    Index("syscall_context_nr", "context", "nr"),
)
Index(
    "syscall_failed",
    syscall.c.exit,
    sqlite_where=syscall.c.success == 0,
    postgresql_where=syscall.c.success == 0,
)
Index(
    "syscall_partial",
    syscall.c.state,
    sqlite_where=syscall.c.state >= 2,
    postgresql_where=syscall.c.state >= 2,
)

exec_ = Table(
    "exec",
    _key("event"),
    _big("argv", nullable=False),  # JSON list; `raw` of the text joins the bytes with NUL
)

path = Table(
    "path",
    _big("event", primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),  # order of arrival, from 0
    Column("item", Integer),
    _big("file", nullable=False),
    sqlite_with_rowid=False,
)
sockaddr = Table(
    "sockaddr",
    _big("event", primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _big("address", nullable=False),
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
            made = DDL(_statement)  # type: ignore[no-untyped-call]
            listen(metadata.tables[_name], "after_create", made.execute_if(dialect=_dialect))

event = Table(
    "event",
    _id(),
    _big("host", nullable=False),
    Column("ms", SmallInteger, nullable=False),
    _big("serial", nullable=False),
    Column("type", Integer, nullable=False),
    _big("pid"),
    _big("uid"),
    _big("auid"),
    _big("ses"),
    Column("state", SmallInteger, nullable=False),
    _big("fields", nullable=False),
    Index("event_type", "type"),
)
Index(
    "event_partial",
    event.c.state,
    sqlite_where=event.c.state >= 2,
    postgresql_where=event.c.state >= 2,
)

for _name, _facts in (("syscall", syscall), ("event", event)):
    made = DDL(TIME_INDEX[f"{_name}_time"])  # type: ignore[no-untyped-call]
    listen(_facts, "after_create", made.execute_if(dialect="postgresql"))

# `seq` counts the records of one type within the event, from 0.
record = Table(
    "record",
    _big("event", primary_key=True, autoincrement=False),
    Column("type", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _big("fields", nullable=False),
    sqlite_with_rowid=False,
)

# Records in the middle of a call that views ask for by their type: rare ones, so that the index
# is small.
TOLD_TYPES: Final = (
    *(1006, 1107, 1305, 1325, 1326, 1328, 1330, 1334, 1336),
    *(1400, 1401, 1403, 1404, 1405, 1420, 1421, 1422, 1423, 1502, 1503),
)
"""LOGIN, USER_AVC, CONFIG_CHANGE, NETFILTER_CFG, SECCOMP, FEATURE_CHANGE, KERN_MODULE, BPF,
URINGOP; AVC, SELINUX_ERR, MAC_*, IPE_*, LANDLOCK_ACCESS, APPARMOR_ALLOWED, APPARMOR_DENIED.
"""
_told = record.c.type.in_(TOLD_TYPES)
Index("record_told", record.c.type, record.c.event, sqlite_where=_told, postgresql_where=_told)

# How many calls there were, by hour (since 1970). NULL is 0 in texts and -1 in numbers, for a
# key has no NULL; `errno` is 0 unless the call failed. What a transaction adds or takes away
# is first in `activity_part`, by context, and joins the rows when much has come together.
activity_row = Table(
    "activity_row",
    *(
        _big(name, primary_key=True, autoincrement=False)
        for name in ("hour", "host", "exe", "comm", "auid", "uid", "key", "arch")
    ),
    *(
        Column(name, Integer, primary_key=True, autoincrement=False)
        for name in ("nr", "success", "errno")
    ),
    _big("calls", nullable=False),
    sqlite_with_rowid=False,
)
activity_part = Table(
    "activity_part",
    _big("hour", nullable=False),
    _big("context", nullable=False),
    *(Column(name, Integer, nullable=False) for name in ("nr", "success", "errno")),
    _big("calls", nullable=False),
)

# What tells of the lives of processes (auditsvc.store.process_lives), by process id. `at` is
# milliseconds since 1970 and `low` the lower bits of the event's id, so that
# (at / 1000) << SERIAL_BITS | low is the event. `begins` is how the life is known that the sign
# begins, NULL if it begins none. Of a birth, `pid` is the child's, all else the caller's.
process_sign = Table(
    "process_sign",
    _big("host", primary_key=True, autoincrement=False),
    Column("pid", Integer, primary_key=True, autoincrement=False),
    _big("at", primary_key=True, autoincrement=False),
    Column("low", Integer, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),
    Column("begins", SmallInteger),
    _big("ppid"),
    _big("ses"),
    _big("exe"),
    sqlite_with_rowid=False,
)

# Names of users and groups as our own service saw them, from its DAEMON_CONFIG records
# (auditsvc.store.write.account_names): from `at` (milliseconds since 1970) on; NULL: none.
account_name = Table(
    "account_name",
    _big("host", primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),  # 0: user, 1: group
    _big("number", primary_key=True, autoincrement=False),
    _big("at", primary_key=True, autoincrement=False),
    Column("name", Text),
    sqlite_with_rowid=False,
)

# Which events of our own service say where a process is (auditsvc.store.write.process_cgroups):
# its control group, unit and container stand in the event. `at` and `low` as in `process_sign`.
process_cgroup = Table(
    "process_cgroup",
    _big("host", primary_key=True, autoincrement=False),
    Column("pid", Integer, primary_key=True, autoincrement=False),
    _big("at", primary_key=True, autoincrement=False),
    Column("low", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# Lines that are not records, unchanged. `id` is a hash of source, position and line, so
# that lines which are read twice are stored once.
raw = Table(
    "raw",
    _id(),
    _big("source", nullable=False),
    _big("position", nullable=False),
    Column("reason", Text, nullable=False),
    Column("line", LargeBinary, nullable=False),
)

# Accesses that no service has recorded (auditsvc.access.tables): readers of PostgreSQL insert
# them, on SQLite they come from a file. `id` and `at` are made like ids of events. `role` and
# `client` are the server's word.
access_entry = Table(
    "access_entry",
    _id(),
    Column("ms", Integer, nullable=False),
    Column("host", Text, nullable=False),
    *(_big(name) for name in ("pid", "uid", "auid", "ses")),
    Column("name", Text),
    Column("command", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("sql", Text),
    Column("role", Text),
    Column("client", Text),
)
access_end = Table(
    "access_end",
    _big("id", primary_key=True, autoincrement=False),
    # In the key, so that nobody can put an end in the place of another's; "" on SQLite.
    Column("role", Text, primary_key=True),
    _big("at", nullable=False),
    Column("ms", Integer, nullable=False),
    _big("rows"),
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
    made = DDL(f"ALTER TABLE {_name} ALTER COLUMN {_column} SET DEFAULT {_value}")  # type: ignore[no-untyped-call]
    listen(metadata.tables[_name], "after_create", made.execute_if(dialect="postgresql"))

DIMENSIONS = (host, text, context, file, address)
"""In the order of references: a table comes after those that it refers to."""

FACTS = (syscall, exec_, path, sockaddr, event, record)
"""Tables that a decoder makes rows for, in addition to the dimensions."""
