"""An index on what the views show as `time`, on PostgreSQL.

`auditsvc.store.schema` explains the expression.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes; SQLite's key is in the order of time already."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in ("syscall", "event"):
        op.execute(
            f"CREATE INDEX {table}_time ON {table}"
            " ((to_timestamp((id >> 30)::float8 + ms::float8 / 1000)))"
        )
