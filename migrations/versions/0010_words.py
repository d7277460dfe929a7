"""Words for the views: what calls do and what their arguments mean; an index on told records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TOLD = (
    "type IN (1006, 1107, 1305, 1325, 1326, 1328, 1330, 1334, 1336, 1400, 1401, 1403, 1404, 1405,"
    " 1420, 1421, 1422, 1423, 1502, 1503)"
)


def upgrade() -> None:
    """Add the tables, which the program fills when it opens the store, and the index."""
    op.create_table(
        "verb",
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_kind", sa.Text(), nullable=False),
        sa.Column("object_place", sa.SmallInteger()),
        sa.Column("second_place", sa.SmallInteger()),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("file", sa.Text()),
        sa.Column("connection", sa.Text()),
        sa.Column("change", sa.Text()),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "part_call",
        sa.Column("call", sa.Text(), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "argument_shape",
        sa.Column("call", sa.Text(), primary_key=True),
        sa.Column("place", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("mask", sa.BigInteger(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("rest", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.SmallInteger(), nullable=False),
        sa.Column("last", sa.SmallInteger(), nullable=False),
        sa.Column("zero", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "value_word",
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("word", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "flag_word",
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("place", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("bit", sa.BigInteger(), nullable=False),
        sa.Column("word", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    told = sa.text(_TOLD)
    op.create_index(
        "record_told", "record", ["type", "event"], sqlite_where=told, postgresql_where=told
    )
