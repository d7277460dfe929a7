"""Calls counted by context and hour, uses of files by day; an index of logins by what they say.

`auditsvc.store.schema.derived` explains the tables, `auditsvc.store.file_counts` how they are kept.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger()
_CONTEXTS = (
    "INSERT INTO context_row SELECT (id >> 30) / 3600, context, count(*) FROM {0}syscall"
    " GROUP BY 1, 2"
)
_FILES = (
    "INSERT INTO file_row SELECT u.day, u.file, sum(u.uses), min(u.first) FROM ("
    "SELECT (event >> 30) / 86400 AS day, file, count(*) AS uses, min(event) AS first"
    " FROM {0} GROUP BY {1}) u GROUP BY 1, 2"
)


def _key(name: str, kind: sa.types.TypeEngine[int] = _BIG) -> sa.Column[int]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False, nullable=False)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, _BIG, nullable=False)


def upgrade() -> None:
    """Make the tables, and count what is there."""
    op.create_table(
        "context_row", _key("hour"), _key("context"), _count("calls"), sqlite_with_rowid=False
    )
    op.create_table(
        "file_row",
        _key("day"),
        _key("file"),
        _count("uses"),
        _count("first"),
        sqlite_with_rowid=False,
    )
    op.create_table("file_part", *map(_count, ("day", "file", "uses", "first")))
    op.create_table("file_taken", _key("day", _BIG.with_variant(sa.Integer(), "sqlite")))
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        # What is not in a closed run is not counted yet; a closed one gets no more rows.
        last = "(SELECT max(settled) - 1 FROM path WHERE settled IS NOT NULL)"
        parts = f"path WHERE settled IS NOT NULL AND settled <= {last}", "settled, file, 1"
        op.execute(
            "INSERT INTO store_info (name, value)"
            f" SELECT 'files_counted', CAST(coalesce({last}, 0) AS text)"
        )
        earlier = ""
    else:
        # Rows that are still to be moved into partitions (0013) are whole in the tables of before.
        moved = connection.exec_driver_sql("SELECT to_regclass('earlier_path') IS NOT NULL")
        earlier = "earlier_" if moved.scalar() else ""
        parts = f"{earlier}path", "1, 2"
    op.execute(_CONTEXTS.format(earlier))
    op.execute(_FILES.format(*parts))
    told = sa.text("type = 1112")
    op.create_index(
        "event_user_login", "event", ["type", "fields"], sqlite_where=told, postgresql_where=told
    )
    if (
        connection.dialect.name == "sqlite"
        and connection.exec_driver_sql(
            "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'"
        ).first()
    ):
        op.execute(
            "INSERT INTO sqlite_stat1 VALUES ('event', 'event_user_login', '100000 1000 50')"
        )
