"""What a report shows of an event, as SQL: of a call, and of an event without one.

A call is `syscall s` with its `context c`; an event without one is `event e` with the text `f`
of its first record's fields. An event's records are taken together as aureport does: a later
record's value stands for an earlier one's, so what SYSCALL says of the caller holds; the remote
host is the address of the last SOCKADDR.

Raw values: an auid of -1 is unset, NULL is not known; success is 1, 0 or NULL; a syscall is its
name, or `ARCH NR` of a SECCOMP record (`values.syscall_name`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.decode.states import PARTIAL
from auditsvc.record.types import AVC, CONFIG_CHANGE, LOGIN, PATH, SECCOMP, SYSCALL, USER_AVC
from auditsvc.record.types import CALLS as CALLS_OF_EVENTS
from auditsvc.report import types
from auditsvc.report.kinds import COLUMNS
from auditsvc.store.views.words import of_kernel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditsvc.report.choice import Choice
    from auditsvc.report.dialect import Dialect
    from auditsvc.report.kinds import Kinds
    from auditsvc.report.types import Types

CALLS: Final = "syscall s CROSS JOIN context c"
"""CROSS JOIN: SQLite keeps this order, which is that of time; `IS_CALL` joins the two."""
IS_CALL: Final = "c.id = s.context"
LONE: Final = "event e CROSS JOIN text f"
IS_LONE: Final = "f.id = e.fields"

WITH_FILE: Final = types.INTEGRITY | types.Types((AVC, CONFIG_CHANGE))
"""Types of records that name a file and can be part of a call."""

_TEXTS: Final = {"exe": "exe", "comm": "comm", "term": "tty"}
"""Columns that are a text of the context, by its column there."""

_PEER: Final = """(
    SELECT CASE WHEN a.family IN ('inet', 'inet6') THEN a.address END
    FROM sockaddr k JOIN address a ON a.id = k.address
    WHERE k.event = {0}.id ORDER BY k.seq DESC LIMIT 1)"""
"""The address of the last SOCKADDR of an event, if it is one of the internet."""

_SOCKET: Final = """(
    SELECT CASE WHEN a.path LIKE '@%' THEN substr(a.path, 2) ELSE a.path END
    FROM sockaddr k JOIN address a ON a.id = k.address
    WHERE k.event = {0}.id AND a.family = 'unix' AND a.path <> '' ORDER BY k.seq LIMIT 1)"""
"""The path of a Unix socket; of an abstract one without the @."""

# The folder stands in the list before what is in it. (aureport means to leave it out, but takes
# what follows `nametype=` for a part of its value.)
_PATH: Final = """(
    SELECT {1} FROM path p JOIN file i ON i.id = p.file LEFT JOIN text n ON n.id = i.name
    WHERE p.event = {0}.id
    ORDER BY CASE i.nametype WHEN 'PARENT' THEN 1 ELSE 0 END, p.seq LIMIT 1)"""
NAME: Final = "coalesce(n.value, '(null)')"
IS_RELATIVE: Final = "(n.value LIKE './%' OR n.value LIKE '..%')"
_JOINED: Final = f"""CASE WHEN {IS_RELATIVE} THEN coalesce(
    (SELECT d.value FROM text d WHERE d.id = c.cwd) || '/' || n.value, n.value) ELSE {NAME} END"""  # noqa: S608

# The kernel asks for a permission (AVC) before it logs what was done with it.
_FIRST: Final = f"""coalesce((
    SELECT min(CASE r.type WHEN {AVC} THEN 0 ELSE r.type END)
    FROM record r WHERE r.event = s.id AND r.type NOT IN ({types.listed(types.FOLLOWING)})
    ), {SYSCALL})"""  # noqa: S608 - numbers alone
FIRST: Final = f"coalesce(nullif({_FIRST}, 0), {AVC})"
"""The type of the first record of a call's event: the store does not keep their order, but the
kernel logs before SYSCALL what happens inside the call."""


@dataclass(frozen=True, slots=True)
class Part:
    """The calls, or the other events: a FROM clause, and the columns of the wanted values."""

    shown: tuple[str, ...]
    source: str
    where: tuple[str, ...]
    hits: str = "count(*)"
    """How many events the rows of a group are."""

    def select(self, more: Iterable[str] = (), where: Iterable[str] = ()) -> str:
        """Write the statement, with `more` columns before the others."""
        columns = ", ".join([*more, *self.shown])
        conditions = " AND ".join([*self.where, *where])
        return f"SELECT {columns} FROM {self.source} WHERE {conditions}"  # noqa: S608 - ours


def calls(names: Iterable[str], choice: Choice, dialect: Dialect) -> Part:
    """Give the calls of a choice, with the columns of these names."""
    shown, joins = [], []
    others = _of_call(dialect)
    for name in names:
        if name in _TEXTS:
            joins.append(f"LEFT JOIN text {name}_text ON {name}_text.id = c.{_TEXTS[name]}")
            shown.append(f"{name}_text.value")
        elif name == "syscall":
            joins.append("LEFT JOIN syscall_name call ON call.arch = c.arch AND call.nr = s.nr")
            shown.append("coalesce(call.name, CAST(s.nr AS text))")
        else:
            shown.append(others[name])
    return Part(tuple(shown), " ".join([CALLS, *joins]), tuple(are_calls(choice)))


def are_calls(choice: Choice) -> list[str]:
    """Give the conditions on the calls of a choice."""
    return [IS_CALL, *choice.of_event("s.id", "s.success", FIRST), *choice.of_caller("c")]


def _of_call(dialect: Dialect) -> dict[str, str]:
    auid = "coalesce(c.auid, -1)"
    return {
        "auid": auid,
        "auid_named": named_auid(dialect),
        "who": auid,
        "who_counted": auid,
        "success": "s.success",
        "pid": "c.pid",
        "uid": "c.uid",
        "ses": "c.ses",
        "host": _PEER.format("s"),
        "type": FIRST,
        "program": "(SELECT t.value FROM text t WHERE t.id = coalesce(c.exe, c.comm))",
        "file": f"coalesce({_record_name(dialect)}, {_SOCKET.format('s')},"
        f" {_PATH.format('s', _JOINED)})",
        "key": _key(dialect),
        "data": _keystrokes(dialect),
        **dict.fromkeys(("acct", "account", "account_counted"), "NULL"),
    }


def named_auid(dialect: Dialect) -> str:
    """Give the name of the login user that auditd logged with a call (ENRICHED), or the number."""
    logged = f"(SELECT {dialect.of('AUID', 'c.extra')} FROM text f WHERE f.id = c.extra)"  # noqa: S608 - ours
    return f"coalesce({logged}, CAST(coalesce(c.auid, -1) AS text))"


def file_of(dialect: Dialect, row: str) -> str:
    """Give the file that a record names; `row` is its alias, of `event` or `record`."""
    column = f"{row}.type"

    def of(name: str) -> str:
        return dialect.of(name, f"{row}.fields")

    return f"""CASE
        WHEN {column} = {AVC} THEN coalesce({of("path")}, {of("name")})
        WHEN {column} = {CONFIG_CHANGE} THEN {of("path")}
        WHEN {types.INTEGRITY.condition(column)} THEN {of("name")}
        WHEN {column} = {PATH} THEN coalesce({of("name")}, '(null)')
        WHEN {column} = {types.VIRT_RESOURCE} THEN coalesce({of("path")}, {of("new-disk")}) END"""


def _record_name(dialect: Dialect) -> str:
    """Give the file that a record names which the kernel logged inside the call."""
    return f"""(
        SELECT {file_of(dialect, "r")} FROM record r JOIN text f ON f.id = r.fields
        WHERE r.event = s.id AND {WITH_FILE.condition("r.type")} LIMIT 1)"""  # noqa: S608 - ours


def _key(dialect: Dialect) -> str:
    """Give the keys of a call, separated by commas: first that of a rule that it changed."""
    changed = f"""(
        SELECT {dialect.of("key", "r.fields")} FROM record r JOIN text f ON f.id = r.fields
        WHERE r.event = s.id AND r.type = {CONFIG_CHANGE} ORDER BY r.seq LIMIT 1)"""  # noqa: S608 - ours
    own = "(SELECT t.value FROM text t WHERE t.id = c.key)"
    return f"coalesce({changed} || ',' || {own}, {changed}, {own})"


def key_of_lone(dialect: Dialect) -> str:
    """Give the key of an event `e` without a call: a rule's, and no program's word."""
    return of_kernel("e.type", dialect.of("key"))


def _keystrokes(dialect: Dialect) -> str:
    """Give what was typed, as a TTY record of a call has it."""
    return f"""(
        SELECT {dialect.of("data", "r.fields")} FROM record r JOIN text f ON f.id = r.fields
        WHERE r.event = s.id AND r.type = {types.TTY} LIMIT 1)"""  # noqa: S608 - ours


def lone(
    names: Iterable[str], choice: Choice, dialect: Dialect, *, of: Types | None = None
) -> Part:
    """Give the events without a call of a choice, with the columns of these names.

    `of`: only events of these types.
    """
    known = _of_lone(dialect)
    where = (*are_lone(choice, dialect), *_are_of(of))
    return Part(tuple(known[name] for name in names), LONE, where)


def _are_of(of: Types | None) -> Iterable[str]:
    return () if of is None else (of.condition("e.type"),)


_OF_EACH: Final = frozenset(("host", "file"))
"""What can be in records beside the first one, so that it is looked up for each event."""
WITH_OTHERS: Final = (
    f"SELECT o.id FROM event o WHERE o.state >= {PARTIAL}"  # noqa: S608 - numbers alone
    f" UNION SELECT o.id FROM event o WHERE o.type IN ({types.listed(CALLS_OF_EVENTS)})"
)
"""The events without a call that can have rows of `path` and `sockaddr`: these records belong to
a call, and are partial without it (`auditsvc.decode.reference.rows`); of few, found by indexes."""
HAS_OTHERS: Final = f"e.id IN ({WITH_OTHERS})"
_COLUMNS: Final = {
    "account": ("uid",),
    "pid": ("pid",),
    "uid": ("uid",),
    "ses": ("ses",),
    **dict.fromkeys(("auid", "auid_named", "who", "who_counted"), ("auid",)),
}
"""Columns of `event` that a value is read from, beside its type and fields."""


def folded(
    names: Iterable[str],
    choice: Choice,
    dialect: Dialect,
    *,
    hours: bool = False,
    plain: bool = False,
    kinds: Kinds | None = None,
    of: Types | None = None,
) -> Part:
    """Give `lone` for counting: events that are alike in these columns are one row.

    Many events have the same fields, which are JSON: so each text is read once. Of such a row the
    id is the least, and `hits` tells how many they are. `hours`: only events of one hour, whose
    ids they are; the hour is that of the least. `plain`: only events that have no rows of other
    tables. `kinds` may have read them before. `of`: only events of these types.
    """
    wanted = list(names)
    if choice.needs_first or choice.success is not None:
        return lone(wanted, choice, dialect, of=of)
    if not plain and _OF_EACH.intersection(wanted):
        return lone(wanted, choice, dialect, of=of)
    more = {column for name in wanted for column in _COLUMNS.get(name, ())}
    more |= {"host"} if choice.hosts else set()
    more |= {"auid"} if choice.auid is not None else set()
    inner = None
    if kinds is not None and more.issubset(COLUMNS):
        inner = kinds.source(choice, WITH_OTHERS, plain=plain, hours=hours, of=of)
    if inner is None:
        # By an expression of the type: SQLite would read the rows by its index on the type.
        columns = ("fields", *sorted(more), "+type")
        grouped = ", ".join([*columns, *([f"(x.id >> {SERIAL_BITS}) / 3600"] if hours else [])])
        only = [f"x.id NOT IN ({WITH_OTHERS})"] if plain else []
        within = " AND ".join(["1 = 1", *choice.times("x.id"), *only])
        inner = (
            f"(SELECT {', '.join(columns)} AS type, CAST(count(*) AS bigint) AS n,"  # noqa: S608 - ours
            f" min(x.id) AS id FROM event x WHERE {within} GROUP BY {grouped})"
        )
    source = LONE.replace("event e", f"{inner} e")
    known = _of_lone(dialect) | {"host": _host_told(dialect), "file": file_of(dialect, "e")}
    is_it = (IS_LONE, *choice.of_caller("e"), *_are_of(of))
    shown, source = dialect.once([known[name] for name in wanted], source)
    return Part(shown, source, is_it, "CAST(sum(e.n) AS bigint)")


def lone_parts(
    names: Iterable[str],
    choice: Choice,
    dialect: Dialect,
    *,
    hours: bool = False,
    kinds: Kinds | None = None,
    of: Types | None = None,
) -> list[Part]:
    """Give `folded` in parts: events of one record, and those that can have others."""
    wanted = list(names)
    if not _OF_EACH.intersection(wanted) or choice.needs_first or choice.success is not None:
        return [folded(wanted, choice, dialect, hours=hours, kinds=kinds, of=of)]
    first = folded(wanted, choice, dialect, hours=hours, plain=True, kinds=kinds, of=of)
    rest = lone(wanted, choice, dialect, of=of)
    # SQLite would read all events, and look for each among these.
    few = f"(SELECT x.* FROM ({WITH_OTHERS}) w CROSS JOIN event x WHERE x.id = w.id)"  # noqa: S608 - ours
    return [first, replace(rest, source=rest.source.replace("event e", f"{few} e"))]


def are_lone(choice: Choice, dialect: Dialect) -> list[str]:
    """Give the conditions on the events without a call of a choice."""
    outcome = _success(dialect) if choice.success is not None else ""
    return [IS_LONE, *choice.of_event("e.id", outcome, "e.type"), *choice.of_caller("e")]


def _of_lone(dialect: Dialect) -> dict[str, str]:
    """Give the expressions of an event without a call by the names of columns."""
    of = dialect.of
    auid = f"CASE WHEN {of('auid')} IS NOT NULL THEN coalesce(e.auid, -1) END"
    success = _success(dialect)
    acct = of("acct")
    word = f"CAST({auid} AS text)"
    return {
        "exe": of("exe"),
        "comm": of("comm"),
        "acct": acct,
        "account": f"coalesce({acct}, CAST(e.uid AS text))",
        "account_counted": f"coalesce({acct}, '?')",
        "program": f"coalesce({of('exe')}, {of('comm')})",
        "file": f"coalesce({file_of(dialect, 'e')}, {_SOCKET.format('e')},"
        f" {_PATH.format('e', NAME)})",
        "key": key_of_lone(dialect),
        "pid": "e.pid",
        "uid": "e.uid",
        "ses": "e.ses",
        "type": "e.type",
        "data": of("data"),
        "auid": auid,
        "auid_named": f"coalesce({of('AUID')}, {word})",
        "success": success,
        "term": f"coalesce({of('terminal')},"
        f" CASE WHEN {types.WITH_TTY.condition('e.type')} THEN {of('tty')} END)",
        "host": f"coalesce({_host_told(dialect)}, {_PEER_OF_LONE})",
        "syscall": f"CASE WHEN e.type = {SECCOMP} THEN {of('arch')} || ' ' || {of('syscall')} END",
        # A login that failed is shown by the account; one before there is a login user is
        # counted by it.
        "who": f"CASE WHEN {success} = 0 AND {acct} IS NOT NULL THEN {acct} ELSE {word} END",
        "who_counted": f"CASE WHEN e.auid IS NULL AND {acct} IS NOT NULL THEN {acct}"
        f" ELSE {word} END",
    }


_PEER_OF_LONE: Final = (
    f"CASE WHEN e.type NOT IN ({types.DAEMON_ACCEPT}, {types.DAEMON_CLOSE},"
    f" {types.NETFILTER_PKT}) THEN {_PEER.format('e')} END"
)


def _host_told(dialect: Dialect) -> str:
    """Give the remote host that the fields of an event name."""
    of = dialect.of
    return (
        f"CASE WHEN e.type IN ({types.DAEMON_ACCEPT}, {types.DAEMON_CLOSE}) THEN {of('addr')}"
        f" WHEN e.type = {types.NETFILTER_PKT} THEN {of('saddr')}"
        f" WHEN {of('hostname')} = '?' THEN coalesce({of('addr')}, '?') ELSE {of('hostname')} END"
    )


def _success(dialect: Dialect) -> str:
    result, verdict = dialect.of("res"), _verdict(dialect)
    return f"""CASE
        WHEN e.type = {AVC} THEN {verdict}
        WHEN {result} LIKE 'fail%' OR {result} IN ('0', 'no') THEN 0
        WHEN {result} LIKE 'success%' OR {result} IN ('1', 'yes')
            OR ({result} IS NOT NULL AND {types.USER.condition("e.type")}) THEN 1
        WHEN {dialect.of("result")} IS NOT NULL
            THEN CASE lower({dialect.of("result")}) WHEN 'success' THEN 1 ELSE 0 END
        WHEN e.type = {USER_AVC} THEN {verdict}
        WHEN e.type IN ({CONFIG_CHANGE}, {LOGIN}) AND {result} IS NULL THEN 1
        ELSE CASE {dialect.of("success")} WHEN 'yes' THEN 1 WHEN 'no' THEN 0 END
        END"""


def _verdict(dialect: Dialect) -> str:
    """Give what SELinux or AppArmor decided."""
    both = f"lower(coalesce({dialect.of('seresult')}, {dialect.of('apparmor')}))"
    return f"CASE {both} WHEN 'denied' THEN 0 WHEN 'granted' THEN 1 WHEN 'allowed' THEN 1 END"
