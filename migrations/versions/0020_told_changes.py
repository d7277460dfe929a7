"""The index on records within calls has three types more: changes that the kernel tells so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_TOLD = (
    "type IN (1006, 1107, 1305, 1325, 1326, 1328, 1330, 1334, 1336, 1400, 1401, 1403, 1404, 1405,"
    " 1420, 1421, 1422, 1423, 1502, 1503, 1505, 1700, 1807)"
)


def upgrade() -> None:
    """Make it anew."""
    told = sa.text(_TOLD)
    op.drop_index("record_told", "record")
    op.create_index(
        "record_told", "record", ["type", "event"], sqlite_where=told, postgresql_where=told
    )
