"""Paths that are settled later, on SQLite; calls counted by hour.

`auditsvc.store.schema` explains the columns.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger()
_KEYS = (
    ("hour", _BIG),
    ("host", _BIG),
    ("exe", _BIG),
    ("comm", _BIG),
    ("auid", _BIG),
    ("uid", _BIG),
    ("key", _BIG),
    ("arch", _BIG),
    ("nr", sa.Integer()),
    ("success", sa.Integer()),
    ("errno", sa.Integer()),
)


def upgrade() -> None:
    """Settle all paths, and count all calls."""
    op.create_table(
        "activity_part",
        sa.Column("hour", _BIG, nullable=False),
        sa.Column("context", _BIG, nullable=False),
        sa.Column("nr", sa.Integer(), nullable=False),
        sa.Column("success", sa.Integer(), nullable=False),
        sa.Column("errno", sa.Integer(), nullable=False),
        sa.Column("calls", _BIG, nullable=False),
    )
    op.create_table(
        "activity_row",
        *(
            sa.Column(name, kind, primary_key=True, autoincrement=False, nullable=False)
            for name, kind in _KEYS
        ),
        sa.Column("calls", _BIG, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO activity_row"
        " SELECT found.hour, c.host, coalesce(c.exe, 0), coalesce(c.comm, 0),"
        " coalesce(c.auid, -1), coalesce(c.uid, -1), coalesce(c.key, 0), c.arch, found.nr,"
        " found.success, found.errno, sum(found.calls)"
        " FROM (SELECT (id >> 30) / 3600 AS hour, context, nr, coalesce(success, -1) AS success,"
        " CASE WHEN success = 0 AND exit BETWEEN -4095 AND -1 THEN -exit ELSE 0 END AS errno,"
        " count(*) AS calls"
        " FROM syscall GROUP BY 1, 2, 3, 4, 5) found"
        " JOIN context c ON c.id = found.context"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"
    )
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute("ALTER TABLE path ADD COLUMN settled INTEGER")
    op.execute("DROP INDEX path_file")
    op.execute("UPDATE path SET settled = 1")
    op.execute("CREATE INDEX path_file ON path (event >> 38, file) WHERE settled = 1")
    op.execute("CREATE INDEX path_recent ON path (event >> 8, file) WHERE settled IS NULL")
    if (
        op.get_bind()
        .exec_driver_sql("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'")
        .first()
    ):
        op.execute("UPDATE sqlite_stat1 SET stat = '5000000 50000 5' WHERE idx = 'path_file'")
        op.execute("INSERT INTO sqlite_stat1 VALUES ('path', 'path_recent', '100000 500 1')")
