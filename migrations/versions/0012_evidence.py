"""Heads of the signed log, which a store keeps for its spools."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "evidence_head",
        sa.Column("spool", sa.Text(), primary_key=True),
        sa.Column("n", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("head", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
