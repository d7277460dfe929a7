"""What a process did: the files that it read and wrote, what it ran, where it connected to.

A process may have made millions of calls: all of them if they are few, else the newest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from auditsvc.plural import counted
from auditsvc.search.dialect import literal
from auditsvc.store.read.time_span import END, Span
from auditsvc.web.calls import calls_of

if TYPE_CHECKING:
    from auditsvc.store.read.process_details import Life
    from auditsvc.web.asking import Asking

_FEW: Final = 2000
"""Calls that are looked at."""
_SHOWN: Final = 25
"""Rows of each list."""
_SLACK: Final = 2
"""Seconds after its end in which other threads' last calls are recorded."""
_READ: Final = "'read', 'look', 'open', 'use'"


@dataclass(frozen=True, slots=True)
class List:
    """A list: its rows have what, how, calls, failed, and the last event."""

    title: str
    rows: list[dict[str, Any]]
    more: bool


@dataclass(frozen=True, slots=True)
class Deeds:
    """The lists, and which calls they are of."""

    lists: list[List]
    of: str


def of_life(asking: Asking, life: Life) -> Deeds:
    """Look at the calls of a process."""
    ids, is_all = calls_of_life(asking, life, _FEW)
    if not ids:
        return Deeds([], "No call of it is stored.")
    within = f"event_id IN ({', '.join(map(str, ids))})"
    false = asking.dialect.false
    files = (
        "SELECT coalesce(path, name) AS what, action AS how, count(*) AS calls,"  # noqa: S608 - numbers
        f" sum(CASE WHEN success = {false} THEN 1 ELSE 0 END) AS failed,"
        f" max(event_id) AS last FROM files WHERE {within} AND nametype <> 'PARENT'"
    )
    grouped = "GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT"
    addresses = (
        "SELECT coalesce(CASE WHEN port IS NULL THEN address ELSE address || ' port ' || port END,"  # noqa: S608 - numbers
        " path, family) AS what, action AS how, count(*) AS calls,"
        " sum(CASE WHEN outcome = 'failed' THEN 1 ELSE 0 END) AS failed,"
        f" max(event_id) AS last FROM connections WHERE {within}"
    )
    asked = {
        "Ran": f"{files} AND action = 'execute'",
        "Wrote": f"{files} AND action <> 'execute' AND action NOT IN ({_READ})",
        "Read": f"{files} AND action IN ({_READ})",
        "Connected": addresses,
    }
    lists = []
    for title, sql in asked.items():
        table = asking.rows(f"{sql} {grouped} {_SHOWN + 1}", _SHOWN)
        lists.append(List(title, table.named(), table.more))
    return Deeds(lists, _of_calls(len(ids), is_all=is_all))


def _of_calls(count: int, *, is_all: bool) -> str:
    """Say which calls the lists are of."""
    if is_all and count == 1:
        return "Of its only call."
    return f"Of {'all its' if is_all else 'its newest'} {counted(count, 'call')}."


def calls_of_life(asking: Asking, life: Life, most: int) -> tuple[list[int], bool]:
    """Give the ids of its newest calls in their order, and whether they are all."""
    own = (
        "SELECT c.id FROM context c JOIN host h ON h.id = c.host"  # noqa: S608 - a number, a literal
        f" WHERE c.pid = {life.begun.pid:d} AND h.name = {literal(life.host or '')}"
    )
    high = END if life.ended is None else life.ended // 1000 + _SLACK
    return calls_of(asking, own, Span(life.begun.at // 1000, high), most)
