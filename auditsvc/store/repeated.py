"""Events whose lines came more than once from our own spool, and how often they came again.

    copies = Copies(is_own)                 # of one transaction
    copies.note(connection, new, again)
    parts(connection, low, high)

Lines may stand twice in a spool: a log that `run --source FILE` follows was read again, a copy of
records was appended. The store has such an event once. `auditsvc verify`, which goes by the lines,
needs to know it: what it sums of deleted segments has each copy. Nothing is believed because it
stands here: the sums are right only if the rows and the counts of their copies are.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select
from sqlalchemy import text as sql

from auditsvc.store.schema import repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

_ROWS: Final = 1000
"""That are read at once."""


class Copies:
    """What comes from our own spool in one transaction."""

    def __init__(self, is_own: Callable[[int], bool]) -> None:
        """`is_own`: whether a spool had given a stored event before."""
        self._is_own = is_own
        self._given: set[int] = set()

    def note(self, connection: Connection, new: Iterable[int], again: Iterable[int]) -> None:
        """Note events that came now; `again`: those that were stored, once for each copy."""
        self._given.update(new)
        times: Counter[int] = Counter()
        for event in again:
            times[event] += self._is_own(event) or event in self._given
            self._given.add(event)  # another log had given it: from now on it is the spool's
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
    wanted = select(repeated).where(repeated.c.event.between(low, high)).order_by(repeated.c.event)
    rows = connection.execute(wanted.execution_options(yield_per=_ROWS))
    for part in rows.partitions():
        yield {row.event: row.times for row in part}


def forget(connection: Connection, low: int, high: int) -> None:
    """Forget the events with ids from `low` to `high`, which are deleted."""
    connection.execute(delete(repeated).where(repeated.c.event.between(low, high)))
