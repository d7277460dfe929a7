"""The user `auditsvc`, as which the service runs if there is that user: sysusers.d(5) makes it.

Files of spool, store and state belong to it then. Commands trust them as they trust root's
(`auditsvc.host.files`), as that user is the one who keeps the evidence; and what root makes in a
folder of that user belongs to that user, so that the service can go on with it.

`hand_over` gives a folder of root's with all that is in it to that user, or back. Nothing is
followed: each file and folder is opened relative to the folder it is in, without links, looked
at, and changed by its descriptor. The files come before their folder, so that nobody but root can
change what is there meanwhile.
"""

from __future__ import annotations

import errno
import functools
import grp
import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "auditsvc"
_JOURNAL: Final = "systemd-journal"
"""The group that may read the journal: the forwarder reads back what it has sent."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """Number of the user, and of its groups; the first one is its own."""

    uid: int
    groups: tuple[int, ...]


@functools.cache
def service_user() -> ServiceUser | None:
    """Look it up, once; None if there is no such user, or it is root."""
    try:
        found = pwd.getpwnam(NAME)
    except KeyError:
        return None
    if not found.pw_uid:
        return None
    try:
        journal = [grp.getgrnam(_JOURNAL).gr_gid]
    except KeyError:
        journal = []
    others = set(os.getgrouplist(NAME, found.pw_gid)).union(journal) - {found.pw_gid}
    return ServiceUser(found.pw_uid, (found.pw_gid, *sorted(others)))


def is_trusted(uid: int) -> bool:
    """Whether this process may trust what this user owns: root, ourselves, the service's."""
    if uid in (0, os.geteuid()):
        return True
    user = service_user()
    return user is not None and uid == user.uid


def give_to_owner_of(folder: os.stat_result, descriptor: int) -> None:
    """Give what root has just made in a folder of the service's user to that user; OSError."""
    user = None if os.geteuid() or not folder.st_uid else service_user()
    if user is not None and folder.st_uid == user.uid and not os.fstat(descriptor).st_uid:
        os.fchown(descriptor, folder.st_uid, folder.st_gid)


def hand_over(path: Path, source: int, target: int, group: int) -> int:
    """Give the files and folders of user `source` in and at a folder to user `target`.

    What belongs to others, and what is neither file nor folder, stays as it is. Gives how many
    were changed; OSError, and then a part may have been changed: calling it again goes on.
    A file with several names is refused: it may be another's file as well.
    """
    top = os.open(path, _FOLDER)
    try:
        return _hand_over(top, str(path), source, target, group)
    finally:
        os.close(top)


def _hand_over(folder: int, shown: str, source: int, target: int, group: int) -> int:
    changed = 0
    for name in sorted(os.listdir(folder)):
        kind = stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            continue
        each = os.open(name, _FOLDER if kind == stat.S_IFDIR else _FILE, dir_fd=folder)
        try:
            if kind == stat.S_IFDIR:
                changed += _hand_over(each, f"{shown}/{name}", source, target, group)
            else:
                changed += _give(each, f"{shown}/{name}", source, target, group)
        finally:
            os.close(each)
    return changed + _give(folder, shown, source, target, group)


def _give(descriptor: int, shown: str, source: int, target: int, group: int) -> int:
    info = os.fstat(descriptor)
    if info.st_uid != source:
        return 0
    if stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
        why = f"has {info.st_nlink} names (hard links): replace it with a copy"
        raise OSError(errno.EPERM, why, shown)
    if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
        return 0
    os.fchown(descriptor, target, group)
    return 1
