"""The events of some contexts of calls: all of them if they are few, else the newest.

A context is what many calls of a process have in common (`auditsvc.store.schema`): there are
few of them, so what is the same for a user, a session or a program is looked for among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.decode.ids import SERIAL_BITS

if TYPE_CHECKING:
    from auditsvc.store.read.time_span import Span
    from auditsvc.web.asking import Asking


def calls_of(asking: Asking, contexts: str, period: Span, most: int) -> tuple[list[int], bool]:
    """Give the ids of calls in their order, and whether they are all of the period.

    `contexts`: a SELECT of ids of contexts.
    """
    between = f"BETWEEN {period.low << SERIAL_BITS} AND {(period.high + 1 << SERIAL_BITS) - 1}"
    # `+` keeps an index from being used: first that of contexts, and for very many that of ids.
    few = (
        f"SELECT s.id FROM syscall s WHERE s.context IN ({contexts}) AND +s.id {between}"  # noqa: S608 - numbers, our SQL
        f" LIMIT {most + 1}"
    )
    found = sorted(int(row[0]) for row in asking.rows(few, most + 1, shown=False).rows)
    if len(found) <= most:
        return found, True
    newest = (
        f"SELECT s.id FROM syscall s WHERE +s.context IN ({contexts}) AND s.id {between}"  # noqa: S608 - as above
        f" ORDER BY s.id DESC LIMIT {most}"
    )
    found = [int(row[0]) for row in asking.rows(newest, most, shown=False).rows]
    return found[::-1], False


def events_of(asking: Asking, condition: str, period: Span, most: int) -> list[int]:
    """Give the newest ids of events without a call that meet a condition on `event`."""
    sql = (
        f"SELECT id FROM event WHERE {condition} AND id BETWEEN {period.low << SERIAL_BITS}"  # noqa: S608 - as above
        f" AND {(period.high + 1 << SERIAL_BITS) - 1} ORDER BY id DESC LIMIT {most}"
    )
    return [int(row[0]) for row in asking.rows(sql, most, shown=False).rows][::-1]
