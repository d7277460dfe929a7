"""The lives of processes, read from the signs of a store (`auditsvc.store.process_lives`).

    with reading(store.database) as connection:
        roots = lives_of_pid(connection, 4711, ALL)
        trees = families(connection, roots, ALL)

`Begun` is where a life begins; `auditsvc.store.read.process_details` has what happened in it.
The signs of a host are gone through at most once for a question: there are some for each
process, not for each call.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.process_lives import MOST_PID, PID_BITS, life_slot
from auditsvc.store.sign_sql import form

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from auditsvc.store.read.time_span import Span

_NEVER: Final = 1 << 62
_DEEPEST: Final = 64
"""Ancestors that are looked for."""


class Begun(NamedTuple):
    """Where a life begins; `host` is the id of a row of `host`, `at` milliseconds since 1970."""

    host: int
    pid: int
    at: int
    low: int
    kind: int
    begins: int
    ppid: int | None
    ses: int | None
    exe: int | None

    @property
    def id(self) -> int:
        """Its `process_id` in the views."""
        second, slot = life_slot(self.at)
        return second << SERIAL_BITS | slot << PID_BITS | self.pid


@dataclass(slots=True)
class Family:
    """A life's place in a tree."""

    begun: Begun
    children: list[Family] = field(default_factory=list)


_COLUMNS: Final = "host, pid, at, low, kind, begins, ppid, ses, exe"
_OF_PID: Final = (
    f"SELECT {_COLUMNS} FROM process_sign WHERE host = ? AND pid = ? AND begins IS NOT NULL"  # noqa: S608 - of this module's text
    " ORDER BY at"
)
_BEFORE: Final = (
    f"SELECT {_COLUMNS} FROM process_sign WHERE host = ? AND pid = ? AND at <= ?"  # noqa: S608 - as above
    " AND begins IS NOT NULL ORDER BY at DESC LIMIT 1"
)
_SINCE: Final = (
    f"SELECT {_COLUMNS} FROM process_sign WHERE host = ? AND at BETWEEN ? AND ?"  # noqa: S608 - as above
    " AND begins IS NOT NULL"
)
_IN_SESSION: Final = (
    "SELECT DISTINCT host, pid, at FROM process_sign"
    " WHERE ses = ? AND at BETWEEN ? AND ? ORDER BY at"
)
_NEWEST_IN_SESSION: Final = (
    "SELECT host, pid, max(at) FROM process_sign"
    " WHERE ses = ? AND at BETWEEN ? AND ? GROUP BY host, pid ORDER BY 3 DESC LIMIT ?"
)
_CALLER: Final = (
    f"SELECT c.host, c.pid, (s.id >> {SERIAL_BITS}) * 1000 + s.ms FROM syscall s"  # noqa: S608 - as above
    " JOIN context c ON c.id = s.context WHERE s.id = ?"
    f" UNION ALL SELECT e.host, e.pid, (e.id >> {SERIAL_BITS}) * 1000 + e.ms FROM event e"
    " WHERE e.id = ?"
)


def host_ids(connection: Connection, name: str | None) -> list[int]:
    """Give the ids of the hosts of this name, of all hosts without one."""
    found = connection.exec_driver_sql("SELECT id, name FROM host ORDER BY name").all()
    return [row[0] for row in found if name is None or row[1] == name]


def lives_of_pid(
    connection: Connection, hosts: Iterable[int], pid: int, period: Span
) -> list[Begun]:
    """Give the lives of a pid that there were in a period, oldest first."""
    found = []
    for host in hosts:
        rows = connection.exec_driver_sql(form(connection, _OF_PID), (host, pid)).all()
        lives = [Begun(*row) for row in rows]
        ends = [*(life.at for life in lives), _NEVER][1:]
        found += [
            life
            for life, end in zip(lives, ends, strict=True)
            if life.at <= _last(period) and end > period.low * 1000
        ]
    return sorted(found, key=_at)


def life_of_event(connection: Connection, event: int) -> Begun | None:
    """Give the life that an event is of; None if there is no such event, or it names no process."""
    found = connection.exec_driver_sql(form(connection, _CALLER), (event, event)).first()
    if found is None or found[1] is None or not 0 < found[1] <= MOST_PID:
        return None
    return life_at(connection, *found)


def life_at(connection: Connection, host: int, pid: int, at: int) -> Begun | None:
    """Give the life of a pid at a time."""
    found = connection.exec_driver_sql(form(connection, _BEFORE), (host, pid, at)).first()
    return None if found is None else Begun(*found)


def newest_of_session(
    connection: Connection, hosts: Iterable[int], ses: int, period: Span, most: int
) -> tuple[list[Begun], bool]:
    """Give what `lives_of_session` does, of the newest processes, and whether they are all."""
    values = (ses, period.low * 1000, _last(period), most + 1)
    rows = connection.exec_driver_sql(form(connection, _NEWEST_IN_SESSION), values).all()
    lives = _roots(connection, hosts, [tuple(row) for row in rows[:most][::-1]])
    return lives, len(rows) <= most


def lives_of_session(
    connection: Connection, hosts: Iterable[int], ses: int, period: Span
) -> list[Begun]:
    """Give the lives that were in a session, in a period; those of which none is another's child.

    Oldest first. A process that was in the session is, even if it began before its login.
    """
    values = (ses, period.low * 1000, _last(period))
    rows = connection.exec_driver_sql(form(connection, _IN_SESSION), values).all()
    return _roots(connection, hosts, [tuple(row) for row in rows])


def _roots(
    connection: Connection, hosts: Iterable[int], places: list[tuple[Any, ...]]
) -> list[Begun]:
    """Give the lives at some hosts, numbers and times of which none is another's child."""
    known = set(hosts)
    lives: dict[tuple[int, int, int], Begun] = {}
    for host, pid, at in places:
        if host in known and (life := life_at(connection, host, pid, at)) is not None:
            lives[life[:3]] = life
    return [
        life
        for life in sorted(lives.values(), key=_at)
        if (parent := parent_of(connection, life)) is None or parent[:3] not in lives
    ]


def parent_of(connection: Connection, life: Begun) -> Begun | None:
    """Give the life of the process that made another; None if nothing of it is stored."""
    if life.ppid is None or life.ppid == life.pid:
        return None
    return life_at(connection, life.host, life.ppid, life.at)


def ancestors(connection: Connection, life: Begun) -> list[Begun]:
    """Give a life's ancestors, the oldest first."""
    found: list[Begun] = []
    seen = {life[:3]}
    parent = parent_of(connection, life)
    while parent is not None and parent[:3] not in seen and len(found) < _DEEPEST:
        seen.add(parent[:3])
        found.append(parent)
        parent = parent_of(connection, parent)
    return found[::-1]


def families(connection: Connection, roots: Sequence[Begun], period: Span) -> list[Family]:
    """Give the roots with all their descendants that began by the end of a period."""
    made = []
    for host in {root.host for root in roots}:
        own = [root for root in roots if root.host == host]
        values = (host, min(root.at for root in own), _last(period))
        rows = connection.exec_driver_sql(form(connection, _SINCE), values)
        lives = sorted((Begun(*row) for row in rows), key=_at)
        made += _grow(own, lives)
    return sorted(made, key=lambda each: _at(each.begun))


def _grow(roots: Iterable[Begun], lives: Iterable[Begun]) -> list[Family]:
    """Hang lives, oldest first, on the roots' families."""
    wanted = {root[:3] for root in roots}
    times: dict[int, list[int]] = defaultdict(list)
    grown: dict[tuple[int, int], Family | None] = {}
    for life in lives:
        parent = None
        if life.ppid is not None and (known := times.get(life.ppid)):
            place = bisect_right(known, life.at) - 1
            parent = grown[life.ppid, known[place]] if place >= 0 else None
        family = Family(life) if parent is not None or life[:3] in wanted else None
        if family is not None and parent is not None:
            parent.children.append(family)
            wanted.discard(life[:3])
        times[life.pid].append(life.at)
        grown[life.pid, life.at] = family
    # A root that is also a root's descendant is shown there.
    return [
        family
        for root in roots
        if root[:3] in wanted and (family := grown.get((root.pid, root.at))) is not None
    ]


class Kinship:
    """The lives of a store by their parents, which are read once for many questions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._since: dict[int, int] = {}
        """By host: the time (ms) from which on its lives were read."""
        self._children: dict[tuple[int, int, int], list[Begun]] = {}

    def family(self, root: Begun) -> Family:
        """Give a life with all its descendants."""
        since = self._since.get(root.host)
        if since is None or root.at < since:
            # A second root that began earlier may be followed by others: then all are read.
            self._read(root.host, root.at if since is None else 0)
        family = Family(root)
        waiting = [family]
        while waiting:
            each = waiting.pop()
            each.children = [Family(life) for life in self._children.get(each.begun[:3], ())]
            waiting += each.children
        return family

    def _read(self, host: int, since: int) -> None:
        self._since[host] = since
        values = (host, since, _NEVER)
        rows = self._connection.exec_driver_sql(form(self._connection, _SINCE), values)
        times: dict[int, list[int]] = defaultdict(list)
        children: dict[tuple[int, int, int], list[Begun]] = defaultdict(list)
        for life in sorted((Begun(*row) for row in rows), key=_at):
            known = () if life.ppid is None else times.get(life.ppid, ())
            place = bisect_right(known, life.at) - 1
            if life.ppid is not None and place >= 0:
                children[host, life.ppid, known[place]].append(life)
            times[life.pid].append(life.at)
        self._children |= children


def _at(life: Begun) -> tuple[int, int]:
    return life.at, life.pid


def _last(period: Span) -> int:
    return period.high * 1000 + 999
