"""Questions to the store in words of their own: verbs are filled anew after each migration."""

from __future__ import annotations

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change no table."""
