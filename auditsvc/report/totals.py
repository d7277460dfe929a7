"""The report without a name: what the store has of a time, in 25 numbers.

What aureport counts differently is named in `docs/report.md`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.record.types import CONFIG_CHANGE, DAEMON_CONFIG
from auditsvc.report import rollup, types
from auditsvc.report.catalogue import BY_NAME
from auditsvc.report.choice import Choice
from auditsvc.report.columns import FIRST, IS_LONE, are_calls, are_lone, lone, lone_parts
from auditsvc.report.details import without_notes
from auditsvc.report.several import file_counts, keys_of_changes, used_names
from auditsvc.report.summaries import used_peers, values
from auditsvc.report.types import Types, listed
from auditsvc.report.values import shower, time_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.report.reader import Reader
    from auditsvc.report.values import Value

_TEXTS: Final = {"term": "c.tty", "exe": "c.exe", "comm": "c.comm", "key": "c.key"}
_MANY: Final = 500
"""Ids that one statement asks for."""
# The classes of an event's records, each counted once an event; the first that fits.
_CLASSES: Final = {
    "config change": Types((CONFIG_CHANGE,)),
    "daemon config": Types((DAEMON_CONFIG,)),
    "usys config": Types((types.USYS_CONFIG,)),
    "netfilter": Types((types.NETFILTER_CFG,)),
    "feature": Types((types.FEATURE_CHANGE,)),
    "user mac config": Types((types.USER_MAC_CONFIG_CHANGE,)),
    "mac": Types((), ((1403, 1417),)),
    "chauthtok": Types((1108,)),
    "accounts": Types((), ((1114, 1117),)),
    "user management": Types((types.USER_MGMT,)),
    "group management": Types((1132,)),
    "roles": Types((), ((2301, 2302),)),
    "user mac": Types((), ((2300, 2399),)),
    "kernel crypto": Types((), ((1600, 1699),)),
    "user crypto": Types((), ((2400, 2499),)),
    "kernel anomaly": types.KERNEL_ANOMALY,
    "user anomaly": types.USER_ANOMALY,
    "response": types.RESPONSE,
    "integrity": types.INTEGRITY,
    "virt": types.VIRT,
    "avc": types.AVC,
}
_LINES: Final = {
    "changes in configuration": (
        *("config change", "daemon config", "usys config", "netfilter", "feature"),
        *("user mac config", "mac"),
    ),
    "changes to accounts, groups, or roles": (
        *("chauthtok", "accounts", "user management", "group management", "roles"),
    ),
    "AVC's": ("avc",),
    "MAC events": ("mac", "user mac", "roles", "user mac config"),
    "anomaly events": ("kernel anomaly", "user anomaly"),
    "responses to anomaly events": ("response",),
    "crypto events": ("kernel crypto", "user crypto"),
    "integrity events": ("integrity",),
    "virt events": ("virt",),
}


class Total(NamedTuple):
    """A line: what is counted, and its number or time."""

    name: str
    value: Value


def totals(reader: Reader, choice: Choice) -> list[Total]:
    """Count everything."""
    return list(_totals(reader, choice))


def _totals(reader: Reader, choice: Choice) -> Iterator[Total]:
    first, last = _ends(reader, choice)
    yield Total("first event", first)
    yield Total("last event", last)
    classes = _classes(reader, choice)

    def line(name: str) -> Total:
        return Total(name, sum(classes[each] for each in _LINES[name]))

    yield line("changes in configuration")
    yield line("changes to accounts, groups, or roles")
    others = _others(reader, choice)
    yield from _attempts(others.attempts)
    calls = _calls(reader, choice)
    callers = _callers(reader, choice, others.values)
    yield Total("users", len(callers["auid"]))
    yield Total("terminals", len(callers["term"]))
    yield Total("host names", len(_hosts(reader, choice, others.values["host"])))
    yield Total("executables", len(callers["exe"]))
    yield Total("commands", len(callers["comm"]))
    yield Total("files", _files(reader, choice))
    yield line("AVC's")
    yield line("MAC events")
    yield Total("failed syscalls", calls.failed)
    yield line("anomaly events")
    yield line("responses to anomaly events")
    yield line("crypto events")
    yield line("integrity events")
    yield line("virt events")
    yield Total("keys", len(callers["key"]))
    yield Total("process IDs", len(callers["pid"]))
    yield Total("events", calls.number + others.number)


def _ends(reader: Reader, choice: Choice) -> tuple[Value, Value]:
    """Give the times of the first and the last event within the time of a choice."""
    found = []
    for end, order in (("min", "ASC"), ("max", "DESC")):
        ids: list[tuple[int, int]] = []
        for table in ("syscall", "event"):
            where = " AND ".join(["1 = 1", *choice.times("t.id")])
            sql = f"SELECT t.id, t.ms FROM {table} t WHERE {where} ORDER BY t.id {order} LIMIT 1"  # noqa: S608
            ids += [(row[0], row[1]) for row in reader.rows(sql, choice.values)]
        found.append(time_of(*(min if end == "min" else max)(ids)) if ids else None)
    return found[0], found[1]


class _Calls(NamedTuple):
    """How many calls there are, and how many failed; read() too, which aureport leaves out."""

    number: int
    failed: int


def _calls(reader: Reader, choice: Choice) -> _Calls:
    """Count the calls."""
    source, where = "syscall s CROSS JOIN context c", " AND ".join(are_calls(choice))
    counts = "count(*), coalesce(sum(CASE WHEN s.success = 0 THEN 1 END), 0)"
    sql = f"SELECT {counts} FROM {source} WHERE {where}"  # noqa: S608 - ours
    if rollup.suits(choice):
        sql = rollup.all_calls(choice)
    number, failed = reader.one(sql, choice.values)
    return _Calls(int(number), int(failed))


def _classes(reader: Reader, choice: Choice) -> Counter[str]:
    """Count the events that have a record of each class."""
    whens = " ".join(f"WHEN {of.condition('{0}')} THEN '{name}'" for name, of in _CLASSES.items())
    which = f"CASE {whens} END"
    if choice.is_of_times:
        return _classes_by_type(reader, choice, which)
    lone = are_lone(choice, reader.dialect)
    own = " AND ".join([*lone, without_notes(reader.dialect)])
    further = ["e.id = r.event", *lone]
    calls = ["s.id = r.event", *are_calls(choice)]
    times = choice.times("r.event")
    sql = f"""
        SELECT kind, count(*) FROM (
            SELECT e.id AS id, {which.format("e.type")} AS kind
            FROM event e CROSS JOIN text f WHERE {own}
            UNION SELECT e.id, {which.format("r.type")}
            FROM event e CROSS JOIN text f CROSS JOIN record r WHERE {" AND ".join(further)}
            UNION SELECT s.id, {which.format("r.type")}
            FROM record r {reader.dialect.call} CROSS JOIN context c
            WHERE {" AND ".join([*calls, *times, f"{which.format('r.type')} IS NOT NULL"])}
        ) each WHERE kind IS NOT NULL GROUP BY kind"""  # noqa: S608 - ours
    return Counter(dict(reader.rows(sql, choice.values)))


def _classes_by_type(reader: Reader, choice: Choice, which: str) -> Counter[str]:
    """Count them by the types of events, which an index has; other records are fewer."""
    own = " AND ".join(["1 = 1", *choice.times("e.id")])
    notes = [*are_lone(choice, reader.dialect), f"e.type = {DAEMON_CONFIG}"]
    others = " AND ".join([f"{which.format('r.type')} IS NOT NULL", *choice.times("r.event")])
    first = which.format("e.type")
    # A note of ours is none by its own type; what else it has counts.
    is_same = f"{first} = x.kind AND {without_notes(reader.dialect)}"
    sql = f"""
        SELECT {which.format("e.type")}, count(*) FROM event e WHERE {own} GROUP BY e.type
        UNION ALL SELECT {which.format(str(DAEMON_CONFIG))}, -count(*)
        FROM event e CROSS JOIN text f
        WHERE {" AND ".join(notes)} AND NOT {without_notes(reader.dialect)}
        UNION ALL SELECT x.kind, count(*) FROM (
            SELECT DISTINCT r.event AS id, {which.format("r.type")} AS kind
            FROM record r WHERE {others}) x
        WHERE NOT EXISTS (
            SELECT 1 FROM event e CROSS JOIN text f
            WHERE e.id = x.id AND {IS_LONE} AND {is_same})
        GROUP BY x.kind"""  # noqa: S608 - ours
    found: Counter[str] = Counter()
    for kind, number in reader.rows(sql, choice.values):
        if kind is not None:
            found[kind] += number
    return found


class _Others(NamedTuple):
    """What the events without a call have."""

    number: int
    attempts: Counter[tuple[int, int | None]]
    """Events by type and outcome, of logins and authentications."""
    values: dict[str, set[Any]]


_ATTEMPTS: Final = (types.USER_AUTH, types.USER_MGMT, types.USER_LOGIN, types.GRP_AUTH)


def _others(reader: Reader, choice: Choice) -> _Others:
    """Read the events without a call once, those that are alike together."""
    names = ("auid", *_TEXTS, "host")
    number, attempts = 0, Counter[tuple[int, int | None]]()
    values: dict[str, set[Any]] = {name: set() for name in (*names, "pid")}
    for part in lone_parts(["success", *names], choice, reader.dialect):
        sql = f"{part.select(['e.type', part.hits])} GROUP BY 1, {_places(3, len(names) + 1)}"
        for kind, hits, success, *row in reader.rows(sql, choice.values):
            number += hits
            if kind in _ATTEMPTS:
                attempts[kind, success] += hits
            for name, value in zip(names, row, strict=True):
                values[name].add(value)
    part = lone(["pid"], choice, reader.dialect)
    pids = part.select(where=["e.pid IS NOT NULL"]).replace("SELECT", "SELECT DISTINCT", 1)
    if choice.is_of_times:
        within = " AND ".join(["e.pid IS NOT NULL", *choice.times("e.id")])
        pids = f"SELECT DISTINCT e.pid FROM event e WHERE {within}"  # noqa: S608 - ours
    values["pid"].update(pid for (pid,) in reader.rows(pids, choice.values))
    return _Others(number, attempts, values)


def _places(first: int, number: int) -> str:
    return ", ".join(str(first + n) for n in range(number))


def _attempts(found: Counter[tuple[int, int | None]]) -> Iterator[Total]:
    """Count logins and authentications that succeeded and failed."""

    def of(success: int, *kinds: int) -> int:
        return sum(found[kind, success] for kind in kinds)

    yield Total("logins", of(1, types.USER_LOGIN))
    yield Total("failed logins", of(0, types.USER_LOGIN))
    yield Total("authentications", of(1, types.USER_AUTH, types.GRP_AUTH))
    yield Total("failed authentications", of(0, types.USER_AUTH, types.USER_MGMT, types.GRP_AUTH))


_ON_CONTEXT: Final = {"auid": "coalesce(c.auid, -1)", "pid": "c.pid", **_TEXTS}


def _callers(reader: Reader, choice: Choice, others: dict[str, set[Any]]) -> dict[str, set[Any]]:
    """Give the distinct users, terminals, programs, commands, keys and processes."""
    columns = ", ".join(f"{value} AS {name}" for name, value in _ON_CONTEXT.items())
    used = _used_contexts(choice)
    each = " UNION ALL ".join(
        f"SELECT {n}, d.v FROM (SELECT DISTINCT {name} AS v FROM u) d"  # noqa: S608 - ours
        for n, name in enumerate(_ON_CONTEXT)
    )
    found: dict[str, set[Any]] = {name: set() for name in _ON_CONTEXT}
    names = tuple(_ON_CONTEXT)
    sql = f"WITH u AS MATERIALIZED (SELECT {columns} FROM {used}) {each}"  # noqa: S608 - ours
    for n, value in reader.rows(sql, choice.values):
        found[names[n]].add(value)
    for name in _TEXTS:
        found[name] = set(_texts(reader, found[name] - {None}))
    for name, known in found.items():
        known.update(others[name])
    changed = keys_of_changes(reader.dialect, choice, ())
    found["key"].update(key for key, *_ in reader.rows(changed, choice.values))
    found["key"] = {key for text in found["key"] if text for key in text.split(",") if key}
    for known in found.values():
        known.discard(None)
    return found


def _used_contexts(choice: Choice) -> str:
    """Give the contexts `c` of calls, as a FROM clause with its conditions."""
    event = [*choice.of_event("s.id", "s.success", FIRST)]
    where = ["c.id = u.context", *choice.of_caller("c")]
    inner = " AND ".join(["1 = 1", *event])
    used = f"SELECT DISTINCT s.context FROM syscall s WHERE {inner}"  # noqa: S608 - ours
    if rollup.suits_contexts(choice):
        used = rollup.contexts(choice, "context")
    return f"({used}) u JOIN context c ON {' AND '.join(where)}"


_EVERYTHING: Final = Choice()


def _hosts(reader: Reader, choice: Choice, told: set[Any]) -> set[Value]:
    """Give the remote hosts, `told` by events without a call."""
    show = shower("host", interpret=False)
    found = {show(each) for each in told if each is not None}
    if choice == _EVERYTHING:
        for sql in used_peers(choice, reader.dialect):
            found.update(show(each) for each, *_ in reader.rows(sql, choice.values))
        return found
    return found | values(reader, BY_NAME["host"], choice, only_calls=True)


def _texts(reader: Reader, ids: set[int]) -> Iterator[str]:
    """Give the texts of these ids."""
    rest = sorted(ids)
    for start in range(0, len(rest), _MANY):
        among = listed(rest[start : start + _MANY])
        sql = f"SELECT t.value FROM text t WHERE t.id IN ({among})"  # noqa: S608 - numbers alone
        yield from (value for (value,) in reader.rows(sql))


def _files(reader: Reader, choice: Choice) -> int:
    parts = list(file_counts(reader, choice, ()))
    if choice.is_of_times:
        parts[0] = used_names(reader, choice)
    union = " UNION ".join(f"SELECT p{n}.value FROM ({sql}) p{n}" for n, sql in enumerate(parts))  # noqa: S608 - ours
    sql = f"SELECT count(*) FROM ({union}) names"  # noqa: S608 - ours
    return int(reader.one(sql, choice.values)[0])
