"""Who and what makes the most events just now: counts of what a spool gets, between two looks.

    with LiveCounts(spool, host, decoder, leave_out=pids) as counts:
        time.sleep(2)
        for count in counts.take(): ...

As for `auditsvc.search.arrivals`, of which this is the sum: events come in the order of arrival,
each once, from the spool, and nothing is written but a small store of this process.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.search.arrivals import SpoolArrivals
from auditsvc.store.database import reading

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Self

GROUPS: Final = ("exe", "comm", "auid", "uid", "pid", "syscall", "key", "host")
"""What events can be counted by; `syscall` of an event without a call is its record type."""


class Group(NamedTuple):
    """What events have in common; None if an event does not say it, or is not counted by it."""

    exe: str | None = None
    comm: str | None = None
    auid: int | None = None
    uid: int | None = None
    pid: int | None = None
    syscall: str | None = None
    key: str | None = None
    host: str | None = None


def _sql(by: Iterable[str], leave_out: Iterable[int]) -> str:
    """Count by these columns; `leave_out` are processes of this host."""
    wanted = set(by)
    call = [name if name in wanted else "NULL" for name in GROUPS]
    of_record = {"exe": "NULL", "comm": "NULL", "key": "NULL", "syscall": "type"}
    lone = [of_record.get(name, name) if name in wanted else "NULL" for name in GROUPS]
    pids = ", ".join(str(int(pid)) for pid in leave_out) or "-1"
    columns = ", ".join(str(n + 1) for n in range(len(GROUPS)))
    return " UNION ALL ".join(
        f"SELECT {', '.join(names)}, count(*) FROM {view}"  # noqa: S608 - names of ours, numbers
        f" WHERE pid IS NULL OR pid NOT IN ({pids}) GROUP BY {columns}"
        for view, names in (("syscalls", call), ("events", lone))
    )


class LiveCounts:
    """Counts what is appended to a spool from now on."""

    def __init__(
        self,
        spool: Path,
        host: str,
        decoder: str | None,
        *,
        by: Iterable[str],
        leave_out: Iterable[int] = (),
    ) -> None:
        """`by` are names of GROUPS; events of the processes `leave_out` are not counted."""
        self._arrivals = SpoolArrivals(spool, host, decoder)
        self._sql = _sql(by, leave_out)
        self._before: Counter[Group] = Counter()
        self._store = self._arrivals.store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._arrivals.__exit__()

    def take(self) -> Counter[Group]:
        """Give the counts since the last call; only groups that have events."""
        found: Counter[Group] = Counter()
        for _ in self._arrivals.written():
            if self._arrivals.store is not self._store:  # made anew: it began empty
                self._store, self._before = self._arrivals.store, Counter()
            if self._arrivals.is_full:
                found += self._count() - self._before
                self._arrivals.renew()
                self._store, self._before = self._arrivals.store, Counter()
        now = self._count()
        found += now - self._before
        self._before = now
        return found

    def _count(self) -> Counter[Group]:
        counted: Counter[Group] = Counter()
        with reading(self._store.database) as connection:
            for row in connection.exec_driver_sql(self._sql):
                counted[Group(*row[:-1])] += row[-1]
        return counted
