"""Exclusive lock for commands that change rules or the switch.

The lock is on a file of its own in the runtime directory, mode 0600. Every user can open
the folder itself, and so a lock on the folder would let every user block administrators.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from auditsvc.errors import AuditsvcError, of_system
from auditsvc.host.files import make_folder, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME: Final = "lock"


@contextmanager
def exclusive_lock(directory: Path) -> Iterator[None]:
    """Wait for the lock and hold it; a missing directory is made."""
    try:
        descriptor = open_file(make_folder(directory) / _NAME, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise AuditsvcError(of_system(error), "run as root, or set runtime_directory") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_locked(directory: Path) -> bool:
    """Whether a process holds the lock now; OSError if the file cannot be opened."""
    try:
        descriptor = open_file(directory / _NAME)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
