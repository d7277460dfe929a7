"""SQL of the counts of calls by hour: `activity_part`, what it joins, and how.

It joins `activity_row`, by what `activity` shows, and `context_row`, by context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import exc, text

from auditsvc.decode.batch import MAX_ERRNO
from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.partitions import HIGHEST
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


_OF_ROW: Final = (
    "p.hour, c.host, coalesce(c.exe, 0) AS exe, coalesce(c.comm, 0) AS comm,"
    " coalesce(c.auid, -1) AS auid, coalesce(c.uid, -1) AS uid, coalesce(c.key, 0) AS key,"
    " c.arch, p.nr, p.success, p.errno"
)
"""What a row has, of a part `p` and its context `c`."""


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
        f"SELECT {_OF_ROW}, CAST(sum(p.calls) AS bigint) AS calls"  # noqa: S608 - of this module's text, and our callers'
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


def wrong_hours(connection: Connection) -> list[int]:
    """Give the hours of which the counts are not those of the calls, by all that they are by.

    A day at a time, so that what is sorted is bounded.
    """
    found = []
    for (day,) in connection.exec_driver_sql(_DAYS).all():
        first = int(day) * _HOURS
        if not 0 <= first < (HIGHEST >> SERIAL_BITS) // 3600:  # no call has such an hour
            found.append(first)
            continue
        hours = {"first": first, "last": first + _HOURS - 1}
        low = (first * 3600) << SERIAL_BITS
        ids = {"low": low, "high": low + ((_HOURS * 3600) << SERIAL_BITS) - 1}
        found += [int(hour) for (hour,) in connection.execute(text(_WRONG), hours | ids)]
    return sorted(found)


_HOURS: Final = 24
_DAY: Final = (3600 * _HOURS) << SERIAL_BITS
_COUNTS: Final = " UNION ".join(
    f"SELECT hour / {_HOURS} FROM {table}"  # noqa: S608 - as above
    for table in ("activity_part", "activity_row", "context_row")
)
_DAYS: Final = (
    "WITH RECURSIVE first (id) AS (SELECT min(id) FROM syscall UNION ALL SELECT"  # noqa: S608 - as above
    f" (SELECT min(s.id) FROM syscall s WHERE s.id >= (first.id / {_DAY} + 1) * {_DAY})"
    f" FROM first WHERE id IS NOT NULL) SELECT id / {_DAY} FROM first WHERE id IS NOT NULL"
    f" UNION {_COUNTS}"
)
"""Days of which there are calls or counts."""
_OF_DAY: Final = "hour BETWEEN :first AND :last"
_REST: Final = (
    f"SELECT {_PART} FROM activity_part WHERE {_OF_DAY} UNION ALL"  # noqa: S608 - as above
    f" SELECT hour, context, nr, success, errno, -count(*) FROM (SELECT {_CALL} FROM syscall s"
    " WHERE s.id BETWEEN :low AND :high) s GROUP BY 1, 2, 3, 4, 5"
)
"""What is in parts, less all calls: the rows have the rest."""
_WRONG: Final = (
    f"WITH rest AS MATERIALIZED ({_REST}) SELECT hour FROM ("  # noqa: S608 - as above
    f"SELECT {KEY}, calls FROM activity_row WHERE {_OF_DAY} UNION ALL"
    f" SELECT {_OF_ROW}, p.calls FROM rest p JOIN context c ON c.id = p.context"
    f") r GROUP BY {KEY} HAVING sum(calls) <> 0 UNION SELECT hour FROM ("
    f"SELECT hour, context, calls FROM context_row WHERE {_OF_DAY}"
    " UNION ALL SELECT hour, context, calls FROM rest"
    ") c GROUP BY hour, context HAVING sum(calls) <> 0"
)


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
