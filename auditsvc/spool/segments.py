"""The log on disk: a folder of segments, each a file of `type=... msg=audit(...): ...` lines.

In go whole lines, out come bytes and the place they stand at. What must hold:

* A segment is `audit-NNNNNNNNNNNN.log`, mode 0600; numbers rise by one, up to `LAST`, which
  grows on. A file of any other name is none of ours and is left alone (`strangers`); a
  segment or folder that another user may change or replace is refused (`auditsvc.host.files`).
* Only the last one grows, by appending whole lines. A line that is not whole is cut off
  before anything is put behind it: at once where the disk refused a write, when the spool is
  opened again where a crash tore it (and handed to the caller, who writes down what it was).
* A line whose newline stands in a segment is never cut off: a reader may have taken it.
  So what is left of a refused write counts as written, line by line (`SpoolError.written`).
* A reader takes a line once it is whole, and its place is never beyond the writer's. It
  finds the same bytes at a place for as long as the segment exists; `discard` deletes
  only segments before its place.

One process writes (a lock on the folder says so), any number may read.
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
"""The highest number of a segment: of the 63 bits of `SpoolReader.origin` 40 are a position's."""


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
    return sorted(number for name in _names(directory) if (number := _number(name)))


def strangers(directory: Path) -> list[str]:
    """Names of files that look like segments and are none: they are neither read nor deleted."""
    names = _names(directory)
    return sorted(name for name in names if name.startswith("audit-") and not _number(name))


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - names alone are asked for
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
    """Bytes that stand after `place`."""
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
    """Say what failed where; `written` lines were written all the same."""
    what = f"spool {path}: {error.strerror or error}"
    hint = "" if isinstance(error, UnsafeError) else "make room or give it another folder"
    return SpoolError(what, hint, written=written)
