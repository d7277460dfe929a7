"""The dimensions: what many events have in common, written once."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, LargeBinary, Text

from auditsvc.store.schema.base import Table, after_create, big, key

host = Table("host", key("id"), Column("name", Text, nullable=False))

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
    key("id"),
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
        after_create(text, _statement, _dialect)

context = Table(
    "context",
    key("id"),
    big("host", nullable=False),
    big("arch", nullable=False),
    big("ppid"),
    big("pid"),
    big("auid"),
    big("uid"),
    big("gid"),
    big("euid"),
    big("suid"),
    big("fsuid"),
    big("egid"),
    big("sgid"),
    big("fsgid"),
    big("tty"),  # from here on ids of text, except ses
    big("ses"),
    big("comm"),
    big("exe"),
    big("subj"),
    big("key"),
    big("cwd"),
    big("title"),
    big("extra"),  # fields that have no column (per=, enriched names), as JSON
)

# `nametype`, `dev`, `mode` and `rdev` are kept as the kernel prints them.
file = Table(
    "file",
    key("id"),
    big("name"),
    Column("nametype", Text),
    big("inode"),
    Column("dev", Text),
    Column("mode", Text),
    big("ouid"),
    big("ogid"),
    Column("rdev", Text),
    big("obj"),
    big("extra"),  # cap_* and other fields of the record, as JSON
    Index("file_name", "name"),
)

# `saddr` is the kernel's full hex. `family` is inet, inet6, unix, netlink,
# packet, vsock or the number; `address` and `port` by family:
# inet, inet6: address, port; netlink: groups, pid; packet: hardware address,
# interface; vsock: cid, port. `path`: unix, @ first if abstract.
address = Table(
    "address",
    key("id"),
    Column("family", Text),
    Column("address", Text),
    big("port"),
    Column("path", Text),
    Column("saddr", Text, nullable=False),
    Index("address_address", "address"),
)

DIMENSIONS = (host, text, context, file, address)
"""In the order of references: a table comes after those that it refers to."""
