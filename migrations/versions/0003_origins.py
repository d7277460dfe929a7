"""Which source an event came from.

`auditsvc.store.schema` explains the columns.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger()

# All events that are stored, if there is a source that is no spool: of one source alone it
# is known that they are its, of several it is not.
_NOTE = """
    INSERT INTO origin (low, high, source)
    SELECT stored.low, stored.high,
        (SELECT CASE WHEN count(*) = 1 THEN max(id) END FROM source)
    FROM (
        SELECT min(id) AS low, max(id) AS high
        FROM (SELECT min(id) AS id FROM syscall UNION ALL SELECT max(id) FROM syscall
            UNION ALL SELECT min(id) FROM event UNION ALL SELECT max(id) FROM event) ends
    ) stored
    WHERE stored.low IS NOT NULL AND EXISTS (SELECT 1 FROM source WHERE kind <> 'spool')
"""


def upgrade() -> None:
    """Make the table, and note what is known of the events that are there."""
    op.create_table(
        "origin",
        sa.Column(
            "low", _BIG.with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=False
        ),
        sa.Column("high", _BIG, nullable=False),
        sa.Column("source", _BIG),
    )
    op.execute(_NOTE)
