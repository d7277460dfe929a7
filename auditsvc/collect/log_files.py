"""How a log's files are opened: by this process, or by one that may, which passes descriptors.

A log of others may be closed to who decodes it: `FollowedFile` asks these three things alone.
Each raises OSError, as the call of that name does.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class Status(NamedTuple):
    """Of stat(2)."""

    device: int
    inode: int
    size: int


class LogFiles(Protocol):
    """Where the files of one log are found."""

    def open(self, path: Path) -> int:
        """Open a regular file for reading; gives its descriptor."""

    def status(self, path: Path) -> Status:
        """Give what it is now."""

    def names(self, folder: Path) -> list[str]:
        """Give the names in its folder."""


class OwnFiles:
    """As this process may."""

    def open(self, path: Path) -> int:
        """Open it; a FIFO would wait for a writer, and is none (EINVAL)."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return descriptor

    def status(self, path: Path) -> Status:
        """See `LogFiles`."""
        info = path.stat()
        return Status(info.st_dev, info.st_ino, info.st_size)

    def names(self, folder: Path) -> list[str]:
        """See `LogFiles`."""
        return os.listdir(folder)  # noqa: PTH208 - only names


OWN_FILES: Final[LogFiles] = OwnFiles()
