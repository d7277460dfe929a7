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

import fcntl
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from auditsvc.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from auditsvc.config import FsyncPolicy

_NAME = re.compile(r"audit-(\d{12})\.log\Z")
_TORN_MOST = 1 << 20
_PIECE = 1 << 14


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
        raise _wrong(directory, error) from error
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


class SpoolWriter:
    """Appends lines.

    `torn` is the line that an earlier crash left unfinished (its first MiB; b"" if none).
    """

    def __init__(self, directory: Path, *, segment_bytes: int, fsync: FsyncPolicy) -> None:
        self.directory = directory
        self.torn = b""
        self.rotations = 0
        self._segment_bytes = segment_bytes
        self.fsync = fsync
        self._ragged = False  # part of a line, which could not be cut off yet, stands at the end
        self._unsynced = False
        self._finished: list[int] = []  # segments that were rotated and are not synced yet
        try:
            _make_folder(directory)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._lock = os.open(directory / "lock", flags, 0o600)
        except OSError as error:
            raise _wrong(directory, error) from error
        try:
            self._take_lock()
            existing = segments(directory)
            self._open(existing[-1] if existing else 1)
            self._sync_folder()
            self._cut_torn_line()
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def place(self) -> Place:
        """Where the next line will stand."""
        return Place(self._segment, self._size)

    def append(self, lines: bytes) -> None:
        """Write whole lines, each with its newline.

        SpoolError unless all are written; its `written` of them are, from the first on.
        """
        self._cut()
        if self._size and self._size + len(lines) > self._segment_bytes:
            self.rotate()
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            kept = self._keep_whole_lines(lines)
            if kept < len(lines):
                raise _wrong(self._path, error, written=lines.count(b"\n", 0, kept)) from error
        else:
            self._size += len(lines)
            self._unsynced = True

    def sync(self) -> None:
        """Force what was appended to the disk; SpoolError if it fails."""
        sync(self.unsynced())

    def unsynced(self) -> list[int]:
        """Hand over descriptors of what was appended since the last call, for `sync`.

        Who must not wait for the disk lets another thread sync them.
        """
        waiting, self._finished = self._finished, []
        if self._unsynced and self.fsync != "none":
            waiting.append(os.dup(self._fd))
        self._unsynced = False
        return waiting

    def rotate(self) -> None:
        """Finish this segment and begin the next.

        SpoolError if there is no next one, or its name may not survive a crash of the host.
        """
        self._cut()
        old = self._fd
        self._open(self._segment + 1)  # once it exists readers go there, and so must we
        if self._unsynced and self.fsync != "none":
            self._finished.append(old)
        else:
            os.close(old)
        self._unsynced = False
        self.rotations += 1
        self._sync_folder()

    def close(self) -> None:
        """Sync and let go of the folder."""
        try:
            self.sync()
            self._cut()
        finally:
            os.close(self._fd)
            os.close(self._lock)

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SpoolError(
                f"spool {self.directory}: another auditsvc writes there",
                "stop it, or give this one its own spool.directory",
            ) from error

    @property
    def _path(self) -> Path:
        return segment_path(self.directory, self._segment)

    def _open(self, segment: int) -> None:
        path = segment_path(self.directory, segment)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise _wrong(path, error) from error
        self._segment, self._size = segment, os.fstat(self._fd).st_size

    def _sync_folder(self) -> None:
        """Let the name of a new segment survive a crash too."""
        try:
            folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise _wrong(self.directory, error) from error

    def _keep_whole_lines(self, lines: bytes) -> int:
        """Go on behind the whole lines that reached the file; returns how many bytes they are."""
        # What a reader may have seen is what the file says, not what write(2) returned.
        reached = os.fstat(self._fd).st_size - self._size
        kept = lines.rfind(b"\n", 0, max(reached, 0)) + 1
        self._size += kept
        self._unsynced |= kept > 0
        self._ragged = reached > kept
        with suppress(SpoolError):  # then nothing is appended until it succeeds
            self._cut()
        return kept

    def _cut(self) -> None:
        """Cut off the part of a line that a refused write left."""
        if self._ragged:
            try:
                os.ftruncate(self._fd, self._size)
            except OSError as error:
                raise _wrong(self._path, error) from error
            self._ragged = False

    def _cut_torn_line(self) -> None:
        length, tail = 0, b""
        while length < self._size and b"\n" not in tail:
            length = min(self._size, 2 * length or _TORN_MOST)
            tail = os.pread(self._fd, length, self._size - length)
        torn = tail[tail.rfind(b"\n") + 1 :]
        self.torn = torn[:_TORN_MOST]
        self._size -= len(torn)
        self._ragged = bool(torn)
        self._cut()


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
    def at(cls, directory: Path, segment: str, position: int) -> Self:
        """Go on from what `checkpoint` gave ("" and 0: from the beginning).

        What the spool has lost since (a crash before its sync, or somebody who emptied
        it) is passed over: so open it before the writer appends anything.
        """
        place = Place(int(segment or 0), position)
        existing = segments(directory)
        if existing and place.segment > existing[-1]:
            place = Place()  # another spool, numbered anew
        elif place.segment in existing:
            size = segment_path(directory, place.segment).stat().st_size
            place = Place(place.segment, min(place.position, size))
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
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise _wrong(path, error) from error
        self.place = place
        self._newline_at = -1
        return True


def discard(directory: Path, before: Place, keep_bytes: int) -> int:
    """Delete segments that end before `before`, oldest first, until `keep_bytes` remain.

    Returns how many were deleted.
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
            raise _wrong(path, error) from error
        total -= size
        deleted += 1
    return deleted


def sync(descriptors: Iterable[int]) -> None:
    """Force files to the disk and close them; SpoolError if that fails."""
    failure = None
    for descriptor in descriptors:
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            failure = error
        os.close(descriptor)
    if failure is not None:
        raise SpoolError(
            f"the spool cannot be forced to the disk: {failure.strerror}", "check the disk's health"
        ) from failure


def _make_folder(directory: Path) -> None:
    """Make it and what is missing above it, all for their owner only, whatever the umask is."""
    if not directory.is_dir():
        _make_folder(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def _wrong(path: Path, error: OSError, written: int = 0) -> SpoolError:
    what = f"spool {path}: {error.strerror or error}"
    return SpoolError(what, "make room or give it another folder", written=written)
