"""What the events of a search must have.

All given parts must hold; None and () set no condition. Different parts may hold in different
records of an event, as in ausearch: a type of one record, the program of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.store.read.time_span import ALL, Span

if TYPE_CHECKING:
    from auditsvc.search.places import Place
    from auditsvc.store.read.selection import Process

UNSET: Final = -1
"""Of a login user or a session: none is set (4294967295 in the log)."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """Texts match as parts of a value, or with `whole` as all of it; case counts."""

    serial: int | None = None
    period: Span = ALL
    ids: tuple[int, ...] = ()
    """Ids of events among which to search."""
    arch: int | None = None
    """AUDIT_ARCH_*."""
    syscall: str | None = None
    nr: int | None = None
    exit: int | None = None
    success: bool | None = None
    types: tuple[str, ...] = ()
    """Names of record types, one of which the event must have."""
    hosts: tuple[str, ...] = ()
    """Exact names, whether from `node=` or from the setting `host`."""
    pid: int | None = None
    ppid: int | None = None
    session: int | None = None
    auid: int | None = None
    uid: int | None = None
    euid: int | None = None
    any_uid: int | None = None
    """One of uid, euid, auid."""
    gid: int | None = None
    egid: int | None = None
    any_gid: int | None = None
    comm: str | None = None
    exe: str | None = None
    terminal: str | None = None
    key: str | None = None
    file: str | None = None
    """As ausearch's -f: in names of files and sockets, and in the working directory."""
    path: str | None = None
    """A file's full path, or a folder above it."""
    remote: str | None = None
    """Of a remote host: its name or address."""
    subject: str | None = None
    object: str | None = None
    context: str | None = None
    """Of the subject or of an object."""
    uuid: str | None = None
    vm: str | None = None
    place: Place | None = None
    """The container or unit that the process was in."""
    where: str | None = None
    """An SQL condition over the view `syscalls`; checked (`auditsvc.search.condition`)."""
    exclude: tuple[Process, ...] = ()
    """Processes whose system calls are left out."""
    whole: bool = False
