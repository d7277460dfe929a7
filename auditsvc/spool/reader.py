"""Reads the spool from a position on, through its segments.

A line is given when it is complete. The reader's place is never after the writer's, and the
bytes before it do not change as long as the segment exists.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from auditsvc.host.files import open_file
from auditsvc.spool.segments import Place, segment_path, segments, sizes, spool_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


_PIECE = 1 << 14
_MOST_HELD: Final = 512
"""Segments that are kept open at once; a process may have 1024 files by default."""


@contextmanager
def held(directory: Path) -> Iterator[dict[int, int]]:
    """Open the segments that are there, oldest first: they can be read after they are deleted.

    Gives a descriptor by segment, for a reader's `held`. SpoolError.
    """
    found: dict[int, int] = {}
    with ExitStack() as stack:
        for number in segments(directory)[:_MOST_HELD]:
            path = segment_path(directory, number)
            try:
                with suppress(FileNotFoundError):  # deleted meanwhile
                    found[number] = open_file(path)
                    stack.callback(os.close, found[number])
            except OSError as error:
                raise spool_error(path, error) from error
        yield found


class SpoolReader:
    """Reads from a place on, through the segments."""

    def __init__(
        self, directory: Path, place: Place, *, held: Mapping[int, int] | None = None
    ) -> None:
        """`held`: segments that are read also if they were deleted, as `held` gives them."""
        self._held = held or {}
        self.directory = directory
        self.place = place
        self.missing = 0
        """Segments that were deleted before they were read."""
        self._fd = -1
        self._newline_at = -1  # a known position of a newline in the open segment

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    def at(
        cls, directory: Path, segment: str, position: int, found: Mapping[int, int] | None = None
    ) -> Self:
        """Continue from a result of `checkpoint` ("" and 0: from the beginning).

        Bytes that the spool has lost since (in a crash before a sync, or deleted by somebody)
        are skipped: so open the reader before the writer appends anything, or give the result
        of `sizes` from before that.
        """
        place = Place(int(segment), position) if segment.isdecimal() else Place()
        found = sizes(directory) if found is None else found
        if found and place.segment > max(found):
            place = Place()  # another spool, with numbers from the beginning
        elif place.segment in found:
            place = Place(place.segment, min(place.position, found[place.segment]))
        return cls(directory, place)

    def checkpoint(self) -> tuple[str, int]:
        """Give the segment and position up to which the spool was read."""
        return str(self.place.segment), self.place.position

    def origin(self) -> int:
        """Give the place as one number, which increases from segment to segment."""
        return (self.place.segment << 40) + self.place.position

    def close(self) -> None:
        """Close the open segment."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, limit: int) -> bytes:
        """Give up to `limit` bytes of the next complete lines; b"" when there are none yet.

        A longer line is given in parts, when it is complete.
        """
        while True:
            if self._fd < 0 and not self._enter(self.place):
                return b""
            data = self._whole_lines(limit)
            if not data and self._is_there(self.place.segment + 1):
                # The writer no longer appends to this segment: read again, then continue.
                data = self._whole_lines(limit)
                if not data:
                    self.close()
                    self.place = Place(self.place.segment + 1, 0)
                    continue
            self.place = Place(self.place.segment, self.place.position + len(data))
            return data

    def _is_there(self, segment: int) -> bool:
        return segment in self._held or segment_path(self.directory, segment).exists()

    def _whole_lines(self, limit: int) -> bytes:
        # Find the end first, then read: bytes up to a newline do not change any more, but
        # those after the last newline may be truncated and replaced.
        start = self.place.position
        stop = min(start + limit, os.fstat(self._fd).st_size)
        end = self._last_end(start, stop)
        if end == start and stop == start + limit and self._ends(stop):
            end = stop
        return os.pread(self._fd, end - start, start) if end > start else b""

    def _last_end(self, start: int, stop: int) -> int:
        """Find the end of the last line that ends between the positions; `start` if none does."""
        while stop > start:
            piece = max(start, stop - _PIECE)
            found = os.pread(self._fd, stop - piece, piece).rfind(b"\n")
            if found >= 0:
                return piece + found + 1
            stop = piece
        return start

    def _ends(self, position: int) -> bool:
        """Whether there is a newline from `position` on."""
        if self._newline_at >= position:  # so that a long line is not searched for each part
            return True
        while piece := os.pread(self._fd, _PIECE, position):
            if (found := piece.find(b"\n")) >= 0:
                self._newline_at = position + found
                return True
            position += len(piece)
        return False

    def _enter(self, place: Place) -> bool:
        existing = sorted({*segments(self.directory), *self._held})
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
            held = self._held.get(place.segment)
            self._fd = open_file(path) if held is None else os.dup(held)
        except OSError as error:
            raise spool_error(path, error) from error
        self.place = place
        self._newline_at = -1
        return True
