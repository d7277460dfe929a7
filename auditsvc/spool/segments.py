"""The log on disk: a folder of segments, each a file of `type=... msg=audit(...): ...` lines.

The writer appends complete lines; a reader gets bytes and their place. Invariants:

* A segment is `audit-NNNNNNNNNNNN.log`, mode 0600. Numbers increase by one up to `LAST`, which
  then grows without limit. Files with other names are ignored (`foreign_files`); a segment or
  folder that another user may change or replace is refused (`auditsvc.host.files`).
* Only the last segment grows, by complete lines. An incomplete line is truncated before
  anything is written after it: at once if a write failed, or at the next opening of the spool
  after a crash (the caller gets the incomplete line and records it).
* A line whose newline is in a segment is never truncated, as a reader may have read it. So
  the complete lines of a failed write count as written (`SpoolError.written`).
* A reader gets a line when it is complete, and its place is never after the writer's. The
  bytes before its place do not change as long as the segment exists; `discard` deletes only
  segments before its place.

One process writes (it holds a lock in the folder), any number may read.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditsvc.errors import SpoolError
from auditsvc.host.files import UnsafeError

if TYPE_CHECKING:
    from pathlib import Path


_NAME = re.compile(r"audit-([0-9]{12})\.log\Z")
LAST = (1 << 23) - 1
"""The highest number of a segment: 40 of the 63 bits of `SpoolReader.origin` are the position."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in the spool: `segment` is a number (0: before the first), `position` bytes."""

    segment: int = 0
    position: int = 0


def segment_path(directory: Path, segment: int) -> Path:
    """Give the path of a segment."""
    return directory / f"audit-{segment:012d}.log"


def segments(directory: Path) -> list[int]:
    """Give the numbers of the existing segments, in ascending order."""
    return sorted(number for name in _names(directory) if (number := _number(name)))


def foreign_files(directory: Path) -> list[str]:
    """Give names of files that look like segments but are not; they are not read or deleted."""
    names = _names(directory)
    return sorted(name for name in names if name.startswith("audit-") and not _number(name))


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - only names
    except FileNotFoundError:
        return []
    except OSError as error:
        raise spool_error(directory, error) from error


def _number(name: str) -> int:
    """Give the number of a segment; 0 for another file."""
    found = _NAME.match(name)
    number = int(found[1]) if found else 0
    return number if number <= LAST else 0


def backlog(directory: Path, place: Place) -> int:
    """Give the number of bytes after `place`."""
    return sum(
        size - (place.position if segment == place.segment else 0)
        for segment, size in sizes(directory).items()
        if segment >= place.segment
    )


def sizes(directory: Path) -> dict[int, int]:
    """Bytes of the segments that exist, by their number."""
    found = {}
    for segment in segments(directory):
        with suppress(FileNotFoundError):
            found[segment] = segment_path(directory, segment).stat().st_size
    return found


def spool_error(path: Path, error: OSError, written: int = 0) -> SpoolError:
    """Make the error for a failure at a path; `written` lines were written before it."""
    what = f"spool {path}: {error.strerror or error}"
    hint = "" if isinstance(error, UnsafeError) else "free disk space or set another spool folder"
    return SpoolError(what, hint, written=written)
