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
COUNTED: Final = 100_001
"""Calls that are counted at most."""
_CALLERS: Final = "callers_"
_CALLS: Final = "calls_of_callers_"
_NUMBERS: Final = "number_of_calls_"


def view_of(number: int) -> str:
    """Give the name of the table of calls of few callers, of the condition with this number."""
    return f"{_CALLS}{number}"


def are_many(number: int) -> str:
    """Write the condition that they are not: then that table has none."""
    return f"(SELECT count(*) FROM {_CALLERS}{number}) > {FEW}"  # noqa: S608 - a number


def number_of_calls(number: int) -> str:
    """Write how many calls of these callers there are, up to `COUNTED`."""
    return f"(SELECT calls FROM {_NUMBERS}{number})"  # noqa: S608 - a number


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
), {_NUMBERS}{number} (calls) AS MATERIALIZED (
    SELECT count(*) FROM (
        SELECT 1 FROM {callers} k JOIN syscall s ON s.context = k.id{within} LIMIT {COUNTED}
    ) AS these
)"""  # noqa: S608 - names of ours; texts as `literal` quotes them


def _in_order(column: str, condition: str, within: str, number: int) -> str:
    """Write those of one text for SQLite: its values, who has them, their calls by the index.

    Only if there are fewer calls than are counted. They are counted in all of the store: among
    those of a caller the index does not find the ones of a time, and the count is to end early.
    """
    callers = f"{_CALLERS}{number}"
    texts = f"SELECT t.id AS id, t.value AS {column} FROM text t"  # noqa: S608 - names of ours
    calls = f"{callers} k CROSS JOIN syscall s WHERE s.context = k.id"
    few = f"(SELECT 1 WHERE {number_of_calls(number)} < {COUNTED})"
    return f"""{callers} (id) AS MATERIALIZED (
    SELECT c.id FROM context c WHERE c.{column} IN (
        SELECT id FROM ({texts} WHERE t.id IN (SELECT {column} FROM context)) WHERE {condition}
    )
), {_NUMBERS}{number} (calls) AS MATERIALIZED (
    SELECT count(*) FROM (SELECT 1 FROM {calls} LIMIT {COUNTED})
), {view_of(number)} (event_id) AS (
    SELECT s.id FROM {few} CROSS JOIN {calls}{within}
)"""  # noqa: S608 - names of ours; texts as `literal` quotes them
