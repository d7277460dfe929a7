"""Deletes segments of the spool that are in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.spool.segments import Place, segment_path, sizes, spool_error

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def surplus(directory: Path, before: Place, keep_bytes: int) -> list[int]:
    """Give the segments to delete, oldest first: they end before `before`.

    Without them `keep_bytes` remain, or as few more as possible.
    """
    found = sizes(directory)
    total = sum(found.values())
    old = []
    for segment, size in found.items():
        if total <= keep_bytes or segment >= before.segment:
            break
        old.append(segment)
        total -= size
    return old


def delete(directory: Path, old: Iterable[int]) -> None:
    """Delete segments; SpoolError if that fails."""
    for segment in old:
        path = segment_path(directory, segment)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise spool_error(path, error) from error


def discard(directory: Path, before: Place, keep_bytes: int) -> int:
    """Delete segments that end before `before`, oldest first, until `keep_bytes` remain.

    Gives the number of deleted segments.
    """
    old = surplus(directory, before, keep_bytes)
    delete(directory, old)
    return len(old)
