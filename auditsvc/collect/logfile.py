"""Log files that others write: auditd's, an old one, a compressed one.

Input: paths; output: bytes. What must hold:

* A file is identified by its beginning (`fingerprint`), not by its name, so that a
  log that was rotated to another name is not read twice.
* `in_order` puts rotated names oldest first: audit.log.2.gz, audit.log.1, audit.log.
* `FollowedFile` continues reading through rotation, by renaming or by truncation.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from hashlib import blake2b
from typing import TYPE_CHECKING, BinaryIO, Self

from auditsvc.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_ROTATED = re.compile(r"(?P<base>.*?)(?:\.(?P<age>\d+))?(?:\.gz)?\Z", re.DOTALL)
_FINGERPRINT_BYTES = 4096

READ_ERRORS = (OSError, EOFError, zlib.error)
"""Errors of reading a log; `unreadable` makes them a SpoolError."""


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Sort the rotated names of each log oldest first; logs keep the given order."""
    groups: dict[str, list[tuple[int, Path]]] = {}
    for path in paths:
        found = _ROTATED.match(str(path))
        assert found is not None  # the pattern takes any text
        groups.setdefault(found["base"], []).append((int(found["age"] or 0), path))
    return [
        path for group in groups.values() for _, path in sorted(group, key=lambda each: -each[0])
    ]


def open_log(path: Path) -> BinaryIO | gzip.GzipFile:
    """Open a log for reading, whether it is compressed or not; SpoolError says why not."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would block until somebody writes
            raise SpoolError(
                f"{path}: not a regular file", "give one, or use `run --source stdin` for a stream"
            )
        with path.open("rb") as stream:
            compressed = stream.read(2) == b"\x1f\x8b"
        return gzip.open(path) if compressed else path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> SpoolError:
    """Make the error for a log that could not be read."""
    if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
        return SpoolError(
            f"{path}: the compressed file is damaged: {error}", "decompress what can be read"
        )
    reason = getattr(error, "strerror", None) or str(error)
    return SpoolError(f"{path}: {reason}", "give a log that can be read")


def fingerprint(head: bytes) -> str:
    """Identify a log by its first line; "" if that is not complete yet."""
    line, newline, _ = head[:_FINGERPRINT_BYTES].partition(b"\n")
    if not newline and len(head) < _FINGERPRINT_BYTES:
        return ""
    return blake2b(line, digest_size=16).hexdigest()


def fingerprint_of(path: Path) -> str:
    """Identify the log at `path`."""
    try:
        with open_log(path) as stream:
            return fingerprint(stream.read(_FINGERPRINT_BYTES))
    except READ_ERRORS as error:
        raise unreadable(path, error) from error


class FollowedFile:
    """Reads a growing log through rotation.

    Reading continues at `segment` (a fingerprint) and `position`; a rotated file
    (`NAME.1`, `NAME.2.gz`, ...) with the fingerprint `segment` is read to its end
    first. `missing` counts how often the position was not found again.
    """

    def __init__(self, path: Path, segment: str = "", position: int = 0) -> None:
        self.path = path
        self.segment = segment
        self.position = position
        self.missing = 0
        self._stream: BinaryIO | gzip.GzipFile | None = None
        self._inode = (0, 0)
        self._ends_line = True
        self._older: list[Path] = []
        self._resume()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def checkpoint(self) -> tuple[str, int]:
        """Give segment and position up to which the log was read."""
        return self.segment, self.position

    def origin(self) -> int:
        """Give a number for the position, different from those of other files of the same log."""
        return (int(self.segment[:4] or "0", 16) << 40) + self.position

    def close(self) -> None:
        """Close the open file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def read(self, limit: int) -> bytes:
        """Give up to `limit` of the next bytes; b"" when there are none yet."""
        try:
            while True:
                if self._stream is None and not self._open_next():
                    return b""
                assert self._stream is not None
                data = self._stream.read(limit)
                if data:
                    if not self.segment:
                        self._name()
                    self.position += len(data)
                    self._ends_line = data.endswith(b"\n")
                    return data
                if not self._has_ended():
                    return b""
                data = self._stream.read(limit)  # written between the read and the rotation
                if data:
                    self.position += len(data)
                    self._ends_line = data.endswith(b"\n")
                    return data
                self.close()
                if self._current == self.path:
                    self._older = self._newer_than_segment()
                self.segment, self.position = "", 0
                if not self._ends_line:
                    self._ends_line = True
                    return (
                        b"\n"  # a line cut off by the rotation must not join the next file's first
                    )
        except READ_ERRORS as error:
            raise unreadable(self.path, error) from error

    def _neighbours(self) -> list[Path]:
        """Give the rotated names of this log, oldest first, then the log itself."""
        pattern = re.compile(re.escape(self.path.name) + r"(\.\d+)?(\.gz)?\Z")
        found = [each for each in self.path.parent.iterdir() if pattern.match(each.name)]
        return in_order(found)

    def _since_segment(self) -> list[Path] | None:
        """Give the file with the fingerprint `segment` and those after it; None if it is gone."""
        try:
            neighbours = self._neighbours()
        except OSError as error:
            raise unreadable(self.path, error) from error
        for index, path in enumerate(neighbours):
            if fingerprint_of(path) == self.segment:
                return neighbours[index:]
        return None

    def _newer_than_segment(self) -> list[Path]:
        """Give what was rotated after the file that was read to its end, without the log itself."""
        since = self._since_segment()
        return since[1:-1] if since else []

    def _resume(self) -> None:
        open_log(self.path).close()  # so that a wrong name is an error at once
        if not self.segment:
            return
        since = self._since_segment()
        if since is not None:
            self._older = since[:-1]
            return
        self.missing += 1  # rotated away while it was not read
        self._older = self._neighbours()[:-1]
        self.segment, self.position = "", 0

    def _open_next(self) -> bool:
        path = self._older.pop(0) if self._older else self.path
        try:
            stream = open_log(path)
        except SpoolError:
            if path == self.path and not path.exists():
                return False  # between the two steps of a rotation
            raise
        status = os.fstat(stream.fileno())
        self._inode = (status.st_dev, status.st_ino)
        self._current = path
        self._stream = stream
        if self.position:
            stream.seek(self.position)
        return True

    def _name(self) -> None:
        assert self._stream is not None
        at = self._stream.tell()
        self._stream.seek(0)
        self.segment = fingerprint(self._stream.read(_FINGERPRINT_BYTES))
        self._stream.seek(at)

    def _has_ended(self) -> bool:
        """Whether the open file has ended for ever: rotated away or truncated."""
        assert self._stream is not None
        if self._current != self.path:
            return True
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return False
        if (status.st_dev, status.st_ino) != self._inode:
            return True
        return status.st_size < self.position and not isinstance(self._stream, gzip.GzipFile)
