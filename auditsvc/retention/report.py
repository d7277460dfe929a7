"""What is kept, was deleted, is held, and when the store will be full. Changes nothing."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.retention.forecast import Room, Size, forecast
from auditsvc.retention.job import days, first_kept, waiting
from auditsvc.store import open_store
from auditsvc.store.arrivals import FLEET
from auditsvc.store.database import reading
from auditsvc.store.partitions import DAY, date_of
from auditsvc.store.schema import pruned_day, raw_day, store_size
from auditsvc.store.space import Space, folder_of, space
from auditsvc.store.write import archived
from auditsvc.store.write.prune import count_events, first_event, ids_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from auditsvc.config import RetentionSettings
    from auditsvc.store.database import Database

Facts = dict[str, Any]

_MOST: Final = (1 << 63) - 1
_SHORT: Final = "10s"
"""For `status`, which must not wait for a store that somebody keeps locked."""


@dataclass(frozen=True, slots=True)
class Due:
    """A day that goes: its events, raw lines stored on it, and the reader that it waits for."""

    day: str
    events: int
    lines: int
    held_for: str


def make_report(url: str, retention: RetentionSettings) -> Facts:
    """Give the facts for `status`; StoreError."""
    with open_store(url, create=False, read=True) as store, reading(store.database) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{_SHORT}'")
        taken = space(connection)
        told = forecast(_sizes(connection), _room(store.database, taken, retention))
        return {
            "keep": retention.keep,
            "max_bytes": retention.max_bytes,
            "oldest": _oldest(connection),
            "bytes": taken.used,
            "file_bytes": taken.file,
            "pruned_events": int(connection.scalar(select(func.sum(pruned_day.c.events))) or 0),
            "held": _held(connection, retention, time.time()),
            "bytes_a_day": told.bytes_a_day,
            "full_in_days": told.full_in_days,
            "forecast": told.says,
        }


def list_due(url: str, retention: RetentionSettings, now: float) -> list[Due]:
    """Give the days that a job would delete now, oldest first; StoreError.

    By `max_bytes` alone it is not known how many days go: those beyond the limit are estimated
    by the events' share of the bytes.
    """
    with open_store(url, create=False, read=True) as store, reading(store.database) as connection:
        kept = first_kept(retention, now)
        found = (
            [] if kept is None else [_due(connection, day) for day in _all_days(connection, kept)]
        )
        most = retention.max_bytes
        used = space(connection).used
        if most is None or used <= most:
            return found
        total = count_events(connection, 0, _MOST)
        gone = sum(each.events for each in found)
        for day in days(connection, int(now) // DAY):
            if kept is not None and day < kept:
                continue
            if not total or used * (1 - gone / total) <= most:
                break
            found.append(_due(connection, day))
            gone += found[-1].events
        return found


def note_for_log(database: Database, retention: RetentionSettings, second: int) -> str:
    """Say what becomes of a log that begins at a second, if its days are not kept; or ""."""
    day, kept = second // DAY, first_kept(retention, time.time())
    with reading(database) as connection:
        pruned = connection.scalar(select(pruned_day.c.day).where(pruned_day.c.day == day))
    found = []
    if kept is not None and day < kept:
        found.append(
            f"it begins on {date_of(day)}, and the store keeps what is from {date_of(kept)} on "
            "(retention.keep): older events are stored until the next prune"
        )
    if pruned is not None:
        found.append(
            f"events of {date_of(day)} were pruned: what was read of a log before is not read again"
        )
    return "; ".join((*found, "to have them, give another --store")) if found else ""


def _all_days(connection: Connection, before: int) -> list[int]:
    lines = connection.scalars(select(raw_day.c.day).where(raw_day.c.day < before).distinct())
    return sorted({*days(connection, before), *lines})


def _due(connection: Connection, day: int) -> Due:
    lines = connection.scalar(select(func.count()).where(raw_day.c.day == day)) or 0
    events = count_events(connection, *ids_of(day))
    return Due(date_of(day), events, lines, waiting(connection, day))


def _held(connection: Connection, retention: RetentionSettings, now: float) -> str:
    kept = first_kept(retention, now)
    if kept is None:
        return ""
    for day in days(connection, kept):
        if (reader := waiting(connection, day)) == archived.NAME:
            return (
                f"events from {date_of(day)} on stay, as the archive has not had them; set"
                " [archive] and let it run, or end it with `auditsvc archive --forget`"
            )
        if reader == FLEET:
            return (
                f"events from {date_of(day)} on stay, as the fleet has not had them; set [fleet]"
                " and let it run, or end it with `auditsvc fleet ship --forget`"
            )
        if reader:
            return (
                f"events from {date_of(day)} on stay, as {reader} has not had them; let it run, or "
                "end its reading with `auditsvc forward --forget`"
            )
    return ""


def _oldest(connection: Connection) -> str | None:
    first = first_event(connection, 0)
    if first is None:
        return None
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(first >> SERIAL_BITS))


def _sizes(connection: Connection) -> list[Size]:
    return [
        Size(*row) for row in connection.execute(select(store_size).order_by(store_size.c.time))
    ]


def _room(database: Database, taken: Space, retention: RetentionSettings) -> Room | None:
    folder, most = folder_of(database), retention.max_bytes
    room = None
    if folder is not None:
        disk = os.statvfs(folder)
        left = disk.f_bavail * disk.f_frsize
        room = Room(taken.used, taken.file + left, "its disk", retention.days)
    if most is not None and (room is None or most < room.most):
        return Room(taken.used, most, "the oldest days are deleted", retention.days)
    return room
