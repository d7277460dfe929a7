"""One pruning of a store: what `auditsvc prune` and the loader of `run` carry out.

    for _ in Job(store.database, settings.retention).steps(): ...

`keep` days before today stay whole; the days before those go, oldest first: on PostgreSQL by
dropping their partitions. Above `max_bytes` the oldest days go, never today's. Days are UTC, by the
events' own time; a raw line, which has none, goes by the day on which it was stored.

Invariant: between two steps the store is consistent and open to other writers, and no step
takes much longer than the time that was asked for: the number of rows adapts to it. A job that
was ended at any moment is continued by the next one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, insert, select

from auditsvc.retention.pace import Pace
from auditsvc.store.database import reading
from auditsvc.store.partitions import DAY, day_of
from auditsvc.store.schema import raw_day, store_size
from auditsvc.store.space import shrink, space, space_of
from auditsvc.store.write import own_records, sign_rebuild, unused
from auditsvc.store.write.prune import (
    Pruner,
    first_event,
    ids_of,
    read_mark,
    reader_waiting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from auditsvc.config import RetentionSettings
    from auditsvc.store.database import Database

_STEP_SECONDS: Final = 0.05
_DROP_TRIES: Final = 10
"""Attempts to drop a partition that somebody reads, before its rows are deleted in slices."""
_SIZES_KEPT: Final = 8 * DAY
"""Seconds for which sizes of the store are kept."""


def first_kept(retention: RetentionSettings, now: float) -> int | None:
    """Give the first day that `keep` keeps; None if it keeps all."""
    return None if retention.days is None else int(now) // DAY - retention.days


def is_due(database: Database, retention: RetentionSettings, now: float) -> bool:
    """Whether a job has anything to do, and no other program is just doing it."""
    with reading(database) as connection:
        mark = read_mark(connection)
        if mark is not None:
            return mark.is_left(now)
        oldest = first_event(connection, 0)
        kept = first_kept(retention, now)
        if kept is not None:
            line = connection.scalar(select(func.min(raw_day.c.day)))
            if line is not None and line < kept:
                return True
            for day in days(connection, kept):
                if not waiting(connection, day):
                    return True
        most = retention.max_bytes
        if most is None or oldest is None or space(connection).used <= most:
            return False
        return any(not waiting(connection, day) for day in days(connection, int(now) // DAY))


def days(connection: Connection, before: int) -> Iterator[int]:
    """Give the days with events before a day, oldest first."""
    low = 0
    while (first := first_event(connection, low)) is not None and day_of(first) < before:
        yield day_of(first)
        low = ids_of(day_of(first) + 1)[0]


def waiting(connection: Connection, day: int) -> str:
    """Name a reader of the feed that has not had all of a day's events; "" if there is none."""
    return reader_waiting(connection, *ids_of(day))


def note_size(connection: Connection, now: float, freed: int = 0) -> None:
    """Record the store's size, for the forecast."""
    at = int(now)
    connection.execute(delete(store_size).where(store_size.c.time < at - _SIZES_KEPT))
    before = connection.scalar(select(store_size.c.freed).where(store_size.c.time == at)) or 0
    connection.execute(delete(store_size).where(store_size.c.time == at))
    used = space(connection).used
    connection.execute(insert(store_size).values(time=at, bytes=used, freed=before + freed))


class Job:
    """One pruning; what it did is in its attributes, after each step."""

    def __init__(
        self,
        database: Database,
        retention: RetentionSettings,
        *,
        step: float = _STEP_SECONDS,
        now: Callable[[], float] = time.time,
        announce: Callable[[int], None] | None = None,
    ) -> None:
        """`step`: seconds that one transaction should take.

        `announce` is called with each day before the first of its events is deleted.
        """
        self.events: dict[int, int] = {}
        """Events that were deleted, by day."""
        self.lines = 0
        """Raw lines that were deleted."""
        self.held: dict[int, str] = {}
        """Days that a reader of the feed has not had all of, with its name: they stay."""
        self.freed = 0
        """Bytes that the rows took."""
        self._database = database
        self._retention = retention
        self._now = now
        self._announce = announce
        self._pruner = Pruner(database)
        self._pace = Pace(step)

    def steps(self) -> Iterator[None]:
        """Do everything, a short transaction at a time; StoreError."""
        before = self._used()
        swept = not self._pruner.begin()
        yield
        kept = first_kept(self._retention, self._now())
        if kept is not None:
            yield from self._delete_days(kept)
            yield from self._delete_lines(kept)
        if self.events or not swept:
            yield from self._sweep()
        yield from self._delete_excess()
        with self._pruner.turn() as connection:
            self._pruner.drop_empty(connection, int(self._now()) // DAY)
        yield from self._shrink()
        self.freed = max(0, before - self._used())
        with self._pruner.turn() as connection:
            note_size(connection, self._now(), self.freed)
        self._pruner.end()

    def _used(self) -> int:
        return space_of(self._database).used

    # --- events and lines -----------------------------------------------------------------

    def _delete_days(self, before: int) -> Iterator[None]:
        day = self._next_day(0)
        while day is not None and day < before:
            yield from self._delete_day(day)
            day = self._next_day(day + 1)

    def _next_day(self, from_day: int) -> int | None:
        with reading(self._database) as connection:
            first = first_event(connection, ids_of(from_day)[0])
        return None if first is None else day_of(first)

    def _delete_day(self, day: int) -> Iterator[None]:
        low, high = ids_of(day)
        with reading(self._database) as connection:
            reader = waiting(connection, day)
        if not reader:
            if self._announce is not None:
                self._announce(day)
            yield from self._drop_day(day)
        while not reader:
            with self._pruner.turn() as connection, self._pace.timed("events") as rows:
                found = self._pruner.delete_slice(connection, low, high, rows)
            yield
            if found is None:
                return
            reader = found.reader
            self.events[day] = self.events.get(day, 0) + found.events
        self.held[day] = reader

    def _drop_day(self, day: int) -> Iterator[None]:
        """Drop the day's partition, where there is one and nobody keeps it."""
        with self._pruner.turn() as connection:
            part = self._pruner.part_to_drop(connection, day)
            if part is None:
                return
            since = self._pruner.begun(connection)
        noted: int | None = part.low - 1
        while noted is not None:
            with self._pruner.turn() as connection, self._pace.timed("notes") as rows:
                noted = self._pruner.note_slice(connection, noted + 1, part.high, rows)
            yield
        for _ in range(_DROP_TRIES):
            with self._pruner.turn() as connection:
                found = self._pruner.drop_day(connection, day, since)
            yield
            if found is not None:
                self.events[day] = self.events.get(day, 0) + found.events
                return

    def _delete_lines(self, before: int) -> Iterator[None]:
        gone = 1
        while gone:
            with self._pruner.turn() as connection, self._pace.timed("lines") as rows:
                gone = self._pruner.delete_lines(connection, before, rows)
            self.lines += gone
            yield

    def _delete_excess(self) -> Iterator[None]:
        """Delete the oldest days until the rows take no more than `max_bytes`."""
        most, today = self._retention.max_bytes, int(self._now()) // DAY
        day = self._next_day(0)
        while most is not None and day is not None and day < today and self._used() > most:
            yield from self._delete_day(day)
            yield from self._delete_lines(day + 1)
            if self.events.get(day):  # what it leaves counts too
                yield from self._sweep()
            day = self._next_day(day + 1)

    # --- what the events referred to ------------------------------------------------------

    def _sweep(self) -> Iterator[None]:
        """Remove signs of processes of deleted days, and dimension rows that are unused then."""
        yield from self._delete_signs()
        for name in unused.WALKED:
            yield from self._walk(name, unused.note_walked)
        with self._pruner.turn() as connection:
            unused.turn(connection)
        yield
        for name in unused.WALKED:
            yield from self._delete_noted(name)
        for name in unused.TEXT_USERS:
            yield from self._walk(name, unused.spare_used, only_while_noted=True)
        yield from self._delete_noted(unused.TEXT)

    def _delete_signs(self) -> Iterator[None]:
        """Remove signs of processes, names and groups of days before the first event."""
        day = self._next_day(0)
        at = (int(self._now()) // DAY if day is None else day) * DAY * 1000
        with self._pruner.turn() as connection:
            own_records.prune(connection, at)
        after: sign_rebuild.Process | None = sign_rebuild.BEGIN
        while after is not None:
            with self._pruner.turn() as connection, self._pace.timed("signs") as rows:
                after = sign_rebuild.prune(connection, at, after, rows)
            yield

    def _walk(
        self,
        name: str,
        look: Callable[[Connection, str, int, int], int | None],
        *,
        only_while_noted: bool = False,
    ) -> Iterator[None]:
        last: int | None = -1
        while last is not None:
            kind = f"{look.__name__} {name}"
            with self._pruner.turn() as connection, self._pace.timed(kind) as rows:
                if only_while_noted and not unused.has_notes(connection, unused.TEXT):
                    return
                last = look(connection, name, last, rows)
            yield

    def _delete_noted(self, name: str) -> Iterator[None]:
        more = True
        while more:
            with self._pruner.turn() as connection, self._pace.timed(name) as rows:
                more = unused.delete_noted(connection, name, rows)
            yield

    # --- the file -------------------------------------------------------------------------

    def _shrink(self) -> Iterator[None]:
        more = space_of(self._database).can_shrink
        while more:
            with self._pruner.turn() as connection, self._pace.timed("pages") as rows:
                more = shrink(connection, rows)
            yield
