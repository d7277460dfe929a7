"""The tables that are made of the facts, in the transaction that stores them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Integer, SmallInteger, Text

from auditsvc.store.schema.base import Table, after_create, big, key

# How many calls there were, by hour (since 1970). NULL is 0 in texts and -1 in numbers, for a
# key has no NULL; `errno` is 0 unless the call failed. What a transaction adds or takes away
# is first in `activity_part`, by context, and joins the rows when much has come together.
activity_row = Table(
    "activity_row",
    *(
        big(name, primary_key=True, autoincrement=False)
        for name in ("hour", "host", "exe", "comm", "auid", "uid", "key", "arch")
    ),
    *(
        Column(name, Integer, primary_key=True, autoincrement=False)
        for name in ("nr", "success", "errno")
    ),
    big("calls", nullable=False),
    sqlite_with_rowid=False,
)
# On PostgreSQL the key, nearly as wide as the row, would be half of the table's bytes; who settles
# keeps all others out, so an index on the hour is enough.
ACTIVITY_INDEX: Final = (
    "ALTER TABLE activity_row DROP CONSTRAINT activity_row_pkey",
    "CREATE INDEX activity_hour ON activity_row (hour)",
)
for _statement in ACTIVITY_INDEX:
    after_create(activity_row, _statement, "postgresql")
activity_part = Table(
    "activity_part",
    big("hour", nullable=False),
    big("context", nullable=False),
    *(Column(name, Integer, nullable=False) for name in ("nr", "success", "errno")),
    big("calls", nullable=False),
)

# How many calls each context made, by hour (since 1970): what reports tell of the callers and
# `activity_row` has not. It joins these rows with the parts.
context_row = Table(
    "context_row",
    big("hour", primary_key=True, autoincrement=False),
    big("context", primary_key=True, autoincrement=False),
    big("calls", nullable=False),
    sqlite_with_rowid=False,
)

# How many rows of `path` a file has, by day of their event (since 1970), and the first of these
# events, or one before it where uses were taken away (auditsvc.store.file_counts). What a
# transaction adds or takes away is first in `file_part`, on PostgreSQL; SQLite's rows are
# counted with the runs of the index. `file_taken`: the days of which uses were taken away.
file_row = Table(
    "file_row",
    big("day", primary_key=True, autoincrement=False),
    big("file", primary_key=True, autoincrement=False),
    big("uses", nullable=False),
    big("first", nullable=False),
    sqlite_with_rowid=False,
)
file_part = Table(
    "file_part",
    *(big(name, nullable=False) for name in ("day", "file", "uses", "first")),
)
file_taken = Table("file_taken", key("day"))

# What tells of the lives of processes (auditsvc.store.process_lives), by process id. `at` is
# milliseconds since 1970 and `low` the lower bits of the event's id, so that
# (at / 1000) << SERIAL_BITS | low is the event. `begins` is how the life is known that the sign
# begins, NULL if it begins none. Of a birth, `pid` is the child's, all else the caller's.
process_sign = Table(
    "process_sign",
    big("host", primary_key=True, autoincrement=False),
    Column("pid", Integer, primary_key=True, autoincrement=False),
    big("at", primary_key=True, autoincrement=False),
    Column("low", Integer, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),
    Column("begins", SmallInteger),
    big("ppid"),
    big("ses"),
    big("exe"),
    sqlite_with_rowid=False,
)

# Of a process id with many signs, after some of them, what all signs up to there mean for later
# ones (auditsvc.store.process_lives.State), so that those need not be read again. The first
# columns are the sign's; `since_*` the first birth that is kept in mind; the others the life that
# goes on, `began` NULL if there is none.
process_mark = Table(
    "process_mark",
    big("host", primary_key=True, autoincrement=False),
    Column("pid", Integer, primary_key=True, autoincrement=False),
    big("at", primary_key=True, autoincrement=False),
    Column("low", Integer, primary_key=True, autoincrement=False),
    Column("is_birth", SmallInteger, nullable=False),
    big("since_at"),
    Column("since_low", Integer),
    big("began"),
    Column("code", SmallInteger),
    big("ppid"),
    big("ses"),
    big("exe"),
    big("last"),
    Column("is_fresh", SmallInteger),
    big("ended"),
    sqlite_with_rowid=False,
)

# Of a process id that has many signs on a day (days since 1970), the first sign of the process
# itself with each parent and session; NULL of these is here the least integer.
process_first = Table(
    "process_first",
    big("host", primary_key=True, autoincrement=False),
    Column("pid", Integer, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),
    big("ppid", primary_key=True, autoincrement=False),
    big("ses", primary_key=True, autoincrement=False),
    big("at", nullable=False),
    Column("low", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# Names of users and groups as our own service saw them, from its DAEMON_CONFIG records
# (auditsvc.store.write.account_names): from `at` (milliseconds since 1970) on; NULL: none.
account_name = Table(
    "account_name",
    big("host", primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),  # 0: user, 1: group
    big("number", primary_key=True, autoincrement=False),
    big("at", primary_key=True, autoincrement=False),
    Column("name", Text),
    sqlite_with_rowid=False,
)

# Which events of our own service say where a process is (auditsvc.store.write.process_cgroups):
# its control group, unit and container stand in the event. `at` and `low` as in `process_sign`.
process_cgroup = Table(
    "process_cgroup",
    big("host", primary_key=True, autoincrement=False),
    Column("pid", Integer, primary_key=True, autoincrement=False),
    big("at", primary_key=True, autoincrement=False),
    Column("low", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
