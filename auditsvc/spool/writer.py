"""Appends complete lines to the spool's last segment.

One process writes: it holds a lock in the folder. Each method that uses the disk raises
SpoolError if it fails; complete lines that were written before the failure stay.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from auditsvc.errors import SpoolError
from auditsvc.host.files import make_folder, open_file
from auditsvc.spool.room import Room
from auditsvc.spool.segments import LAST, Place, segment_path, segments, sizes, spool_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from auditsvc.config import FsyncPolicy


LOCK = "lock"
"""Name of the file in the spool that whoever writes to it has locked."""
_TORN_MOST = 1 << 20


def _ignore(_segment: int, _position: int, _lines: bytes) -> None:
    """Do nothing: the default callback."""


class SpoolWriter:
    """Appends lines.

    `torn` is the incomplete line that a crash left (its first MiB; b"" if none).
    """

    def __init__(
        self,
        directory: Path,
        *,
        segment_bytes: int,
        fsync: FsyncPolicy,
        room: Room | None = None,
        last_known: int = 0,
    ) -> None:
        """`last_known`: the highest segment that is known; no number is used twice."""
        self.directory = directory
        self.room = room or Room()
        self.appended: Callable[[int, int, bytes], None] = _ignore
        """Called with complete lines that were written, and their segment and position."""
        self.torn = b""
        self.rotations = 0
        self.hindrance = ""
        """Why a full segment is not followed by the next one, or the name of that may be lost."""
        self._segment_bytes = segment_bytes
        self.fsync = fsync
        self._unsynced_name = False  # of this segment, in the folder
        self._partial_line = False  # an incomplete line at the end could not be truncated yet
        self._unsynced = False
        self._finished: list[int] = []  # segments that were rotated and are not synced yet
        try:
            self._lock = open_file(make_folder(directory) / LOCK, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise spool_error(directory, error) from error
        try:
            self._take_lock()
            existing = segments(directory)
            newest = existing[-1] if existing else 0
            self._open(newest if newest >= max(last_known, 1) else last_known + 1)
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
        """The place of the next line."""
        return Place(self._segment, self._size)

    def has_room(self, length: int) -> bool:
        """Whether lines of this many bytes leave the reserve as it is."""
        room = self.room
        if room.short or room.fits(self._size + length):
            return not room.short
        self._go_on(length)
        self.look_for_room(length)
        return not room.short

    def look_for_room(self, length: int = 0) -> None:
        """See how much room there is; while it is short, to be called from time to time."""
        if self.room.reserve:
            others = sum(sizes(self.directory).values()) - self._size
            self.room.allocate(self._fd, self._size, length, max(0, others))

    def _is_full(self, length: int) -> bool:
        """Whether these bytes belong into the next segment."""
        if not self._size or self._size + length <= self._segment_bytes:
            return False
        return self.room.may_move(self._fd)

    def _go_on(self, length: int) -> None:
        """Begin the next segment if these bytes belong there and it can be made.

        It cannot without a free inode or descriptor: a segment that is too long is better than a
        lost record.
        """
        try:
            if self._unsynced_name:
                self._sync_folder()
            if self._is_full(length):
                self.rotate()
        except SpoolError as error:
            self.hindrance = str(error)
        else:
            self.hindrance = ""

    def append(self, lines: bytes) -> None:
        """Write complete lines, each with its newline.

        SpoolError unless all are written; then the first `SpoolError.written` lines are.
        """
        self._cut()
        self._go_on(len(lines))
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            kept = self._keep_whole_lines(lines)
            if kept < len(lines):
                raise spool_error(self._path, error, written=lines.count(b"\n", 0, kept)) from error
        else:
            self._size += len(lines)
            self._unsynced = True
            self.appended(self._segment, self._size - len(lines), lines)

    def sync(self) -> None:
        """Sync the appended lines to the disk; SpoolError if that fails."""
        sync(self.unsynced())

    def unsynced(self) -> list[int]:
        """Give descriptors of the files with lines appended since the last call, for `sync`.

        So a thread that must not wait for the disk can let another one sync them.
        """
        waiting, self._finished = self._finished, []
        if self._unsynced and self.fsync != "none":
            waiting.append(os.dup(self._fd))
        self._unsynced = False
        return waiting

    def rotate(self) -> None:
        """Close this segment and begin the next.

        SpoolError if the next one cannot be made, or its name may not survive a crash of the host.
        """
        self._cut()
        if self._segment >= LAST or not self.room.may_move(self._fd):
            return  # a segment that is too long is better than a lost record
        old, size = self._fd, self._size
        self._open(self._segment + 1)  # once it exists, readers continue there, so write only there
        with suppress(OSError):
            self.room.move(old, size, self._fd)
        if self._unsynced and self.fsync != "none":
            self._finished.append(old)
        else:
            os.close(old)
        self._unsynced = False
        self.rotations += 1
        self._unsynced_name = True
        self._sync_folder()

    def close(self) -> None:
        """Sync, and release the lock."""
        try:
            self.sync()
            self._cut()
            with suppress(OSError):
                self.room.release(self._fd, self._size)
        finally:
            os.close(self._fd)
            os.close(self._lock)

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SpoolError(
                f"spool {self.directory}: another auditsvc is writing there",
                "stop it, or set another spool.directory",
            ) from error

    @property
    def _path(self) -> Path:
        return segment_path(self.directory, self._segment)

    def _open(self, segment: int) -> None:
        path = segment_path(self.directory, segment)
        try:
            self._fd = open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise spool_error(path, error) from error
        self._segment, self._size = segment, os.fstat(self._fd).st_size

    def _sync_folder(self) -> None:
        """Sync the folder, so that the name of a new segment survives a crash."""
        try:
            folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise spool_error(self.directory, error) from error
        self._unsynced_name = False

    def _keep_whole_lines(self, lines: bytes) -> int:
        """Keep the complete lines that are in the file; gives their length in bytes."""
        # A reader may have read what is in the file, whatever write(2) returned.
        reached = os.fstat(self._fd).st_size - self._size
        kept = lines.rfind(b"\n", 0, max(reached, 0)) + 1
        self._size += kept
        self._unsynced |= kept > 0
        if kept:
            self.appended(self._segment, self._size - kept, lines[:kept])
        self._partial_line = reached > kept
        with suppress(SpoolError):  # if it fails, nothing is appended until it succeeds
            self._cut()
        return kept

    def _cut(self) -> None:
        """Truncate the incomplete line that a failed write left."""
        if self._partial_line:
            try:
                os.ftruncate(self._fd, self._size)
            except OSError as error:
                raise spool_error(self._path, error) from error
            self._partial_line = False
            self.room.forget()  # the truncation freed it

    def _cut_torn_line(self) -> None:
        length, tail = 0, b""
        while length < self._size and b"\n" not in tail:
            length = min(self._size, 2 * length or _TORN_MOST)
            tail = os.pread(self._fd, length, self._size - length)
        torn = tail[tail.rfind(b"\n") + 1 :]
        self.torn = torn[:_TORN_MOST]
        self._size -= len(torn)
        self._partial_line = bool(torn)
        self._cut()


def sync(descriptors: Iterable[int]) -> None:
    """Sync files to the disk and close them; SpoolError if that fails."""
    failure = None
    for descriptor in descriptors:
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            failure = error
        os.close(descriptor)
    if failure is not None:
        raise SpoolError(
            f"the spool cannot be synced to the disk: {failure.strerror}", "check the disk"
        ) from failure
