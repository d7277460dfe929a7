"""SQL of the view `processes`, and of what `syscalls` says of a call's process and its parent.

Nothing but `process_sign` is asked for where a life begins and ends; names, arguments and ids
are looked up in the events of its signs, and cost nothing if a query does not use them.

A process's id is made of where its life begins, and needs no column: `process_id >> 30` is the
second, as of an event's id; then 4 milliseconds, and the pid in the lowest 22 bits. It is
unique within a host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.process_lives import ABEND, BIRTHS, CLONE, EXEC, EXIT, PID_BITS
from auditsvc.store.views import cgroups
from auditsvc.store.views import names as name_view

if TYPE_CHECKING:
    from auditsvc.store.views.dialect import Dialect

_IDS: Final = ("auid", "uid", "euid", "ses")
_OTHERS: Final = ", ".join(map(str, BIRTHS))


def life_id(sign: str) -> str:
    """Give the id of the life that a sign begins."""
    second = f"(({sign}.at / 1000) << {SERIAL_BITS})"
    return f"({second} | ((({sign}.at % 1000) >> 2) << {PID_BITS}) | {sign}.pid)"


def _event(sign: str) -> str:
    return f"((({sign}.at / 1000) << {SERIAL_BITS}) | {sign}.low)"


def _time(d: Dialect, at: str) -> str:
    return d.time.format(f"(({at} / 1000) << {SERIAL_BITS})", f"({at} % 1000)")


def _at_call() -> str:
    return f"((s.id >> {SERIAL_BITS}) * 1000 + s.ms)"


def _begun(value: str, pid: str, at: str, host: str) -> str:
    """Give a value of the sign `b` that began the life of a pid at a time."""
    return (
        f"(SELECT {value} FROM process_sign b WHERE b.host = {host} AND b.pid = {pid}"  # noqa: S608 - of this module's text
        f" AND b.at <= {at} AND b.begins IS NOT NULL ORDER BY b.at DESC LIMIT 1)"
    )


def _program(pid: str, at: str, host: str) -> str:
    """Give the text of the program that a pid ran at a time.

    The last sign before tells it; of a birth only one that was believed.
    """
    return (
        f"(SELECT t.value FROM text t WHERE t.id = (SELECT x.exe FROM process_sign x"  # noqa: S608 - as above
        f" WHERE x.host = {host} AND x.pid = {pid} AND x.at <= {at} AND x.kind <> {ABEND}"
        f" AND (x.kind NOT IN ({_OTHERS}) OR x.begins IS NOT NULL)"
        " ORDER BY x.at DESC, x.low DESC LIMIT 1))"
    )


def _arguments(d: Dialect, pid: str, at: str, host: str) -> str:
    """Give the arguments of the last exec that a pid's life had made at a time."""
    began = _begun("b.at", pid, at, host)
    last = (
        f"(SELECT {_event('x')} FROM process_sign x WHERE x.host = {host} AND x.pid = {pid}"  # noqa: S608 - as above
        f" AND x.at <= {at} AND x.kind = {EXEC} AND x.at >= {began}"
        " ORDER BY x.at DESC, x.low DESC LIMIT 1)"
    )
    value = d.json.format("t.value", "e.event")
    return f"(SELECT {value} FROM exec e JOIN text t ON t.id = e.argv WHERE e.event = {last})"  # noqa: S608 - as above


def of_call(d: Dialect) -> str:
    """Give the columns of `syscalls` about its process, the last ones; `s`: call, `c`: context."""
    at = _at_call()
    process = _begun(life_id("b"), "c.pid", at, "c.host")
    program = _program("c.ppid", at, "c.host")
    arguments = _arguments(d, "c.ppid", at, "c.host")
    return f"{process} AS process_id, {program} AS parent_exe, {arguments} AS parent_argv"


_OWN_SIGN: Final = "x.host = l.host AND x.pid = l.pid AND x.at >= l.at AND x.at < l.next_at"
_NEXT: Final = (
    "coalesce((SELECT n.at FROM process_sign n WHERE n.host = z.host AND n.pid = z.pid"  # noqa: S608 - as above
    f" AND n.at > z.at AND n.begins IS NOT NULL ORDER BY n.at LIMIT 1), {(1 << 63) - 1})"
)


def _sign(value: str, kinds: str, order: str = "") -> str:
    """Give a value of the first sign `x` of some kinds in a life `l`; DESC: of the last."""
    return (
        f"(SELECT {value} FROM process_sign x WHERE {_OWN_SIGN} AND {kinds}"  # noqa: S608 - as above
        f" ORDER BY x.at {order}, x.low {order} LIMIT 1)"
    )


def _of_context(value: str) -> str:
    """Give a value of the context `c` of a life's last sign, or of the call that made it."""
    own = f"(x.kind NOT IN ({_OTHERS}, {ABEND}) OR x.begins IS NOT NULL)"
    last = _sign(_event("x"), own, "DESC")
    return (
        f"(SELECT {value} FROM syscall s JOIN context c ON c.id = s.context"  # noqa: S608 - as above
        f" WHERE s.id = {last})"
    )


def _execs(d: Dialect) -> str:
    """Give a life's execs as a JSON list."""
    signs = (
        "process_sign x LEFT JOIN exec e ON e.event = "
        f"{_event('x')} LEFT JOIN text t ON t.id = e.argv LEFT JOIN text p ON p.id = x.exe"
        f" WHERE {_OWN_SIGN} AND x.kind = {EXEC}"
    )
    time = _time(d, "x.at")
    if d.joins:
        found = (
            f"jsonb_build_object('event_id', {_event('x')}, 'time', {time}, 'exe', p.value,"
            f" 'argv', {d.json.format('t.value', 'e.event')})"
        )
        return (
            f"coalesce((SELECT jsonb_agg({found} ORDER BY x.at, x.low) FROM {signs}), '[]'::jsonb)"  # noqa: S608 - as above
        )
    found = (
        f"json_object('event_id', {_event('x')}, 'time', {time}, 'exe', p.value,"
        " 'argv', json(t.value)) AS one"
    )
    return (
        f"(SELECT json_group_array(json(one)) FROM (SELECT {found} FROM {signs}"  # noqa: S608 - as above
        " ORDER BY x.at, x.low))"
    )


def processes(d: Dialect) -> str:
    """One row for each life of a process that the log tells of."""
    ends = f"x.kind IN ({EXIT}, {ABEND})"
    ended = _sign("x.at", ends)
    how = _sign(f"CASE x.kind WHEN {EXIT} THEN 'exited' ELSE 'killed' END", ends)
    code = (
        f"(SELECT s.a0 & 255 FROM syscall s WHERE s.id = {_sign(_event('x'), f'x.kind = {EXIT}')})"  # noqa: S608 - as above
    )
    told = d.json_get.format("t.value", "sig")
    signal = (
        f"(SELECT {d.number.format(told)} FROM event e JOIN text t ON t.id = e.fields"  # noqa: S608 - as above
        f" WHERE e.id = {_sign(_event('x'), f'x.kind = {ABEND}')})"
    )
    own = f"(x.kind NOT IN ({_OTHERS}, {ABEND}) OR x.begins IS NOT NULL)"
    exe = f"(SELECT t.value FROM text t WHERE t.id = {_sign('x.exe', own, 'DESC')})"  # noqa: S608 - as above
    last_exec = _sign(_event("x"), f"x.kind = {EXEC}", "DESC")
    argv = (
        f"(SELECT {d.json.format('t.value', 'e.event')} FROM exec e JOIN text t ON t.id = e.argv"  # noqa: S608 - as above
        f" WHERE e.event = {last_exec})"
    )
    names = ", ".join(
        f"{_of_context(name_view.in_call(d, name, name_view.USER))} AS {name}_name"
        for name in ("auid", "uid")
    )
    ids = ", ".join(f"{_of_context(f'c.{name}')} AS {name}" for name in _IDS)
    lives = f"(SELECT z.*, {_NEXT} AS next_at FROM process_sign z WHERE z.begins IS NOT NULL)"  # noqa: S608 - as above
    return f"""
        SELECT {life_id("l")} AS process_id,
            (SELECT h.name FROM host h WHERE h.id = l.host) AS host, l.pid, l.ppid,
            {_begun(life_id("b"), "l.ppid", "l.at", "l.host")} AS parent_id,
            CASE l.begins WHEN {CLONE} THEN 'clone' ELSE 'inferred' END AS known_by,
            {_time(d, "l.at")} AS began, {_event("l")} AS began_event_id,
            CASE WHEN {ended} IS NOT NULL THEN {_time(d, ended)} END AS ended, {how} AS how,
            {code} AS exit_code, {signal} AS signal, {exe} AS exe, {argv} AS argv,
            {_execs(d)} AS execs, {ids}, {names},
            {cgroups.of_life(d)}
        FROM {cgroups.with_place(lives)} l"""  # noqa: S608 - as above
