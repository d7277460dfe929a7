"""SQL of the counts of calls by hour: `activity_part`, what it joins, and how.

It joins `activity_row`, by what `activity` shows, and `context_row`, by context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import exc

from auditsvc.decode.batch import MAX_ERRNO
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.schema import activity_part, activity_row

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from auditsvc.store.database import Database

_KEYS: Final = tuple(activity_row.primary_key)
KEY: Final = ", ".join(column.name for column in _KEYS)
_PLACES: Final = ", ".join(str(place) for place, _ in enumerate(_KEYS, start=1))
_PART: Final = ", ".join(column.name for column in activity_part.columns)


_CALL: Final = (
    f"(s.id >> {SERIAL_BITS}) / 3600 AS hour, s.context, s.nr, coalesce(s.success, -1) AS success,"
    f" CASE WHEN s.success = 0 AND s.exit BETWEEN -{MAX_ERRNO} AND -1 THEN -s.exit ELSE 0 END"
    " AS errno"
)
"""What a call `s` is counted by."""


def counted(condition: str = "") -> str:
    """Give the SELECT of the parts as rows; `condition` is on those of `activity_part`."""
    where = f" WHERE {condition}" if condition else ""
    return _counted(f"activity_part{where}")


def counted_calls(condition: str) -> str:
    """Give the SELECT of calls as rows; `condition` is on `syscall s`."""
    return _counted(f"(SELECT {_CALL}, 1 AS calls FROM syscall s WHERE {condition}) s")  # noqa: S608 - ours


def _counted(source: str) -> str:
    """Give the SELECT of rows; by context first: its columns and their order cost."""
    return (
        "SELECT p.hour, c.host, coalesce(c.exe, 0) AS exe, coalesce(c.comm, 0) AS comm,"  # noqa: S608 - of this module's text, and our callers'
        " coalesce(c.auid, -1) AS auid, coalesce(c.uid, -1) AS uid, coalesce(c.key, 0) AS key,"
        " c.arch, p.nr, p.success, p.errno, CAST(sum(p.calls) AS bigint) AS calls"
        " FROM (SELECT hour, context, nr, success, errno, sum(calls) AS calls"
        f" FROM {source} GROUP BY 1, 2, 3, 4, 5) p"
        f" JOIN context c ON c.id = p.context GROUP BY {_PLACES}"
    )


COUNTED: Final = counted()
"""The parts as rows."""

_EQUAL: Final = " AND ".join(f"r.{column.name} = added.{column.name}" for column in _KEYS)
_UPSERT: Final = (
    f"INSERT INTO activity_row ({KEY}, calls)"  # noqa: S608 - as above
    f" SELECT * FROM ({COUNTED}) added WHERE true ORDER BY {_PLACES}"
    f" ON CONFLICT ({KEY}) DO UPDATE SET calls = activity_row.calls + excluded.calls"
)
_UPDATE: Final = (
    "UPDATE activity_row r SET calls = r.calls + added.calls"  # noqa: S608 - as above
    f" FROM ({COUNTED}) added WHERE {_EQUAL}"
)
_INSERT: Final = (
    f"INSERT INTO activity_row ({KEY}, calls) SELECT * FROM ({COUNTED}) added"  # noqa: S608 - as above
    f" WHERE NOT EXISTS (SELECT FROM activity_row r WHERE {_EQUAL})"
)
_JOIN: Final = {"sqlite": (_UPSERT,), "postgresql": (_UPDATE, _INSERT)}
_EMPTY: Final = tuple(
    f"DELETE FROM {table} WHERE calls = 0"  # noqa: S608 - as above
    " AND hour IN (SELECT hour FROM activity_part WHERE calls < 0)"
    for table in ("activity_row", "context_row")
)
_JOIN_CONTEXTS: Final = (
    "INSERT INTO context_row (hour, context, calls)"
    " SELECT hour, context, CAST(sum(calls) AS bigint) FROM activity_part WHERE true"
    " GROUP BY hour, context ORDER BY hour, context"
    " ON CONFLICT (hour, context) DO UPDATE SET calls = context_row.calls + excluded.calls"
)
SETTLE: Final = {
    dialect: (*join, _JOIN_CONTEXTS, *_EMPTY, "DELETE FROM activity_part")
    for dialect, join in _JOIN.items()
}
"""The statements that join the parts to the rows, by dialect."""


_SETTLED: Final = "activity_part, activity_row, context_row, file_part, file_row"


def settle(connection: Connection) -> None:
    """Join the parts to the rows, in a transaction without other writers."""
    for statement in SETTLE[connection.dialect.name]:
        connection.exec_driver_sql(statement)


def tidy(database: Database) -> None:
    """Free the room of what was settled: on PostgreSQL as much is left behind each time.

    After the transaction; StoreError.
    """
    if database.engine.dialect.name != "postgresql":
        return
    try:
        with database.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            alone.exec_driver_sql(f"VACUUM (SKIP_LOCKED) {_SETTLED}")
    except exc.DBAPIError as error:
        raise database.explain(error) from error


def take_away(calls: str) -> str:
    """Give the statement that takes calls away; `calls` is a FROM clause, `s` the call."""
    return (
        f"INSERT INTO activity_part ({_PART})"  # noqa: S608 - as above
        f" SELECT {_CALL}, -count(*) FROM {calls} GROUP BY 1, 2, 3, 4, 5"
    )


COUNT_CONTEXTS: Final = (
    "INSERT INTO context_row (hour, context, calls)"  # noqa: S608 - as above
    f" SELECT (s.id >> {SERIAL_BITS}) / 3600, s.context, count(*) FROM syscall s GROUP BY 1, 2"
)
"""Counts all calls, where there are no counts by context yet."""

TAKE_RANGE_AWAY: Final = take_away("syscall s WHERE s.id BETWEEN :low AND :high")
"""Takes away the calls with ids from `low` to `high`."""
