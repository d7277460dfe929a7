"""Paths and addresses that are settled in runs, on SQLite.

`auditsvc.store.schema` explains the column. A span of 256 seconds, by which paths were settled
before, becomes a run; all addresses are one.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index addresses, number the runs, and make their indexes anew."""
    op.create_index("address_address", "address", ["address"])
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute("DROP INDEX path_file")
    op.execute("UPDATE path SET settled = event >> 38 WHERE settled IS NOT NULL")
    op.execute("CREATE INDEX path_file ON path (settled, file) WHERE settled IS NOT NULL")
    op.execute("ALTER TABLE sockaddr ADD COLUMN settled INTEGER")
    op.execute("DROP INDEX sockaddr_address")
    op.execute("UPDATE sockaddr SET settled = 1")
    op.execute(
        "CREATE INDEX sockaddr_address ON sockaddr (settled, address) WHERE settled IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX sockaddr_recent ON sockaddr (event >> 8, address) WHERE settled IS NULL"
    )
    if (
        op.get_bind()
        .exec_driver_sql("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'")
        .first()
    ):
        op.execute(
            "INSERT INTO sqlite_stat1 VALUES ('address', 'address_address', '200000 5'),"
            " ('sockaddr', 'sockaddr_address', '1000000 10000 5'),"
            " ('sockaddr', 'sockaddr_recent', '50000 250 1'),"
            " ('sockaddr', 'sockaddr', '1000000 2 1')"
        )
