"""Which days the archive of a store should have by now, told from settings and store alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auditsvc.retention.job import days
from auditsvc.store import open_store
from auditsvc.store.database import reading
from auditsvc.store.partitions import DAY, date_of
from auditsvc.store.write import archived

if TYPE_CHECKING:
    from auditsvc.config import ArchiveSettings

_HOUR: Final = 3600


def last_complete(archive: ArchiveSettings, now: float) -> int:
    """Give the last day that is over, with its grace."""
    return int(now - archive.grace * _HOUR) // DAY - 1


def make_report(url: str, archive: ArchiveSettings, now: float) -> dict[str, Any]:
    """Give the facts for `status`; StoreError."""
    facts: dict[str, Any] = {"to": archive.to, "keep": archive.keep}
    if archive.to is None:
        return facts
    with open_store(url, create=False, read=True) as store, reading(store.database) as connection:
        state = archived.read(connection)
        through = -1 if state is None else state.through
        waiting = [
            day for day in days(connection, last_complete(archive, now) + 1) if day > through
        ]
        return facts | {
            "through": None if through < 0 else date_of(through),
            "through_timestamp": None if through < 0 else (through + 1) * DAY,
            "parts": 0 if state is None else state.n,
            "waiting_days": len(waiting),
            "late": 0 if state is None else len(archived.late(connection, through, state.seq)),
        }
