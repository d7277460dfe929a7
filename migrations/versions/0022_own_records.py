"""Plain words for the service's own records: views and verbs are made anew after each migration."""

from __future__ import annotations

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change no table."""
