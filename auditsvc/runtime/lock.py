"""Whose turn it is: one command at a time changes rules or the switch by hand.

It holds a lock on a file of its own in the runtime directory, mode 0600: a lock on the
folder, which everybody may open, would let everybody keep administrators waiting.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from auditsvc.errors import AuditsvcError
from auditsvc.host.files import make_folder, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NAME: Final = "lock"


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold the turn, after whoever has it; the directory is made if it is not there."""
    try:
        descriptor = open_file(make_folder(directory) / _NAME, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise AuditsvcError(
            f"{error.filename}: {error.strerror}", "run as root, or set runtime_directory"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_taken(directory: Path) -> bool:
    """Whether somebody holds the turn just now; OSError if that cannot be seen."""
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
