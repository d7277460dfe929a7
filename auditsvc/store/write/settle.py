"""Settles what arrived, in bulk: paths into their index, counts of calls into their rows.

Both cost a page of the disk for nearly every row of a small transaction, and little a row
where tens of thousands go in together, in the order of their keys. So a transaction that
stores events leaves them behind in the order of their arrival, and a transaction of its own
settles them later: all of it or nothing, so that a crash at any moment changes no answer. The
views show both as one. PostgreSQL's path index takes every row at once.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select, text

from auditsvc.store import activity
from auditsvc.store.schema import GROUP_BITS, activity_part, syscall
from auditsvc.store.sqlite_insert import NEW_RUN

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from auditsvc.decode.batch import Facts
    from auditsvc.store.database import Database

MANY: Final = 100_000
"""Events that are settled together: so many that few pages are written for each."""
_BUSY_TIMES: Final = 10
"""So many times that wait while events come quickly; then they are settled all the same."""
_LONG: Final = 600.0
"""Seconds after which fewer are settled: a query looks into each group of unsettled paths."""

_LISTED: Final = {
    "sqlite": "json_each(?) AS listed JOIN syscall s ON s.id = listed.value",
    "postgresql": "unnest(%s::bigint[]) AS listed (id) JOIN syscall s USING (id)",
}
_RECENT: Final = "SELECT count(*) FROM path WHERE settled IS NULL"
_LAST: Final = (
    f"SELECT ((event >> {GROUP_BITS}) + 1 << {GROUP_BITS}) - 1 FROM path WHERE settled IS NULL"  # noqa: S608
    f" ORDER BY event >> {GROUP_BITS}, file LIMIT 1 OFFSET ?"
)
# In the order of the index, each of whose pages is so changed once. All keys are taken: the
# rows only say which ones are updated.
_SETTLE_PATHS: Final = (
    "INSERT INTO path (event, seq, file, settled)"
    " SELECT event, seq, file, ? FROM path WHERE settled IS NULL AND event <= ?"
    " ORDER BY file, event, seq ON CONFLICT (event, seq) DO UPDATE SET settled = excluded.settled"
)
_IN_LAST_RUN: Final = (
    "SELECT max(settled), count(*) FROM (SELECT settled FROM path WHERE settled = "
    "(SELECT max(settled) FROM path WHERE settled IS NOT NULL) LIMIT ?)"
)
_HIGHEST: Final = (1 << 63) - 1


class Settler:
    """Counts calls, and settles; each within a transaction of the caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = database.engine.dialect.name
        self._waiting = 0
        """About how many events wait."""
        self._since = time.monotonic()

    def added(self, connection: Connection, facts: Facts) -> None:
        """Count the calls among stored events."""
        rows = facts.activity() if syscall.name in facts else []
        if rows:
            self._database.insert(connection, activity_part, rows)

    def removed(self, connection: Connection, events: Collection[int]) -> None:
        """Take the calls among events away, which are still stored."""
        if events:
            ids = list(events)
            values = (json.dumps(ids) if self._dialect == "sqlite" else ids,)
            connection.exec_driver_sql(activity.take_away(_LISTED[self._dialect]), values)

    def count(self, connection: Connection) -> None:
        """Count what earlier writers left."""
        self._waiting = connection.scalar(select(func.count()).select_from(activity_part)) or 0
        if self._dialect == "sqlite":
            self._waiting += connection.scalar(text(_RECENT)) or 0

    def committed(self, events: int) -> None:
        """Note that so many events were stored."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting += events

    @property
    def has_any(self) -> bool:
        """Whether there is something to settle."""
        return self._waiting > 0

    def is_due(self, *, is_busy: bool) -> bool:
        """Whether there is much to settle, or something for long; while busy only very much."""
        if is_busy:
            return self._waiting >= MANY * _BUSY_TIMES
        is_late = time.monotonic() - self._since > _LONG
        return self._waiting > 0 and (self._waiting >= MANY or is_late)

    @staticmethod
    def _run(connection: Connection) -> int:
        """Give the last run while it has few paths, else a new one.

        So there are no more runs than the number of paths asks for, at any rate.
        """
        run, paths = connection.exec_driver_sql(_IN_LAST_RUN, (MANY,)).one()
        if run is not None and paths < MANY:
            return int(run)
        return int(connection.exec_driver_sql(NEW_RUN).scalar_one())

    def settle(self, connection: Connection) -> bool:
        """Settle the counts and the oldest paths; gives whether there are more."""
        activity.settle(connection)
        last = None
        if self._dialect == "sqlite":
            last = connection.exec_driver_sql(_LAST, (MANY - 1,)).scalar()
            upto = _HIGHEST if last is None else last
            connection.exec_driver_sql(_SETTLE_PATHS, (self._run(connection), upto))
        self._waiting = max(1, self._waiting - MANY) if last is not None else 0
        return last is not None
