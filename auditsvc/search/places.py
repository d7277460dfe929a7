"""SQL of the events that were made in a container or a systemd unit.

    WITH RECURSIVE ... placed_calls (event_id) AS (...), placed_events (event_id) AS (...)

The rule is that of the columns `unit` and `container` (`auditsvc.store.views.cgroups`), which
ask where one process was. Here it is gone through the other way: from the records that name the
place to the times at which a process was there (`placed`: host, pid, from `low` to before
`high`, in ms), and from these to the processes that they made and that have no record of their
own. So what is read are the records of places, the beginnings of lives, and then the calls of
the processes found, not every call. A place in which most processes are has its newest calls
sooner if each call of a short time is asked where it was made (`of_each`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.record.line import FOREIGN
from auditsvc.search.dialect import literal
from auditsvc.store.origins import OWN
from auditsvc.store.process_lives import MOST_PID
from auditsvc.store.views.cgroups import DEEPEST
from auditsvc.store.views.cgroups import place as place_of
from auditsvc.store.write.process_cgroups import OPERATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.search.dialect import Dialect

CALLS: Final = "placed_calls"
EVENTS: Final = "placed_events"
_END: Final = (1 << 63) - 1
_ID: Final = 64
_SHORT: Final = re.compile(r"[0-9a-f]{4,63}")
"""The beginning of a container's id, as the runtimes show it (docker: 12 digits)."""
_SAME: Final = "{0}.host = {1}.host AND {0}.pid = {1}.pid"


@dataclass(frozen=True, slots=True)
class Place:
    """A container, a unit, or both."""

    container: str | None = None
    """Its id, the beginning of that, or its name."""
    unit: str | None = None
    whole: bool = False
    """Whether the beginning of an id is none."""

    @classmethod
    def asked(cls, container: str | None, unit: str | None, *, whole: bool = False) -> Place | None:
        """Give the place that is asked for; a unit without its kind is a service, as in systemctl.

        None: nothing is asked for.
        """
        if container is None and unit is None:
            return None
        if unit is not None and "." not in unit:
            unit += ".service"
        return cls(container, unit, whole=whole)

    def takes(self, container: str | None, name: str | None, unit: str | None) -> bool:
        """Whether a process that is there is in this place; the same as the SQL says."""
        of, begun = self.container, self._begun()
        is_in = of is None or of in (container, name)
        if begun and container is not None and len(container) == _ID:
            is_in = is_in or container.startswith(begun)
        return is_in and self.unit in (None, unit)

    def _begun(self) -> str | None:
        of = self.container
        return of if of and not self.whole and _SHORT.fullmatch(of) else None

    def condition(self, dialect: Dialect, fields: str = "t.value") -> str:
        """Give the condition on the fields of a record; NULL and false are both no."""
        tests = []
        if self.container is not None:
            said = dialect.store.json_get.format(fields, "container")
            name = dialect.store.json_get.format(fields, "name")
            of = literal(self.container)
            parts = [f"{said} = {of}", f"{name} = {of}"]
            if begun := self._begun():
                prefix = f"substr({said}, 1, {len(begun)}) = {literal(begun)}"
                parts.append(f"length({said}) = {_ID} AND {prefix}")
            tests.append(f"({' OR '.join(parts)})")
        if self.unit is not None:
            tests.append(f"{dialect.store.json_get.format(fields, 'unit')} = {literal(self.unit)}")
        return " AND ".join(tests)


_SAID: Final = """said AS MATERIALIZED (
    SELECT host, pid, here, ends,
        CASE WHEN lag(r.at) OVER w >= began THEN r.at ELSE began END AS low,
        CASE WHEN lead(r.at) OVER w < ends THEN lead(r.at) OVER w ELSE ends END AS high
    FROM told r WINDOW w AS (PARTITION BY r.host, r.pid ORDER BY r.at, r.low)
)"""
_PLACED: Final = "placed (host, pid, low, high, depth)"


_CALL: Final = f"((s.id >> {SERIAL_BITS}) * 1000 + s.ms)"
_EVENT: Final = f"((e.id >> {SERIAL_BITS}) * 1000 + e.ms)"


def of_each(place: Place, dialect: Dialect, period: Sequence[str]) -> str:
    """Give the same tables for a short time: of each call of it is asked where its process was."""
    calls, events = (
        " AND ".join(each.replace("event_id", f"{row}.id") for each in period) or "1 = 1"
        for row in ("s", "e")
    )

    def is_in(host: str, pid: str, at: str) -> str:
        return (
            # As a value: PostgreSQL would read texts that are no JSON for a condition on it.
            f"(SELECT {place.condition(dialect)} FROM event told"  # noqa: S608 - as below
            f" JOIN text t ON t.id = told.fields WHERE told.id = {place_of(host, pid, at)})"
        )

    return f"""{CALLS} (event_id) AS (
    SELECT s.id FROM syscall s JOIN context c ON c.id = s.context
    WHERE {calls} AND {is_in("c.host", "c.pid", _CALL)}
), {EVENTS} (event_id) AS (
    SELECT e.id FROM event e
    WHERE {events} AND e.pid IS NOT NULL AND {is_in("e.host", "e.pid", _EVENT)}
)"""  # noqa: S608 - as below


def tables(place: Place, dialect: Dialect, period: Sequence[str]) -> str:
    """Give the tables of a WITH; `period`: conditions on `event_id`."""
    life = _SAME.format("y", "g")
    call, event = _CALL, _EVENT
    calls = "".join(f" AND {each.replace('event_id', 's.id')}" for each in period)
    events = "".join(f" AND {each.replace('event_id', 'e.id')}" for each in period)
    # Of those alone that are there: half a million processes may have begun elsewhere.
    ends = f"""coalesce((SELECT min(n.at) FROM process_sign n
        WHERE {_SAME.format("n", "b")} AND n.at > b.at AND n.begins IS NOT NULL), {_END})"""  # noqa: S608 - as below
    return f"""told AS MATERIALIZED (
    SELECT g.host, g.pid, g.at, g.low,
        coalesce((SELECT max(y.at) FROM process_sign y
            WHERE {life} AND y.begins IS NOT NULL AND y.at <= g.at), 0) AS began,
        coalesce((SELECT min(y.at) FROM process_sign y
            WHERE {life} AND y.begins IS NOT NULL AND y.at > g.at), {_END}) AS ends,
        {place.condition(dialect)} AS here
    FROM process_cgroup g JOIN event e ON e.id = (((g.at / 1000) << {SERIAL_BITS}) | g.low)
    JOIN text t ON t.id = e.fields
), {_SAID}, born AS MATERIALIZED (
    SELECT z.host, z.ppid, z.pid, z.at
    FROM process_sign z WHERE z.begins IS NOT NULL AND z.ppid > 0
        AND EXISTS (SELECT 1 FROM said WHERE here)
), {_PLACED} AS (
    SELECT host, pid, low, high, 0 FROM said WHERE here AND low < high
    UNION ALL
    SELECT b.host, b.pid, b.at, {ends}, p.depth + 1 FROM placed p
    JOIN born b ON b.host = p.host AND b.ppid = p.pid AND b.at >= p.low AND b.at < p.high
    WHERE p.depth < {DEEPEST} AND NOT EXISTS (SELECT 1 FROM process_cgroup g
        WHERE {_SAME.format("g", "b")} AND g.at >= b.at AND g.at < {ends})
), {CALLS} (event_id) AS (
    SELECT s.id FROM syscall s JOIN context c ON c.id = s.context
    JOIN placed p ON {_SAME.format("p", "c")} AND {call} >= p.low AND {call} < p.high
    WHERE s.context IN (SELECT k.id FROM context k
        JOIN (SELECT DISTINCT host, pid FROM placed) q ON {_SAME.format("q", "k")}){calls}
), {EVENTS} (event_id) AS (
    SELECT e.id FROM event e
    JOIN placed p ON {_SAME.format("p", "e")} AND {event} >= p.low AND {event} < p.high
    WHERE e.pid IS NOT NULL{events}
)"""  # noqa: S608 - names of ours and numbers; texts as `literal` quotes them


def tables_of_views(place: Place, dialect: Dialect, period: Sequence[str]) -> str:
    """Give the same tables, of views alone: an archive has no others.

    What names places and lives is read of all times: a process can be as old as the host.
    """
    events, calls = (
        "".join(f" AND {each.replace('event_id', f'{alias}.event_id')}" for each in period)
        for alias in ("e", "s")
    )

    def at(event: str, time: str) -> str:
        return f"(({event} >> {SERIAL_BITS}) * 1000 + CAST(substr({time}, 21, 3) AS integer))"

    def field(name: str) -> str:
        return dialect.store.json_get.format("e.fields", name)

    life = _SAME.format("y", "g")
    return f"""records_of_places AS MATERIALIZED (
    SELECT e.host, e.pid, {at("e.event_id", "e.time")} AS at, e.event_id & {SERIAL_MASK} AS low,
        {place.condition(dialect, "e.fields")} AS here
    FROM events e WHERE e.type = 'DAEMON_CONFIG' AND {field("op")} = '{OPERATION}'
        AND {field("cgroup")} IS NOT NULL AND {field(FOREIGN.decode())} IS NULL
        AND e.pid > 0 AND e.pid <= {MOST_PID}
        AND e.event_id IN (SELECT o.event_id FROM origins o WHERE o.kind = '{OWN}')
), lives AS MATERIALIZED (
    SELECT v.host, v.pid, v.ppid, {at("v.began_event_id", "v.began")} AS at FROM processes v
), told AS MATERIALIZED (
    SELECT g.host, g.pid, g.at, g.low, g.here,
        coalesce((SELECT max(y.at) FROM lives y WHERE {life} AND y.at <= g.at), 0) AS began,
        coalesce((SELECT min(y.at) FROM lives y WHERE {life} AND y.at > g.at), {_END}) AS ends
    FROM records_of_places g
), {_SAID}, lasting AS MATERIALIZED (
    SELECT z.host, z.ppid, z.pid, z.at,
        coalesce(lead(z.at) OVER (PARTITION BY z.host, z.pid ORDER BY z.at), {_END}) AS ends
    FROM lives z
), born AS MATERIALIZED (
    SELECT * FROM lasting b WHERE b.ppid > 0 AND NOT EXISTS (SELECT 1 FROM records_of_places g
        WHERE {_SAME.format("g", "b")} AND g.at >= b.at AND g.at < b.ends)
), {_PLACED} AS (
    SELECT host, pid, low, high, 0 FROM said WHERE here AND low < high
    UNION ALL
    SELECT b.host, b.pid, b.at, b.ends, p.depth + 1 FROM placed p
    JOIN born b ON b.host = p.host AND b.ppid = p.pid AND b.at >= p.low AND b.at < p.high
    WHERE p.depth < {DEEPEST}
), {CALLS} (event_id) AS (
    SELECT s.event_id FROM syscalls s JOIN placed p ON {_SAME.format("p", "s")}
        AND {at("s.event_id", "s.time")} >= p.low AND {at("s.event_id", "s.time")} < p.high{calls}
), {EVENTS} (event_id) AS (
    SELECT e.event_id FROM events e JOIN placed p ON {_SAME.format("p", "e")}
        AND {at("e.event_id", "e.time")} >= p.low AND {at("e.event_id", "e.time")} < p.high{events}
)"""  # noqa: S608 - as above
