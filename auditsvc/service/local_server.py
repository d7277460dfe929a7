"""The database server of a store, if it is proved to be a process of this host.

An excluded process can act without being audited. So no statement of a server or process about
itself is trusted: no command line, and no pid that the kernel does not confirm.

* With a socket file: the kernel says which process called listen() (SO_PEERCRED; unix_listen
  in net/unix/af_unix.c). It must be the postmaster, the backend's parent.
* With TCP: the other end of the connection must be in /proc/net/tcp or tcp6 of our network
  namespace, and the backend must have its inode open.
* Both processes are in our pid and user namespaces, run as the user that the settings name, and
  run one file that is named `postgres`, belongs to root and cannot be written or replaced by
  others. (In a user namespace of their own, users can mount any file under that name.) Any user
  may run that file, with code of his own in it (LD_PRELOAD), and answer at the store's address:
  while the server is away, or at ::1 for `localhost`. So it is the user that counts.
* The store answered on that connection, and is the known one (`KnownStore`).

Remaining risk: a process of the server's user can run any program as a child of the postmaster.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import socket
import stat
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from auditsvc.errors import AuditsvcError, of_system
from auditsvc.host.files import UnsafeError, folder_of
from auditsvc.host.processes import read_process
from auditsvc.host.processes import started as started_at
from auditsvc.store.database import transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.store import Store

_PROC: Final = Path("/proc")
_TABLES: Final = ("net/tcp", "net/tcp6")
_ESTABLISHED: Final = "01"  # TCP_ESTABLISHED of include/net/tcp_states.h
_NAMESPACES: Final = ("pid", "user")
_PROGRAM: Final = "postgres"
SERVER_USER: Final = "postgres"
"""The user that the distributions' packages make for it."""
_DELETED: Final = " (deleted)"
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
_OTHERS_WRITE: Final = 0o022

_End = tuple[str, int]


class UnprovedError(AuditsvcError):
    """It cannot be proved that the server is a process of this host."""


@dataclass(frozen=True, slots=True)
class Server:
    """A postmaster on this host; with `started` (ticks since boot) a later process is excluded."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return started_at(self.pid) == self.started


def local_server(
    store: Store, proof: Callable[[socket.socket, int], Server] | None = None
) -> Server | None:
    """Give the postmaster of a store; None for a store without a server.

    `proof` is called instead of `prove`, by who may not see other users' processes.
    UnprovedError if it is elsewhere, in other namespaces, or not proved. StoreError.
    """
    if store.engine.dialect.name != "postgresql":
        return None
    with transaction(store.database) as connection:
        backend = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        driver = connection.connection.driver_connection
        assert driver is not None
        # While the connection is open the backend is alive, and its parent with it.
        with socket.socket(fileno=os.dup(driver.fileno())) as ours:
            return (proof or prove)(ours, backend)


def prove(ours: socket.socket, backend: int, user: str = SERVER_USER) -> Server:
    """Give the postmaster of a connection; `backend` is the pid that the server reported.

    `user` is who it must run as.
    """
    postmaster = (
        _by_file(ours, backend) if ours.family == socket.AF_UNIX else _by_tcp(ours, backend)
    )
    began = started_at(postmaster)
    try:
        seen = [_program(pid) for pid in (backend, postmaster)]
    except OSError as error:
        raise UnprovedError(of_system(error)) from error
    if seen[0] != seen[1]:
        raise UnprovedError(f"pid {backend} and its parent run different programs, or as two users")
    if seen[0][0] != _number(user):
        raise UnprovedError(
            f"pid {postmaster} runs as uid {seen[0][0]}, and not as {user} (store_server_user)"
        )
    if began is None or started_at(postmaster) != began or _parent(backend) != postmaster:
        raise UnprovedError(f"the server (pid {postmaster}) ended meanwhile")
    return Server(postmaster, began)


def _number(user: str) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def _by_file(ours: socket.socket, backend: int) -> int:
    size = _CREDENTIALS.size
    given = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    pid: int = _CREDENTIALS.unpack(given)[0]
    if not pid:
        raise UnprovedError("it listens in another pid namespace")
    if _parent(backend) != pid:
        raise UnprovedError(
            f"pid {backend}, as it calls itself, is not a child of the process that listens ({pid})"
        )
    return pid


def _by_tcp(ours: socket.socket, backend: int) -> int:
    near, far = _end(ours.getsockname()), _end(ours.getpeername())
    inode = _inode(near=far, far=near)
    if inode is None:
        raise UnprovedError("it is on another host, or in another network namespace")
    if not _holds(backend, f"socket:[{inode}]"):
        raise UnprovedError(
            f"pid {backend}, as it calls itself, does not hold the connection: it is in another "
            "pid namespace or behind a proxy"
        )
    return _parent(backend)


def _end(address: tuple[object, ...]) -> _End:
    host, port = str(address[0]).partition("%")[0], address[1]
    assert isinstance(port, int)
    return _plain(ipaddress.ip_address(host)), port


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """A server that listens on :: has its IPv4 connections as ::ffff:ADDRESS."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _inode(near: _End, far: _End) -> int | None:
    """Find the socket with these ends in our network namespace (get_tcp4_sock in tcp_ipv4.c)."""
    for table in _TABLES:
        try:
            with (_PROC / table).open() as lines:
                next(lines, None)
                for line in lines:
                    words = line.split()
                    if words[3] == _ESTABLISHED and (_read(words[1]), _read(words[2])) == (
                        near,
                        far,
                    ):
                        return int(words[9])
        except FileNotFoundError:  # a kernel without IPv6
            continue
    return None


def _read(shown: str) -> _End:
    """Read ADDRESS:PORT, hexadecimal, the address in words of the host's byte order."""
    address, _, port = shown.partition(":")
    words = (int(address[at : at + 8], 16) for at in range(0, len(address), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return _plain(ipaddress.ip_address(packed)), int(port, 16)


def _holds(pid: int, link: str) -> bool:
    folder = _PROC / str(pid) / "fd"
    try:
        return any(os.readlink(each) == link for each in folder.iterdir())  # noqa: PTH115 - text
    except OSError:
        return False


def _parent(pid: int) -> int:
    process = read_process(pid)
    if process is None:
        raise UnprovedError(f"there is no pid {pid}, as it calls itself: it is on another host")
    return process.ppid


def _program(pid: int) -> tuple[int, int, int]:
    """Give the user, and device and inode of the program; UnprovedError if it is not trusted."""
    folder = _PROC / str(pid)
    for kind in _NAMESPACES:
        here = os.stat(f"/proc/self/ns/{kind}")  # noqa: PTH116 - follows the kernel's link
        if not os.path.samestat((folder / "ns" / kind).stat(), here):
            raise UnprovedError(f"pid {pid} is in another {kind} namespace")
    path = Path(os.readlink(folder / "exe").removesuffix(_DELETED))  # noqa: PTH115 - text
    info = (folder / "exe").stat()
    if path.name != _PROGRAM:
        raise UnprovedError(f"pid {pid} runs {path}, which is not a PostgreSQL server")
    if info.st_uid or stat.S_IMODE(info.st_mode) & _OTHERS_WRITE:
        raise UnprovedError(f"pid {pid} runs {path}, which others than root can write")
    try:
        folder_of(path)
    except UnsafeError as error:
        raise UnprovedError(f"pid {pid} runs {path}: {of_system(error)}") from error
    return folder.stat().st_uid, info.st_dev, info.st_ino
