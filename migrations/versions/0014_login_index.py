"""An index on the events that tell of sessions, by session."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    told = sa.text("type IN (1006, 1106, 1112)")
    op.create_index("event_login", "event", ["ses", "id"], sqlite_where=told, postgresql_where=told)
