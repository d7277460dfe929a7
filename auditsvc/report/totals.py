"""The report without a name: what the store has of a time, in 25 numbers.

What aureport counts differently is named in `docs/report.md`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auditsvc.record.types import CONFIG_CHANGE, DAEMON_CONFIG
from auditsvc.report import rollup, types
from auditsvc.report.catalogue import BY_NAME
from auditsvc.report.columns import FIRST, are_calls, are_lone, folded, lone
from auditsvc.report.details import without_coverage
from auditsvc.report.several import file_counts, other_key_counts, used_names
from auditsvc.report.summaries import sums
from auditsvc.report.types import Types, listed
from auditsvc.report.values import time_of
from auditsvc.store.read.time_span import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.report.choice import Choice
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
    yield from _attempts(reader, choice)
    callers = _callers(reader, choice)
    yield Total("users", len(callers["auid"]))
    yield Total("terminals", len(callers["term"]))
    yield Total("host names", len(sums(reader, BY_NAME["host"], choice, interpret=False)))
    yield Total("executables", len(callers["exe"]))
    yield Total("commands", len(callers["comm"]))
    yield Total("files", _files(reader, choice))
    yield line("AVC's")
    yield line("MAC events")
    yield Total("failed syscalls", _failed(reader, choice))
    yield line("anomaly events")
    yield line("responses to anomaly events")
    yield line("crypto events")
    yield line("integrity events")
    yield line("virt events")
    yield Total("keys", len(callers["key"]))
    yield Total("process IDs", len(callers["pid"]))
    yield Total("events", _events(reader, choice))


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


def _events(reader: Reader, choice: Choice) -> int:
    if rollup.suits(choice):
        where = " AND ".join(["1 = 1", *choice.times("e.id")])
        others = f"SELECT count(*) FROM event e WHERE {where}"  # noqa: S608 - ours
        both = f"SELECT ({rollup.all_calls(choice)}) + ({others})"
        return int(reader.one(both, choice.values)[0])
    calls, others = "syscall s CROSS JOIN context c", "event e CROSS JOIN text f"
    where_calls, where_others = are_calls(choice), are_lone(choice, reader.dialect)
    if choice.is_of_times:
        calls, where_calls = "syscall s", ["1 = 1", *choice.times("s.id")]
        others, where_others = "event e", ["1 = 1", *choice.times("e.id")]
    counts = (
        f"(SELECT count(*) FROM {source} WHERE {' AND '.join(where)})"  # noqa: S608 - ours
        for source, where in ((calls, where_calls), (others, where_others))
    )
    return int(reader.one(f"SELECT {' + '.join(counts)}", choice.values)[0])


def _failed(reader: Reader, choice: Choice) -> int:
    """Count the calls that failed; read() too, which aureport leaves out as number 0."""
    where = " AND ".join([*are_calls(choice), "s.success = 0"])
    source = "syscall s CROSS JOIN context c"
    if choice.is_of_times:
        source, where = "syscall s", " AND ".join(["s.success = 0", *choice.times("s.id")])
    sql = f"SELECT count(*) FROM {source} WHERE {where}"  # noqa: S608 - ours
    return int(reader.one(sql, choice.values)[0])


def _classes(reader: Reader, choice: Choice) -> Counter[str]:
    """Count the events that have a record of each class."""
    whens = " ".join(f"WHEN {of.condition('{0}')} THEN '{name}'" for name, of in _CLASSES.items())
    which = f"CASE {whens} END"
    lone = are_lone(choice, reader.dialect)
    own = " AND ".join([*lone, without_coverage(reader.dialect)])
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
            FROM record r CROSS JOIN syscall s CROSS JOIN context c
            WHERE {" AND ".join([*calls, *times, f"{which.format('r.type')} IS NOT NULL"])}
        ) each WHERE kind IS NOT NULL GROUP BY kind"""  # noqa: S608 - ours
    return Counter(dict(reader.rows(sql, choice.values)))


def _attempts(reader: Reader, choice: Choice) -> Iterator[Total]:
    """Count logins and authentications that succeeded and failed."""
    part = folded(["success"], choice, reader.dialect)
    kinds = (types.USER_AUTH, types.USER_MGMT, types.USER_LOGIN, types.GRP_AUTH)
    which = f"e.type IN ({listed(kinds)})"
    sql = part.select(["e.type", part.hits], [which]) + " GROUP BY 1, 3"
    found = {(kind, success): hits for kind, hits, success in reader.rows(sql, choice.values)}

    def of(success: int, *kinds: int) -> int:
        return sum(found.get((kind, success), 0) for kind in kinds)

    yield Total("logins", of(1, types.USER_LOGIN))
    yield Total("failed logins", of(0, types.USER_LOGIN))
    yield Total("authentications", of(1, types.USER_AUTH, types.GRP_AUTH))
    yield Total("failed authentications", of(0, types.USER_AUTH, types.USER_MGMT, types.GRP_AUTH))


def _callers(reader: Reader, choice: Choice) -> dict[str, set[Any]]:
    """Give the distinct users, terminals, programs, commands, keys and processes."""
    names = ("auid", "pid", *_TEXTS)
    columns = ("coalesce(c.auid, -1)", "c.pid", *(_TEXTS[name] for name in _TEXTS))
    found: dict[str, set[Any]] = {name: set() for name in names}
    event = " AND ".join(["1 = 1", *choice.of_event("s.id", "s.success", FIRST)])
    caller = " AND ".join(["c.id = u.context", *choice.of_caller("c")])
    sql = f"""
        SELECT {", ".join(columns)}
        FROM (SELECT DISTINCT s.context FROM syscall s WHERE {event}) u CROSS JOIN context c
        WHERE {caller}"""  # noqa: S608 - ours
    if choice.is_of_times and choice.span == ALL:
        # One look into the index for each context, where all calls would be gone through.
        sql = (
            f"SELECT {', '.join(columns)} FROM context c"  # noqa: S608 - ours
            " WHERE EXISTS (SELECT 1 FROM syscall s WHERE s.context = c.id)"
        )
    for row in reader.rows(sql, choice.values):
        for name, value in zip(names, row, strict=True):
            found[name].add(value)
    for name in _TEXTS:
        found[name] = set(_texts(reader, found[name] - {None}))
    some = [name for name in names if name != "pid"]
    part = folded(some, choice, reader.dialect)
    for row in reader.rows(part.select(), choice.values):
        for name, value in zip(some, row, strict=True):
            found[name].add(value)
    part = lone(["pid"], choice, reader.dialect)
    pids = part.select(where=["e.pid IS NOT NULL"]).replace("SELECT", "SELECT DISTINCT", 1)
    found["pid"].update(pid for (pid,) in reader.rows(pids, choice.values))
    for sql in other_key_counts(reader.dialect, choice, ()):
        found["key"].update(key for key, *_ in reader.rows(sql, choice.values))
    found["key"] = {key for text in found["key"] if text for key in text.split(",") if key}
    for values in found.values():
        values.discard(None)
    return found


def _texts(reader: Reader, ids: set[int]) -> Iterator[str]:
    """Give the texts of these ids."""
    rest = sorted(ids)
    for start in range(0, len(rest), _MANY):
        among = listed(rest[start : start + _MANY])
        sql = f"SELECT t.value FROM text t WHERE t.id IN ({among})"  # noqa: S608 - numbers alone
        yield from (value for (value,) in reader.rows(sql))


def _files(reader: Reader, choice: Choice) -> int:
    parts = list(file_counts(reader.dialect, choice, ()))
    if choice.is_of_times and choice.span == ALL:
        # Whether a file is used at all is one look into the index, a count are all uses.
        parts[0] = used_names(reader.dialect)
    union = " UNION ".join(f"SELECT p{n}.value FROM ({sql}) p{n}" for n, sql in enumerate(parts))  # noqa: S608 - ours
    sql = f"SELECT count(*) FROM ({union}) names"  # noqa: S608 - ours
    return int(reader.one(sql, choice.values)[0])
