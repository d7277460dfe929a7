"""Partitions of the tables of facts on PostgreSQL: by the day of the event, UTC.

    syscall  ->  syscall_20260101, syscall_20260102, ..., syscall_19700101_20240101

An event's id begins with its second, so a day is a range of the key of every table of facts, and
all of them have the same partitions. A partition is made by the transaction that first has an
event of its day; the tables have no default partition, because then a new one could not be
attached while anybody reads.

Invariants: every partition covers whole days, no two overlap, and its name says which. Who drops
one keeps all writers out (`begin(alone=True)`), so a writer's partition stays there for the whole
of its transaction. How many there can be is bounded, whatever times a log has: from `MOST` on, a
day far from today shares one with all days between its neighbours.
"""

from __future__ import annotations

import re
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.store.schema import FACTS, event, syscall

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

DAY: Final = 86_400
"""Seconds."""
MOST: Final = 500
"""Partitions of a table, from which on only days near today get one of their own."""
_BEFORE, _AFTER = 2, 366
"""Days before and after today that always get one."""
_LAST: Final = 1 << 33
"""No event's second is this large or larger."""
HIGHEST: Final = (_LAST << SERIAL_BITS) - 1
"""No event's id is higher."""
_EPOCH: Final = date(1970, 1, 1)
_PARTS: Final = (
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = %s::regclass"
)
_NAME: Final = re.compile(r"(\d{8})(?:_(\d{8}))?")


class Part(NamedTuple):
    """The days from `first` to before `end`, counted from 1970-01-01."""

    first: int
    end: int

    @property
    def low(self) -> int:
        """The lowest id of an event in it."""
        return (self.first * DAY) << SERIAL_BITS

    @property
    def high(self) -> int:
        """The highest id."""
        return min(self.end * DAY, _LAST) * (1 << SERIAL_BITS) - 1

    def holds(self, span: tuple[int, int]) -> bool:
        """Whether all ids of a span are in it."""
        return self.low <= span[0] and span[1] <= self.high

    def name(self, table: str) -> str:
        """Give the name of this partition of a table."""
        ends = (self.first,) if self.end == self.first + 1 else self
        return "_".join((table, *(f"{_EPOCH + timedelta(day):%Y%m%d}" for day in ends)))


def part_named(name: str) -> Part | None:
    """Read the name of a partition of `syscall`; None if it is none of ours."""
    found = _NAME.fullmatch(name.removeprefix(f"{syscall.name}_"))
    try:
        days = [_day(word) for word in found.groups() if word] if found else []
    except ValueError:
        return None
    return Part(days[0], days[1] if len(days) > 1 else days[0] + 1) if days else None


def _day(word: str) -> int:
    return (date(int(word[:4]), int(word[4:6]), int(word[6:])) - _EPOCH).days


def day_of(event_id: int) -> int:
    """Give the day (from 1970-01-01, UTC) of an event."""
    return (event_id >> SERIAL_BITS) // DAY


def list_parts(connection: Connection) -> list[Part]:
    """Give the partitions that there are, in order."""
    names = connection.exec_driver_sql(_PARTS, (syscall.name,))
    return sorted(part for (name,) in names if (part := part_named(name)))


def is_there(connection: Connection, part: Part) -> bool:
    """Whether a partition exists."""
    name = part.name(syscall.name)
    return connection.exec_driver_sql("SELECT to_regclass(%s)", (name,)).scalar() is not None


def part_of(parts: Sequence[Part], day: int) -> Part | None:
    """Give the partition of a day."""
    return next((part for part in parts if part.first <= day < part.end), None)


def ensure(connection: Connection, days: Iterable[int], today: int) -> list[Part]:
    """Make the partitions that are missing for these days; gives all that there are.

    Writers that need one at the same time wait for each other; readers do not wait.
    """
    wanted = sorted(set(days))
    parts = list_parts(connection)
    if all(part_of(parts, day) for day in wanted):
        return parts
    connection.exec_driver_sql(f"LOCK TABLE {syscall.name} IN SHARE UPDATE EXCLUSIVE MODE")
    parts = list_parts(connection)
    for day in wanted:
        if part_of(parts, day) is None:
            part = choose(parts, day, today)
            for statement in make(part):
                connection.exec_driver_sql(statement)
            parts = sorted([*parts, part])
    return parts


def choose(parts: Sequence[Part], day: int, today: int) -> Part:
    """Give the partition to be made for a day that has none."""
    if len(parts) < MOST or today - _BEFORE <= day < today + _AFTER:
        return Part(day, day + 1)
    first = max((part.end for part in parts if part.end <= day), default=0)
    end = min((part.first for part in parts if part.first > day), default=_LAST // DAY + 1)
    if day < today:
        return Part(first, min(end, today - _BEFORE))
    return Part(max(first, today + _AFTER), end)


def make(part: Part) -> list[str]:
    """Give the statements that make a partition of each table, with all indexes."""
    made = []
    for table in FACTS:
        name = part.name(table.name)
        ends = f"FROM ({part.low}) TO ({'MAXVALUE' if part.high == HIGHEST else part.high + 1})"
        made += [
            f"CREATE TABLE {name} (LIKE {table.name})",
            f"ALTER TABLE {table.name} ATTACH PARTITION {name} FOR VALUES {ends}",
        ]
    # Nearly every key is higher than all before it, so no room is needed between them.
    for name in (part.name(syscall.name), part.name(event.name)):
        made.append(f"ALTER INDEX {name}_pkey SET (fillfactor = 100)")
    return made


def date_of(day: int) -> str:
    """Give a day (from 1970-01-01) as a date."""
    return time.strftime("%Y-%m-%d", time.gmtime(day * DAY))
