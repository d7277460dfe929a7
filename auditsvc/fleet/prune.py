"""Deletes whole days of the table: the files of their partitions are left out, not rewritten."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from auditsvc.fleet.lake import commit_change
from auditsvc.fleet.names import KEPT_FROM
from auditsvc.store.partitions import DAY, date_of

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from auditsvc.config import FleetSettings


def prune(settings: FleetSettings, before: int) -> tuple[int, int]:
    """Delete the days before a day; gives how many files and rows. FleetError."""
    moment = datetime.fromtimestamp(before * DAY, UTC).isoformat()
    where = f"time < '{moment}'"

    def change(table: Table) -> tuple[int, int]:
        files = [task.file for task in table.scan(row_filter=where).plan_files()]
        if files:
            with table.transaction() as transaction:
                transaction.delete(delete_filter=where)
                transaction.set_properties({KEPT_FROM: date_of(before)})
        return len(files), sum(each.record_count for each in files)

    return commit_change(settings, change)
