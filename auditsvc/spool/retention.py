"""Deletes segments of the spool that are in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.spool.segments import Place, segment_path, segments, spool_error

if TYPE_CHECKING:
    from pathlib import Path


def discard(directory: Path, before: Place, keep_bytes: int) -> int:
    """Delete segments that end before `before`, oldest first, until `keep_bytes` remain.

    Gives the number of deleted segments.
    """
    sizes = {}
    for segment in segments(directory):
        try:
            sizes[segment] = segment_path(directory, segment).stat().st_size
        except FileNotFoundError:  # somebody else deleted it
            continue
    total = sum(sizes.values())
    deleted = 0
    for segment, size in sizes.items():
        if total <= keep_bytes or segment >= before.segment:
            break
        path = segment_path(directory, segment)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise spool_error(path, error) from error
        total -= size
        deleted += 1
    return deleted
