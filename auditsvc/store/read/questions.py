"""Fixed queries of the store's tables, for other modules.

Each function takes the store's URL, opens it read-only and gives values. StoreError or
QueryError if the store cannot be read.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.decode.ids import SERIAL_BITS, event_id
from auditsvc.record.types import DAEMON_CONFIG
from auditsvc.rule.model import MASK_BITS
from auditsvc.store.databases import parse_url
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.sql import one_session, run_query
from auditsvc.store.read.texts import Texts, quoted
from auditsvc.store.views.dialect import DIALECTS, with_arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

_NEWEST: Final = 1000
"""If hosts share a store, the newest call of one host is searched among so many calls."""


_SHORT: Final = Limits(seconds=10)
"""For what `status` asks, which must not wait for a store that somebody keeps locked."""
_OWN: Final = """NOT EXISTS (
    SELECT 1 FROM origin o
    WHERE o.low = (SELECT max(low) FROM origin WHERE low <= s.id) AND o.high >= s.id
        AND o.source IS NOT NULL)"""
"""Whether a call `s` came from our own spool: a log of others proves nothing of this host."""


class Lag(NamedTuple):
    """What arrived after a reader's saved position: transactions, and seconds since the oldest."""

    arrivals: int
    seconds: float


# By the index of types: the view `events` looks the name of each event's type up.
_VERIFIED: Final = f"""
    SELECT e.id >> {SERIAL_BITS}, {{state}}
    FROM event e JOIN text t ON t.id = e.fields
    WHERE e.type = {DAEMON_CONFIG} AND {{op}} = 'verify' ORDER BY e.id DESC LIMIT 1"""  # noqa: S608 - numbers


class Verified(NamedTuple):
    """The last result of `auditsvc verify` on record, and its second; None: there is none."""

    at: int | None
    proved: bool = False


class Keyed(NamedTuple):
    """Calls logged under a key: how many, and the highest event id."""

    calls: int
    last: int


def asked_together(url: str) -> AbstractContextManager[None]:
    """Have the questions below use one connection, while in this."""
    return one_session(url, _SHORT)


def lag(url: str, consumer: str) -> Lag | None:
    """Give how far a reader of the feed is behind; None if there is no such reader."""
    sql = f"""
        SELECT count(a.seq), min(a.high) >> {SERIAL_BITS}
        FROM consumer c LEFT JOIN arrival a ON a.seq >= c.seq
        WHERE c.name = {quoted(consumer)} GROUP BY c.name"""  # noqa: S608 - literals are quoted
    with run_query(url, sql, _SHORT) as rows:
        for arrivals, oldest in rows:
            seconds = 0.0 if oldest is None else max(0.0, time.time() - number(oldest))
            return Lag(number(arrivals), seconds)
    return None


def ledger_totals(url: str) -> dict[str, int]:
    """Counts of the ledger by cause, over all sources.

    Without the serials that are missing in ingested logs: these do not show what this host's
    kernel and service lost.
    """
    sql = """
        SELECT cause, sum(CASE WHEN cause = 'gap' AND kind = 'file' THEN 0 ELSE count END)
        FROM ledger GROUP BY cause"""
    with run_query(url, sql, _SHORT) as rows:
        return {str(cause): int(str(count)) for cause, count in rows}


def ledger_counts(url: str) -> list[tuple[str, str, str, int]]:
    """Counts of the ledger by kind of source, cause and unit."""
    sql = "SELECT kind, cause, unit, sum(count) FROM ledger GROUP BY kind, cause, unit"
    with run_query(url, sql, _SHORT) as rows:
        return [
            (str(kind), str(cause), str(unit), int(str(count))) for kind, cause, unit, count in rows
        ]


def last_verified(url: str) -> Verified:
    """Give the last result of `auditsvc verify` that the log has."""
    get = DIALECTS[parse_url(url).get_backend_name()].json_get
    # Other texts are no JSON, and a planner may ask for the operation first.
    told = f"(CASE WHEN e.type = {DAEMON_CONFIG} THEN t.value END)"
    sql = _VERIFIED.format(**{name: get.format(told, name) for name in ("op", "state")})
    with run_query(url, sql, _SHORT) as rows:
        for at, state in rows:
            return Verified(number(at), state == "proved")
    return Verified(None)


def partial_counts(url: str) -> dict[str, int]:
    """Stored events that did not end properly, by reason."""
    sql = "SELECT reason, count(*) FROM partials GROUP BY reason"
    with run_query(url, sql, _SHORT) as rows:
        return {str(reason): number(count) for reason, count in rows}


def newest_second(url: str) -> int | None:
    """Second (since 1970) of the newest stored event; None if there is none."""
    sql = "SELECT max(id) FROM syscall UNION ALL SELECT max(id) FROM event"
    with run_query(url, sql, _SHORT) as rows:
        found = [number(newest) for (newest,) in rows if newest is not None]
    return max(found) >> SERIAL_BITS if found else None


def newest_call(url: str, host: str) -> int:
    """Second (since 1970) in which the newest stored call began; 0 if there is none near the end.

    The kernel's queue, the spool and the loader keep the order in which calls ended: calls
    that ended before that second are in the store, if they were logged.
    """
    which = _host_id(url, host)
    if which is None:
        return 0
    sql = f"""
        SELECT max(s.id)
        FROM (SELECT id, context FROM syscall ORDER BY id DESC LIMIT {_NEWEST}) s
        JOIN context c ON c.id = s.context
        WHERE c.host = {which} AND {_OWN}"""  # noqa: S608 - numbers alone
    with run_query(url, sql) as rows:
        ((found,),) = rows
    return int(str(found or 0)) // event_id(1, 0, 0)


def pids_with_calls(url: str, host: str, began: Sequence[tuple[int, float]]) -> set[int]:
    """Give those of `began` (pid, seconds since 1970) with a call of their own since then.

    One pass over the contexts (a row for each process and program), and one search in an
    index for each wanted process.
    """
    which = _host_id(url, host)
    if which is None or not began:
        return set()
    asked = ", ".join(_asked(pid, since) for pid, since in began)
    pids = ", ".join(str(pid) for pid, _ in began)
    # CROSS JOIN fixes the order: else SQLite would index all contexts for one query.
    # With IN it is one pass: 0.3 s instead of 9 s for 300 processes and 500,000 contexts.
    sql = f"""
        WITH asked (pid, low, next, ms) AS (VALUES {asked})
        SELECT DISTINCT a.pid
        FROM context c CROSS JOIN asked a
        WHERE c.pid IN ({pids}) AND c.host = {which} AND c.pid = a.pid AND EXISTS (
            SELECT 1 FROM syscall s
            WHERE s.context = c.id AND s.id >= a.low AND (s.id >= a.next OR s.ms >= a.ms)
                AND {_OWN})
        """  # noqa: S608 - numbers alone
    with run_query(url, sql) as rows:
        return {number(pid) for (pid,) in rows}


def calls_by_key(url: str, keys: Iterable[str], where: Iterable[str]) -> dict[str, Keyed]:
    """Count the calls of each key that has some; `where` are conditions on s and c."""
    asked = list(keys)
    if not asked:
        return {}
    conditions = " AND ".join([Texts(url).is_one("t", asked), *where])
    sql = (
        "SELECT t.value, count(*), max(s.id) FROM text t JOIN context c ON c.key = t.id"  # noqa: S608 - literals are quoted
        f" JOIN syscall s ON s.context = c.id WHERE {conditions} GROUP BY t.value"
    )
    with run_query(url, sql) as rows:
        return {str(key): Keyed(number(count), number(last)) for key, count, last in rows}


def calls_made(url: str, since: int) -> dict[int, int]:
    """Give by architecture which calls were made from the hour of a second on: bits by number.

    From the counts of calls by hour, so no event is read. Without numbers that no rule can have:
    a program may try any (-1, those of x32), and a log may have any.
    """
    hour = f"hour >= {since // 3600} AND nr BETWEEN 0 AND {MASK_BITS - 1}"
    sql = f"""
        SELECT arch, nr FROM activity_row WHERE {hour} GROUP BY arch, nr
        UNION SELECT c.arch, p.nr
        FROM (SELECT context, nr FROM activity_part WHERE {hour} GROUP BY context, nr) p
        JOIN context c ON c.id = p.context"""  # noqa: S608 - numbers alone
    made: dict[int, int] = {}
    with run_query(url, sql) as rows:
        for arch, nr in rows:
            made[number(arch)] = made.get(number(arch), 0) | 1 << number(nr)
    return made


def count_of_union(url: str, selects: Iterable[str]) -> tuple[int, int | None]:
    """Count and highest of the ids that any of these selects gives, each once."""
    sql = f"SELECT count(*), max(id) FROM ({' UNION '.join(selects)}) seen"  # noqa: S608 - as their maker says
    sql = with_arguments(DIALECTS[parse_url(url).get_backend_name()], sql)
    with run_query(url, sql) as rows:
        ((count, last),) = list(rows)
    return number(count), None if last is None else number(last)


def number(value: object) -> int:
    """Take a value that SQL gives as an integer."""
    assert isinstance(value, int)
    return value


def _asked(pid: int, since: float) -> str:
    begins = max(0.0, since)
    second = int(begins)
    low, following = event_id(second, 0, 0), event_id(second + 1, 0, 0)
    return f"({pid}, {low}, {following}, {int((begins - second) * 1000)})"


def _host_id(url: str, host: str) -> int | None:
    with run_query(url, "SELECT id, name FROM host") as rows:
        return next((int(str(found)) for found, name in rows if name == host), None)
