"""Which events came more than once from our own spool, for `auditsvc verify`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger()


def upgrade() -> None:
    """Make the table; events that came again before are not known."""
    number = _BIG.with_variant(sa.Integer(), "sqlite")
    key = sa.Column("event", number, primary_key=True, autoincrement=False, nullable=False)
    op.create_table("repeated", key, sa.Column("times", _BIG, nullable=False))
