"""Finds rows that were made of stored events and do not follow from them: views tell of them.

    for what in wrong_signs(connection, since): ...
    for what in wrong_told(connection, facts, since): ...

* `process_sign`, of which the view `processes` is made. Its rows are those that
  `auditsvc.store.write.sign_rebuild` would make of the events, after each commit. Whether a day's
  first call (SEEN) is missing is not looked for: that would take a sort of all calls.
* `account_name` and `process_cgroup`: what records of our own said of users and processes.

`since`: milliseconds since 1970; what is older may be gone in part by retention. The events
themselves are proved by their lines (`auditsvc.evidence.rows`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.record.types import DAEMON_CONFIG
from auditsvc.store.process_lives import SEEN
from auditsvc.store.read.events import second_text
from auditsvc.store.schema import account_name, process_cgroup
from auditsvc.store.sign_sql import PPID, form
from auditsvc.store.write import own_records, sign_rebuild

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from auditsvc.evidence.store_facts import StoreFacts

_Row = tuple[Any, ...]

_MOST: Final = 20
"""Rows of each kind that are named, at most."""
_SIGN: Final = "host, pid, at, low, kind, ppid, ses, exe"
_KEY: Final = ("host", "pid", "at", "low")
_SAME: Final = " AND ".join(
    f"z.{name} {'=' if name in _KEY else 'IS NOT DISTINCT FROM'} m.{name}"
    for name in _SIGN.split(", ")
)
_EMPTY: Final = (
    f"SELECT {', '.join(f'0 AS {name}' for name in _SIGN.split(', '))} FROM host WHERE 1 = 0"  # noqa: S608 - ours
)
"""Names the columns of what is united with it."""
_SEEN: Final = (
    f"SELECT z.host, z.pid, z.at FROM process_sign z WHERE z.kind = {SEEN} AND z.at >= {{since}}"  # noqa: S608 - ours
    " AND NOT EXISTS (SELECT 1 FROM syscall s JOIN context c ON c.id = s.context"
    f" WHERE s.id = (((z.at / 1000) << {SERIAL_BITS}) | z.low) AND s.ms = z.at % 1000"
    f" AND c.host = z.host AND c.pid = z.pid AND {PPID} IS NOT DISTINCT FROM z.ppid"
    " AND c.ses IS NOT DISTINCT FROM z.ses AND c.exe IS NOT DISTINCT FROM z.exe)"
    f" LIMIT {_MOST}"
)
_DAY: Final = 86_400_000
_DAYS: Final = (
    f"SELECT at / {_DAY} FROM account_name UNION SELECT at / {_DAY} FROM process_cgroup"  # noqa: S608 - ours
    f" UNION SELECT (id >> {SERIAL_BITS}) * 1000 / {_DAY} FROM event WHERE type = {DAEMON_CONFIG}"
)
_TOLD: Final = (
    "SELECT e.id, e.ms, e.host, e.pid, t.value FROM event e JOIN text t ON t.id = e.fields"  # noqa: S608 - ours
    f" WHERE e.type = {DAEMON_CONFIG} AND e.id BETWEEN {{low}} AND {{high}}"
)
_TABLES: Final = (
    (account_name, "a name of user or group", "number"),
    (process_cgroup, "a place of process", "pid"),
)


def wrong_signs(connection: Connection, since: int) -> Iterator[str]:
    """Say what of the signs of processes does not follow from the events."""
    united = " UNION ALL ".join((_EMPTY, *sign_rebuild.of_events(connection)))
    stored = f"SELECT {_SIGN} FROM process_sign WHERE at >= {since} AND kind <> {SEEN}"  # noqa: S608 - ours
    made = f"SELECT {_SIGN} FROM ({united}) made WHERE at >= {since}"  # noqa: S608 - ours
    # One pass over the calls tells whether all is well, which it is nearly always.
    counted = (
        f"SELECT count(*), count(z.host), (SELECT count(*) FROM ({stored}) s) FROM ({made}) m"  # noqa: S608 - ours
        f" LEFT JOIN process_sign z ON {_SAME}"
    )
    counts = connection.exec_driver_sql(form(connection, counted)).one()
    for what, one, other in (
        ("was invented or altered", stored, made),
        ("was deleted or altered", made, stored),
    ):
        if len(set(counts)) == 1:
            break
        differing = f"SELECT pid, at FROM ({one} EXCEPT {other}) d LIMIT {_MOST}"  # noqa: S608 - ours
        for pid, at in connection.exec_driver_sql(form(connection, differing)):
            yield f"a sign of process {pid} at {second_text(at // 1000)} UTC {what}"
    for _, pid, at in connection.exec_driver_sql(form(connection, _SEEN.format(since=since))):
        yield f"a sign of process {pid} at {second_text(at // 1000)} UTC was invented or altered"
    for n, (_, pid) in enumerate(sign_rebuild.misjudged(connection)):
        if n == _MOST:
            break
        yield f"where a life of process {pid} begins was altered"


def wrong_told(connection: Connection, facts: StoreFacts, since: int) -> Iterator[str]:
    """Say which names of users and places of processes no record of our own said, or one did.

    A day at a time, so that memory is bounded: each is said again on each day.
    """
    named = 0
    for (day,) in sorted(map(tuple, connection.exec_driver_sql(form(connection, _DAYS)))):
        if day * _DAY < since:
            continue
        for what in _wrong_of_day(connection, facts, day):
            named += 1
            if named <= _MOST:
                yield what


def _wrong_of_day(connection: Connection, facts: StoreFacts, day: int) -> Iterator[str]:
    low, high = ((n * _DAY // 1000) << SERIAL_BITS for n in (day, day + 1))
    told = connection.exec_driver_sql(form(connection, _TOLD.format(low=low, high=high - 1))).all()
    own = [each for each in told if each[0] not in facts.foreign]
    unsure = [each for each in told if each[0] in facts.unknown]
    required, allowed = _by_key(own), _by_key([*own, *unsure])
    for table, shown, column in _TABLES:
        width, place = len(table.primary_key), table.columns.keys().index(column)
        within = table.c.at.between(day * _DAY, (day + 1) * _DAY - 1)
        missing = required[table.name]
        for row in map(tuple, connection.execute(table.select().where(within))):
            key = row[:width]
            missing.pop(key, None)
            if row not in allowed[table.name].get(key, ()):
                yield f"{shown} {row[place]} on {_text(day)} was invented or altered"
        for key in missing:
            yield f"{shown} {key[place]} on {_text(day)} was deleted"


def _by_key(told: Sequence[Any]) -> dict[str, dict[_Row, set[_Row]]]:
    """Give the rows that records make, by table and key: of two with one key, either is stored."""
    found: dict[str, dict[_Row, set[_Row]]] = {table.name: {} for table, *_ in _TABLES}
    for table, row in own_records.said(told):
        found[table.name].setdefault(row[: len(table.primary_key)], set()).add(row)
    return found


def _text(day: int) -> str:
    return second_text(day * _DAY // 1000)[:10]
