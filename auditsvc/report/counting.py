"""Statements that count: their columns are k0, k1 ... (the groups), value, hits, first_id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.report.columns import FIRST, named_auid
from auditsvc.report.groups import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditsvc.report.choice import Choice
    from auditsvc.report.dialect import Dialect
    from auditsvc.report.groups import Group

_OF_CONTEXT: Final = {
    "exe": "c.exe",
    "comm": "c.comm",
    "term": "c.tty",
    "key": "c.key",
    "pid": "c.pid",
    "auid": "coalesce(c.auid, -1)",
    "syscall": "coalesce(call.name, CAST(g.nr AS text))",
}
_TEXTS: Final = ("exe", "comm", "term", "key")


def has_context_of(name: str) -> bool:
    """Whether `by_context` counts these values."""
    return name in _OF_CONTEXT or name == "auid_named"


def counted(
    value: str,
    source: str,
    where: Iterable[str],
    keys: Sequence[str],
    event: str,
    *,
    hits: str = "count(*)",
) -> str:
    """Count the rows of a FROM clause by groups and value; `event` is the event's id."""
    columns = [*(f"{key} AS k{n}" for n, key in enumerate(keys)), f"{value} AS value"]
    columns += [f"{hits} AS hits", f"min({event}) AS first_id"]
    grouped = ", ".join(str(n + 1) for n in range(len(keys) + 1))
    return (
        f"SELECT {', '.join(columns)} FROM {source} WHERE {' AND '.join(where)}"  # noqa: S608 - ours
        f" GROUP BY {grouped}"
    )


def named(inner: str, keys: int, name: str, joins: str, where: str = "1 = 1") -> str:
    """Look up what the values of a counting statement stand for."""
    columns = [*(f"g.k{n}" for n in range(keys)), f"{name} AS value", "g.hits", "g.first_id"]
    return f"SELECT {', '.join(columns)} FROM ({inner}) g {joins} WHERE {where}"  # noqa: S608 - ours


def by_context(name: str, choice: Choice, by: Sequence[Group], dialect: Dialect) -> str:
    """Count calls by what their context has: first by context, in one pass over the calls."""
    times = [group for group in by if group.of_event]
    own = ["s.nr"] if name == "syscall" else []
    inner = counted(
        "s.context",
        "syscall s",
        ["1 = 1", *choice.of_event("s.id", "s.success", FIRST)],
        [*own, *keys_of(times, "s.id", "")],
        "s.id",
    )
    places = {group.name: f"g.k{n}" for n, group in enumerate(times, len(own))}
    keys = [places.get(group.name) or group.of_caller.format("c") for group in by]
    source = f"({inner}) g CROSS JOIN context c"
    value = named_auid(dialect) if name == "auid_named" else _OF_CONTEXT[name]
    if own:
        value = value.replace("g.nr", "g.k0")
        source += " LEFT JOIN syscall_name call ON call.arch = c.arch AND call.nr = g.k0"
    where = ["c.id = g.value", *choice.of_caller("c")]
    if name in _TEXTS:
        where.append(f"{value} IS NOT NULL")
    # PostgreSQL gives sums of counts as numeric.
    total = "CAST(sum(g.hits) AS bigint)"
    sql = counted(value, source, where, keys, "g.first_id", hits=total)
    if name not in _TEXTS:
        return sql
    return named(sql, len(keys), "t.value", "JOIN text t ON t.id = g.value")
