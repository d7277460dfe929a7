"""PostgreSQL: tables of facts with columns by width, arguments as bytes, partitions by day.

`auditsvc.store.schema` explains the columns. The rows of a store of before are moved by
`auditsvc.store.moving`, in steps of their own: here its tables are only renamed.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TABLES = {
    "syscall": (
        "id BIGINT NOT NULL, serial BIGINT NOT NULL, exit BIGINT, context BIGINT NOT NULL,"
        " nr INTEGER NOT NULL, items INTEGER NOT NULL, ms SMALLINT NOT NULL, success SMALLINT,"
        " state SMALLINT NOT NULL, a0 BYTEA NOT NULL, a1 BYTEA NOT NULL, a2 BYTEA NOT NULL,"
        " a3 BYTEA NOT NULL, PRIMARY KEY (id)"
    ),
    "exec": "event BIGINT NOT NULL, argv BIGINT NOT NULL, PRIMARY KEY (event)",
    "path": (
        "event BIGINT NOT NULL, file BIGINT NOT NULL, seq INTEGER NOT NULL, item INTEGER,"
        " PRIMARY KEY (event, seq)"
    ),
    "sockaddr": (
        "event BIGINT NOT NULL, address BIGINT NOT NULL, seq INTEGER NOT NULL,"
        " PRIMARY KEY (event, seq)"
    ),
    "event": (
        "id BIGINT NOT NULL, host BIGINT NOT NULL, serial BIGINT NOT NULL, pid BIGINT, uid BIGINT,"
        " auid BIGINT, ses BIGINT, fields BIGINT NOT NULL, type INTEGER NOT NULL,"
        " ms SMALLINT NOT NULL, state SMALLINT NOT NULL, PRIMARY KEY (id)"
    ),
    "record": (
        "event BIGINT NOT NULL, fields BIGINT NOT NULL, type INTEGER NOT NULL,"
        " seq INTEGER NOT NULL, PRIMARY KEY (event, type, seq)"
    ),
}
_TIME = "((to_timestamp((id >> 30)::float8 + ms::float8 / 1000)))"
_TOLD = (
    "type IN (1006, 1107, 1305, 1325, 1326, 1328, 1330, 1334, 1336, 1400, 1401, 1403, 1404, 1405,"
    " 1420, 1421, 1422, 1423, 1502, 1503)"
)
_INDEXES = (
    "syscall_context_nr ON syscall (context, nr)",
    "syscall_failed ON syscall (exit) WHERE success = 0",
    "syscall_partial ON syscall (state) WHERE state >= 2",
    f"syscall_time ON syscall {_TIME}",
    "path_file ON path (file)",
    "sockaddr_address ON sockaddr (address)",
    "event_type ON event (type)",
    "event_partial ON event (state) WHERE state >= 2",
    f"event_time ON event {_TIME}",
    f"record_told ON record (type, event) WHERE {_TOLD}",
)
_RENAME = """
DO $$ DECLARE found record; BEGIN
    FOR found IN SELECT indexrelid::regclass::text AS name FROM pg_index
        WHERE indrelid = '{0}'::regclass
    LOOP
        EXECUTE format('ALTER INDEX %s RENAME TO %I', found.name, 'earlier_' || found.name);
    END LOOP;
END $$"""


def upgrade() -> None:
    """Make the tables; those of before are kept beside them if they can have rows."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    is_new = connection.exec_driver_sql("SELECT to_regclass('syscalls') IS NULL").scalar()
    for name, columns in _TABLES.items():
        if is_new:
            op.execute(f"DROP TABLE {name}")
        else:
            connection.exec_driver_sql(_RENAME.format(name).replace("%", "%%"))
            op.execute(f"ALTER TABLE {name} RENAME TO earlier_{name}")
        key = columns.split()[0]
        op.execute(f"CREATE TABLE {name} ({columns}) PARTITION BY RANGE ({key})")
    for index in _INDEXES:
        op.execute(f"CREATE INDEX {index}")
    op.execute("ALTER TABLE activity_row DROP CONSTRAINT activity_row_pkey")
    op.execute("CREATE INDEX activity_hour ON activity_row (hour)")
    if not is_new:
        op.execute("INSERT INTO store_info (name, value) VALUES ('moving', '-1')")
