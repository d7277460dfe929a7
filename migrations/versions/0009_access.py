"""Accesses that no service has recorded.

On PostgreSQL the server fills in who is connected.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "access_entry",
        sa.Column("id", _KEY, primary_key=True, autoincrement=False),
        sa.Column("ms", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger()) for name in ("pid", "uid", "auid", "ses")),
        sa.Column("name", sa.Text()),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("sql", sa.Text()),
        sa.Column("role", sa.Text()),
        sa.Column("client", sa.Text()),
    )
    op.create_table(
        "access_end",
        sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("role", sa.Text(), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("ms", sa.Integer(), nullable=False),
        sa.Column("rows", sa.BigInteger()),
        sa.Column("ended", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":
        for table, column, value in (
            ("access_entry", "role", "SESSION_USER"),
            ("access_entry", "client", "host(inet_client_addr())"),
            ("access_end", "role", "SESSION_USER"),
        ):
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {value}")
