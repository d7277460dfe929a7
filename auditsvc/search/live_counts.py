"""Who and what makes the most events just now: counts of what a spool gets, between two looks.

    with LiveCounts(spool, host, decoder, leave_out=pids) as counts:
        time.sleep(2)
        for count in counts.take(): ...

As for `auditsvc.search.arrivals`, of which this is the sum: events come in the order of arrival,
each once, from the spool, and nothing is written but a small store of this process.

Containers and units are those in which a process is when it is looked at (`live_places`): so who
counts by them calls `gather` often, as the processes of many events end soon.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.search.arrivals import SpoolArrivals
from auditsvc.search.live_places import LivePlaces
from auditsvc.store.database import reading

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path
    from typing import Self

    from auditsvc.search.places import Place

_OF_EVENT: Final = ("exe", "comm", "auid", "uid", "pid", "syscall", "key", "host")
_OF_PLACE: Final = ("container", "unit")
GROUPS: Final = (*_OF_EVENT, *_OF_PLACE)
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
    container: str | None = None
    """Its id."""
    unit: str | None = None


class _Made(NamedTuple):
    """Events with their processes; without these unless a place is asked for."""

    group: Group
    host: str | None
    pid: int | None
    parent: int | None


def _sql(by: Collection[str], leave_out: Iterable[int], *, with_process: bool) -> str:
    """Count by these columns; `leave_out` are processes of this host."""
    call = [name if name in by else "NULL" for name in _OF_EVENT]
    of_record = {"exe": "NULL", "comm": "NULL", "key": "NULL", "syscall": "type"}
    lone = [of_record.get(name, name) if name in by else "NULL" for name in _OF_EVENT]
    call += ["host", "pid", "ppid"] if with_process else ["NULL"] * 3
    lone += ["host", "pid", "NULL"] if with_process else ["NULL"] * 3
    pids = ", ".join(str(int(pid)) for pid in leave_out) or "-1"
    columns = ", ".join(str(n + 1) for n in range(len(call)))
    return " UNION ALL ".join(
        f"SELECT {', '.join(names)}, count(*) FROM {view}"  # noqa: S608 - names of ours, numbers
        f" WHERE pid IS NULL OR pid NOT IN ({pids}) GROUP BY {columns}"
        for view, names in (("syscalls", call), ("events", lone))
    )


_PROCESSES: Final = (
    "SELECT h.name, c.pid, c.ppid FROM context c JOIN host h ON h.id = c.host"
    " UNION SELECT h.name, e.pid, NULL FROM event e JOIN host h ON h.id = e.host"
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
        place: Place | None = None,
    ) -> None:
        """`by` are names of GROUPS; events of the processes `leave_out` are not counted.

        `place`: only events that are made there.
        """
        self._by = frozenset(by)
        self._place = place
        self.names: dict[str, str] = {}
        """The names of containers by their ids, where their runtimes tell."""
        is_placed = place is not None or not self._by.isdisjoint(_OF_PLACE)
        self._places = LivePlaces(host) if is_placed else None
        self._looked_at: set[tuple[Any, ...]] = set()
        self._arrivals = SpoolArrivals(spool, host, decoder)
        self._sql = _sql(self._by, leave_out, with_process=is_placed)
        self._found: Counter[_Made] = Counter()
        self._before: Counter[_Made] = Counter()
        self._store = self._arrivals.store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._arrivals.__exit__()

    @property
    def is_hasty(self) -> bool:
        """Whether it must look at what arrives soon, so at processes while they run."""
        return self._places is not None

    def take(self) -> Counter[Group]:
        """Give the counts since the last call; only groups that have events."""
        self.gather()
        self._add()
        found, self._found = self._found, Counter()
        shown: Counter[Group] = Counter()
        for made, count in found.items():
            if (group := self._placed(made)) is not None:
                shown[group] += count
        return shown

    def gather(self) -> None:
        """Read what has arrived since the last call; `take` gives it."""
        is_new = False
        for _ in self._arrivals.written():
            is_new = True
            if self._arrivals.store is not self._store:  # made anew: it began empty
                self._begin()
            if self._arrivals.is_full:
                self._add()
                self._look()
                self._arrivals.renew()
                self._begin()
        if is_new:
            self._look()

    def _begin(self) -> None:
        self._store, self._before = self._arrivals.store, Counter()
        self._looked_at.clear()

    def _add(self) -> None:
        """Count what the small store has got since it was counted last."""
        counted: Counter[_Made] = Counter()
        with reading(self._store.database) as connection:
            for *values, host, pid, parent, count in connection.exec_driver_sql(self._sql):
                counted[_Made(Group(*values), host, pid, parent)] += count
        self._found += counted - self._before
        self._before = counted

    def _look(self) -> None:
        """Look where the processes are that the small store has and that were not looked at."""
        if self._places is None:
            return
        with reading(self._store.database) as connection:
            found = {tuple(row) for row in connection.exec_driver_sql(_PROCESSES)}
        for process in found - self._looked_at:
            self._places.of(*process)
        self._looked_at |= found

    def _placed(self, made: _Made) -> Group | None:
        """Give the group with its place; None if another place is asked for."""
        if self._places is None:
            return made.group
        where = self._places.of(made.host, made.pid, made.parent)
        if self._place is not None and not self._place.takes(*where):
            return None
        if where.container is not None and where.name is not None:
            self.names[where.container] = where.name
        return made.group._replace(
            container=where.container if "container" in self._by else None,
            unit=where.unit if "unit" in self._by else None,
        )
