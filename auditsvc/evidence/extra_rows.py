"""Names the events of a day that have more rows than their lines give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text as sql

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.evidence.compare import DAY, key_of
from auditsvc.evidence.host_rows import rows_but

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Container

    from sqlalchemy import Connection, Table

_MOST: Final = 100


def extra_events(
    connection: Connection,
    table: Table,
    day: int,
    expected: Counter[int],
    known: Container[int],
    *,
    others: Collection[int],
    foreign: Container[int],
) -> list[int]:
    """Give events with more rows in `table` than expected; not those that are known otherwise.

    `others`: hosts whose events are left out; `foreign`: events that are.
    """
    key = f"x.{key_of(table)}"
    ends = {"low": (day * DAY) << SERIAL_BITS, "high": (((day + 1) * DAY) << SERIAL_BITS) - 1}
    statement = sql(
        f"SELECT {key}, count(*) {rows_but(table, others)}"
        f" AND {key} BETWEEN :low AND :high GROUP BY {key}"
    )
    found = []
    for event, count in connection.execute(statement, ends):
        if count > expected[event] and event not in known and event not in foreign:
            found.append(event)
            if len(found) == _MOST:
                break
    return found
