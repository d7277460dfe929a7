"""What `auditsvc run` may do: as user `auditsvc` if that can be, with few capabilities in any case.

    under systemd       the unit has made us that user; other capabilities are dropped
    as root by hand     state and spool are given to that user, and we become it, for ever
    as root, still      if there is no such user, or the settings name what only root can do:
                        why is logged, and other capabilities are dropped all the same

Before any thread is made. What is kept, and why:

    AUDIT_CONTROL       rules, status, registering (`netlink`)
    AUDIT_READ          the multicast group (`multicast`)
    NET_ADMIN           a receive buffer above net.core.rmem_max
    SYS_PTRACE          programs and I/O counts of all processes
    DAC_READ_SEARCH     settings and rules at a reload, watched paths, other daemons' logs
    AUDIT_WRITE, IPC_LOCK, SYS_RESOURCE     for the holder, where systemd is not the keeper
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.errors import of_system
from auditsvc.holder.client import HOLDER_CAPABILITIES, holder_uid
from auditsvc.holder.systemd import runs_under_systemd
from auditsvc.host.capabilities import Capability, become, held, keep_only
from auditsvc.host.files import folder_of, make_folder
from auditsvc.host.service_user import NAME, ServiceUser, hand_over, service_user
from auditsvc.spool.writer import LOCK
from auditsvc.store.databases import parse_url, sqlite_file
from auditsvc.store.sharing import group_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from auditsvc.config import Settings

_NEEDED: Final = {
    "netlink": {Capability.AUDIT_CONTROL, Capability.NET_ADMIN},
    "multicast": {Capability.AUDIT_READ, Capability.NET_ADMIN},
}
_ALWAYS: Final = {Capability.SYS_PTRACE, Capability.DAC_READ_SEARCH}
_TO_CHANGE: Final = {Capability.SETUID, Capability.SETGID, Capability.CHOWN}
_SEARCH_OTHERS: Final = stat.S_IXOTH
_OF_OTHERS: Final = 0o077


def needed(settings: Settings) -> set[Capability]:
    """Give the capabilities of a run."""
    found = _ALWAYS | _NEEDED.get(settings.source, set())
    choice = settings.kernel.holder
    by_process = choice == "process" or (choice == "auto" and not runs_under_systemd())
    return found | (
        set(HOLDER_CAPABILITIES) if by_process and settings.source == "netlink" else set()
    )


def lower(settings: Settings) -> list[str]:
    """Become the service's user if that can be, and drop what is not needed.

    Gives notes for the log; OSError only where the process would be neither root nor that user.
    """
    kept = needed(settings)
    if os.geteuid():
        return _drop(kept)
    if _is_in_use(settings):
        return []  # this run will be refused, and the files stay as that one has them
    readers = group_of(settings.access.readers)
    more = () if readers is None else (readers,)
    user = service_user()
    why = _reason(settings, user)
    if user is None or why:
        notes = [f"the service runs as root: {why}"]
        if user is not None:
            notes += _give(settings, user.uid, 0, 0)
        return [*notes, *_drop(kept, more)]
    if notes := _give(settings, 0, user.uid, user.groups[0]):
        return [*notes, *_give(settings, user.uid, 0, 0), *_drop(kept, more)]
    become(user.uid, (*user.groups, *more), kept)
    return []


def _is_in_use(settings: Settings) -> bool:
    """Whether another service has the spool."""
    try:
        lock = os.open(
            settings.spool_directory / LOCK,
            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
        )
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _drop(kept: set[Capability], groups: Collection[int] = ()) -> list[str]:
    """Drop the others; `groups` are those to which files will be given."""
    if groups:
        with suppress(PermissionError):
            os.setgroups([*os.getgroups(), *groups])
    keep_only(kept)
    more = held() - kept
    return ["capabilities cannot be dropped here: use the unit of this version"] if more else []


def _reason(settings: Settings, user: ServiceUser | None) -> str:
    """Why the service must stay root; "" if it need not."""
    if user is None:
        return f"there is no user {NAME} (packaging/debian/auditsvc.sysusers makes it)"
    if _TO_CHANGE - held():
        return "it may not become another user"
    if words := _asks_for_root(settings):
        return f"{words} may need it"
    for place in (Path(sys.executable).resolve(), Path(__file__), *_folders(settings)):
        if (closed := _closed(place, user)) is not None:
            return f"the user {NAME} may not search {closed}"
    return _unready(settings, user)


def _unready(settings: Settings, user: ServiceUser) -> str:
    """Say which files or processes of root's are in the way; "" if there are none."""
    for folder in _folders(settings):
        if (why := _not_ours(folder, user)) is not None:
            return why
    if (file := sqlite_file(settings.store)) is not None and not _is_in(file, settings):
        info = _info(file.parent)
        if info is None or info.st_uid != user.uid:
            return f"the store's folder {file.parent} does not belong to the user {NAME}"
    if holder_uid(settings.runtime_directory) == 0:
        return "a holder that root has started keeps the record socket: stop the service once"
    return ""


def _asks_for_root(settings: Settings) -> str:
    """Name the settings that run programs, or write where only root may."""
    actions = (*settings.space.warn_actions, *settings.space.act_actions)
    listen = settings.metrics.listen or ""
    asked = {
        "alert.exec": bool(settings.alert.exec),
        "alert.mail": bool(settings.alert.mail),
        "space.exec": "exec" in actions,
        "space.halt": "halt" in actions,
        "evidence.file": settings.evidence.file is not None,
        "metrics.textfile": settings.metrics.textfile is not None,
        "metrics.listen": listen.startswith("unix:"),
        "store (PostgreSQL without a password)": _has_no_password(settings.store),
    }
    return " and ".join(name for name, is_set in asked.items() if is_set)


def _has_no_password(url: str) -> bool:
    """Whether a server may know root by its name, or by a file that only root may read."""
    parsed = parse_url(url)
    return parsed.get_backend_name() != "sqlite" and parsed.password is None


def _folders(settings: Settings) -> list[Path]:
    """Folders that are the service's own."""
    state, spool = settings.state_directory.absolute(), settings.spool_directory.absolute()
    others = [] if spool.is_relative_to(state) else [spool]
    return [state, settings.runtime_directory.absolute(), *others]


def _is_in(file: Path, settings: Settings) -> bool:
    return file.absolute().parent in (*_folders(settings), settings.spool_directory.absolute())


def _closed(path: Path, user: ServiceUser) -> Path | None:
    """Give the first folder above a path that the user may not search; None if there is none."""
    for folder in reversed(path.parents):
        info = _info(folder)
        if info is None:
            return None
        if not info.st_mode & _SEARCH_OTHERS and info.st_uid != user.uid:
            return folder
    return None


def _not_ours(folder: Path, user: ServiceUser) -> str | None:
    """Say why what is in a folder cannot be given to the user; None if it can."""
    info = _info(folder)
    if info is None or info.st_uid == user.uid:
        return None
    if not stat.S_ISDIR(info.st_mode) or info.st_uid:
        return f"{folder} is not a folder of root's"
    if info.st_mode & _OF_OTHERS & ~_SEARCH_OTHERS & ~stat.S_IXGRP:
        return f"others may read {folder}, so it may not be the service's alone: chmod 700 {folder}"
    return None


def _give(settings: Settings, source: int, target: int, group: int) -> list[str]:
    """Give the service's folders, with all in them, to another user; gives why that failed."""
    try:
        for folder in _folders(settings):
            if source == 0:
                make_folder(folder)
            elif _info(folder) is None:
                continue
            hand_over(folder_of(folder) / folder.name, source, target, group)
    except OSError as error:
        return [f"the service's files cannot be given to uid {target}: {of_system(error)}"]
    return []


def _info(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
