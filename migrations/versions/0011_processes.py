"""The signs of processes and their lives, of the stored events too; names and control groups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from auditsvc.store.write.sign_rebuild import rebuild

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger()


def upgrade() -> None:
    """Make the tables, and the signs."""
    op.create_table(
        "account_name",
        sa.Column("host", _BIG, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), primary_key=True, autoincrement=False, nullable=False),
        sa.Column("number", _BIG, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("at", _BIG, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text()),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "process_cgroup",
        sa.Column("host", _BIG, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("pid", sa.Integer(), primary_key=True, autoincrement=False, nullable=False),
        sa.Column("at", _BIG, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("low", sa.Integer(), primary_key=True, autoincrement=False, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "process_sign",
        sa.Column("host", _BIG, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("pid", sa.Integer(), primary_key=True, autoincrement=False, nullable=False),
        sa.Column("at", _BIG, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("low", sa.Integer(), primary_key=True, autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("begins", sa.SmallInteger()),
        sa.Column("ppid", _BIG),
        sa.Column("ses", _BIG),
        sa.Column("exe", _BIG),
        sqlite_with_rowid=False,
    )
    rebuild(op.get_bind())
