"""`changes`: changes of the host's configuration; `commands`: what people ran.

A change is an event whose verb has a `change` (`auditsvc.tables.effects`): a call (mount,
init_module, clock_settime), a record of a program or the kernel alone (ADD_USER), or a record in
the middle of a call, as a change of audit rules is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.schema import TOLD_TYPES
from auditsvc.store.views import words
from auditsvc.store.views.dialect import lookups, text, time
from auditsvc.store.views.story import (
    OUTCOME,
    as_text,
    calls,
    changed_to,
    context,
    host,
    how,
    named,
    of_call,
    operation,
    others,
    outcome,
    told_events,
    verb,
    verb_of_record,
)
from auditsvc.tables import effects

if TYPE_CHECKING:
    from auditsvc.store.views.dialect import Dialect

_USER_START, _USER_CMD, _TTY, _USER_TTY = 1105, 1123, 1319, 1124
TOLD: Final = f"r.type IN ({', '.join(map(str, TOLD_TYPES))})"
"""The condition for records `r` that the index `record_told` has; as it is written there."""
TYPES: Final = (
    "SELECT told.type FROM record_type told JOIN verb w ON w.kind = 'type'"
    " AND w.name = told.name WHERE w.change IS NOT NULL"
)
"""The types of events without a call that are a change."""
_TOLD_CHANGES: Final = (1305, 1325, 1328, 1334, 1403, 1404, 1405, 1421, 1422, 1505, 1700, 1807)
IN_CALLS: Final = f"{TOLD} AND r.type IN ({', '.join(map(str, _TOLD_CHANGES))})"
"""The condition for records `r` within a call that tell a change."""


_NAMES: Final = (
    "SELECT w.name FROM verb w WHERE w.kind = 'call' AND w.change IS NOT NULL UNION"
    " SELECT part.call FROM part_call part JOIN verb w ON w.kind = 'call' AND w.name = part.name"
    " WHERE w.change IS NOT NULL"
)
_WHERE_CALLS: Final = (
    "WHERE v.change IS NOT NULL AND s.nr IN (SELECT n.nr FROM syscall_name n"  # noqa: S608 - ours
    f" WHERE n.name IN ({_NAMES}))"
)
"""The verb of a call is known once its row is read; its number stands in the index."""
CALLS: Final = f"SELECT n.arch, n.nr FROM syscall_name n WHERE n.name IN ({_NAMES})"  # noqa: S608 - ours
"""The calls that can be a change: pairs of architecture and number."""
_HERE: Final = "SELECT m.arch FROM context m"
_NUMBERS: Final = f"SELECT k.nr FROM ({CALLS}) k WHERE k.arch IN ({_HERE})"  # noqa: S608 - ours
_OF_MACHINE: Final = f" AND (c.arch, s.nr) IN ({CALLS}) AND s.nr IN ({_NUMBERS})"
"""Without it SQLite reads the rows of numbers that are a change on another machine alone, and asks
each context for the numbers of machines that the log has nothing of."""


def ends_of_changes(*, last: bool) -> str:
    """Give the SQL of the id up to (or from) which the view can have rows; NULL if it has none.

    Of the tables that tell it without a look at calls: the counts by hour, and rare kinds.
    """
    most, hour = ("max", "(max(hour) + 1)") if last else ("min", "min(hour)")
    hours = f"SELECT CAST({hour} AS bigint) * 3600 << {SERIAL_BITS} AS id FROM"
    parts = (
        f"{hours} activity_row WHERE (arch, nr) IN ({CALLS})",
        f"{hours} activity_part WHERE nr IN (SELECT k.nr FROM ({CALLS}) k)",  # noqa: S608 - ours
        f"SELECT {most}(e.id) FROM event e WHERE e.type IN ({TYPES})",  # noqa: S608 - ours
        f"SELECT {most}(r.event) FROM record r WHERE {IN_CALLS}",  # noqa: S608 - ours
    )
    return f"SELECT {most}(id) FROM ({' UNION ALL '.join(parts)}) ends"  # noqa: S608 - ours


def changes(d: Dialect) -> str:
    """Give the view."""
    columns = (
        "event_id, host, time, change AS what, action, object, object2, outcome, pid, auid, uid,"
        " ses, how, key"
    )
    kinds = f"WHERE e.type IN ({TYPES})"
    where = _WHERE_CALLS if d.joins else f"WHERE v.change IS NOT NULL{_OF_MACHINE}"
    return (
        f"SELECT {columns} FROM ({calls(d, where)}) told"  # noqa: S608
        f" UNION ALL SELECT {columns} FROM ({others(d, kinds)}) told"
        f" UNION ALL SELECT {columns} FROM ({_in_calls(d)}) told"
    )


def _in_calls(d: Dialect) -> str:
    found, joins = of_call(d)
    fields = d.json.format("told.value", "r.event")
    return f"""
        SELECT event_id, host, time, {verb("change", "type_name", "type")} AS change,
            {verb_of_record("type_name", "op")} AS action, object, object2,
            CASE WHEN result IS NOT NULL THEN {OUTCOME} ELSE called END AS outcome,
            pid, auid, uid, ses, {how("exe", "comm")} AS how, key
        FROM (
            SELECT s.id AS event_id, {found["host"]}, {time(d, "s")} AS time, r.type,
                (SELECT t.name FROM record_type t WHERE t.type = r.type) AS type_name,
                {operation(d, fields, "r.type")} AS op, {named(d, fields, "r.type")} AS object,
                {changed_to(d, fields, "r.type")} AS object2,
                {words.known(words.field(d, fields, "res"))} AS result,
                CAST(NULL AS text) AS verdict, {outcome("s.success")} AS called,
                c.pid, c.auid, c.uid, c.ses, {found["exe"]}, {found["comm"]}, {found["key"]}
            FROM record r
            JOIN text told ON told.id = r.fields
            JOIN syscall s ON s.id = r.event
            {context(d)}
            {joins}
            WHERE {IN_CALLS}
        ) made"""  # noqa: S608 - of this package's texts only


def commands(d: Dialect) -> str:
    """Give the view: execs, and what sudo, su and terminals told."""
    columns = "event_id, host, time, how, command, outcome, cwd, pid, auid, uid, ses, terminal, exe"
    return (
        f"SELECT {columns} FROM ({_execs(d)}) made"  # noqa: S608 - as above
        f" UNION ALL SELECT {columns} FROM ({_told(d)}) made"
    )


def _execs(d: Dialect) -> str:
    found, joins = lookups(
        d,
        [text("exe", "c.exe"), host("c.host"), text("cwd", "c.cwd"), text("tty", "c.tty")],
    )
    shells = ", ".join(f"'{name}'" for name in effects.SHELLS)
    argv = "(SELECT t.value FROM text t WHERE t.id = x.argv)"
    return f"""
        SELECT event_id, host, time,
            CASE WHEN {words.basename("exe")} IN ({shells}) THEN 'shell' ELSE 'exec' END AS how,
            {_joined(d, "argv", "event_id")} AS command, outcome, cwd, pid, auid, uid, ses,
            nullif(tty, '(none)') AS terminal, exe
        FROM (
            SELECT s.id AS event_id, {found["host"]}, {time(d, "s")} AS time, {argv} AS argv,
                {outcome("s.success")} AS outcome, {found["cwd"]}, c.pid, c.auid, c.euid AS uid,
                c.ses, {found["tty"]}, {found["exe"]}
            FROM exec x
            JOIN syscall s ON s.id = x.event
            {context(d)}
            {joins}
        ) made"""  # noqa: S608 - as above


def _joined(d: Dialect, argv: str, event: str) -> str:
    """Give a command's arguments as one text, those that a shell would divide in its quotes.

    A quote in them is written as a shell needs it, so that no argument looks like several.
    """
    plain = "value"
    for sign in (" ", "\t", "\n", "\r", "\\", "''", '"'):
        plain = f"replace({plain}, '{sign}', '')"
    quoted = (
        f"CASE WHEN value = '' OR value <> {plain}"
        " THEN '''' || replace(value, '''', '''\\''''') || '''' ELSE value END"
    )
    if d.joins:
        listed = d.json.format(argv, event)
        return (
            f"(SELECT string_agg({quoted}, ' ' ORDER BY place)"  # noqa: S608 - ours
            f" FROM jsonb_array_elements_text({listed}) WITH ORDINALITY a(value, place))"
        )
    return f"(SELECT group_concat({quoted}, ' ') FROM json_each({argv}))"  # noqa: S608 - ours


def _told(d: Dialect) -> str:
    more = {
        "command_told": words.known(words.field(d, "{0}", "cmd")),
        "data": words.field(d, "{0}", "data"),
        "acct": words.known(words.field(d, "{0}", "acct")),
        "cwd": as_text(words.known(words.field(d, "{0}", "cwd"))),
        "terminal": words.own_field(d, "{0}", "terminal"),
    }
    program = words.basename("exe")
    where = (
        f"WHERE e.type IN ({_USER_CMD}, {_TTY}, {_USER_TTY}) OR e.type = {_USER_START} AND"
        f" {words.basename(words.last_field(d, d.json.format('told.value', 'e.id'), 'exe'))}"
        " IN ('su', 'runuser')"
    )
    return f"""
        SELECT event_id, host, time,
            CASE WHEN type IN ({_TTY}, {_USER_TTY}) THEN 'typed'
                ELSE coalesce({program}, 'sudo') END AS how,
            CASE WHEN type IN ({_TTY}, {_USER_TTY}) THEN data
                WHEN type = {_USER_START} THEN 'session of ' || coalesce(acct, '?')
                ELSE command_told END AS command,
            {OUTCOME} AS outcome, cwd, pid, auid, uid, ses, terminal, exe
        FROM ({told_events(d, more, where)}) told"""  # noqa: S608 - as above
