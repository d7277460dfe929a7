"""The views for users of SQL, defined once for both databases.

The columns of a view are the project's contract with its users; a `Dialect` has the
expressions that differ between the databases. Names and texts that a row refers to are
looked up in a way that costs nothing if a query does not use them: on PostgreSQL by a LEFT
JOIN on a primary key, which its planner can drop or reorder; on SQLite, whose planner keeps
such joins under an aggregate, by a scalar subquery. docs/decisions/0002-store.md has the
measurements. Lookups that people filter by come first: PostgreSQL reorders at most eight joins.

Values: a `time` is UTC (text to the millisecond on SQLite, timestamptz on
PostgreSQL); `success` is 1, 0 or NULL (boolean on PostgreSQL); `argv` and
`fields` are JSON (jsonb on PostgreSQL). `event_id >> 30` is the event's second. On PostgreSQL
an index has the expression of `time`; on SQLite a range of time is served by the range of
`event_id` that it implies, which `auditsvc.store.read` adds to a query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
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
from auditsvc.store.schema import HEAD, TIME

_OWN: Final = "spool"
"""Kind of the sources that speak for the host (`auditsvc.store.origins`)."""

# Record types whose fields have columns, by the number in linux/audit.h. What
# has no column is shown by `records` as a row of the type that it came in.


@dataclass(frozen=True)
class Dialect:
    """The expressions of one database that the views need; each is a format of its arguments."""

    time: str  # event's id, millisecond
    hex: str  # argument of a call, shown in hex without leading zeros
    truth: str  # 1, 0 or NULL
    json: str  # text that holds JSON, its event's id
    json_add: str  # text that holds a JSON object, key, value
    json_pair: str  # key, text value
    json_get: str  # text that holds a JSON object, key; gives text
    event_of: str  # SECOND.MMM:SERIAL as text, a host's id; gives the event's id
    number: str  # text that holds an integer
    stamp: str  # text that holds seconds since 1970, with a fraction
    hour: str  # hours since 1970
    day: str  # days since 1970
    second: str  # seconds since 1970
    indexed: str  # what makes the index on texts serve; a row of `text`
    settled: str  # what makes both indexes of a table serve (`store.schema.SETTLED`): its row, key
    cascade: str  # what lets a view be dropped though views of others show it
    joins: bool  # whether a lookup is a join; else it is a subquery


class Step(NamedTuple):
    """A row of `table`, called `alias`, for which `on` holds; there is at most one."""

    table: str
    alias: str
    on: str


class Lookup(NamedTuple):
    """The column `name` of a view: `column` of the row that the last of `steps` leads to.

    `shape` is a format for the value.
    """

    name: str
    steps: tuple[Step, ...]
    column: str = "value"
    shape: str = "{0}"


SQLITE: Final = Dialect(
    time=f"strftime('%Y-%m-%d %H:%M:%S', ({{0}} >> {SERIAL_BITS}), 'unixepoch')"
    " || printf('.%03d', {1})",
    hex="printf('%x', {0})",
    truth="{0}",
    json="{0}",
    # SQLite joins the parts of `records` to other sources only if their columns are of one type.
    json_add="CAST(json_set({0}, '$.{1}', {2}) AS TEXT)",
    json_pair="CAST(json_object('{0}', {1}) AS TEXT)",
    json_get="json_extract({0}, '$.{1}')",
    event_of="CASE WHEN {0} GLOB '[0-9]*.[0-9][0-9][0-9]:[0-9]*' THEN"
    " (CAST({0} AS INTEGER) << "
    f"{SERIAL_BITS}) | ((CAST(substr({{0}}, instr({{0}}, ':') + 1) AS INTEGER) + {{1}})"
    f" & {SERIAL_MASK}) END",
    number="CAST({0} AS INTEGER)",
    stamp="strftime('%Y-%m-%d %H:%M:%f', {0}, 'unixepoch')",
    hour="strftime('%Y-%m-%d %H:%M:%S', {0} * 3600, 'unixepoch')",
    day="date({0} * 86400, 'unixepoch')",
    second="strftime('%Y-%m-%d %H:%M:%S', {0}, 'unixepoch')",
    indexed=f" AND {{0}}.head = substr({{0}}.value, 1, {HEAD})",
    settled="{0}.{1} AND ({0}.settled IS NOT NULL AND {0}.{1} OR {0}.settled IS NULL AND {0}.{1})",
    cascade="",
    joins=False,
)
POSTGRESQL: Final = Dialect(
    time=TIME,
    hex="coalesce(nullif(ltrim(encode({0}, 'hex'), '0'), ''), '0')",
    truth="({0} <> 0)",
    # Only together with its event: alone, every text would be cast, and most are no JSON.
    json="(CASE WHEN {1} >= 0 THEN {0}::jsonb END)",
    json_add="(CASE WHEN p.event >= 0 THEN {0}::jsonb END) || jsonb_build_object('{1}', {2})",
    json_pair="jsonb_build_object('{0}', {1})",
    json_get="({0}::jsonb ->> '{1}')",
    event_of="CASE WHEN {0} ~ '^[0-9]{{1,10}}[.][0-9]{{3}}:[0-9]{{1,10}}$' THEN"
    f" (split_part({{0}}, '.', 1)::bigint << {SERIAL_BITS})"
    f" | ((split_part({{0}}, ':', 2)::bigint + {{1}}) & {SERIAL_MASK}) END",
    # Other text is NULL: with a cast the query would fail.
    number="CAST(substring({0} FROM '^[0-9]{{1,18}}$') AS bigint)",
    stamp="to_timestamp(CAST(substring({0} FROM '^[0-9]{{1,10}}[.]?[0-9]{{0,9}}$')"
    " AS double precision))",
    hour="to_timestamp({0} * 3600)",
    day="(date '1970-01-01' + {0}::int)",
    second="to_timestamp({0}::float8)",
    indexed="",
    settled="{0}.{1}",
    cascade=" CASCADE",
    joins=True,
)
DIALECTS: Final = {"sqlite": SQLITE, "postgresql": POSTGRESQL}

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


def _case(column: str, words: dict[int, str], otherwise: str) -> str:
    whens = " ".join(f"WHEN {code} THEN '{word}'" for code, word in words.items())
    return f"CASE {column} {whens} ELSE {otherwise} END"


def _time(d: Dialect, table: str) -> str:
    return d.time.format(f"{table}.id", f"{table}.ms")


def _text(name: str, key: str, shape: str = "{0}") -> Lookup:
    step = Step("text", f"{name}_text", f"{name}_text.id = {key}")
    return Lookup(name, (step,), shape=shape)


def _lookups(d: Dialect, lookups: list[Lookup]) -> tuple[dict[str, str], str]:
    """Give the column expressions of `lookups` by name, and the joins that they need."""
    columns, joins = {}, []
    for name, steps, column, shape in lookups:
        value = f"{steps[-1].alias}.{column}"
        if d.joins:
            joins += [f"LEFT JOIN {table} {alias} ON {on}" for table, alias, on in steps]
        else:
            sources = ", ".join(f"{step.table} {step.alias}" for step in steps)
            condition = " AND ".join(step.on for step in steps)
            value = f"(SELECT {value} FROM {sources} WHERE {condition})"  # noqa: S608 - ours
        columns[name] = f"{shape.format(value)} AS {name}"
    return columns, "\n        ".join(joins)


def _syscalls(d: Dialect) -> str:
    arguments = ", ".join(f"{d.hex.format(f's.a{n}')} AS a{n}" for n in range(4))
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
            {d.truth.format("s.success")} AS success, s.exit, {state} AS state, s.items,
            {", ".join(f"c.{name}" for name in CONTEXT_IDS)},
            {found["tty"]}, c.ses, {found["comm"]}, {found["exe"]}, {found["subj"]},
            {found["key"]}, {found["cwd"]}, {found["proctitle"]}, {found["argv"]}
        FROM syscall s
        {context}
        LEFT JOIN syscall_name call ON call.arch = c.arch AND call.nr = s.nr
        {joins}"""  # noqa: S608 - made of this module's text only


def _paths(d: Dialect) -> str:
    found, joins = _lookups(d, [_text("obj", "f.obj")])
    return f"""
        SELECT p.event AS event_id, p.item, name.value AS name,
            {", ".join(f"f.{column}" for column in _FILE)}, {found["obj"]}
        FROM path p
        JOIN file f ON {d.settled.format("p", "file = f.id")}
        LEFT JOIN text name ON name.id = f.name{d.indexed.format("name")}
        {joins}"""  # noqa: S608 - as above


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
            type.name AS type, e.pid, e.uid, e.auid, e.ses, {found["fields"]}
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
    # Fields without a column are shown under the type of the record they came in.
    return f"""
        SELECT r.event AS event_id, r.seq, type.name AS type,
            {d.json.format("fields.value", "r.event")} AS fields
        FROM record r
        LEFT JOIN record_type type ON type.type = r.type
        LEFT JOIN text fields ON fields.id = r.fields
        UNION ALL
        SELECT s.id, CAST(0 AS integer), type.name, {d.json.format("extra.value", "s.id")}
        FROM context c
        JOIN text extra ON extra.id = c.extra
        JOIN syscall s ON s.context = c.id
        LEFT JOIN record_type type ON type.type = {SYSCALL}
        UNION ALL
        SELECT p.event, p.seq, type.name, {d.json_add.format("extra.value", "item", "p.item")}
        FROM file f
        JOIN text extra ON extra.id = f.extra
        JOIN path p ON {d.settled.format("p", "file = f.id")}
        LEFT JOIN record_type type ON type.type = {PATH}
        UNION ALL
        SELECT s.event, s.seq, type.name, {d.json_pair.format("saddr", "a.saddr")}
        FROM sockaddr s
        JOIN address a ON {d.settled.format("s", "address = a.id")}
        LEFT JOIN record_type type ON type.type = {SOCKADDR}"""  # noqa: S608 - as above


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


_VIEWS: Final = {
    "syscalls": _syscalls,
    "paths": _paths,
    "sockaddrs": _sockaddrs,
    "events": _events,
    "tamper": _tamper,
    "records": _records,
    "partials": _partials,
    "coverage": _coverage,
    "activity": _activity,
    "access": _access,
    "ledger": _ledger,
    "origins": _origins,
    "pruned": _pruned,
}
NAMES: Final = tuple(_VIEWS)


def statements(dialect: str) -> list[str]:
    """Give the statements that make all views again, in order; `dialect` is SQLAlchemy's name."""
    d = DIALECTS[dialect]
    made = []
    for name, body in _VIEWS.items():
        # Views of others on ours (packaging/postgres-roles.sql) must not stop a newer program.
        made += [f"DROP VIEW IF EXISTS {name}{d.cascade}", f"CREATE VIEW {name} AS {body(d)}"]
    return made
