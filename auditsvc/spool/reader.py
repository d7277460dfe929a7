"""Reads the spool on from a place, through its segments.

A line is given once it is whole. A place is never beyond the writer's, and the same bytes
stand at it for as long as the segment exists.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from auditsvc.host.files import open_file
from auditsvc.spool.segments import Place, segment_path, segments, sizes, spool_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_PIECE = 1 << 14


class SpoolReader:
    """Reads on from a place, through the segments."""

    def __init__(self, directory: Path, place: Place) -> None:
        self.directory = directory
        self.place = place
        self.missing = 0
        """Segments that were deleted before they were read."""
        self._fd = -1
        self._newline_at = -1  # where a newline is known to stand in the open segment

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def at(
        cls, directory: Path, segment: str, position: int, found: Mapping[int, int] | None = None
    ) -> Self:
        """Go on from what `checkpoint` gave ("" and 0: from the beginning).

        What the spool has lost since (a crash before its sync, or somebody who emptied
        it) is passed over: so open it before the writer appends anything, or give what
        `sizes` found before that.
        """
        place = Place(int(segment), position) if segment.isdecimal() else Place()
        found = sizes(directory) if found is None else found
        if found and place.segment > max(found):
            place = Place()  # another spool, numbered anew
        elif place.segment in found:
            place = Place(place.segment, min(place.position, found[place.segment]))
        return cls(directory, place)

    def checkpoint(self) -> tuple[str, int]:
        """Segment and position up to which was read."""
        return str(self.place.segment), self.place.position

    def origin(self) -> int:
        """A number for the place that rises from segment to segment."""
        return (self.place.segment << 40) + self.place.position

    def close(self) -> None:
        """Let go of the open segment."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, limit: int) -> bytes:
        """Give up to `limit` bytes of the next whole lines; b"" when there are none yet.

        A line that is longer comes in parts, once it is whole.
        """
        while True:
            if self._fd < 0 and not self._enter(self.place):
                return b""
            data = self._whole_lines(limit)
            if not data and segment_path(self.directory, self.place.segment + 1).exists():
                # The writer has left this segment for good: look once more, then move on.
                data = self._whole_lines(limit)
                if not data:
                    self.close()
                    self.place = Place(self.place.segment + 1, 0)
                    continue
            self.place = Place(self.place.segment, self.place.position + len(data))
            return data

    def _whole_lines(self, limit: int) -> bytes:
        # First where they end, then the bytes: up to a newline that stands there nothing
        # changes any more, but what is behind the last one may be cut off and written over.
        start = self.place.position
        stop = min(start + limit, os.fstat(self._fd).st_size)
        end = self._last_end(start, stop)
        if end == start and stop == start + limit and self._ends(stop):
            end = stop
        return os.pread(self._fd, end - start, start) if end > start else b""

    def _last_end(self, start: int, stop: int) -> int:
        """Find the end of the last line that ends between these; `start` if none does."""
        while stop > start:
            piece = max(start, stop - _PIECE)
            found = os.pread(self._fd, stop - piece, piece).rfind(b"\n")
            if found >= 0:
                return piece + found + 1
            stop = piece
        return start

    def _ends(self, position: int) -> bool:
        """Whether there is a newline from `position` on."""
        if self._newline_at >= position:  # a long line is not looked through for each part of it
            return True
        while piece := os.pread(self._fd, _PIECE, position):
            if (found := piece.find(b"\n")) >= 0:
                self._newline_at = position + found
                return True
            position += len(piece)
        return False

    def _enter(self, place: Place) -> bool:
        existing = segments(self.directory)
        if not existing:
            return False
        if place.segment == 0:
            place = Place(existing[0], 0)
        elif place.segment not in existing:
            later = [segment for segment in existing if segment > place.segment]
            if not later:
                return False
            self.missing += later[0] - place.segment
            place = Place(later[0], 0)
        path = segment_path(self.directory, place.segment)
        try:
            self._fd = open_file(path)
        except OSError as error:
            raise spool_error(path, error) from error
        self.place = place
        self._newline_at = -1
        return True
