"""Removes what no question needs any more: old snapshots, and files that are in none.

    done = sweep(settings.fleet, snapshots=3600, files=86_400)        # FleetError

A commit makes a snapshot; those that are not the newest and older than `snapshots` seconds go: who
has asked one of them since before then gets an error. A file that is in no snapshot was taken out
(by compaction, by retention), or is of a program that ended, or lost a conflict, before its commit.

Why no file goes that somebody is about to commit: a commit holds only if the table's newest
snapshot is the one that the program knew when it began to write. So before anything is removed an
empty commit is made, and the files are looked for before it: what is in no snapshot after it can
come into none. A compaction keeps its file over a conflict; it gives it up if the property
`SWEPT`, which that commit sets, is another one. Programs of others (Spark) may keep theirs too, so
a file must be older than `files` seconds: longer than any job of theirs takes.

The catalog's own files (*.metadata.json) are left to the catalog.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pyarrow import fs
from pyiceberg.io.pyarrow import PyArrowFileIO

from auditsvc.fleet.lake import commit_change, delete_file, explained, open_table
from auditsvc.fleet.names import SWEPT

if TYPE_CHECKING:
    from pyiceberg.table import Table

    from auditsvc.config import FleetSettings

_DATA: Final = ".parquet"
_MANIFEST: Final = ".avro"


@dataclass(frozen=True, slots=True)
class Swept:
    """What is there no more."""

    snapshots: int = 0
    files: int = 0
    bytes: int = 0


def sweep(
    settings: FleetSettings, *, snapshots: float, files: float, now: float | None = None
) -> Swept:
    """Remove snapshots older than so many seconds, and files in none that are so old."""
    at = time.time() if now is None else now
    expired = commit_change(settings, lambda table: _expire(table, at - snapshots))
    with explained(settings):
        table = open_table(settings)
        found = _left_over(table, at - files)
        if not found:
            return Swept(expired)
        commit_change(settings, _fence)
        table = open_table(settings)
        found = {path: size for path, size in found.items() if path not in _known(table)}
        for path in found:
            delete_file(table, path)
    return Swept(expired, len(found), sum(found.values()))


def _expire(table: Table, before: float) -> int:
    newest = table.metadata.current_snapshot_id
    old = [
        each.snapshot_id
        for each in table.metadata.snapshots
        if each.timestamp_ms < before * 1000 and each.snapshot_id != newest
    ]
    if old:
        moment = datetime.fromtimestamp(before, UTC)
        table.maintenance.expire_snapshots().older_than(moment).commit()
    return len(old)


def _fence(table: Table) -> None:
    """Commit nothing, so that who has begun to write before loses."""
    with table.transaction() as transaction:
        transaction.set_properties({SWEPT: str(uuid.uuid4())})
        with transaction.update_snapshot().fast_append():
            pass


def _left_over(table: Table, before: float) -> dict[str, int]:
    """Give the files that are in no snapshot and older than a time, with their sizes."""
    known, found = _known(table), {}
    places = table.location_provider()
    for place, kind in ((places.data_path, _DATA), (places.metadata_path, _MANIFEST)):
        scheme, host, path = PyArrowFileIO.parse_location(place)
        io = table.io if isinstance(table.io, PyArrowFileIO) else PyArrowFileIO(table.io.properties)
        select = fs.FileSelector(path, recursive=True, allow_not_found=True)
        for each in io.fs_by_scheme(scheme, host).get_file_info(select):
            if each.type is not fs.FileType.File or not each.path.endswith(kind):
                continue
            name = f"{place}{each.path.removeprefix(path)}"
            if name not in known and each.mtime.timestamp() < before:
                found[name] = each.size
    return found


def _known(table: Table) -> set[str]:
    """Give the files of all snapshots; each manifest is read once."""
    found: set[str] = set()
    for snapshot in table.metadata.snapshots:
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in found:
                found.add(manifest.manifest_path)
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                found.update(each.data_file.file_path for each in entries)
    return found
