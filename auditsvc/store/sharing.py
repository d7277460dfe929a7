"""Lets a group read an SQLite store, or nobody again: the setting `access.readers`.

The file gets the group and mode 0640, its folder the group and 2710: members pass to a file whose
name they know, and SQLite's files beside the store, which are made with the store's mode, get the
group from the folder. Spool and keys, which may lie in the same folder, stay closed: their own
modes say so. Each is changed by a descriptor, and only if it belongs to this process's user:
one of O_PATH, as closing any other would end SQLite's locks on that file (fcntl_locking(2)).
"""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path
from typing import Final

from auditsvc.errors import of_system
from auditsvc.host.files import check_exists, folder_of

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SHARED_FOLDER: Final = 0o2710
_BESIDE: Final = ("", "-wal", "-shm")


def group_of(name: str | None) -> int | None:
    """Give the number of a group; None without a name, or if there is no such group."""
    try:
        return None if name is None else grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def share_with(name: str | None, file: Path) -> str:
    """Let the group read the store, or without one nobody; gives what hinders that, or ""."""
    group = group_of(name)
    if name is not None and group is None:
        return f"access.readers: there is no group {name}"
    try:
        _share(group, file)
    except OSError as error:
        return f"access.readers: {of_system(error, file)}"
    return ""


def _share(group: int | None, file: Path) -> None:
    folder = os.open(folder_of(file), _FOLDER)
    try:
        info = os.fstat(folder)
        was_shared = stat.S_IMODE(info.st_mode) & ~stat.S_IXOTH == _SHARED_FOLDER
        if group is None and not was_shared:
            return
        if info.st_uid != os.geteuid():
            raise PermissionError(1, "the folder belongs to another user", str(file.parent))
        for end in _BESIDE:
            path = file.with_name(file.name + end)
            if not check_exists(path):
                continue
            each = os.open(path.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                _set(each, group, 0o640, 0o600)
            finally:
                os.close(each)
        others = stat.S_IMODE(info.st_mode) & stat.S_IXOTH
        _set(folder, group, _SHARED_FOLDER | others, 0o700 | others)
    finally:
        os.close(folder)


def _set(descriptor: int, group: int | None, shared: int, closed: int) -> None:
    """The mode is the closed one while the group changes."""
    file = Path(f"/proc/self/fd/{descriptor}")  # with O_PATH there is no fchmod(2)
    if group is None or os.fstat(descriptor).st_gid != group:
        file.chmod(closed)
        os.chown(file, -1, os.getegid() if group is None else group)
    file.chmod(closed if group is None else shared)
