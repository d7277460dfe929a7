"""SQL of the events of a process that are nearest to one of its events.

First the seconds around it are read, in which a busy process has enough; only then the hour. There
a process with few calls is found by its contexts, not by reading what all others did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.search.dialect import literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.search.dialect import Dialect

NEAR: Final = (2, 30, 3600)
"""Seconds on each side, one after the other; in the last a process is found by its contexts."""


def nearest(
    ask: Callable[[str], list[int]],
    event_id: int,
    process: tuple[str, int],
    dialect: Dialect,
    count: int,
) -> list[int]:
    """Give the ids of `count` events before an event and as many after it, in their order.

    `process`: the host's name and the pid. `ask` runs a statement and gives its ids.
    """
    found = []
    for is_after in (False, True):
        ids: list[int] = []
        for seconds in NEAR:
            ids = ask(statement(event_id, process, dialect, count, seconds, is_after=is_after))
            if len(ids) >= count:
                break
        found.append(sorted(ids))
    return [*found[0], *found[1]]


def statement(
    event_id: int,
    process: tuple[str, int],
    dialect: Dialect,
    count: int,
    seconds: int,
    *,
    is_after: bool,
) -> str:
    """Give the statement for one side and a time."""
    host, pid = process
    second = event_id >> SERIAL_BITS
    if is_after:
        ends = f"{{0}} > {event_id:d} AND {{0}} < {(second + seconds + 1) << SERIAL_BITS:d}"
    else:
        ends = f"{{0}} >= {max(0, second - seconds) << SERIAL_BITS:d} AND {{0}} < {event_id:d}"
    of_calls = dialect.no_range.format("event_id") if seconds == NEAR[-1] else "event_id"
    selects = [
        f"SELECT event_id FROM {view} WHERE pid = {pid:d} AND host = {literal(host)}"  # noqa: S608 - numbers, a quoted text
        f" AND {ends.format(column)}"
        for view, column in (("syscalls", of_calls), ("events", "event_id"))
    ]
    order = "" if is_after else " DESC"
    return (
        f"SELECT event_id FROM ({' UNION '.join(selects)}) AS found"  # noqa: S608 - as above
        f" ORDER BY event_id{order} LIMIT {count:d}"
    )
