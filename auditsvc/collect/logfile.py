"""Log files that others write: auditd's, an old one, a compressed one.

Input: paths; output: bytes. What must hold:

* A file is identified by its beginning (`fingerprint`), not by its name, so that a
  log that was rotated to another name is not read twice.
* `in_order` puts rotated names oldest first: audit.log.2.gz, audit.log.1, audit.log; and
  audit.log-20240321.gz, audit.log-20240322, audit.log.
* `FollowedFile` continues reading through rotation, by renaming or by truncation.
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, Self

from auditsvc.collect.log_files import OWN_FILES
from auditsvc.collect.unpack import HEAD, UnpackedLog, form_of, refuse_unknown
from auditsvc.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from auditsvc.collect.log_files import LogFiles

PACKED: Final = (".gz", ".xz", ".lzma", ".bz2", ".zst")
"""How compressed files are named."""
_PACKED: Final = rf"(?:{'|'.join(map(re.escape, PACKED))})?"
_DATE: Final = (
    r"[-._](?P<date>(?:19|20)\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01]))"
    r"(?P<time>(?:[-._T:]?\d+)*)"
)
_ROTATED: Final = tuple(
    re.compile(pattern + _PACKED + r"\Z", re.DOTALL)
    for pattern in (
        rf"(?P<base>.*?)(?P<end>){_DATE}",  # audit.log-20240321
        rf"(?P<base>.*?){_DATE}(?P<end>\.log)",  # audit-20240321.log
        r"(?P<base>.*?)(?P<end>)[-.](?P<epoch>\d{10})",  # audit.log-1711000000
        r"(?P<base>.*?)(?P<end>)\.(?P<age>\d{1,9})",  # audit.log.1
        r"(?P<base>.*?)\.(?P<age>\d{1,9})(?P<end>\.log)",  # audit.1.log
        r"(?P<base>.*?)(?P<end>)",
    )
)
"""How auditd and logrotate (dateext, dateformat, extension) name what they rotate."""
_FINGERPRINT_BYTES = 4096

READ_ERRORS = (OSError,)
"""What reading a log can raise beside SpoolError; `unreadable` makes one of them."""


class Name(NamedTuple):
    """The parts of a file's name: the log's own name, and the sort key of rotated files."""

    base: str
    order: tuple[int, int, int]
    """Less is older: dates, then numbers from the highest down, then the log itself."""


def name_of(path: Path) -> Name:
    """Split a name into its parts."""
    found = next(match for pattern in _ROTATED if (match := pattern.match(str(path))))
    marks = found.groupdict()
    order = (2, -(path.suffix in PACKED), 0)
    if date := marks.get("date"):
        digits = re.sub(r"\D", "", marks["time"])
        order = (0, _day(date.replace("-", "")), int(digits or 0))
    elif epoch := marks.get("epoch"):
        order = (0, *divmod(int(epoch), 86400))
    elif age := marks.get("age"):
        order = (1, -int(age), 0)
    return Name(found["base"] + found["end"], order)


def _day(date: str) -> int:
    """Give a sort key for YYYYMMDD: days since 1970 if it is a valid date."""
    year, month, day = int(date[:4]), int(date[4:6]), int(date[6:])
    try:
        return dt.date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return 0


_EPOCH: Final = dt.date(1970, 1, 1).toordinal()


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Oldest first within the rotated names of one log; logs in the order given."""
    groups: dict[str, list[tuple[tuple[int, int, int], Path]]] = {}
    for path in paths:
        name = name_of(path)
        groups.setdefault(name.base, []).append((name.order, path))
    return [
        path for group in groups.values() for _, path in sorted(group, key=lambda each: each[0])
    ]


def open_log(path: Path, files: LogFiles = OWN_FILES) -> BinaryIO | UnpackedLog:
    """Open a log for reading, compressed or not; SpoolError if it cannot be read."""
    try:
        stream = os.fdopen(files.open(path), "rb")
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise SpoolError(
                f"{path}: not a regular file", "give one, or use `run --source stdin` for a stream"
            ) from error
        raise unreadable(path, error) from error
    try:
        head = os.pread(stream.fileno(), HEAD, 0)
        refuse_unknown(path, head)
        form = form_of(head)
        return UnpackedLog(path, form, stream) if form else stream
    except OSError as error:
        stream.close()
        raise unreadable(path, error) from error
    except BaseException:
        stream.close()
        raise


def unreadable(path: Path, error: OSError) -> SpoolError:
    """Make the error for a log that cannot be read."""
    return SpoolError(f"{path}: {error.strerror or error}", "give a log that can be read")


def fingerprint(head: bytes) -> str:
    """Identify a log by its first line; "" if that is not complete yet."""
    line, newline, _ = head[:_FINGERPRINT_BYTES].partition(b"\n")
    if not newline and len(head) < _FINGERPRINT_BYTES:
        return ""
    return blake2b(line, digest_size=16).hexdigest()


def fingerprint_of(path: Path, files: LogFiles = OWN_FILES) -> str:
    """Identify the log at `path`."""
    try:
        with open_log(path, files) as stream:
            return fingerprint(stream.read(_FINGERPRINT_BYTES))
    except READ_ERRORS as error:
        raise unreadable(path, error) from error


class FollowedFile:
    """Reads a growing log through rotation.

    Reading continues at `segment` (a fingerprint) and `position`; a rotated file
    (`NAME.1`, `NAME.2.gz`, ...) with the fingerprint `segment` is read to its end
    first. `missing` counts how often the position was not found again.
    """

    def __init__(
        self, path: Path, segment: str = "", position: int = 0, files: LogFiles = OWN_FILES
    ) -> None:
        self.path = path
        self._files = files
        self.segment = segment
        self.position = position
        self.missing = 0
        self._stream: BinaryIO | UnpackedLog | None = None
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
        """Rotated names of this log, oldest first, then the log itself."""
        base = name_of(self.path).base
        folder = self.path.parent
        names = (folder / name for name in self._files.names(folder))
        found = [each for each in names if name_of(each).base == base]
        return in_order(found)

    def _since_segment(self) -> list[Path] | None:
        """Give the file with the fingerprint `segment` and those after it; None if it is gone."""
        try:
            neighbours = self._neighbours()
        except OSError as error:
            raise unreadable(self.path, error) from error
        for index, path in enumerate(neighbours):
            if fingerprint_of(path, self._files) == self.segment:
                return neighbours[index:]
        return None

    def _newer_than_segment(self) -> list[Path]:
        """Give what was rotated after the file that was read to its end, without the log itself."""
        since = self._since_segment()
        return since[1:-1] if since else []

    def _resume(self) -> None:
        open_log(self.path, self._files).close()  # so that a wrong name is an error at once
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
            stream = open_log(path, self._files)
        except SpoolError:
            if path == self.path and self._is_gone():
                return False  # between the two steps of a rotation
            raise
        status = os.fstat(stream.fileno())
        self._inode = (status.st_dev, status.st_ino)
        self._current = path
        self._stream = stream
        if self.position:
            stream.seek(self.position)
        return True

    def _is_gone(self) -> bool:
        try:
            self._files.status(self.path)
        except FileNotFoundError:
            return True
        return False

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
            status = self._files.status(self.path)
        except FileNotFoundError:
            return False
        if (status.device, status.inode) != self._inode:
            return True
        return status.size < self.position and not isinstance(self._stream, UnpackedLog)
