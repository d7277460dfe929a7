"""Settled paths in runs, on SQLite: `auditsvc.store.schema` explains the column.

A span of 256 seconds, by which paths were settled before, becomes a run.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Number the runs, and make the index anew."""
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute("DROP INDEX path_file")
    op.execute("UPDATE path SET settled = event >> 38 WHERE settled IS NOT NULL")
    op.execute("CREATE INDEX path_file ON path (settled, file) WHERE settled IS NOT NULL")
