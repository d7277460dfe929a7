"""Says whether a process id's first call of a day with a parent and session is stored already.

In: calls that may be such a first one, of process ids of which not all of the day's signs were
read. Out: those before which a sign of the process itself with this parent and session is stored.
The first `MOST` signs of a day are read; of a process id that has more, `process_first` has the
first ones, so that each further one costs one look. Invariant: if it has any row of a process id
and day, it has one for each parent and session that signs of the process itself have on that day.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from auditsvc.store.process_lives import EXEC, EXIT, SEEN
from auditsvc.store.sign_sql import DAY_MS, form, keyed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sqlalchemy import Connection

    from auditsvc.store.sign_sql import Place, Process, Span

MOST = 64
OWN: Final = (SEEN, EXEC, EXIT)

_Day = tuple[int, int, int]
"""Host, pid and day."""
_Pair = tuple[int | None, int | None]
"""Parent and session."""

_NULL: Final = -(1 << 63)
_ANY: Final = "SELECT EXISTS (SELECT 1 FROM process_first)"
_KEPT: Final = (
    "SELECT j.a, j.b, j.c FROM {listed} WHERE EXISTS (SELECT 1 FROM process_first f"
    " WHERE f.host = j.a AND f.pid = j.b AND f.day = j.c)"
)
_OF: Final = (
    "SELECT j.a, j.b FROM {listed} WHERE EXISTS (SELECT 1 FROM process_first f"
    " WHERE f.host = j.a AND f.pid = j.b)"
)
_FIND: Final = (
    "SELECT f.* FROM {listed} JOIN process_first f ON f.host = j.a AND f.pid = j.b AND f.day = j.c"
    " AND f.ppid = j.d AND f.ses = j.e"
)
# c: the beginning of the day; d: its end.
_OF_DAY: Final = (
    "SELECT z.host, z.pid, j.c, z.at, z.low, z.kind, z.ppid, z.ses FROM {listed}"
    " JOIN process_sign z ON z.host = j.a AND z.pid = j.b AND z.at >= j.c AND z.at < j.d"
    " AND z.at <= coalesce((SELECT k.at FROM process_sign k WHERE k.host = j.a AND k.pid = j.b"
    " AND k.at >= j.c AND k.at < j.d ORDER BY k.at LIMIT 1 OFFSET {most}), j.d)"
)
_ALL: Final = (
    "SELECT at, low, ppid, ses FROM process_sign"  # noqa: S608 - of this module's numbers
    f" WHERE host = ? AND pid = ? AND at >= ? AND at < ? AND kind IN {OWN} ORDER BY at, low"
)
_PUT: Final = (
    "INSERT INTO process_first (host, pid, day, ppid, ses, at, low) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (host, pid, day, ppid, ses) DO UPDATE SET at = excluded.at, low = excluded.low"
)
_DELETE: Final = (
    "DELETE FROM process_first WHERE host = ? AND pid = ? AND day = ? AND ppid = ? AND ses = ?"
)


def has_any(connection: Connection) -> bool:
    """Whether any process id has many signs on a day."""
    return bool(connection.exec_driver_sql(_ANY).scalar())


def processes(connection: Connection, among: Iterable[Process]) -> set[Process]:
    """Give those process ids that have many signs on a day."""
    return {(host, pid) for host, pid in keyed(connection, _OF, list(among))}


def forget(connection: Connection, lost: Iterable[tuple[Process, Span]]) -> None:
    """Forget the first signs with some parents and sessions: a sign of them was deleted.

    `known_before` must be asked about the first of those that are left.
    """
    if gone := [(*process, day, *_key(ppid, ses)) for process, (ppid, ses, day) in lost]:
        connection.exec_driver_sql(form(connection, _DELETE), gone)


def known_before(
    connection: Connection,
    wanted: Mapping[tuple[Process, Span], Place],
    covered: Collection[_Day],
    *,
    is_any: bool,
) -> dict[tuple[Process, Span], Place]:
    """Give those of the wanted that are not the first, and the places of the first signs.

    `covered`: days of which all signs were read, and none was before a wanted one; `is_any`:
    whether `process_first` has rows.
    """
    days: dict[_Day, dict[_Pair, Place]] = defaultdict(dict)
    for ((host, pid), (ppid, ses, day)), place in wanted.items():
        days[host, pid, day][ppid, ses] = place
    kept = set()
    if is_any:
        kept = {(host, pid, day) for host, pid, day in keyed(connection, _KEPT, list(days))}
    found: dict[tuple[Process, Span], Place] = {}
    looked = [each for each in days if each not in kept and each not in covered]
    for each, signs in _of_days(connection, looked).items():
        if len(signs) > MOST:
            _keep(connection, each)
            kept.add(each)
            continue
        for at, low, kind, ppid, ses in sorted(signs):
            wanted_at = days[each].get((ppid, ses))
            if kind in OWN and wanted_at is not None and (at, low) < wanted_at:
                found.setdefault((each[:2], (ppid, ses, each[2])), (at, low))
    new = []
    asked = {(*each, *_key(*pair)): pair for each in kept for pair in days[each]}
    stored = {tuple(key): (at, low) for *key, at, low in keyed(connection, _FIND, list(asked))}
    for key, pair in asked.items():
        each, place, before = key[:3], days[key[:3]][pair], stored.get(key)
        if before is not None and before < place:
            found[each[:2], (*pair, each[2])] = before
        else:
            new.append((*key, *place))
    if new:
        connection.exec_driver_sql(form(connection, _PUT), new)
    return found


def _of_days(
    connection: Connection, days: Iterable[_Day]
) -> dict[_Day, list[tuple[int, int, int, int | None, int | None]]]:
    """Give the first signs of days."""
    found = defaultdict(list)
    keys = [(host, pid, day * DAY_MS, (day + 1) * DAY_MS) for host, pid, day in days]
    for host, pid, begin, *sign in keyed(connection, _OF_DAY.replace("{most}", str(MOST)), keys):
        found[host, pid, begin // DAY_MS].append(tuple(sign))
    return found


def _keep(connection: Connection, each: _Day) -> None:
    """Keep from now on the first signs of a process id on a day."""
    host, pid, day = each
    firsts: dict[_Pair, Place] = {}
    ends = host, pid, day * DAY_MS, (day + 1) * DAY_MS
    for at, low, ppid, ses in connection.exec_driver_sql(form(connection, _ALL), ends):
        firsts.setdefault((ppid, ses), (at, low))
    rows = [(*each, *_key(*pair), *place) for pair, place in firsts.items()]
    if rows:
        connection.exec_driver_sql(form(connection, _PUT), rows)


def _key(ppid: int | None, ses: int | None) -> tuple[int, int]:
    return _NULL if ppid is None else ppid, _NULL if ses is None else ses
