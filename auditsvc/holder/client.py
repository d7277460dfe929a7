"""A holder from the service's side: finds it or starts it, and talks to it.

Its address is a socket in the runtime directory, which only our user can open. That it is the
holder, the kernel says: SO_PEERCRED is the process that called listen().
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from auditsvc.errors import AuditsvcError
from auditsvc.host.capabilities import Capability, given_to_children
from auditsvc.host.files import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger()

_NAME: Final = "holder"
_PROGRAM: Final = Path(__file__).with_name("process.py")
_START_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 10.0
_MOST: Final = 16
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid

HOLDER_CAPABILITIES: Final = (
    Capability.AUDIT_WRITE,
    Capability.IPC_LOCK,
    Capability.SYS_RESOURCE,
)
"""What a holder uses: to wake kauditd, to lock its memory, to be killed last if memory is short."""


class HolderError(AuditsvcError):
    """The holder cannot be started or does not answer."""


class HolderProcess:
    """The holder of one runtime directory."""

    outlives = True

    def __init__(self, runtime: Path) -> None:
        """Connect to the holder that an earlier service left, or start one."""
        self.found: dict[str, int] = {}
        self.problem = ""
        self._kept: dict[str, int] = {}
        self._runtime = runtime
        self._process: subprocess.Popen[Any] | None = None
        self._connection: socket.socket | None = None
        self._address: tuple[int, int] | None = None
        """Device and inode of the holder's socket in the runtime directory."""
        self._due = 0.0
        self._connect()

    @property
    def pid(self) -> int | None:
        """The holder's pid; None if there is none."""
        if self._connection is None:
            return None
        data = self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(data)[0])

    def keep(self, name: str, number: int) -> None:
        """Keep a descriptor; returns when the holder has it."""
        self._kept[name] = number
        self._tell(f"FDSTORE=1\nFDNAME={name}", [number])

    def drop(self, name: str) -> None:
        """Keep the descriptor of this name no longer."""
        self._kept.pop(name, None)
        self._tell(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def watch(self) -> None:
        """Start the holder again if it has ended, and give it the descriptors again."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            self._disconnect()
        if self._connection is not None and _has_ended(self._connection):
            self._disconnect()
        if self._connection is not None and _file_at(self._runtime / _NAME) != self._address:
            # Somebody emptied the runtime directory: the next service would not find it, nor be
            # able to register, as it has the socket.
            log.warning("the holder of the record socket has lost its address", pid=self.pid)
            self._tell("STOPPING=1")
            self._disconnect()
            self._due = 0.0
        if self._connection is not None or time.monotonic() < self._due:
            return
        kept = self._kept.copy()
        self._connect()
        for name, each in kept.items():
            self.keep(name, each)
        if not self.problem:
            log.warning("the record socket has a new holder", pid=self.pid)

    def end(self) -> None:
        """End the holder, which closes what it keeps."""
        if self._connection is None:  # perhaps another service uses it
            return
        self._tell("STOPPING=1")
        self._disconnect()
        with suppress(OSError):
            (self._runtime / _NAME).unlink(missing_ok=True)
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ANSWER_SECONDS)

    def leave(self) -> None:
        """End the connection; the holder keeps what it has."""
        self._disconnect()

    def _connect(self) -> None:
        self._due = time.monotonic() + _AGAIN_SECONDS
        try:
            path = make_folder(self._runtime) / _NAME
            self._connection = _connected(path) or self._start(path)
            try:
                self._list()
            except TimeoutError:
                self._wake(path)
            self._address = _file_at(path)
        except (OSError, AuditsvcError) as error:
            self._disconnect()
            self.problem = f"the record socket is not held for a crash: {_words(error)}"
        else:
            self.problem = ""

    def _start(self, path: Path) -> socket.socket:
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            with _short(path) as name:
                listener.bind(name)
            path.chmod(0o600)
            with given_to_children(HOLDER_CAPABILITIES):
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_PROGRAM), str(listener.fileno())],
                    pass_fds=(listener.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
        ends = time.monotonic() + _START_SECONDS
        while time.monotonic() < ends and self._process.poll() is None:
            if (connection := _connected(path)) is not None:
                return connection
            time.sleep(0.01)
        raise HolderError("the holder does not start", "see `auditsvc doctor`")

    def _list(self) -> None:
        """Take the sockets that an earlier service left."""
        assert self._connection is not None
        with suppress(BrokenPipeError):  # its refusal can be read all the same
            self._connection.send(b"LISTEN=1")
        self._receive_list()

    def _wake(self, path: Path) -> None:
        """Have a holder answer that was stopped; end one that cannot, and start another one.

        While it has the record socket, and nobody can ask for it, no service can register.
        """
        pid = self.pid
        if not pid:
            raise HolderError("the holder does not answer", "end it")
        process = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(process, signal.SIGCONT)
            try:
                self._receive_list()
            except TimeoutError:
                log.error("the holder of the record socket does not answer: it is ended", pid=pid)  # noqa: TRY400 - no traceback
            else:
                log.warning("the holder of the record socket was stopped, and goes on", pid=pid)
                return
            self._disconnect()
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], _ANSWER_SECONDS)
        finally:
            os.close(process)
        self._connection = self._start(path)
        self._list()

    def _receive_list(self) -> None:
        assert self._connection is not None
        try:
            text, numbers, _, _ = socket.recv_fds(self._connection, 1 << 16, _MOST)
        except ConnectionResetError:  # it refused before it read our message
            text, numbers = b"busy", []
        if text in {b"busy", b""}:
            raise HolderError("another service is connected to the holder", "stop that one")
        self.found = dict(zip(text.decode().split("\n"), numbers, strict=False))

    def _tell(self, text: str, numbers: list[int] | None = None) -> None:
        if self._connection is None:
            return
        try:
            socket.send_fds(self._connection, [text.encode()], numbers or [])
            answer = self._connection.recv(64)
        except OSError as error:
            answer = _words(error).encode()
        if answer != b"ok":
            self.problem = f"the holder of the record socket answers: {answer.decode()}"
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def holder_uid(runtime: Path) -> int | None:
    """User of the holder that keeps something in this runtime directory; None if there is none."""
    try:
        connection = _connected(runtime / _NAME)
    except OSError:
        return None
    if connection is None:
        return None
    with connection:
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


def _connected(path: Path) -> socket.socket | None:
    """Connect to a holder; None if none listens there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.settimeout(_ANSWER_SECONDS)
    ends = time.monotonic() + _ANSWER_SECONDS
    try:
        with _short(path) as name:
            while True:
                try:
                    connection.connect(name)
                    break
                except BlockingIOError:  # others wait to be accepted
                    if time.monotonic() > ends:
                        raise
                    time.sleep(0.01)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a short name of a path: an address has at most 108 bytes (unix(7))."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _file_at(path: Path) -> tuple[int, int] | None:
    """Give device and inode of what is at a path; None if nothing is, or it cannot be told."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _has_ended(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, 0)  # POLLHUP, POLLERR
    return bool(poll.poll(0))


def _words(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
