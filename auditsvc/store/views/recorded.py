"""The views of what the kernel and the service wrote: a row a call, a record, a count.

The columns of a view are the project's contract with its users.
"""

from __future__ import annotations

from typing import Final

from auditsvc.decode.states import COMPLETE, NO_EXIT, PARTIAL, STATE_REASON
from auditsvc.record.line import FOREIGN
from auditsvc.record.types import (
    DAEMON_ACCEPT,
    DAEMON_CLOSE,
    DAEMON_CONFIG,
    PATH,
    SOCKADDR,
    SYSCALL,
)
from auditsvc.store.activity import COUNTED, KEY
from auditsvc.store.views import cgroups, words
from auditsvc.store.views import names as name_view
from auditsvc.store.views.dialect import Dialect, Lookup, Step, asked
from auditsvc.store.views.dialect import case as _case
from auditsvc.store.views.dialect import lookups as _lookups
from auditsvc.store.views.dialect import text as _text
from auditsvc.store.views.dialect import time as _time
from auditsvc.store.views.processes import of_call, processes

_OWN: Final = "spool"
"""Kind of the sources that speak for the host (`auditsvc.store.origins`)."""

# The units of counts; all others are counted in records.
_UNITS: Final = {"gap": "serials", "raw": "lines", "segments_missing": "files"}

CONTEXT_IDS: Final = (
    "ppid",
    "pid",
    "auid",
    "uid",
    "gid",
    "euid",
    "suid",
    "fsuid",
    "egid",
    "sgid",
    "fsgid",
)
"""Columns of `syscalls` about the caller, in their order."""
_FILE = ("nametype", "inode", "dev", "mode", "ouid", "ogid", "rdev")


def _syscalls(d: Dialect) -> str:
    arguments = ", ".join(f"{d.hex.format(f's.a{n}')} AS a{n}" for n in range(4))
    numbers = ", ".join(f"s.a{n} AS a{n}_number" for n in range(4))
    spoken = ", ".join(f"{words.argument(d, str(n), f's.a{n}')} AS a{n}_words" for n in range(4))
    state = _case("s.state", {COMPLETE: "complete", NO_EXIT: "no_exit"}, "'partial'")
    argv = (Step("exec", "x", "x.event = s.id"), Step("text", "argv_text", "argv_text.id = x.argv"))
    # Every call has a context. SQLite turns round only a plain join, PostgreSQL drops
    # only the other.
    context = f"{'LEFT JOIN' if d.joins else 'JOIN'} context c ON c.id = s.context"
    found, joins = _lookups(
        d,
        [
            _text("exe", "c.exe"),
            _text("key", "c.key"),
            _text("comm", "c.comm"),
            Lookup("host", (Step("host", "h", "h.id = c.host"),), "name"),
            _text("cwd", "c.cwd"),
            _text("proctitle", "c.title"),
            _text("tty", "c.tty"),
            _text("subj", "c.subj"),
            Lookup("arch", (Step("arch_name", "machine", "machine.arch = c.arch"),), "name"),
            Lookup("argv", argv, shape=d.json.format("{0}", "x.event")),
        ],
    )
    return f"""
        SELECT s.id AS event_id, {found["host"]}, {_time(d, "s")} AS time, s.serial,
            {found["arch"]}, call.name AS syscall, s.nr, {arguments},
            {numbers}, {spoken},
            {d.truth.format("s.success")} AS success, s.exit,
            {words.errno("s.exit", "s.success")} AS errno, {state} AS state, s.items,
            {", ".join(f"c.{name}" for name in CONTEXT_IDS)},
            {found["tty"]}, c.ses, {found["comm"]}, {found["exe"]}, {found["subj"]},
            {found["key"]}, {found["cwd"]}, {found["proctitle"]}, {found["argv"]},
            {of_call(d)}, {name_view.of_call(d)}, {cgroups.of_call(d)}
        FROM syscall s
        {context}
        LEFT JOIN syscall_name call ON call.arch = c.arch AND call.nr = s.nr
        {joins}"""  # noqa: S608 - made of this module's text only


def paths(d: Dialect, rows: str = "") -> str:
    """Give the view; `rows`: of `path`, in place of all, which have a number in `asked`."""
    found, joins = _lookups(d, [_text("obj", "f.obj")])
    full = (
        f"(SELECT {words.full_path('name.value', 'cwd.value', 'f.nametype')} FROM syscall s"  # noqa: S608 - ours
        " JOIN context c ON c.id = s.context LEFT JOIN text cwd ON cwd.id = c.cwd"
        " LEFT JOIN syscall_name call ON call.arch = c.arch AND call.nr = s.nr"
        " WHERE s.id = p.event)"
    )
    return f"""
        SELECT p.event AS event_id, p.item, name.value AS name,
            CASE WHEN substr(name.value, 1, 1) = '/' THEN name.value ELSE {full} END AS path,
            {", ".join(f"f.{column}" for column in _FILE)}, {found["obj"]}{asked(rows)}
        FROM {rows or "path"} p
        JOIN file f ON {d.settled.format("p", "file = f.id")}
        LEFT JOIN text name ON name.id = f.name{d.indexed.format("name")}
        {joins}"""  # noqa: S608 - as above


def stored_paths(d: Dialect, where: str) -> str:
    """Give rows of `path` as the view has them, but for `path`; `where` chooses rows `p`.

    Beside them `seq`, and the ids of the file and of what else its record says.
    """
    found, _ = _lookups(d, [_text("obj", "f.obj")])
    return f"""
        SELECT p.event AS event_id, p.item, p.seq, p.file, f.extra, name.value AS name,
            {", ".join(f"f.{column}" for column in _FILE)}, {found["obj"]}
        FROM path p
        CROSS JOIN file f ON f.id = p.file
        LEFT JOIN text name ON name.id = f.name
        WHERE {where}"""  # noqa: S608 - as above


def _sockaddrs(d: Dialect) -> str:
    return f"""
        SELECT s.event AS event_id, a.family, a.address, a.port, a.path
        FROM sockaddr s
        JOIN address a ON {d.settled.format("s", "address = a.id")}"""  # noqa: S608 - as above


def _events(d: Dialect) -> str:
    found, joins = _lookups(
        d,
        [
            Lookup("host", (Step("host", "h", "h.id = e.host"),), "name"),
            _text("fields", "e.fields", d.json.format("{0}", "e.id")),
        ],
    )
    return f"""
        SELECT e.id AS event_id, {found["host"]}, {_time(d, "e")} AS time, e.serial,
            type.name AS type, e.pid, e.uid, e.auid, e.ses, {found["fields"]},
            {name_view.of_event(d)}
        FROM event e
        LEFT JOIN record_type type ON type.type = e.type
        {joins}"""  # noqa: S608 - as above


_RANGE: Final = "o.low = (SELECT max(low) FROM origin WHERE low <= {0}.id) AND o.high >= {0}.id"
"""The range of `origin` that an event is in."""


def _is_own(d: Dialect, fields: str) -> str:
    """Whether an event of ours, `e`, came from our own spool and is our own line there."""
    passed_on = d.json_get.format(f"({fields})", FOREIGN.decode())
    return (
        f"{passed_on} IS NULL AND NOT EXISTS"  # noqa: S608 - ours
        f" (SELECT 1 FROM origin o WHERE {_RANGE.format('e')} AND o.source IS NOT NULL)"
    )


def _origins(_: Dialect) -> str:
    """Where each event came from; a spool's name only where there is but one spool."""
    spool = f"(SELECT CASE WHEN count(*) = 1 THEN max(name) END FROM source WHERE kind = '{_OWN}')"  # noqa: S608
    parts = (
        f"SELECT e.id AS event_id, CASE WHEN o.low IS NULL THEN '{_OWN}' ELSE s.kind END AS kind,"  # noqa: S608
        f" CASE WHEN o.low IS NULL THEN {spool} ELSE s.name END AS source"
        f" FROM {table} e LEFT JOIN origin o ON {_RANGE.format('e')}"
        " LEFT JOIN source s ON s.id = o.source"
        for table in ("syscall", "event")
    )
    return " UNION ALL ".join(parts)


def _tamper(d: Dialect) -> str:
    """The guard's findings (`auditsvc.guard.finding`), from the service's own records."""
    found, joins = _lookups(d, [Lookup("host", (Step("host", "h", "h.id = e.host"),), "name")])
    # Other texts are no JSON, and a planner may ask for the operation first.
    ours = f"(CASE WHEN e.type = {DAEMON_CONFIG} THEN told.value END)"
    told = {
        name: d.json_get.format(ours, name)
        for name in ("op", "what", "detail", "restored", "exe", "comm", "evidence", "known_by")
    }
    shown = ", ".join(f"{told[name]} AS {name}" for name in ("what", "detail", "restored"))
    evidence = d.event_of.format(f"({told['evidence']})", "e.host")
    return f"""
        SELECT e.id AS event_id, {found["host"]}, {_time(d, "e")} AS time, {shown},
            e.auid, e.pid, {told["exe"]} AS exe, {told["comm"]} AS comm, e.ses,
            {told["evidence"]} AS evidence, {evidence} AS evidence_event_id,
            {told["known_by"]} AS known_by
        FROM event e
        JOIN text told ON told.id = e.fields
        {joins}
        WHERE e.type = {DAEMON_CONFIG} AND {told["op"]} = 'tamper'
            AND {_is_own(d, ours)}"""  # noqa: S608 - as above


def _records(d: Dialect) -> str:
    own, of_contexts, of_addresses = _bare_records(d)
    return " UNION ALL ".join((own, of_contexts, records_of_paths(d), of_addresses))


def records_of_others(d: Dialect) -> str:
    """Give the view's rows but those of `records_of_paths`."""
    return " UNION ALL ".join(_bare_records(d))


def records_of_paths(d: Dialect, rows: str = "") -> str:
    """Give the view's rows of what a PATH says beside the columns; `rows`: as of `paths`."""
    joined = (
        f"""FROM {rows} p
        JOIN file f ON f.id = p.file
        JOIN text extra ON extra.id = f.extra"""
        if rows
        else f"""FROM file f
        JOIN text extra ON extra.id = f.extra
        JOIN path p ON {d.settled.format("p", "file = f.id")}"""
    )
    return f"""
        SELECT p.event AS event_id, p.seq, type.name AS type,
            {d.json_add.format("extra.value", "item", "p.item")} AS fields{asked(rows)}
        {joined}
        LEFT JOIN record_type type ON type.type = {PATH}"""


def _bare_records(d: Dialect) -> tuple[str, str, str]:
    # Fields without a column are shown under the type of the record they came in.
    own = f"""
        SELECT r.event AS event_id, r.seq, type.name AS type,
            {d.json.format("fields.value", "r.event")} AS fields
        FROM record r
        LEFT JOIN record_type type ON type.type = r.type
        LEFT JOIN text fields ON fields.id = r.fields"""  # noqa: S608 - as above
    of_contexts = f"""
        SELECT s.id, CAST(0 AS integer), type.name, {d.json.format("extra.value", "s.id")}
        FROM context c
        JOIN text extra ON extra.id = c.extra
        JOIN syscall s ON s.context = c.id
        LEFT JOIN record_type type ON type.type = {SYSCALL}"""  # noqa: S608 - as above
    of_addresses = f"""
        SELECT s.event, s.seq, type.name, {d.json_pair.format("saddr", "a.saddr")}
        FROM sockaddr s
        JOIN address a ON {d.settled.format("s", "address = a.id")}
        LEFT JOIN record_type type ON type.type = {SOCKADDR}"""  # noqa: S608 - as above
    return own, of_contexts, of_addresses


def _activity(d: Dialect) -> str:
    """Calls counted by hour: the rows, and the parts that have not joined them yet."""
    found, joins = _lookups(
        d,
        [
            _text("exe", "a.exe"),
            _text("comm", "a.comm"),
            _text("key", "a.key"),
            Lookup("host", (Step("host", "h", "h.id = a.host"),), "name"),
        ],
    )
    return f"""
        SELECT {d.hour.format("a.hour")} AS hour, {found["host"]}, {found["exe"]}, {found["comm"]},
            nullif(a.auid, -1) AS auid, nullif(a.uid, -1) AS uid, {found["key"]},
            call.name AS syscall, {d.truth.format("nullif(a.success, -1)")} AS success,
            nullif(a.errno, 0) AS errno, a.calls
        FROM (
            SELECT {KEY}, CAST(sum(calls) AS bigint) AS calls
            FROM (SELECT {KEY}, calls FROM activity_row UNION ALL {COUNTED}) both_of_them
            GROUP BY {KEY} HAVING sum(calls) <> 0
        ) a
        LEFT JOIN syscall_name call ON call.arch = a.arch AND call.nr = a.nr
        {joins}"""  # noqa: S608 - as above


def _partials(_: Dialect) -> str:
    parts = (
        f"SELECT t.id AS event_id, {_case('t.state', STATE_REASON, 'NULL')} AS reason"  # noqa: S608
        f" FROM {table} t WHERE t.state >= {PARTIAL}"
        for table in ("syscall", "event")
    )
    return " UNION ALL ".join(parts)


def _coverage(d: Dialect) -> str:
    """The coverage of processes (`auditsvc.coverage.watch`), from the service's own records."""
    # A planner may look at other texts first, which are no JSON.
    ours = f"CASE WHEN e.type = {DAEMON_CONFIG} THEN said.value END"

    def said(name: str) -> str:
        return d.json_get.format(f"({ours})", name)

    words = ", ".join(f"{said(name)} AS {name}" for name in ("comm", "exe", "state", "reason"))
    numbers = ", ".join(
        f"{d.number.format(said(name))} AS {name}" for name in ("threads", "covered")
    )
    found, joins = _lookups(d, [Lookup("host", (Step("host", "h", "h.id = e.host"),), "name")])
    return f"""
        SELECT e.id AS event_id, {found["host"]}, {_time(d, "e")} AS time, e.pid,
            {d.stamp.format(said("began"))} AS began, {words}, {numbers}
        FROM event e
        JOIN text said ON said.id = e.fields
        {joins}
        WHERE e.type = {DAEMON_CONFIG} AND {said("op")} = 'coverage'
            AND {_is_own(d, ours)}"""  # noqa: S608 - as above


def _access(d: Dialect) -> str:
    """Who asked what (`auditsvc.access`): from the service's own records, and from the tables."""

    def said(table: str, number: int, name: str) -> str:
        ours = f"(CASE WHEN e.type = {number} THEN {table}.value END)"
        return d.json_get.format(ours, name)

    def begun(name: str) -> str:
        return said("told", DAEMON_ACCEPT, name)

    def ended(name: str) -> str:
        return said("last", DAEMON_CLOSE, name)

    found, joins = _lookups(d, [Lookup("host", (Step("host", "h", "h.id = e.host"),), "name")])
    texts = {"acct": "name", "command": "command", "data": "options", "cmd": "sql", "file": "store"}
    shown = ", ".join(f"{begun(field)} AS {name}" for field, name in texts.items())
    whole = "(CASE WHEN e.type = {0} THEN {1}.value END)"
    return f"""
        SELECT e.id AS event_id, {found["host"]}, {_time(d, "e")} AS time, z.ended_at,
            e.uid, e.auid, e.ses, e.pid, {shown}, z.rows, z.ended,
            CAST(NULL AS text) AS role, CAST(NULL AS text) AS client, 'service' AS known_by
        FROM event e
        JOIN text told ON told.id = e.fields
        {joins}
        LEFT JOIN (
            SELECT e.host, {ended("id")} AS access, max({_time(d, "e")}) AS ended_at,
                max({d.number.format(ended("rows"))}) AS rows, max({ended("data")}) AS ended
            FROM event e
            JOIN text last ON last.id = e.fields
            WHERE e.type = {DAEMON_CLOSE} AND {ended("op")} = 'access'
                AND {_is_own(d, whole.format(DAEMON_CLOSE, "last"))}
            GROUP BY 1, 2
        ) z ON z.host = e.host AND z.access = {begun("id")}
        WHERE e.type = {DAEMON_ACCEPT} AND {begun("op")} = 'access'
            AND {_is_own(d, whole.format(DAEMON_ACCEPT, "told"))}
        UNION ALL
        SELECT a.id, a.host, {_time(d, "a")}, {d.time.format("x.at", "x.ms")},
            a.uid, a.auid, a.ses, a.pid, a.name, a.command, a.options, a.sql, NULL,
            x.rows, x.ended, a.role, a.client,
            CASE WHEN a.role IS NULL THEN 'reader' ELSE 'database' END
        FROM access_entry a
        LEFT JOIN access_end x ON x.id = a.id AND x.role = coalesce(a.role, '')"""  # noqa: S608 - as above


def _ledger(_: Dialect) -> str:
    units = " ".join(f"WHEN '{cause}' THEN '{unit}'" for cause, unit in _UNITS.items())
    # Deleted rows were stored, so they are no part of the sum that received records add up to.
    pruned = "".join(
        f" UNION ALL SELECT 'store', '', '{cause}', CAST(sum(p.{unit}) AS bigint), '{unit}'"  # noqa: S608 - ours
        f" FROM pruned_day p HAVING sum(p.{unit}) > 0"
        for cause, unit in (("pruned", "events"), ("pruned_raw", "lines"))
    )
    return f"""
        SELECT s.kind, s.name AS source, l.cause, l.count,
            CASE l.cause {units} ELSE 'records' END AS unit
        FROM ledger_entry l
        JOIN source s ON s.id = l.source{pruned}"""  # noqa: S608 - as above


def _pruned(d: Dialect) -> str:
    """What retention deleted (`auditsvc.retention`), by the day of the events."""
    return f"""
        SELECT {d.day.format("p.day")} AS day, p.events, p.lines,
            {d.second.format("p.at")} AS pruned_at
        FROM pruned_day p"""  # noqa: S608 - as above


RECORDED: Final = {
    "syscalls": _syscalls,
    "paths": paths,
    "sockaddrs": _sockaddrs,
    "events": _events,
    "tamper": _tamper,
    "records": _records,
    "partials": _partials,
    "coverage": _coverage,
    "processes": processes,
    "names": name_view.names,
    "activity": _activity,
    "access": _access,
    "ledger": _ledger,
    "origins": _origins,
    "pruned": _pruned,
}
