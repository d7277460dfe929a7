"""SQL of where a process was: its control group, systemd unit, session and container.

Our service records the group of a process that is in another one than its parent
(`auditsvc.enrich.cgroup_watch`). So a process's group is, in this order:

1. the last that was recorded in its own life before the time that is asked for, or else the
   first after that, as a group is read after the process was first seen;
2. its parent's when it began, by the same rule; and so on, through at most DEEPEST parents.

Of a pid without a life in the log, all records count as one life's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS

if TYPE_CHECKING:
    from auditsvc.store.views.dialect import Dialect

DEEPEST: Final = 64
_END: Final = (1 << 63) - 1
_LAST: Final = "l.next_at - 1"
"""The last moment of a life."""
_EVENT: Final = f"((g.at / 1000) << {SERIAL_BITS}) | g.low"
# Columns, by the name of the record's field. The path comes first.
PLACES: Final = {
    "cgroup": "cgroup",
    "unit": "unit",
    "session": "session",
    "container": "container",
    "container_name": "name",
    "image": "image",
}


def own(host: str, pid: str, at: str) -> str:
    """Give the event that tells where the life of a pid at a time was; NULL if none of it does."""
    key = f"host = {host} AND {{0}}.pid = {pid}"

    def begun(value: str, rest: str) -> str:
        of_life = key.format("y")
        return (
            f"(SELECT {value} FROM process_sign y WHERE y.{of_life}"  # noqa: S608 - of this module's text
            f" AND y.begins IS NOT NULL AND y.at {rest})"
        )

    group = f"SELECT {_EVENT} FROM process_cgroup g WHERE g.{key.format('g')}"  # noqa: S608 - as above
    began = f"coalesce({begun('max(y.at)', f'<= {at}')}, 0)"
    ends = f"coalesce({begun('min(y.at)', f'> {at}')}, {_END})"
    return (
        f"coalesce(({group} AND g.at <= {at} AND g.at >= {began}"
        " ORDER BY g.at DESC, g.low DESC LIMIT 1),"
        f" ({group} AND g.at > {at} AND g.at < {ends} ORDER BY g.at, g.low LIMIT 1))"
    )


def place(host: str, pid: str, at: str) -> str:
    """Give the event that tells where the process of a pid at a time was, by its parents too."""
    began = (
        f"(SELECT max(v.at) FROM process_sign v WHERE v.host = {host} AND v.pid = w.pid"  # noqa: S608 - as above
        " AND v.at <= w.at AND v.begins IS NOT NULL)"
    )
    return (
        "(WITH RECURSIVE walk (pid, at, event, depth) AS ("  # noqa: S608 - as above
        f"SELECT CAST({pid} AS bigint), CAST({at} AS bigint), {own(host, pid, at)}, 0"
        f" UNION ALL SELECT u.ppid, u.at, {own(host, 'u.ppid', 'u.at')}, w.depth + 1"
        f" FROM walk w JOIN process_sign u ON u.host = {host} AND u.pid = w.pid"
        f" AND u.at = {began} AND u.begins IS NOT NULL AND u.ppid > 0"
        f" WHERE w.event IS NULL AND w.depth < {DEEPEST})"
        " SELECT walk.event FROM walk WHERE walk.event IS NOT NULL)"
    )


def _told(d: Dialect, event: str, field: str) -> str:
    value = d.json_get.format("t.value", field)
    return (
        f"(SELECT {value} FROM event e JOIN text t ON t.id = e.fields"  # noqa: S608 - as above
        f" WHERE e.id = {event})"
    )


def with_place(lives: str) -> str:
    """Give lives with `place`, the event that tells where each was, for `of_life`."""
    found = place("l.host", "l.pid", _LAST)
    return f"(SELECT l.*, {found} AS place FROM {lives} l)"  # noqa: S608 - of this module's text


def of_life(d: Dialect) -> str:
    """Give the columns of `processes`; `l`: a life with when the next one begins, and its place."""
    found = "l.place"
    columns = [f"{_told(d, found, field)} AS {name}" for name, field in PLACES.items()]
    columns.append(
        f"CASE WHEN {own('l.host', 'l.pid', _LAST)} IS NOT NULL THEN 'read'"
        f" WHEN {found} IS NOT NULL THEN 'parent' END AS cgroup_known_by"
    )
    return ", ".join(columns)


def of_call(d: Dialect) -> str:
    """Give the columns of `syscalls`; `s`: the call, `c`: its context."""
    at = f"((s.id >> {SERIAL_BITS}) * 1000 + s.ms)"
    found = place("c.host", "c.pid", at)
    return ", ".join(f"{_told(d, found, name)} AS {name}" for name in ("unit", "container"))
