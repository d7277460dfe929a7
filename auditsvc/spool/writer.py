"""Appends whole lines to the spool's last segment.

One process writes: a lock on the folder says so. Each method that touches the disk raises
SpoolError if it fails; what was written before that stays, line by line.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from auditsvc.errors import SpoolError
from auditsvc.host.files import make_folder, open_file
from auditsvc.spool.segments import LAST, Place, segment_path, segments, spool_error

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from auditsvc.config import FsyncPolicy


_TORN_MOST = 1 << 20


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
            self._lock = open_file(make_folder(directory) / "lock", os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise spool_error(directory, error) from error
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
                raise spool_error(self._path, error, written=lines.count(b"\n", 0, kept)) from error
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
        if self._segment >= LAST:
            return  # better one that is too long than a record lost
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
        try:
            self._fd = open_file(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise spool_error(path, error) from error
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
            raise spool_error(self.directory, error) from error

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
                raise spool_error(self._path, error) from error
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
