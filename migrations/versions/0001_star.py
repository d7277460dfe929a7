"""The star schema: facts, dimensions, names, and the store's own tables.

`auditsvc.store.schema` explains the columns.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger()
# INTEGER as the only primary key is SQLite's rowid.
_ROWID = _BIG.with_variant(sa.Integer(), "sqlite")

_CONTEXT = (
    *("ppid", "pid", "auid", "uid", "gid", "euid", "suid", "fsuid", "egid", "sgid", "fsgid"),
    *("tty", "ses", "comm", "exe", "subj", "key", "cwd", "title", "extra"),
)


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, _ROWID, primary_key=True, autoincrement=False)


def _part(name: str, kind: sa.types.TypeEngine[int] = _BIG) -> sa.Column[int]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _big(*names: str, nullable: bool = True) -> list[sa.Column[int]]:
    return [sa.Column(name, _BIG, nullable=nullable) for name in names]


def _text(*names: str, nullable: bool = True) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=nullable) for name in names]


def upgrade() -> None:
    """Make every table and index."""
    _make_own()
    _make_names()
    _make_dimensions()
    _make_facts()


def _make_own() -> None:
    op.create_table(
        "store_info",
        sa.Column("name", sa.Text(), primary_key=True),
        *_text("value", nullable=False),
    )
    op.create_table(
        "source",
        _key("id"),
        *_text("kind", "name", "segment", nullable=False),
        *_big("position", nullable=False),
        sa.Column("pending", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("kind", "name", name="source_kind_name"),
    )
    op.create_table(
        "ledger_entry",
        _part("source"),
        sa.Column("cause", sa.Text(), primary_key=True),
        *_big("count", nullable=False),
    )


def _make_names() -> None:
    op.create_table("arch_name", _key("arch"), *_text("name", nullable=False))
    op.create_table(
        "syscall_name",
        _part("arch"),
        _part("nr", sa.Integer()),
        *_text("name", nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("syscall_name_name", "syscall_name", ["name"])
    op.create_table("record_type", _part("type", sa.Integer()), *_text("name", nullable=False))
    op.create_table("errno_name", _part("errno", sa.Integer()), *_text("name", nullable=False))


def _make_dimensions() -> None:
    op.create_table("host", _key("id"), *_text("name", nullable=False))
    op.create_table(
        "text",
        _key("id"),
        *_text("value", nullable=False),
        sa.Column("raw", sa.LargeBinary()),
    )
    op.create_index("text_value", "text", ["value"], postgresql_using="hash")
    op.create_table("context", _key("id"), *_big("host", "arch", nullable=False), *_big(*_CONTEXT))
    op.create_table(
        "file",
        _key("id"),
        *_big("name"),
        *_text("nametype"),
        *_big("inode"),
        *_text("dev", "mode"),
        *_big("ouid", "ogid"),
        *_text("rdev"),
        *_big("obj", "extra"),
    )
    op.create_index("file_name", "file", ["name"])
    op.create_table(
        "address",
        _key("id"),
        *_text("family", "address"),
        *_big("port"),
        *_text("path"),
        *_text("saddr", nullable=False),
    )


def _make_facts() -> None:
    op.create_table(
        "syscall",
        _key("id"),
        sa.Column("ms", sa.SmallInteger(), nullable=False),
        *_big("serial", nullable=False),
        sa.Column("nr", sa.Integer(), nullable=False),
        *_big("a0", "a1", "a2", "a3", nullable=False),
        sa.Column("success", sa.SmallInteger()),
        *_big("exit"),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        *_big("context", nullable=False),
    )
    op.create_index("syscall_context_nr", "syscall", ["context", "nr"])
    _make_partial_index("syscall_failed", "syscall", "exit", "success = 0")
    _make_partial_index("syscall_partial", "syscall", "state", "state >= 2")
    op.create_table("exec", _key("event"), *_big("argv", nullable=False))
    op.create_table(
        "path",
        _part("event"),
        _part("seq", sa.Integer()),
        sa.Column("item", sa.Integer()),
        *_big("file", nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("path_file", "path", ["file"])
    op.create_table(
        "sockaddr",
        _part("event"),
        _part("seq", sa.Integer()),
        *_big("address", nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("sockaddr_address", "sockaddr", ["address"])
    op.create_table(
        "event",
        _key("id"),
        *_big("host", nullable=False),
        sa.Column("ms", sa.SmallInteger(), nullable=False),
        *_big("serial", nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        *_big("pid", "uid", "auid", "ses"),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        *_big("fields", nullable=False),
    )
    op.create_index("event_type", "event", ["type"])
    _make_partial_index("event_partial", "event", "state", "state >= 2")
    op.create_table(
        "record",
        _part("event"),
        _part("type", sa.Integer()),
        _part("seq", sa.Integer()),
        *_big("fields", nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "raw",
        _key("id"),
        *_big("source", "position", nullable=False),
        *_text("reason", nullable=False),
        sa.Column("line", sa.LargeBinary(), nullable=False),
    )


def _make_partial_index(name: str, table: str, column: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, [column], sqlite_where=condition, postgresql_where=condition)
