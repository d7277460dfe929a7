"""Locks of files: who holds one on a part, from /proc/locks (fs/locks.c); flock(2).

A line is `1: POSIX  ADVISORY  READ 1234 fe:01:5678 123 123`: pid, device and inode, and the
first and last byte, or EOF. A process of another pid namespace has no pid that we could name.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.host.files import make_folder, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.errors import AuditsvcError

_LOCKS: Final = Path("/proc/locks")
_COLUMNS: Final = 8


def lock_holders(
    path: Path, part: range, text: str | None = None, *, shared: bool = False, own: bool = False
) -> list[int]:
    """Give the other processes that hold a POSIX lock on a byte of `part`, rising.

    `shared`: only those that hold one for reading; `own`: this process too, if it does.
    `text` is what /proc/locks holds, which is read otherwise. Empty if it is hidden.
    """
    try:
        info = path.stat()
        text = _LOCKS.read_text() if text is None else text
    except OSError:
        return []
    device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    found = set()
    for line in text.splitlines():
        words = line.split()
        if len(words) != _COLUMNS or words[1] != "POSIX" or words[5] != device:
            continue  # with `->` for one who waits there is a word more
        if shared and words[3] != "READ":
            continue
        last = part.stop if words[7] == "EOF" else int(words[7])
        if int(words[6]) < part.stop and last >= part.start:
            found.add(int(words[4]))
    return sorted(found - {0, -1, None if own else os.getpid()})


@contextmanager
def only_one(path: Path, refusal: AuditsvcError) -> Iterator[None]:
    """Hold the lock of a file, which is made with its folder; `refusal` if another has it."""
    make_folder(path.parent)
    descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise refusal from error
        yield
    finally:
        os.close(descriptor)


def is_flocked(path: Path) -> bool:
    """Whether a process holds a flock(2) on a file; False if the file is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        flock(descriptor, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
