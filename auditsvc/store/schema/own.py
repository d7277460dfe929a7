"""The store's own tables: what was read, who reads, what was deleted, and what is no record."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, SmallInteger, Text, UniqueConstraint

from auditsvc.store.schema.base import Table, big, key

store_info = Table(
    "store_info",
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# One row an input: how far it was read, and the lines of events that were open
# there. It changes in the transaction that stores the rows.
source = Table(
    "source",
    key("id"),
    Column("kind", Text, nullable=False),  # spool, file, journal; series: files of one log
    Column("name", Text, nullable=False),
    Column("segment", Text, nullable=False),  # identifies the file among those of the same name
    big("position", nullable=False),  # bytes read of it
    Column("pending", LargeBinary, nullable=False),
    UniqueConstraint("kind", "name", name="source_kind_name"),
)

# The ledger: counts of a source's records by cause, written with the checkpoint.
ledger_entry = Table(
    "ledger_entry",
    big("source", primary_key=True, autoincrement=False),
    Column("cause", Text, primary_key=True),
    big("count", nullable=False),
)

# Who reads the store as it grows, and how far each came: it has dealt with the arrivals
# before `seq`, and of `seq` with the events up to `event`. `note` is the reader's own.
consumer = Table(
    "consumer",
    Column("name", Text, primary_key=True),
    big("seq", nullable=False),
    big("event", nullable=False),
    Column("note", Text, nullable=False),
)

# What each transaction added, in the order of commit, while there are consumers: the
# events with ids from `low` to `high`, but for those that a later row has.
arrival = Table(
    "arrival",
    key("seq"),
    big("low", nullable=False),
    big("high", nullable=False),
    Index("arrival_low", "low"),
    Index("arrival_high", "high"),
)

# Events that were stored before and were changed or deleted by what came later, in the order of
# commit, while the fleet is a consumer; retention's deletions are none.
amended = Table(
    "amended",
    key("seq"),
    big("event", nullable=False),
    Index("amended_event", "event"),
)

# Events whose lines came more than once from our own spool, and how often they came again; or to
# which another log added records that it has not given, and how many: negative
# (auditsvc.store.repeated).
repeated = Table(
    "repeated",
    key("event"),
    big("times", nullable=False),
)

# Events that did not come from a spool: those with ids from `low` to `high`. Ranges do not
# overlap; an event in none of them came from a spool. `source` is NULL if an older program,
# which did not record sources, stored the events, or if a log and a spool gave parts of one
# (auditsvc.store.origins).
origin = Table(
    "origin",
    key("low"),
    big("high", nullable=False),
    big("source"),
)

# What retention deleted (auditsvc.retention): events of a day by their time, and raw lines by
# the day on which they were stored, as they have no time. Days count from 1970-01-01, UTC.
pruned_day = Table(
    "pruned_day",
    key("day"),
    big("events", nullable=False),
    big("lines", nullable=False),
    big("at", nullable=False),  # second of the last deletion
)

# The day on which each raw line was stored.
raw_day = Table(
    "raw_day",
    key("raw"),
    big("day", nullable=False),
    Index("raw_day_day", "day"),
)

# Dimension rows that may be unused, as rows that referred to them were deleted
# (auditsvc.store.write.unused); `kind` is a table's number there.
unused_row = Table(
    "unused_row",
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    big("id", primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# How the store grows: bytes in use at a moment (second), and bytes that deletions freed since
# the row before.
store_size = Table(
    "store_size",
    key("time"),
    big("bytes", nullable=False),
    big("freed", nullable=False),
)

# Heads of the signed log (auditsvc.evidence), the newest of each spool, by its identity.
evidence_head = Table(
    "evidence_head",
    Column("spool", Text, primary_key=True),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("head", Text, nullable=False),
    sqlite_with_rowid=False,
)

# Lines that are not records, unchanged. `id` is a hash of source, position and line, so
# that lines which are read twice are stored once.
raw = Table(
    "raw",
    key("id"),
    big("source", nullable=False),
    big("position", nullable=False),
    Column("reason", Text, nullable=False),
    Column("line", LargeBinary, nullable=False),
)
