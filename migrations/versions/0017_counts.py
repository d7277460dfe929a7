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
    "INSERT INTO context_row SELECT (id >> 30) / 3600, context, count(*) FROM {0} GROUP BY 1, 2"
)
_FILES = (
    "INSERT INTO file_row SELECT (event >> 30) / 86400, file, count(*), min(event) FROM {0}"
    " GROUP BY 1, 2"
)
_CALLS = 500_000
"""Of so many the contexts are sorted in memory, on SQLite."""
_AT_ONCE = 50
"""Runs: of so many the uses."""


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
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        _count_calls(connection)
        _count_runs(connection)
    else:
        earlier = _earlier(connection)
        op.execute(_CONTEXTS.format(f"{earlier}syscall"))
        op.execute(_FILES.format(f"{earlier}path"))
    if not is_sqlite:
        return
    op.execute("CREATE INDEX event_user_login ON event (type, fields) WHERE type = 1112")
    statistics = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'"
    if connection.exec_driver_sql(statistics).first():
        op.execute(
            "INSERT INTO sqlite_stat1 VALUES ('event', 'event_user_login', '100000 1000 50')"
        )


def _earlier(connection: sa.Connection) -> str:
    """Give how the names of the tables begin that have the rows until 0013's are moved."""
    is_moving = connection.exec_driver_sql("SELECT to_regclass('earlier_path') IS NOT NULL")
    return "earlier_" if is_moving.scalar() else ""


def _count_calls(connection: sa.Connection) -> None:
    low = -1
    while True:
        behind = f"SELECT id FROM syscall WHERE id > {low} ORDER BY id LIMIT 1 OFFSET {_CALLS}"  # noqa: S608 - numbers
        high = connection.exec_driver_sql(behind).scalar() or (1 << 63) - 1
        connection.exec_driver_sql(
            f"{_CONTEXTS.format(f'syscall WHERE id > {low} AND id <= {high}')}"
            " ON CONFLICT (hour, context) DO UPDATE SET calls = context_row.calls + excluded.calls"
        )
        if high == (1 << 63) - 1:
            return
        low = high


def _count_runs(connection: sa.Connection) -> None:
    """Count the uses in runs that get no more rows: all but the last one."""
    found = "SELECT DISTINCT settled FROM path WHERE settled IS NOT NULL ORDER BY settled"
    runs = [row[0] for row in connection.exec_driver_sql(found)][:-1]
    for start in range(0, len(runs), _AT_ONCE):
        some = runs[start : start + _AT_ONCE]
        between = f"path WHERE settled IS NOT NULL AND settled BETWEEN {some[0]} AND {some[-1]}"
        connection.exec_driver_sql(
            f"{_FILES.format(between)} ON CONFLICT (day, file) DO UPDATE SET"
            " uses = file_row.uses + excluded.uses, first = min(file_row.first, excluded.first)"
        )
    last = str(runs[-1] if runs else 0)
    connection.exec_driver_sql("INSERT INTO store_info VALUES ('files_counted', ?)", (last,))
