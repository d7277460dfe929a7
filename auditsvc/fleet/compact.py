"""Compaction: many small files of the table become one large one, in the table's order.

    for group in list_groups(settings.fleet, now=time.time()): ...
    for done in compact(settings.fleet, now=time.time()): ...       # FleetError

A committer writes a file for each day in each commit, so a day has thousands of small ones. Here
those of a day are put together, up to `TARGET` bytes: of a day that is over all small ones; of a
day that is not, those with rows of hours that are over only, and fewer times.

A group is one commit: the old files out, the new one in, the watermarks untouched. It holds only
if all the old files are in the table still, and if nobody has committed meanwhile: then it is tried
again on what is there now, with the same new file. Rows are neither read nor written for that.
Committers do not wait, and any number of these may run; two that choose the same files waste the
work of one.

Ended at any moment: before the commit the new file is in no snapshot, and `auditsvc.fleet.sweep`
removes it; after it all is done. The property `SWEPT` tells a compaction that files in no snapshot
were removed after it had written its own: then it gives that up.
"""

from __future__ import annotations

import random
import time
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from pyiceberg.conversions import from_bytes
from pyiceberg.exceptions import CommitStateUnknownException, ValidationException
from pyiceberg.types import TimestamptzType

from auditsvc.errors import FleetError
from auditsvc.fleet.lake import NO_RETRY, delete_file, explained, is_conflict, open_table
from auditsvc.fleet.merge import merged
from auditsvc.fleet.names import SWEPT
from auditsvc.store.partitions import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

    from auditsvc.config import FleetSettings

TARGET: Final = 128 << 20
"""Bytes of a file: those of a group are in memory together."""
_SMALL: Final = 0.5
"""A file with less than this part of the target is small."""
_MOST_ROWS: Final = 4_000_000
"""Rows of a group: the columns of its order are in memory together."""
_MOST_FILES: Final = 500
_FEW: Final = 8
"""Files that are worth a rewriting, even if one of them has most of the bytes."""
_MOST_OF: Final = 2 / 3
"""The part of a group's bytes that one file may have where files are few."""
_HOUR: Final = 3600
_LATE: Final = 3600
"""Seconds after the end of a day, in which it still gets rows of its last hour."""
_TRIES: Final = 20
_PAUSE: Final = 1.0


class Group(NamedTuple):
    """Files of one day that become one."""

    day: int
    """Since 1970."""
    files: tuple[DataFile, ...]

    @property
    def rows(self) -> int:
        """How many they have."""
        return sum(each.record_count for each in self.files)

    @property
    def bytes(self) -> int:
        """How large they are."""
        return sum(each.file_size_in_bytes for each in self.files)


class Rewritten(NamedTuple):
    """What became of a group; without `is_done` the table has it as before."""

    group: Group
    bytes: int
    is_done: bool


def find_groups(table: Table, *, now: float, target: int = TARGET) -> list[Group]:
    """Give what is worth a rewriting, the oldest day first."""
    spec = table.metadata.default_spec_id
    small: list[tuple[int, int, DataFile]] = []
    for task in table.scan().plan_files():
        file, day = task.file, task.file.partition[0]
        if task.delete_files or file.spec_id != spec or not isinstance(day, int):
            continue  # another program's work; it is left to that
        if file.file_size_in_bytes < target * _SMALL:
            newest = _newest(table, file)
            if (day + 1) * DAY + _LATE <= now or newest < now // _HOUR * _HOUR:
                small.append((day, newest, file))
    small.sort(key=lambda each: (each[0], each[1], each[2].file_path))
    found = []
    for day, of_day in groupby(small, lambda each: each[0]):
        least = 2 if (day + 1) * DAY + _LATE <= now else _FEW
        for files in _grouped((file for *_, file in of_day), target):
            group = Group(day, tuple(files))
            largest = max(each.file_size_in_bytes for each in files)
            if len(files) >= _FEW or (len(files) >= least and largest <= group.bytes * _MOST_OF):
                found.append(group)
    return found


def _newest(table: Table, file: DataFile) -> int:
    """Give the second of the newest row of a file; if it does not say, none that is over."""
    bound = (file.upper_bounds or {}).get(table.schema().find_field("time").field_id)
    return 1 << 62 if bound is None else int(from_bytes(TimestamptzType(), bound)) // 1_000_000


def _grouped(files: Iterable[DataFile], target: int) -> Iterator[list[DataFile]]:
    """Cut a day's files into groups, each of some size."""
    group: list[DataFile] = []
    size = rows = 0
    for each in files:
        size, rows = size + each.file_size_in_bytes, rows + each.record_count
        if group and (size > target or rows > _MOST_ROWS or len(group) == _MOST_FILES):
            yield group
            group, size, rows = [], each.file_size_in_bytes, each.record_count
        group.append(each)
    if group:
        yield group


def list_groups(settings: FleetSettings, *, now: float, target: int = TARGET) -> list[Group]:
    """Give what `compact` would rewrite; FleetError."""
    with explained(settings):
        return find_groups(open_table(settings), now=now, target=target)


def compact(settings: FleetSettings, *, now: float, target: int = TARGET) -> Iterator[Rewritten]:
    """Rewrite what is worth it, a commit for each group; FleetError."""
    table = open_table(settings)
    with explained(settings):
        groups = find_groups(table, now=now, target=target)
    for group in groups:
        yield _rewrite(settings, table, group)


def _rewrite(settings: FleetSettings, table: Table, group: Group) -> Rewritten:
    with explained(settings):
        table.refresh()
    swept = table.properties.get(SWEPT)
    try:
        with explained(settings):
            made = merged(table, group.files)
    except FleetError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return Rewritten(group, 0, is_done=False)  # retention, or another compaction
        raise
    is_known = True
    for tried in range(1, _TRIES + 1):
        with explained(settings):
            table.refresh()
        if table.properties.get(SWEPT) != swept:
            break
        try:
            with explained(settings):
                _exchange(table, group, made)
        except FleetError as error:
            if isinstance(error.__cause__, ValidationException):
                break  # a file is not there any more
            if not is_conflict(error):
                raise
            is_known = is_known and not isinstance(error.__cause__, CommitStateUnknownException)
            time.sleep(random.uniform(0, _PAUSE * min(tried, 5)))  # noqa: S311 - a pause
        else:
            return Rewritten(group, made.file_size_in_bytes, is_done=True)
    if is_known:  # else it may be in the table after all
        with explained(settings):
            delete_file(table, made.file_path)
        return Rewritten(group, 0, is_done=False)
    return Rewritten(group, 0, is_done=_has(settings, table, made))


def _exchange(table: Table, group: Group, made: DataFile) -> None:
    """Commit: the files of a group out, the new one in."""
    table.metadata.properties.update(NO_RETRY)
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as change:
        for each in group.files:
            change.delete_data_file(each)
        change.append_data_file(made)


def _has(settings: FleetSettings, table: Table, made: DataFile) -> bool:
    """Whether the table has a file."""
    with explained(settings):
        table.refresh()
        return any(task.file.file_path == made.file_path for task in table.scan().plan_files())
