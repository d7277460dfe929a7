"""Events whose lines came more than once from our own spool, and how often they came again.

    copies = Copies(is_own)                 # of one transaction
    copies.note(connection, new, again)     # of our own spool
    copies.lend(connection, added)          # of another log
    parts(connection, low, high)

Lines may stand twice in a spool: a log that `run --source FILE` follows was read again, a copy of
records was appended. The store has such an event once. `auditsvc verify`, which goes by the lines,
needs to know it: what it sums of deleted segments has each copy. Nothing is believed because it
stands here: the sums are right only if the rows and the counts of their copies are.

A log may have added records to an event that our spool gave in part; when the rest of the spool's
own lines comes, these records are there, and nothing came again. So as long as the spool has not
given them, `times` is their number, negative.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select
from sqlalchemy import text as sql

from auditsvc.store.schema import repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sqlalchemy import ColumnElement, Connection

_AT_ONCE: Final = 500
"""Events that one statement names."""
_ROWS: Final = 1000
"""That are read at once."""


class Copies:
    """What comes from our own spool in one transaction."""

    def __init__(self, is_own: Callable[[int], bool]) -> None:
        """`is_own`: whether a spool had given a stored event before."""
        self._is_own = is_own
        self._given: set[int] = set()

    def note(
        self, connection: Connection, new: Iterable[int], again: Iterable[tuple[int, int]]
    ) -> None:
        """Note events that came now; `again`: those that were stored, for each copy its records."""
        self._given.update(new)
        copies = list(again)
        lent = _lent(connection, {event for event, _ in copies})
        times: Counter[int] = Counter()
        left = dict(lent)
        for event, records in copies:
            if left.get(event, 0) >= records:
                left[event] -= records
            elif self._is_own(event) or event in self._given:
                times[event] += 1
                left.pop(event, None)
            self._given.add(event)  # another log had given it: from now on it is the spool's
        if lent:
            connection.execute(delete(repeated).where(repeated.c.event.in_(lent)))
        _add(connection, {event: -records for event, records in left.items()} | times)

    def lend(self, connection: Connection, added: Iterable[tuple[int, int]]) -> None:
        """Note stored events to which another log added, and how many records; not its own."""
        records: Counter[int] = Counter()
        for event, count in added:
            if self._is_own(event):
                records[event] += count
        repeats = _times(connection, records, repeated.c.times > 0)
        _add(connection, {event: -n for event, n in records.items() if event not in repeats})


def _lent(connection: Connection, events: Iterable[int]) -> dict[int, int]:
    """Give how many records of events another log has added that the spool has not given yet."""
    found = _times(connection, events, repeated.c.times < 0)
    return {event: -times for event, times in found.items()}


def _times(
    connection: Connection, events: Iterable[int], which: ColumnElement[bool]
) -> dict[int, int]:
    wanted, found = sorted(events), {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = repeated.c.event.in_(wanted[start : start + _AT_ONCE])
        found.update(
            {
                row.event: row.times
                for row in connection.execute(select(repeated).where(some, which))
            }
        )
    return found


def _add(connection: Connection, times: Mapping[int, int]) -> None:
    rows = [{"event": event, "times": n} for event, n in sorted(times.items()) if n]
    if rows:
        connection.execute(
            sql(
                "INSERT INTO repeated VALUES (:event, :times)"
                " ON CONFLICT (event) DO UPDATE SET times = repeated.times + excluded.times"
            ),
            rows,
        )


def parts(
    connection: Connection, low: int = 0, high: int = (1 << 63) - 1
) -> Iterator[dict[int, int]]:
    """Give the events with ids from `low` to `high`, and how often each came again; in parts."""
    inside = repeated.c.event.between(low, high)
    wanted = select(repeated).where(inside, repeated.c.times > 0).order_by(repeated.c.event)
    rows = connection.execute(wanted.execution_options(yield_per=_ROWS))
    for part in rows.partitions():
        yield {row.event: row.times for row in part}


def forget(connection: Connection, low: int, high: int) -> None:
    """Forget the events with ids from `low` to `high`, which are deleted."""
    connection.execute(delete(repeated).where(repeated.c.event.between(low, high)))
