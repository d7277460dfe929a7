"""Which stored events were changed or deleted by what came later, for the fleet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger()


def upgrade() -> None:
    """Make the table; it is filled while the fleet is a reader of the feed."""
    number = _BIG.with_variant(sa.Integer(), "sqlite")
    key = sa.Column("seq", number, primary_key=True, autoincrement=False, nullable=False)
    op.create_table("amended", key, sa.Column("event", _BIG, nullable=False))
    op.create_index("amended_event", "amended", ["event"])
