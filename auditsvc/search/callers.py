"""SQL of the calls whose callers fulfil a condition, where it is not known how many callers do.

    callers_0 (id) AS (...), calls_of_callers_0 (event_id) AS (...), number_of_calls_0 (calls) ...

That something is not set may be said of no caller or of half of them. PostgreSQL cannot begin with
the callers then: to it, a call without a caller would fulfil the condition, too, so it reads all
calls. So the callers are looked through first; the calls of few are found by an index. SQLite would
look up the callers and their text for each call of a time, if the condition is on two texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.search.dialect import Dialect

FEW: Final = 2000
"""Callers whose calls are looked up one by one."""
_TEXTS: Final = ("key", "cwd")
"""Columns of callers that are texts."""
_COUNTED: Final = {False: 100_001, True: 5_001}
"""Calls that are counted at most, by whether lookups are joins: each is asked for its files.

On PostgreSQL that takes ten times as long.
"""
_CALLERS: Final = "callers_"
_CALLS: Final = "calls_of_callers_"
_THERE: Final = "calls_there_"
_NUMBERS: Final = "number_of_calls_"


def view_of(number: int) -> str:
    """Give the name of the table of calls of few callers, of the condition with this number."""
    return f"{_CALLS}{number}"


def are_many(number: int) -> str:
    """Write the condition that they are not: then that table has none."""
    return f"(SELECT count(*) FROM {_CALLERS}{number}) > {FEW}"  # noqa: S608 - a number


def _counted(number: int, dialect: Dialect, few: str) -> str:
    """Write a row that is there if these callers made few calls, or many."""
    most = _COUNTED[dialect.store.joins]
    return f"(SELECT 1 AS n WHERE (SELECT calls FROM {_NUMBERS}{number}) {few} {most}) AS counted"  # noqa: S608 - numbers


def calls_if_few(number: int, dialect: Dialect) -> str:
    """Write the SELECT of the calls of these callers, which has none where they are many."""
    few = _counted(number, dialect, "<")
    return f"SELECT event_id FROM {few} CROSS JOIN {_THERE}{number}"  # noqa: S608 - names of ours


def calls_among_if_many(number: int, dialect: Dialect, view: str) -> str:
    """Write the SELECT of the events of a view that are calls of these callers, if these are many.

    So the events are gone through, which are fewer than the calls.
    """
    many = _counted(number, dialect, ">=")
    return (
        f"SELECT o.event_id FROM {many} CROSS JOIN {view} o CROSS JOIN syscall s"  # noqa: S608 - as above
        f" WHERE s.id = o.event_id AND s.context IN (SELECT id FROM {_CALLERS}{number})"
    )


def tables(
    conditions: Sequence[tuple[str, str]], dialect: Dialect, period: Sequence[str]
) -> list[str]:
    """Give the tables of a WITH.

    `conditions`: columns of `syscalls` that are those of callers (one text, or numbers with commas
    between them), and conditions on them;
    `period`: on `event_id`.
    """
    within = "".join(f" AND {each.replace('event_id', 's.id')}" for each in period)
    write = _of_joins if dialect.store.joins else _in_order
    return [write(*each, within, number) for number, each in enumerate(conditions)]


def _of_joins(column: str, condition: str, within: str, number: int) -> str:
    """Write those of one condition for PostgreSQL, which chooses how to join."""
    callers = f"{_CALLERS}{number}"
    shown = ", ".join(f"c.{name} AS {name}" for name in column.split(", "))
    joined = ""
    if column in _TEXTS:
        shown = f"t.value AS {column}"
        joined = f" LEFT JOIN text t ON t.id = c.{column}"
    each = f"SELECT c.id AS id, {shown} FROM context c{joined}"  # noqa: S608 - names of ours
    return f"""{callers} (id) AS MATERIALIZED (
    SELECT id FROM ({each}) AS callers WHERE {condition}
), {view_of(number)} (event_id) AS (
    SELECT s.id FROM {callers} k JOIN syscall s ON s.context = k.id
    WHERE NOT {are_many(number)}{within}
), {_THERE}{number} (event_id) AS MATERIALIZED (
    SELECT s.id FROM {callers} k JOIN syscall s ON s.context = k.id{within}
    LIMIT {_COUNTED[True]}
), {_NUMBERS}{number} (calls) AS MATERIALIZED (
    SELECT count(*) FROM {_THERE}{number}
)"""  # noqa: S608 - names of ours; texts as `literal` quotes them


def _in_order(column: str, condition: str, within: str, number: int) -> str:
    """Write those of one text for SQLite: its values, who has them, their calls by the index.

    The calls are counted in all of the store: among those of a caller the index does not find the
    ones of a time, and the count is to end early.
    """
    callers = f"{_CALLERS}{number}"
    texts = f"SELECT t.id AS id, t.value AS {column} FROM text t"  # noqa: S608 - names of ours
    calls = f"{callers} k CROSS JOIN syscall s WHERE s.context = k.id"
    return f"""{callers} (id) AS MATERIALIZED (
    SELECT c.id FROM context c WHERE c.{column} IN (
        SELECT id FROM ({texts} WHERE t.id IN (SELECT {column} FROM context)) WHERE {condition}
    )
), {_NUMBERS}{number} (calls) AS MATERIALIZED (
    SELECT count(*) FROM (SELECT 1 FROM {calls} LIMIT {_COUNTED[False]})
), {_THERE}{number} (event_id) AS (
    SELECT s.id FROM {calls}{within}
)"""  # noqa: S608 - names of ours; texts as `literal` quotes them
