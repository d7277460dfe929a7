"""What many signs of one process id come to, so that they need not be read again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger()


def _key(name: str, kind: sa.types.TypeEngine[int]) -> sa.Column[int]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False, nullable=False)


def upgrade() -> None:
    """Make the tables; they are filled as such process ids get more signs."""
    op.create_table(
        "process_mark",
        _key("host", _BIG),
        _key("pid", sa.Integer()),
        _key("at", _BIG),
        _key("low", sa.Integer()),
        sa.Column("is_birth", sa.SmallInteger(), nullable=False),
        sa.Column("since_at", _BIG),
        sa.Column("since_low", sa.Integer()),
        sa.Column("began", _BIG),
        sa.Column("code", sa.SmallInteger()),
        *(sa.Column(name, _BIG) for name in ("ppid", "ses", "exe", "last")),
        sa.Column("is_fresh", sa.SmallInteger()),
        sa.Column("ended", _BIG),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "process_first",
        _key("host", _BIG),
        _key("pid", sa.Integer()),
        _key("day", sa.Integer()),
        _key("ppid", _BIG),
        _key("ses", _BIG),
        sa.Column("at", _BIG, nullable=False),
        sa.Column("low", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )
