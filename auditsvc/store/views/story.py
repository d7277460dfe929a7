"""`story`: what each event did, as words and as one sentence; `all_events`: each event as a row.

A row of `story` is made of the verb of the call or record type (`auditsvc.tables.verbs`) and of
the objects that the event's other records name. `auditsvc.search.summary` makes the same of an
event that is in memory; a test holds both equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.record.types import CONFIG_CHANGE, DAEMON_CLOSE, DAEMON_CONFIG, SECCOMP, URINGOP
from auditsvc.store.views import words
from auditsvc.store.views.dialect import Lookup, Step, lookups, text, time
from auditsvc.store.views.names import QUOTED, USER, in_call, in_event
from auditsvc.store.views.sentence import sentence
from auditsvc.tables import effects, names
from auditsvc.tables.names_of_objects import (
    ABOUT_ACCOUNTS,
    BY_OPERATION,
    BY_TYPE,
    CARRIERS,
    END_OF,
    FIELDS,
    SCRIPTED,
    SETTINGS,
    TAMPER,
    TELLING,
    VALUES,
    WITH_OPERATION,
)
from auditsvc.tables.verbs import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from auditsvc.store.views.dialect import Dialect

_OBJ_PID: Final = 1318
KERN_MODULE: Final = 1330
CALL: Final = """LEFT JOIN syscall_name call ON call.arch = c.arch AND call.nr = s.nr
        LEFT JOIN part_call part ON part.call = call.name AND part.number = s.a0
        LEFT JOIN verb v ON v.kind = 'call' AND v.name = coalesce(part.name, call.name)"""
"""Name and verb of a call `s` with the context `c`; of socketcall, those of the call in it."""
CALLED: Final = "coalesce(part.name, call.name)"


def host(key: str) -> Lookup:
    """Give the lookup of a host's name."""
    return Lookup("host", (Step("host", "h", f"h.id = {key}"),), "name")


def context(d: Dialect) -> str:
    """Give the join of a call's context: SQLite turns round a plain one, PostgreSQL drops one."""
    return f"{'LEFT JOIN' if d.joins else 'JOIN'} context c ON c.id = s.context"


def of_call(d: Dialect) -> tuple[dict[str, str], str]:
    """Give the columns about the caller that people filter by, and the joins that they need."""
    return lookups(
        d, [text("exe", "c.exe"), text("key", "c.key"), text("comm", "c.comm"), host("c.host")]
    )


def as_text(value: str) -> str:
    """Give an expression of a text as a column of texts is.

    SQLite reads a view of several parts through (with the conditions on it put into each part, and
    no column made that nobody asks for) only if each column of it has one affinity in all parts: a
    column of a table and a cast have theirs, another expression has none, and that is another none
    than of an expression that is a column of a subquery.
    """
    return f"CAST({value} AS text)"


def bare(column: str) -> str:
    """Give a column's expression without its name."""
    return column.rpartition(" AS ")[0]


def verb(column: str, name: str, kind: str) -> str:
    """Give what the table of verbs says of a type or an operation."""
    return (
        f"(SELECT w.{column} FROM verb w WHERE w.kind = '{kind}'"  # noqa: S608 - ours
        f" AND w.name = {name})"
    )


_TELLING: Final = ", ".join(map(str, WITH_OPERATION))


def operation(d: Dialect, fields: str, kind: str) -> str:
    """Give the operation that a record of a type (`kind`: its number) tells, as verbs have it."""
    op, what = (words.field(d, fields, name) for name in ("op", "what"))
    return (
        f"CASE WHEN {kind} = {DAEMON_CLOSE} THEN '{END_OF}' || {op}"
        f" WHEN {kind} = {DAEMON_CONFIG} AND {op} = '{TAMPER}' THEN '{TAMPER} ' || {what}"
        f" WHEN {kind} IN ({_TELLING}) THEN {op} END"
    )


def verb_of_record(name: str, op: str) -> str:
    """Give what a record of a type (`name`) did, which its operation (`op`, above) can tell."""
    return f"coalesce({verb('action', op, 'operation')}, {verb('action', name, 'type')})"


def _by_operation(d: Dialect, fields: str, op: str, otherwise: str, *, second: bool) -> str:
    """Give an object of a record whose operation says which it is; else what is given."""
    ways = ""
    for name, of in BY_OPERATION.items():
        fields_of = of.second if second else of.object
        found = [words.known(words.field(d, fields, each)) for each in fields_of]
        ways += f" WHEN '{name}' THEN {_first(found)}"
    return f"CASE {op}{ways} ELSE {otherwise} END"


def _first(values: Sequence[str]) -> str:
    """Give the first value that is not NULL."""
    return f"coalesce({', '.join(values)})" if len(values) > 1 else "".join(values) or "NULL"


def named(d: Dialect, fields: str, kind: str) -> str:
    """Give the object that the fields of a record name; `kind`: the number of its type."""
    op = operation(d, fields, kind)
    own = {
        name: f"coalesce({', '.join(words.own_field(d, fields, each) for each in of)}, NULL)"
        for name, of in BY_TYPE.items()
    }
    own["LOGIN"] = f"CASE {own['LOGIN']} WHEN '4294967295' THEN 'unset' ELSE {own['LOGIN']} END"
    by_type = "".join(
        f" WHEN {names.record_type_number(name)} THEN {word}" for name, word in own.items()
    )
    settings = " ".join(
        f"WHEN {words.field(d, fields, name)} IS NOT NULL THEN '{name}'" for name in SETTINGS
    )
    known = ", ".join(words.known(words.field(d, fields, name)) for name in FIELDS)
    accounts = ", ".join(str(names.record_type_number(name)) for name in ABOUT_ACCOUNTS)
    verbs = ", ".join(f"'{name}'" for name in OPERATIONS)
    word = words.known(words.field(d, fields, "op"))
    last = f"CASE WHEN {kind} NOT IN ({accounts}) AND coalesce({op}, '') NOT IN ({verbs})"
    found = (
        f"coalesce(CASE {kind}{by_type} END, CASE {settings} END, {known}, {last} THEN {word} END)"
    )
    return _by_operation(d, fields, op, found, second=False)


def changed_to(d: Dialect, fields: str, kind: str) -> str:
    """Give what the object that a record names was changed to, or more of it."""
    values = ", ".join(words.known(words.field(d, fields, name)) for name in (*SETTINGS, *VALUES))
    op = operation(d, fields, kind)
    return _by_operation(d, fields, op, f"coalesce({values})", second=True)


def named_call(d: Dialect, number: str, machine: str) -> str:
    """Give the name of a call, of its number and its machine in hex, as a record has them."""
    arch = f"SELECT m.arch FROM arch_name m WHERE {d.hex.format('m.arch')} = {machine}"  # noqa: S608 - ours
    return (
        f"(SELECT n.name FROM syscall_name n WHERE n.nr = {d.number.format(number)}"  # noqa: S608
        f" AND n.arch = ({arch}))"
    )


def _refused_call(d: Dialect, fields: str) -> str:
    """Give the call that seccomp refused: its name, or else its number."""
    number, machine = (words.field(d, fields, name) for name in ("syscall", "arch"))
    return f"coalesce({named_call(d, number, machine)}, {number})"


def of_record(d: Dialect, value: str, event: str, kind: int | str) -> str:
    """Give a value made of the fields, `{0}`, of the first record of a type of an event."""
    fields = d.json.format("told.value", "r.event")
    return (
        f"(SELECT {value.replace('{0}', fields)} FROM record r"  # noqa: S608 - ours
        " JOIN text told ON told.id = r.fields"
        f" WHERE r.event = {event} AND r.type = {kind} AND r.seq = 0)"
    )


def record_field(d: Dialect, name: str, event: str, kind: int) -> str:
    """Give a field of the first record of a type of an event."""
    return of_record(d, words.field(d, "{0}", name), event, kind)


def outcome(success: str, progress: str = "") -> str:
    """Give the outcome of a call; `progress` is a condition for one that goes on."""
    goes_on = f"WHEN {success} = 0 AND {progress} THEN 'in progress' " if progress else ""
    return f"CASE WHEN {success} = 1 THEN 'success' {goes_on}WHEN {success} = 0 THEN 'failed' END"


def in_progress(call: str) -> str:
    """Give the condition for a connect that goes on."""
    results = ", ".join(map(str, effects.IN_PROGRESS))
    return f"{call} = 'connect' AND s.exit IN ({results})"


OUTCOME: Final = (
    f"CASE WHEN type = {SECCOMP} THEN 'failed'"
    " WHEN lower(result) IN ('success', '1', 'yes') THEN 'success'"
    " WHEN result IS NOT NULL THEN 'failed'"
    " WHEN lower(verdict) IN ('granted', 'allowed') THEN 'success'"
    " WHEN lower(verdict) IN ('denied', 'kill') THEN 'failed' END"
)
"""The outcome that a record (`told_events`) tells; NULL if it tells none."""


def told_events(d: Dialect, more: Mapping[str, str], where: str = "") -> str:
    """Give the events without a call, with what their fields tell; `more`: expressions of these.

    The text of the fields is `told.value`; as JSON it is `{0}` in an expression of `more`.
    """
    found, joins = lookups(d, [host("e.host")])
    fields = d.json.format("told.value", "e.id")

    def first(*names: str) -> str:
        return f"coalesce({', '.join(words.known(words.field(d, fields, n)) for n in names)}, NULL)"

    columns = {
        "type_name": "(SELECT t.name FROM record_type t WHERE t.type = e.type)",
        "result": f"coalesce({words.own_field(d, fields, 'res')}, {first('result', 'success')})",
        "verdict": first("seresult", "action", "apparmor"),
        "exe": as_text(words.own_field(d, fields, "exe")),
        "comm": as_text(first("comm")),
        "key": as_text(words.of_kernel("e.type", first("key"))),
        **{name: value.replace("{0}", fields) for name, value in more.items()},
    }
    shown = ", ".join(f"{value} AS {name}" for name, value in columns.items())
    return f"""SELECT e.id AS event_id, {found["host"]}, {time(d, "e")} AS time, e.serial, e.type,
            e.pid, e.auid, e.uid, e.ses, {shown}
        FROM event e
        LEFT JOIN text told ON told.id = e.fields
        {joins}
        {where}"""  # noqa: S608 - made of texts of this package only


def how(exe: str, comm: str) -> str:
    """Give the program: its path, or the name of the script that an interpreter runs."""
    program = f"rtrim({words.basename(exe)}, '0123456789.')"
    scripted = ", ".join(f"'{name}'" for name in SCRIPTED)
    return (
        f"CASE WHEN {comm} <> '' AND (coalesce({exe}, '') = '' OR {program} IN ({scripted}))"
        f" THEN {comm} ELSE nullif({exe}, '') END"
    )


IS_NAMED: Final = "{name} <> '' AND coalesce({nametype}, '') <> 'PARENT'"
"""Whether a file can be an event's first or last."""
IS_FOLDER: Final = "coalesce({mode}, '') LIKE '04____'"
FILE_TEXT: Final = "coalesce({path}, {name})"
"""What a story calls a file."""
_CWD: Final = "(SELECT t.value FROM text t WHERE t.id = c.cwd)"
_FILE: Final = FILE_TEXT.format(path=words.full_path("{0}", _CWD, "f.nametype"), name="{0}")
"""That of a file `f`, with the name `{0}`, of a call `s` (`call`) with the context `c`."""


def _file(value: str, event: str, order: str) -> str:
    """Give a value of the first, or last, file that an event names; `{0}` is its name."""
    return (
        f"(SELECT {value.replace('{0}', 'n.value')} FROM path p JOIN file f ON f.id = p.file"  # noqa: S608
        f" JOIN text n ON n.id = f.name WHERE p.event = {event}"
        f" AND {IS_NAMED.format(name='n.value', nametype='f.nametype')}"
        f" ORDER BY p.item {order}, p.seq {order} LIMIT 1)"
    )


def _address(event: str) -> str:
    return (
        f"(SELECT {words.address()} FROM sockaddr o JOIN address a ON a.id = o.address"  # noqa: S608
        f" WHERE o.event = {event} ORDER BY o.seq LIMIT 1)"
    )


def _is_folder(event: str) -> str:
    """Whether the last file of an event, or the folder that it is in, is a directory."""
    mode = (
        "(SELECT f.mode FROM path p JOIN file f ON f.id = p.file"  # noqa: S608 - ours
        f" WHERE p.event = {event} ORDER BY p.item DESC, p.seq DESC LIMIT 1)"
    )
    return IS_FOLDER.format(mode=mode)


def _place(place: str) -> str:
    """Give the argument of a call at a place that is an expression."""
    return f"(CASE {place} WHEN 0 THEN s.a0 WHEN 1 THEN s.a1 WHEN 2 THEN s.a2 ELSE s.a3 END)"


def story(d: Dialect) -> str:
    """Give the view."""
    return f"{_sentences(calls(d))} UNION ALL {_sentences(others(d))}"


_ONCE: Final = " LIMIT -1 OFFSET 0"
"""Keeps SQLite from writing a subquery's expressions into each place that names them."""


GIVEN: Final = ("first", "last", "in_folder", "comm")
"""What `story_of_calls` can be given of each call."""


def story_of_calls(d: Dialect, where: str, without: Collection[str] = (), given: str = "") -> str:
    """Give the rows of the view of some calls `s`, for who reads most columns of each.

    Each value is made once, on SQLite; the view's are made anew wherever a column names them, but
    for who asks for some of its columns, or chooses rows by them, it leaves out the others.
    `without`: tables of other records (sockaddr, exec, record) in which none of the calls has a
    row; what cannot be there is not looked for. `given`: calls in place of `syscall`,
    with the columns `GIVEN` beside its own, which are not looked up then.
    """
    return _sentences(calls(d, where + _ONCE, without, given) + _ONCE)


def story_of_others(d: Dialect, where: str) -> str:
    """Give those of some events without a call `e`; as `story_of_calls`."""
    return _sentences(others(d, where + _ONCE) + _ONCE)


_COLUMNS: Final = (
    "event_id, host, time, pid, auid, uid, ses, actor, as_user, action, outcome, object, object2,"
    " object_kind, how, key"
)


def _sentences(rows: str) -> str:
    """Give rows with their sentence; `link` is the word before the second object."""
    return f"SELECT {_COLUMNS}, {sentence(link='link')} AS sentence FROM ({rows}) told"  # noqa: S608 - ours


def calls(d: Dialect, where: str = "", without: Collection[str] = (), given: str = "") -> str:
    """Give the rows about calls, with `change`; `where` chooses calls, the others as above."""
    found, joins = of_call(d)
    own = {
        "first": _file(_FILE, "s.id", "ASC"),
        "last": _file(_FILE, "s.id", "DESC"),
        "in_folder": _is_folder("s.id"),
        "comm": bare(found["comm"]),
    }
    if given:
        own = {name: f"s.{name}" for name in own}
    carriers = ", ".join(f"'{name}'" for name in CARRIERS)
    told = (
        "(SELECT min(r.type) FROM record r WHERE r.event = s.id"  # noqa: S608 - ours
        f" AND (r.type = {CONFIG_CHANGE} OR r.type IN ({', '.join(map(str, TELLING))})"
        f" AND {CALLED} IN ({carriers})))"
    )
    type_name = "(SELECT t.name FROM record_type t WHERE t.type = told_type)"

    def of(table: str, value: str) -> str:
        return "NULL" if table in without else value

    def tells(value: str, otherwise: str) -> str:
        if "record" in without:
            return otherwise
        return f"CASE WHEN told_type IS NOT NULL THEN {value} ELSE {otherwise} END"

    def of_told(value: str) -> str:
        return of_record(d, value, "event_id", "told_type")

    base = f"""
        SELECT s.id AS event_id, {found["host"]}, {time(d, "s")} AS time, c.pid, c.auid, c.uid,
            c.euid, {in_call(d, "auid", USER, QUOTED)} AS auid_name,
            {in_call(d, "euid", USER, QUOTED)} AS euid_name, c.ses,
            {found["exe"]}, {own["comm"]} AS comm, {found["key"]},
            {of("record", told)} AS told_type, v.action AS did, v.change, v.object_place,
            v.second_place, coalesce(v.link, 'to') AS link,
            coalesce(v.object_kind, 'system') AS kind,
            coalesce(call.name, CAST(s.nr AS text)) AS name, part.name AS part_name,
            {outcome("s.success", in_progress(CALLED))} AS outcome,
            {own["first"]} AS first, {own["last"]} AS last,
            {of("exec", _program(d))} AS program,
            {of("record", record_field(d, "name", "s.id", KERN_MODULE))} AS module,
            {of("sockaddr", _address("s.id"))} AS address,
            {of("record", record_field(d, "opid", "s.id", _OBJ_PID))} AS target,
            {words.argument(d, "v.second_place", _place("v.second_place"))} AS second,
            {_signed(_place("v.object_place"))} AS number,
            {own["in_folder"]} AS in_folder
        FROM {given or "syscall"} s
        {context(d)}
        {CALL}
        {joins}
        {where}"""  # noqa: S608 - made of texts of this package only
    action = of_told(verb_of_record(type_name, operation(d, "{0}", "told_type")))
    called = "coalesce(part_name, name)"
    others = ", ".join(f"'{call}'" for call in sorted(effects.OF_ANOTHER))
    objects = f"""coalesce(module, address, target, first, program,
                CASE WHEN object_place IS NOT NULL AND (number <> 0 OR {called} IN ({others}))
                    THEN CAST(number AS text) END,
                CASE WHEN kind IN ('memory', 'process') AND {called} NOT IN ({others})
                    THEN nullif(comm, '') END)"""
    second = """CASE WHEN second_place IS NOT NULL THEN
                CASE WHEN part_name IS NULL OR name = 'prctl' THEN second END
                WHEN coalesce(program, module, address, target) IS NULL THEN nullif(last, first)
                END"""
    kind = "CASE WHEN kind = 'file' AND in_folder THEN 'directory' ELSE kind END"
    return f"""
        SELECT event_id, host, time, pid, auid, uid, ses, change,
            {as_text(f"coalesce(auid_name, {words.user('auid')}, 'system')")} AS actor,
            {as_text(f"coalesce(euid_name, {words.user('euid')})")} AS as_user,
            {tells(action, "coalesce(did, 'made-call ' || name)")} AS action, outcome,
            {tells(of_told(named(d, "{0}", "told_type")), objects)} AS object,
            {tells(of_told(changed_to(d, "{0}", "told_type")), second)} AS object2,
            {tells(verb("object_kind", type_name, "type"), kind)} AS object_kind,
            {how("exe", "comm")} AS how, key, {tells("'to'", "link")} AS link
        FROM ({base}) made"""  # noqa: S608 - as above


def _program(d: Dialect) -> str:
    """Give the first argument of an exec."""
    argv = d.json.format("t.value", "x.event")
    first = f"{argv} ->> 0" if d.joins else f"json_extract({argv}, '$[0]')"
    return f"(SELECT {first} FROM exec x JOIN text t ON t.id = x.argv WHERE x.event = s.id)"  # noqa: S608


def _signed(number: str) -> str:
    """Give an argument as the 32-bit number that a process id is."""
    return f"(({number} & 4294967295) + 2147483648 & 4294967295) - 2147483648"


def others(d: Dialect, where: str = "") -> str:
    """Give the rows about events without a call, with `change`; `where` chooses events `e`."""
    number = d.number.format(words.field(d, "{0}", "uring_op"))
    uid, auid_words = words.field(d, "{0}", "uid"), words.field(d, "{0}", "AUID")
    uid_number = d.number.format(uid)
    uid_number = f"CASE WHEN CAST({uid_number} AS text) = {uid} THEN {uid_number} END"
    more = {
        "uid_told": f"nullif({uid}, '')",
        "auid_name": f"CASE WHEN e.auid IS NOT NULL THEN {in_event(auid_words, 'e.auid')} END",
        "uid_name": in_event(words.field(d, "{0}", "UID"), uid_number),
        "op": operation(d, "{0}", "e.type"),
        "uring_op": number,
        "named": f"CASE e.type WHEN {URINGOP} THEN NULL WHEN {SECCOMP} THEN"
        f" {_refused_call(d, '{0}')} ELSE {named(d, '{0}', 'e.type')} END",
        "changed_to": f"CASE WHEN e.type <> {URINGOP} THEN {changed_to(d, '{0}', 'e.type')} END",
        "first": _file("{0}", "e.id", "ASC"),
        "last": _file("{0}", "e.id", "DESC"),
        "address": _address("e.id"),
        "target": record_field(d, "opid", "e.id", _OBJ_PID),
    }
    actor = f"coalesce(auid_name, {words.user('auid')}, 'system')"
    as_user = (
        "CASE WHEN uid_told IN ('4294967295', '-1') THEN 'unset'"
        " ELSE coalesce(uid_name, uid_told) END"
    )
    uring = (
        "(SELECT w.action FROM value_word o JOIN verb w ON w.kind = 'call' AND w.name = o.word"
        " WHERE o.kind = 'uring' AND o.number = uring_op)"
    )
    return f"""
        SELECT event_id, host, time, pid, auid, uid, ses,
            {verb("change", "type_name", "type")} AS change,
            {as_text(actor)} AS actor, {as_text(as_user)} AS as_user,
            coalesce(CASE type WHEN {URINGOP} THEN {uring} END,
                {verb_of_record("type_name", "op")},
                'made-record ' || coalesce(type_name, CAST(type AS text))) AS action,
            {OUTCOME} AS outcome, coalesce(named, address, target, first) AS object,
            coalesce(changed_to, CASE WHEN coalesce(named, address, target) IS NULL
                THEN nullif(last, first) END) AS object2,
            coalesce({verb("object_kind", "type_name", "type")}, 'system') AS object_kind,
            {how("exe", "comm")} AS how, key,
            coalesce({verb("link", "op", "operation")}, 'to') AS link
        FROM ({told_events(d, more, where)}) made"""  # noqa: S608 - as above


def all_events(d: Dialect) -> str:
    """Give the view: calls, and events without a call; DAEMON_* is the kind `daemon`."""
    found, joins = of_call(d)
    return f"""
        SELECT * FROM (
            SELECT s.id AS event_id, {found["host"]}, {time(d, "s")} AS time, s.serial,
                'call' AS kind, {as_text("'SYSCALL'")} AS type, call.name AS syscall,
                c.pid, c.auid, c.uid, c.ses, {found["comm"]}, {found["exe"]}, {found["key"]},
                {outcome("s.success", in_progress(CALLED))} AS outcome
            FROM syscall s
            {context(d)}
            {CALL}
            {joins}
        ) made
        UNION ALL
        SELECT * FROM (
            SELECT event_id, host, time, serial,
                CASE WHEN substr(type_name, 1, 7) = 'DAEMON_' THEN 'daemon' ELSE 'event' END,
                type_name, CAST(NULL AS text), pid, auid, uid, ses, comm, exe, key, {OUTCOME}
            FROM ({told_events(d, {})}) told
        ) made"""  # noqa: S608 - as above
