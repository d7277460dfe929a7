"""The log on disk: a folder of segments, each a file of `type=... msg=audit(...): ...` lines.

In go whole lines, out come bytes and the place they stand at. What must hold:

* A segment is `audit-NNNNNNNNNNNN.log`, mode 0600; numbers rise by one. Only the last
  one grows, by appending whole lines. A line that is not whole is cut off before anything
  is put behind it: at once where the disk refused a write, when the spool is opened again
  where a crash tore it (and handed to the caller, who writes down what it was).
* A line whose newline stands in a segment is never cut off: a reader may have taken it.
  So what is left of a refused write counts as written, line by line (`SpoolError.written`).
* A reader takes a line once it is whole, and its place is never beyond the writer's. It
  finds the same bytes at a place for as long as the segment exists; `discard` deletes
  only segments before its place.

One process writes (a lock on the folder says so), any number may read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditsvc.errors import SpoolError

if TYPE_CHECKING:
    from pathlib import Path


_NAME = re.compile(r"audit-(\d{12})\.log\Z")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in the spool: `segment` is a number (0: before the first), `position` bytes."""

    segment: int = 0
    position: int = 0


def segment_path(directory: Path, segment: int) -> Path:
    """Where a segment stands."""
    return directory / f"audit-{segment:012d}.log"


def segments(directory: Path) -> list[int]:
    """Numbers of the segments that exist, rising."""
    try:
        names = [entry.name for entry in directory.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise spool_error(directory, error) from error
    return sorted(int(found[1]) for name in names if (found := _NAME.match(name)))


def backlog(directory: Path, place: Place) -> int:
    """Bytes that stand after `place`."""
    total = 0
    for segment in segments(directory):
        if segment < place.segment:
            continue
        try:
            size = segment_path(directory, segment).stat().st_size
        except FileNotFoundError:
            continue
        total += size - (place.position if segment == place.segment else 0)
    return total


def spool_error(path: Path, error: OSError, written: int = 0) -> SpoolError:
    """Say what failed where; `written` lines were written all the same."""
    what = f"spool {path}: {error.strerror or error}"
    return SpoolError(what, "make room or give it another folder", written=written)
