"""The newest changes of the host's configuration in a period, among millions of other calls.

    table = newest_changes(asking, period, narrowed, most)

The view `changes` reads all calls of the time. Here are found, of each kind of event that it
has, the ids of the newest that can be one, and the view is asked about these alone. No index
leads from a call's number to its events. The counts by hour do: they tell whether there are such
calls at all, and who made them, so that few are found by the contexts of these callers, and many
among the newest calls, where one is soon met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store import activity
from auditsvc.store.views.changes import CALLS, IN_CALLS, TYPES
from auditsvc.web.asking import Table
from auditsvc.web.counts import HOUR, Hours

if TYPE_CHECKING:
    from auditsvc.store.read.time_span import Span
    from auditsvc.web.asking import Asking
    from auditsvc.web.overview import Narrowed
    from auditsvc.web.period import Period

_FEW: Final = 20_000
"""Calls up to which all are found by their contexts."""
_CALLERS: Final = 2000
"""Callers up to which that is tried."""
_CALLER: Final = ("host", "exe", "comm", "auid", "uid", "key", "arch")
_AT_ONCE: Final = 100
"""Events of each kind that are looked at together."""
_SHOWN: Final = ("event_id", "time", "what", "action", "object", "outcome", "auid", "how")
_UNSET: Final = {"exe": 0, "comm": 0, "key": 0, "auid": -1, "uid": -1}
"""What stands for NULL in the counts."""


def newest_changes(asking: Asking, period: Period, narrowed: Narrowed, most: int) -> Table:
    """Give the newest changes; of a user or host alone if the page is narrowed to one."""
    if asking.source is not None:
        which = " AND ".join(["event_id >= 0", *period.span.conditions, *narrowed.on_views()])
        names = ", ".join(dict.fromkeys((*asking.key, *_SHOWN)))
        sql = f"SELECT {names} FROM changes WHERE {which} ORDER BY event_id DESC"  # noqa: S608 - literals
        return asking.rows(f"{sql} LIMIT {most + 1}", most, narrowed.within(period.span))
    calls = _Calls(asking, period.span, narrowed)
    rows: list[tuple[Any, ...]] = []
    columns: tuple[str, ...] = ()
    before = (period.span.high + 1) << SERIAL_BITS
    while before and len(rows) <= most:
        kinds = [
            calls.newest(before),
            _ids(asking, period, before, _EVENTS),
            _ids(asking, period, before, _RECORDS),
        ]
        # Below the last of a kind that has more, not all of it is known.
        floor = max((ids[-1] for ids in kinds if len(ids) == _AT_ONCE), default=0)
        known = sorted({each for ids in kinds for each in ids if each >= floor})
        if known:
            where = [f"event_id IN ({', '.join(map(str, known))})", *narrowed.on_views()]
            found = asking.rows(
                f"SELECT {', '.join(_SHOWN)} FROM changes"  # noqa: S608 - numbers, literals
                f" WHERE {' AND '.join(where)} ORDER BY event_id DESC",
                shown=False,
            )
            columns = found.columns
            rows += found.rows
        before = floor
    asking.access.rows += min(most, len(rows))
    return Table(columns, rows[:most], len(rows) > most)


_EVENTS: Final = f"SELECT e.id AS id FROM event e WHERE e.type IN ({TYPES})"  # noqa: S608 - ours
_RECORDS: Final = f"SELECT DISTINCT r.event AS id FROM record r WHERE {IN_CALLS}"  # noqa: S608 - ours


def _ids(asking: Asking, period: Period, before: int, which: str) -> list[int]:
    """Give the newest of some events: by their types, of which there are few."""
    sql = (
        f"SELECT id FROM ({which}) found WHERE id >= {period.span.low << SERIAL_BITS}"  # noqa: S608 - numbers
        f" AND id <= {before - 1} ORDER BY id DESC LIMIT {_AT_ONCE}"
    )
    return [int(row[0]) for row in asking.rows(sql, _AT_ONCE, shown=False).rows]


class _Calls:
    """Finds the calls that can be a change."""

    def __init__(self, asking: Asking, period: Span, narrowed: Narrowed) -> None:
        self._asking = asking
        self._low = period.low << SERIAL_BITS
        self._where = narrowed.only("auid", "host").on_activity(asking)
        hours = Hours(period.low // HOUR, period.high // HOUR)
        columns = ", ".join((*_CALLER, "nr"))
        tests = " AND ".join([f"(arch, nr) IN ({CALLS})", *self._where])
        sql = (
            f"SELECT {columns}, CAST(sum(calls) AS bigint) FROM (SELECT {columns}, calls"  # noqa: S608 - numbers, our SQL
            f" FROM activity_row WHERE {hours.condition} AND {tests}"
            f" UNION ALL SELECT {columns}, calls"
            f" FROM ({activity.counted(hours.condition)}) p WHERE {tests}) a"
            f" GROUP BY {columns} HAVING sum(calls) > 0"
        )
        self._callers = asking.rows(sql, _CALLERS + 1, shown=False).rows

    def newest(self, before: int) -> list[int]:
        """Give the newest ids below one, newest first."""
        if not self._callers:
            return []
        few = len(self._callers) <= _CALLERS and sum(int(row[-1]) for row in self._callers) <= _FEW
        sql = (self._by_context if few else self._by_time)(before)
        return [int(row[0]) for row in self._asking.rows(sql, _AT_ONCE, shown=False).rows]

    def _by_context(self, before: int) -> str:
        values = ", ".join(f"({', '.join(map(str, row[:-1]))})" for row in self._callers)
        same = " AND ".join(
            f"coalesce(c.{name}, {_UNSET[name]}) = w.{name}"
            if name in _UNSET
            else f"c.{name} = w.{name}"
            for name in _CALLER
        )
        id_ = self._asking.dialect.no_range.format("s.id")
        return (
            f"WITH w ({', '.join((*_CALLER, 'nr'))}) AS (VALUES {values}),"  # noqa: S608 - numbers
            f" k AS MATERIALIZED (SELECT c.id, w.nr FROM context c JOIN w ON {same})"
            f" SELECT s.id FROM k CROSS JOIN syscall s WHERE s.context = k.id AND s.nr = k.nr"
            f" AND {id_} >= {self._low} AND {id_} <= {before - 1}"
            f" ORDER BY s.id DESC LIMIT {_AT_ONCE}"
        )

    def _by_time(self, before: int) -> str:
        where = "".join(
            f" AND {each.replace('auid =', 'coalesce(c.auid, -1) =')}" for each in self._where
        )
        return (
            "SELECT s.id FROM syscall s JOIN context c ON c.id = s.context"  # noqa: S608 - as above
            f" WHERE s.id >= {self._low} AND s.id <= {before - 1}"
            f" AND (c.arch, s.nr) IN ({CALLS}){where} ORDER BY s.id DESC LIMIT {_AT_ONCE}"
        )
