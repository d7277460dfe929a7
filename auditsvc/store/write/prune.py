"""Deletes the events of a time range, in slices, and the raw lines of days.

Each slice is one short transaction without other writers, so that every event is whole or
wholly gone, whatever ends the program, and the loader waits for one slice at most. What was
deleted is counted in `pruned_day`, in the same transaction.

* An event that a reader of the feed (`auditsvc.store.read.feed`) has not had is not deleted.
  This is looked up within the transaction: no event can arrive in between.
* One at a time: who begins writes its mark into the store, and who finds another's mark there
  ends with SupersededError. A mark that stands after its program has ended says that something
  was left to be done.

Of what has an event's id, `arrival` is not touched: of a range that all readers have dealt with
the feed itself deletes it, and the others' events stay.

PostgreSQL: a day's partitions are dropped, in one transaction (`drop_day`). That needs a moment in
which nobody reads the tables; a reader is waited for shortly, and where that does not help, the
rows are deleted in slices as on SQLite.
"""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import delete, exc, func, insert, select, update
from sqlalchemy import text as sql

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.errors import SupersededError
from auditsvc.store import activity, file_counts, origins, partitions, repeated
from auditsvc.store.arrivals import FLEET
from auditsvc.store.partitions import DAY, day_of
from auditsvc.store.schema import (
    FACTS,
    access_end,
    access_entry,
    activity_part,
    activity_row,
    amended,
    arrival,
    consumer,
    context_row,
    event,
    pruned_day,
    raw_day,
    store_info,
    syscall,
)
from auditsvc.store.write import archived, unused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Table

    from auditsvc.store.database import Database

_MARK: Final = "pruner"
_DELETE_MARK: Final = delete(store_info).where(store_info.c.name == _MARK)
_MARK_SECONDS: Final = 10
_LEFT_SECONDS: Final = 120
_EVENTS: Final = (syscall, event)
_WITH_IDS: Final = FACTS
"""All tables whose rows belong to an event, by `id` or `event`. A new one belongs here."""
# Planned for few rows by an index, whatever the server's statistics say: they may be missing.
_BY_INDEX: Final = ("enable_hashjoin", "enable_mergejoin", "enable_seqscan")


_LOCK_WAIT: Final = "300ms"
"""So long a partition's readers are waited for, and those wait who come after."""
_IN_THE_WAY: Final = "55P03"
"""SQLSTATE lock_not_available."""
_OLDEST: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text"
_HOURS: Final = 24


class Slice(NamedTuple):
    """What one transaction deleted."""

    events: int
    end: int
    """Highest id up to which it deleted."""
    reader: str
    """Who has not had an event of it, so that nothing was deleted; or ""."""


class Mark(NamedTuple):
    """Of a program that prunes, or has not ended: its token, and when it was last at work."""

    token: str
    at: int

    def is_left(self, now: float) -> bool:
        """Whether its program has ended, as far as can be told."""
        return abs(now - self.at) > _LEFT_SECONDS


class Pruner:
    """Deletes from one store; `begin` first, and `end` when nothing is left to be done."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._token = secrets.token_hex(8)
        self._marked = 0

    def begin(self) -> bool:
        """Begin, in the place of any other; gives whether that one has not ended."""
        with self._database.begin(alone=True) as connection:
            found = read_mark(connection)
            self._set_mark(connection)
            return found is not None

    def end(self) -> None:
        """Record that everything is done."""
        with self.turn() as connection:
            connection.execute(_DELETE_MARK)

    @contextmanager
    def turn(self) -> Iterator[Connection]:
        """Open a transaction, alone; SupersededError if another pruner has begun."""
        with self._database.begin(alone=True) as connection:
            found = read_mark(connection)
            if found is None or found.token != self._token:
                raise SupersededError(
                    f"another program prunes the store {self._database.place}",
                    "wait for its end; nothing is left half done",
                )
            if time.time() - self._marked > _MARK_SECONDS:
                self._set_mark(connection)
            if connection.dialect.name == "postgresql":
                for name in _BY_INDEX:
                    connection.exec_driver_sql(f"SET LOCAL {name} = off")
            yield connection

    def _set_mark(self, connection: Connection) -> None:
        self._marked = int(time.time())
        connection.execute(_DELETE_MARK)
        value = f"{self._token} {self._marked}"
        connection.execute(insert(store_info).values(name=_MARK, value=value))

    def delete_slice(self, connection: Connection, low: int, high: int, rows: int) -> Slice | None:
        """Delete events with ids from `low` to `high`, about so many rows of each table.

        None if there are none. All ids are of one day.
        """
        first = first_event(connection, low)
        if first is None or first > high:
            return None
        end = _end_of(connection, first, high, rows)
        if reader := reader_waiting(connection, first, end):
            return Slice(0, end, reader)
        unused.note_texts(connection, first, end)
        connection.execute(sql(activity.TAKE_RANGE_AWAY), {"low": first, "high": end})
        activity.settle(connection)
        file_counts.take_range_away(connection, first, end)
        deleted = {}
        for table in _WITH_IDS:
            key = _key(table)
            deleted[table] = connection.execute(
                delete(table).where(table.c[key].between(first, end))
            ).rowcount
        for accesses in (access_end, access_entry):
            connection.execute(delete(accesses).where(accesses.c.id.between(low, end)))
        origins.forget(connection, first, end)
        repeated.forget(connection, first, end)
        count = sum(deleted[table] for table in _EVENTS)
        _count(connection, day_of(first), events=count)
        return Slice(count, end, "")

    def note_slice(self, connection: Connection, low: int, high: int, rows: int) -> int | None:
        """Note the texts of events from `low` to `high`, about so many of each table.

        For `drop_day`, before it. Gives up to which id they are noted, None if there were none.
        """
        first = first_event(connection, low)
        if first is None or first > high:
            return None
        end = _end_of(connection, first, high, rows)
        unused.note_texts(connection, first, end)
        return end

    def begun(self, connection: Connection) -> str:
        """Give the number of the oldest transaction whose rows may not be seen here yet."""
        return str(connection.exec_driver_sql(_OLDEST).scalar_one())

    def part_to_drop(self, connection: Connection, day: int) -> partitions.Part | None:
        """Give the partition that has all events of a day, and no others; None if there is none."""
        if connection.dialect.name != "postgresql":
            return None
        part = partitions.part_of(partitions.list_parts(connection), day)
        if part is None or part.end != day + 1:
            return None
        first = first_event(connection, part.low)
        return part if first is not None and day_of(first) >= day else None

    def drop_day(self, connection: Connection, day: int, since: str) -> Slice | None:
        """Drop a day's partition; None if there is none, or somebody reads it.

        `since`: the transaction (`begun`) before the texts of its events were noted. Those of
        newer rows are noted here.
        """
        part = self.part_to_drop(connection, day)
        if part is None:
            return None
        if reader := reader_waiting(connection, part.low, part.high):
            return Slice(0, part.high, reader)
        unused.note_texts(connection, part.low, part.high, since)
        count = count_events(connection, part.low, part.high)
        if not self._drop(connection, part):
            return None
        # All calls of these hours are gone.
        for table in (activity_row, activity_part, context_row):
            hours = table.c.hour.between(day * _HOURS, (day + 1) * _HOURS - 1)
            connection.execute(delete(table).where(hours))
        file_counts.drop_day(connection, day)
        origins.forget(connection, part.low, part.high)
        repeated.forget(connection, part.low, part.high)
        _count(connection, day, events=count)
        return Slice(count, part.high, "")

    def drop_empty(self, connection: Connection, before: int) -> None:
        """Drop the partitions without rows that end before a day, unless somebody reads them."""
        if connection.dialect.name != "postgresql":
            return
        for part in partitions.list_parts(connection):
            first = first_event(connection, part.low)
            if part.end <= before and (first is None or first > part.high):
                self._drop(connection, part)

    def _drop(self, connection: Connection, part: partitions.Part) -> bool:
        """Drop a partition of all tables; False if somebody reads it."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
        try:
            with connection.begin_nested():
                names = ", ".join(part.name(table.name) for table in FACTS)
                connection.exec_driver_sql(f"DROP TABLE {names}")
        except exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", None) == _IN_THE_WAY:
                return False
            raise
        return True

    def delete_lines(self, connection: Connection, before: int, rows: int) -> int:
        """Delete raw lines that were stored before a day; gives how many."""
        day = connection.scalar(select(func.min(raw_day.c.day)).where(raw_day.c.day < before))
        if day is None:
            return 0
        ends = {"day": day, "rows": rows}
        these = "SELECT raw FROM raw_day WHERE day = :day ORDER BY raw LIMIT :rows"
        lines = connection.execute(sql(f"DELETE FROM raw WHERE id IN ({these})"), ends).rowcount  # noqa: S608 - ours
        gone = connection.execute(sql(f"DELETE FROM raw_day WHERE raw IN ({these})"), ends).rowcount  # noqa: S608 - ours
        _count(connection, day, lines=lines)
        return gone


def read_mark(connection: Connection) -> Mark | None:
    """Give the mark that stands in the store; None if no pruner has begun and not ended."""
    found = connection.scalar(select(store_info.c.value).where(store_info.c.name == _MARK))
    if found is None:
        return None
    token, _, at = str(found).partition(" ")
    return Mark(token, int(at) if at.isdigit() else 0)


def ids_of(day: int) -> tuple[int, int]:
    """Give the lowest and the highest id that an event of a day can have."""
    return (day * DAY) << SERIAL_BITS, (((day + 1) * DAY) << SERIAL_BITS) - 1


def first_event(connection: Connection, low: int) -> int | None:
    """Give the lowest id of an event from `low` on."""
    found = [connection.scalar(select(func.min(t.c.id)).where(t.c.id >= low)) for t in _EVENTS]
    return min((each for each in found if each is not None), default=None)


def count_events(connection: Connection, low: int, high: int) -> int:
    """Count the events with ids from `low` to `high`."""
    counts = (select(func.count()).where(t.c.id.between(low, high)) for t in _EVENTS)
    return sum(connection.scalar(each) or 0 for each in counts)


def reader_waiting(connection: Connection, low: int, high: int) -> str:
    """Name a reader of the feed that has not had an event from `low` to `high`; "" if none."""
    had = (arrival.c.seq == consumer.c.seq) & (
        (consumer.c.event >= arrival.c.high) | (consumer.c.event >= high)
    )
    waiting = (
        select(consumer.c.name)
        .join(arrival, arrival.c.seq >= consumer.c.seq)
        .where(arrival.c.low <= high, arrival.c.high >= low, ~had)
        .limit(1)
    )
    if found := connection.scalar(waiting):
        return str(found)
    again = select(amended.c.seq).where(amended.c.event.between(low, high)).limit(1)
    if connection.execute(again).first() is not None:
        return FLEET
    return archived.NAME if archived.is_due(connection, high) else ""


def _key(table: Table) -> str:
    return "id" if "id" in table.columns else "event"


def _end_of(connection: Connection, first: int, high: int, rows: int) -> int:
    """Give up to where no table has more than about so many rows; at least one event."""
    end = high
    for table in _WITH_IDS:
        key = table.c[_key(table)]
        place = select(key).where(key.between(first, end)).order_by(key).limit(1).offset(rows)
        behind = connection.scalar(place)
        if behind is not None:
            end = min(end, behind - 1)
    return max(end, first)


def _count(connection: Connection, day: int, *, events: int = 0, lines: int = 0) -> None:
    if not events and not lines:
        return
    now = int(time.time())
    added = {"events": pruned_day.c.events + events, "lines": pruned_day.c.lines + lines, "at": now}
    changed = connection.execute(update(pruned_day).where(pruned_day.c.day == day).values(**added))
    if not changed.rowcount:
        values = {"day": day, "events": events, "lines": lines, "at": now}
        connection.execute(insert(pruned_day).values(**values))
