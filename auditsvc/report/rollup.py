"""Calls counted by hour (`auditsvc.store.activity`), for what a report counts of them.

    if rollup.suits(choice):
        reader.rows(rollup.calls(choice, ("exe",)), choice.values)    # exe, calls

The counts are those of the calls at any moment, and in the order of their key those of the caller
need no sorting. Of hours that are in the time in part, the calls themselves are counted. The
counts have no first event, but its hour: who needs the event looks for it there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS, SERIAL_MASK
from auditsvc.store import activity
from auditsvc.store.read.time_span import END, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from auditsvc.report.choice import Choice
    from auditsvc.report.reader import Reader

HOUR: Final = 3600
_KEY: Final = tuple(activity.KEY.split(", "))
_CALLER: Final = _KEY[: _KEY.index("arch")]


def suits(choice: Choice) -> bool:
    """Whether all that a choice says is in the counts."""
    return not choice.needs_first


def rounded(reader: Reader, choice: Choice) -> Choice:
    """Give a choice of the same events whose time has whole hours, where it can: up to now, say."""
    low, high = choice.span.low, choice.span.high
    first, last = low // HOUR * HOUR, min(END, (high // HOUR + 1) * HOUR - 1)
    if first < low and not _has_any(reader, Span(first, low - 1)):
        low = first
    if high < last and not _has_any(reader, Span(high + 1, last)):
        high = last
    return replace(choice, span=Span(low, high))


def _has_any(reader: Reader, span: Span) -> bool:
    low, high = span.low << SERIAL_BITS, span.high << SERIAL_BITS | SERIAL_MASK
    parts = (
        f"EXISTS (SELECT 1 FROM {table} t WHERE t.id BETWEEN {low} AND {high})"  # noqa: S608 - ours
        for table in ("syscall", "event")
    )
    return bool(reader.one(f"SELECT CASE WHEN {' OR '.join(parts)} THEN 1 ELSE 0 END")[0])


def _hours(span: Span) -> tuple[int, int]:
    """Give the first and the last hour that are whole in a time; without any the last is less."""
    first = -(-span.low // HOUR)
    last = END // HOUR if span.high >= END else (span.high + 1) // HOUR - 1
    return first, last


def _edges(span: Span) -> Iterator[Span]:
    """Give the seconds of a time that are in no whole hour."""
    first, last = _hours(span)
    if last < first:
        yield span
        return
    if span.low < first * HOUR:
        yield Span(span.low, first * HOUR - 1)
    if (last + 1) * HOUR <= span.high < END:
        yield Span((last + 1) * HOUR, span.high)


def _chosen(choice: Choice) -> list[str]:
    """Give the conditions of a choice on the key, but for the time."""
    found = []
    if choice.success is not None:
        found.append("success = :success")
    if choice.hosts:
        names = ", ".join(f":host{n}" for n in range(len(choice.hosts)))
        found.append(f"host IN (SELECT id FROM host WHERE name IN ({names}))")  # noqa: S608 - parameters
    if choice.auid is not None:
        found.append("auid = -1" if choice.is_unset else "auid = :auid")
    return found


def _sources(choice: Choice) -> Iterator[tuple[str, str]]:
    """Give what together has all counts of a time: a FROM clause, and its condition."""
    first, last = _hours(choice.span)
    hours = f"hour BETWEEN {first} AND {last}"
    yield "activity_row", hours
    yield f"({activity.counted(hours)}) p", "1 = 1"
    for edge in _edges(choice.span):
        low, high = edge.low << SERIAL_BITS, edge.high << SERIAL_BITS | SERIAL_MASK
        yield f"({activity.counted_calls(f's.id BETWEEN {low} AND {high}')}) p", "1 = 1"


def suits_contexts(choice: Choice) -> bool:
    """Whether all that a choice says is in the counts by context, or a condition on contexts."""
    return suits(choice) and choice.success is None


def contexts(choice: Choice, columns: str = "hour, context") -> str:
    """Count calls by context in a time, and by hour if `columns` has it; calls come last.

    A condition on who called is the reader's: it is on the context.
    """
    first, last = _hours(choice.span)
    hours = f"hour BETWEEN {first} AND {last}"
    edges = (
        f"s.id BETWEEN {edge.low << SERIAL_BITS} AND {edge.high << SERIAL_BITS | SERIAL_MASK}"
        for edge in _edges(choice.span)
    )
    hour = f"(s.id >> {SERIAL_BITS}) / {HOUR}"
    parts = [
        f"SELECT hour, context, calls FROM context_row WHERE {hours}",  # noqa: S608 - ours
        f"SELECT hour, context, calls FROM activity_part WHERE {hours}",  # noqa: S608 - ours
        *(
            f"SELECT {hour}, s.context, count(*) FROM syscall s WHERE {edge} GROUP BY 1, 2"  # noqa: S608 - ours
            for edge in edges
        ),
    ]
    return (
        f"SELECT {columns}, CAST(sum(calls) AS bigint) AS calls"  # noqa: S608 - ours
        f" FROM ({' UNION ALL '.join(parts)}) g GROUP BY {columns} HAVING sum(calls) <> 0"
    )


def _by_hour(choice: Choice, columns: Sequence[str], where: Iterable[str] = ()) -> str:
    """Count calls by hour and some columns of the key."""
    tests = [*_chosen(choice), *where]
    wanted = tuple(dict.fromkeys(("hour", *columns)))
    end = max(map(_KEY.index, wanted))
    # By the beginning of the key, whose order SQLite's rows have.
    by = ", ".join(_CALLER[: end + 1] if end < len(_CALLER) else wanted)
    parts = (
        f"SELECT {by}, CAST(sum(calls) AS bigint) AS calls FROM {source}"  # noqa: S608 - ours
        f" WHERE {' AND '.join([within, *tests])} GROUP BY {by}"
        for source, within in _sources(choice)
    )
    shown = ", ".join(wanted)
    return (
        f"SELECT {shown}, CAST(sum(calls) AS bigint) AS calls FROM ({' UNION ALL '.join(parts)}) g"  # noqa: S608 - ours
        f" GROUP BY {shown} HAVING sum(calls) <> 0"
    )


def calls(choice: Choice, columns: Sequence[str], where: Iterable[str] = ()) -> str:
    """Count calls by some columns of the key; `where`: conditions on it. Calls come last.

    A text is its id, 0 for none; a user of -1 is unset.
    """
    shown = ", ".join(columns)
    inner = _by_hour(choice, columns, where)
    if "hour" in columns:
        return f"SELECT {shown}, calls FROM ({inner}) h"  # noqa: S608 - ours
    return f"SELECT {shown}, CAST(sum(calls) AS bigint) AS calls FROM ({inner}) h GROUP BY {shown}"  # noqa: S608 - ours


def all_calls(choice: Choice) -> str:
    """Count all calls, and those that failed; a row of two numbers."""
    failed = "CASE WHEN success = 0 THEN calls ELSE 0 END"
    parts = (
        f"SELECT sum(calls) AS calls, sum({failed}) AS failed FROM {source}"  # noqa: S608 - ours
        f" WHERE {' AND '.join([within, *_chosen(choice)])}"
        for source, within in _sources(choice)
    )
    both = ", ".join(f"CAST(coalesce(sum({name}), 0) AS bigint)" for name in ("calls", "failed"))
    return f"SELECT {both} FROM ({' UNION ALL '.join(parts)}) c"  # noqa: S608 - ours


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


_OF_CONTEXT: Final = {
    "pid": ("g.of", "c.pid", ""),
    "term": ("t.value", "c.tty", "JOIN text t ON t.id = g.of"),
}
"""Values that only the counts by context have."""


def counts_value(choice: Choice, name: str) -> bool:
    """Whether the values of this name are in the counts, with all that a choice says."""
    return suits_contexts(choice) if name in _OF_CONTEXT else suits(choice) and name in _VALUES


def values(choice: Choice, name: str) -> str:
    """Count the values of a name: value, calls, and the hour of the first (since 1970).

    Of some values there can be several rows.
    """
    if name in _OF_CONTEXT:
        value, column, joins = _OF_CONTEXT[name]
        where = " AND ".join(["c.id = h.context", *choice.of_caller("c")])
        inner = (
            f"SELECT {column} AS of, CAST(sum(h.calls) AS bigint) AS calls, min(h.hour) AS hour"  # noqa: S608 - ours
            f" FROM ({contexts(choice)}) h JOIN context c ON {where} GROUP BY {column}"
        )
        return f"SELECT {value}, g.calls, g.hour FROM ({inner}) g {joins}"  # noqa: S608 - ours
    value, columns, joins = _VALUES[name]
    inner = (
        f"SELECT {columns}, CAST(sum(calls) AS bigint) AS calls, min(hour) AS hour"  # noqa: S608 - ours
        f" FROM ({_by_hour(choice, columns.split(', '))}) h GROUP BY {columns}"
    )
    return f"SELECT {value}, g.calls, g.hour FROM ({inner}) g {joins}"  # noqa: S608 - ours
