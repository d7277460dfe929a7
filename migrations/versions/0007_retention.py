"""What was pruned, when raw lines were stored, unused dimension rows, and how the store grows.

A raw line that is there already counts as stored today.
"""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "pruned_day",
        sa.Column("day", _KEY, primary_key=True, autoincrement=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "raw_day",
        sa.Column("raw", _KEY, primary_key=True, autoincrement=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
    )
    today = sa.text("INSERT INTO raw_day SELECT id, :today FROM raw")
    op.execute(today.bindparams(today=int(time.time()) // 86400))
    op.create_index("raw_day_day", "raw_day", ["day"])
    op.create_table(
        "unused_row",
        sa.Column("kind", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "store_size",
        sa.Column("time", _KEY, primary_key=True, autoincrement=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("freed", sa.BigInteger(), nullable=False),
    )
