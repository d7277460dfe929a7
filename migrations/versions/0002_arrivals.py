"""The order of arrival of events, for readers of a growing store.

`auditsvc.store.schema` explains the columns.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger()


def upgrade() -> None:
    """Make the tables; there are no readers yet, so they stay empty."""
    op.create_table(
        "consumer",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("seq", _BIG, nullable=False),
        sa.Column("event", _BIG, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
    )
    op.create_table(
        "arrival",
        sa.Column(
            "seq",
            _BIG.with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("low", _BIG, nullable=False),
        sa.Column("high", _BIG, nullable=False),
    )
    op.create_index("arrival_low", "arrival", ["low"])
    op.create_index("arrival_high", "arrival", ["high"])
