"""What commands that read evidence may do, also when root runs them: no more than that.

They show what attackers wrote. They remain root, as who asks is part of the evidence, but without
capabilities, and what they run has none either. Those that start no pager are behind a filter of
system calls too. Root without capabilities still may write root's files: who wants more than this
reads as a member of the readers' group.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.host.capabilities import Capability, keep_only
from auditsvc.host.service_user import service_user
from auditsvc.kernel.syscall_filter import close_calls
from auditsvc.store.databases import sqlite_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditsvc.config import Settings

_FAMILIES: Final = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
_PROC: Final = Path("/proc")

_FOR_ITS_FILES: Final = {Capability.DAC_OVERRIDE, Capability.CHOWN}
"""To open the files of the service's user, and for SQLite to give it what it makes beside them."""


def lower(
    settings: Settings,
    *,
    reads_files: bool = False,
    named: Iterable[Path | None] = (),
    pages: bool = False,
) -> None:
    """Drop what such a command does not need; `reads_files`: files that the user names too.

    `pages`: it may start a pager, so calls that start programs stay open, and all others. A
    machine for which no filter is known has none.

    `named` are those that are known: through /proc/PID/root, as of a container, the kernel lets
    only him read who may trace that process.
    """
    kept: set[Capability] = set()
    if not os.geteuid():
        if any(path is not None and _PROC in path.absolute().parents for path in named):
            kept.add(Capability.SYS_PTRACE)
        kept |= {Capability.DAC_READ_SEARCH} if reads_files else set()
        kept |= _FOR_ITS_FILES if _is_the_services(settings) else set()
    keep_only(kept)
    if not pages:
        close_calls(_FAMILIES)


def _is_the_services(settings: Settings) -> bool:
    file = sqlite_file(settings.store)
    owners = {_owner(path) for path in (file, settings.state_directory) if path is not None}
    user = service_user() if owners - {0} else None  # asking for users may take long
    return user is not None and user.uid in owners


def _owner(path: Path) -> int:
    """Give the owner of a file; root for one that is not there."""
    try:
        return path.lstat().st_uid
    except OSError:
        return 0
