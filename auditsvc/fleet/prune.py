"""Deletes whole days of the table: the files of their partitions are left out, not rewritten."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException

from auditsvc.errors import FleetError
from auditsvc.fleet.lake import NO_RETRY, explained, open_table
from auditsvc.fleet.names import KEPT_FROM
from auditsvc.store.partitions import DAY, date_of

if TYPE_CHECKING:
    from auditsvc.config import FleetSettings

_TRIES: Final = 20


def prune(settings: FleetSettings, before: int) -> tuple[int, int]:
    """Delete the days before a day; gives how many files and rows. FleetError."""
    moment = datetime.fromtimestamp(before * DAY, UTC).isoformat()
    where = f"time < '{moment}'"
    for _ in range(_TRIES):
        table = open_table(settings)
        with explained(settings):
            files = [task.file for task in table.scan(row_filter=where).plan_files()]
        if not files:
            return 0, 0
        table.metadata.properties.update(NO_RETRY)
        try:
            with explained(settings), table.transaction() as change:
                change.delete(delete_filter=where)
                change.set_properties({KEPT_FROM: date_of(before)})
        except FleetError as error:
            if not isinstance(error.__cause__, CommitFailedException | CommitStateUnknownException):
                raise
            time.sleep(random.uniform(0, 1))  # noqa: S311 - a pause
            continue
        return len(files), sum(each.record_count for each in files)
    raise FleetError("others commit all the time", "try again")
