"""Texts indexed by how they begin, on SQLite: a long one stands in the file once.

`auditsvc.store.schema` explains the column.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the index; PostgreSQL keeps its own, which holds hashes."""
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute("DROP INDEX text_value")
    op.execute("ALTER TABLE text ADD COLUMN head TEXT AS (substr(value, 1, 200 + 0)) VIRTUAL")
    op.execute("CREATE INDEX text_head ON text (head)")
    if (
        op.get_bind()
        .exec_driver_sql("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'")
        .first()
    ):
        op.execute("UPDATE sqlite_stat1 SET idx = 'text_head' WHERE idx = 'text_value'")
