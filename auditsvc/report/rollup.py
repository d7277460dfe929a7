"""Calls counted by hour (`auditsvc.store.activity`), for what a report counts of whole hours.

    if rollup.suits(choice):
        reader.rows(rollup.calls(choice, ("exe",)), choice.values)    # exe, calls

The counts are those of the calls at any moment, and in the order of their key those of the caller
need no sorting. They have no first event: who needs one asks for it (`first_of`), for few values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.store import activity
from auditsvc.store.read.time_span import END

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from auditsvc.report.choice import Choice

_HOUR: Final = 3600
_KEY: Final = tuple(activity.KEY.split(", "))
_CALLER: Final = _KEY[: _KEY.index("arch")]


def suits(choice: Choice) -> bool:
    """Whether all that a choice says is in the counts."""
    low, high = choice.span.low, choice.span.high
    whole = low % _HOUR == 0 and (high >= END or (high + 1) % _HOUR == 0)
    return whole and choice.is_of_times


def calls(choice: Choice, columns: Sequence[str], where: Iterable[str] = ()) -> str:
    """Count calls by some columns of the key; `where`: conditions on them. Calls come last.

    A text is its id, 0 for none; a user of -1 is unset.
    """
    low, high = choice.span.low // _HOUR, choice.span.high // _HOUR
    hours = f"hour BETWEEN {low} AND {high}"
    tests = " AND ".join([hours, *where])
    last = max(map(_KEY.index, columns))
    # By the beginning of the key, whose order SQLite's rows have.
    by = ", ".join(_CALLER[: last + 1] if last < len(_CALLER) else columns)
    parts = activity.counted(hours)
    inner = (
        f"SELECT {by}, CAST(sum(calls) AS bigint) AS calls FROM {{0}} WHERE {tests} GROUP BY {by}"  # noqa: S608 - ours
    )
    both = f"{inner.format('activity_row')} UNION ALL {inner.format(f'({parts}) p')}"
    shown = ", ".join(columns)
    return (
        f"SELECT {shown}, CAST(sum(calls) AS bigint) AS calls FROM ({both}) g"  # noqa: S608 - ours
        f" GROUP BY {shown} HAVING sum(calls) <> 0"
    )


def all_calls(choice: Choice) -> str:
    """Count all calls."""
    return f"SELECT CAST(coalesce(sum(calls), 0) AS bigint) FROM ({calls(choice, ['hour'])}) c"  # noqa: S608 - ours


_VALUES: Final = {
    "exe": ("t.value", "exe", "JOIN text t ON t.id = g.exe"),
    "comm": ("t.value", "comm", "JOIN text t ON t.id = g.comm"),
    "key": ("t.value", "key", "JOIN text t ON t.id = g.key"),
    "auid": ("g.auid", "auid", ""),
    "syscall": (
        "coalesce(n.name, CAST(g.nr AS text))",
        "arch, nr",
        "LEFT JOIN syscall_name n ON n.arch = g.arch AND n.nr = g.nr",
    ),
}


def counts_value(name: str) -> bool:
    """Whether the values of this name are in the counts."""
    return name in _VALUES


def values(choice: Choice, name: str) -> str:
    """Count the values of a name: value and calls; of some values there can be several rows."""
    value, columns, joins = _VALUES[name]
    inner = calls(choice, columns.split(", "))
    return f"SELECT {value}, g.calls FROM ({inner}) g {joins}"  # noqa: S608 - ours


def first_of(
    choice: Choice, name: str, wanted: Collection[str | int]
) -> tuple[str, dict[str, object]]:
    """Give the statement for the first event of each of some values, and its parameters."""
    asked: dict[str, object] = {f"v{n}": value for n, value in enumerate(wanted)}
    listed = ", ".join(f":{each}" for each in asked)
    where = " AND ".join(["s.context = c.id", *choice.times("s.id")])
    if name == "syscall":
        value = "coalesce(n.name, CAST(s.nr AS text))"
        numbers = f"SELECT nr FROM syscall_name WHERE name IN ({listed})"  # noqa: S608 - parameters
        where += f" AND (s.nr IN ({numbers}) OR CAST(s.nr AS text) IN ({listed}))"
        joins = "LEFT JOIN syscall_name n ON n.arch = c.arch AND n.nr = s.nr"
        source = "context c CROSS JOIN syscall s"
    elif name == "auid":
        value, joins, source = "coalesce(c.auid, -1)", "", "context c CROSS JOIN syscall s"
        where += f" AND coalesce(c.auid, -1) IN ({listed})"
    else:
        value, joins = "t.value", ""
        source = "text t CROSS JOIN context c CROSS JOIN syscall s"
        is_it = f"t.value IN ({listed})"
        if name == "key":  # several stand with commas between them
            asked = {each: f"%,{_escaped(str(said))},%" for each, said in asked.items()}
            tests = (f"',' || t.value || ',' LIKE :{each} ESCAPE '!'" for each in asked)
            is_it = f"t.id IN (SELECT key FROM context) AND ({' OR '.join(tests)})"  # noqa: S608 - ours
        where += f" AND c.{name} = t.id AND {is_it}"
    sql = f"SELECT {value}, min(s.id) FROM {source} {joins} WHERE {where} GROUP BY 1"  # noqa: S608 - ours
    return sql, {**choice.values, **asked}


def _escaped(text: str) -> str:
    """Write a text for LIKE."""
    return "".join(f"!{each}" if each in "!%_" else each for each in text)
