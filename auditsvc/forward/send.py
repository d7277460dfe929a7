"""Entries to journald: datagrams to its socket, and what is too large for one by libsystemd.

A datagram costs a quarter of `sd_journal_sendv`, which hands the kernel each field by itself
(docs/decisions/0010-journal-forwarder.md). Both come into the same queue, in order.

Where journald's queue is full both wait: the socket no longer than _WAIT, libsystemd until
a signal comes (EINTR), with the interpreter lock held. Nothing of the entry was taken then.
Where the socket is missing libsystemd says that all went well (sd_journal_sendv(3)): so
the socket is connected first, and whether an entry arrived only `readback` can tell.
"""

from __future__ import annotations

import errno
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from systemd._journal import sendv

from auditsvc.errors import JournalError
from auditsvc.forward.wire import fields

if TYPE_CHECKING:
    from collections.abc import Sequence

SOCKET: Final = Path("/run/systemd/journal/socket")
_VARLINK: Final = Path("/run/systemd/journal/io.systemd.journal")
_UCRED: Final = struct.Struct("iII")
_WAIT: Final = struct.pack("ll", 0, 500_000)  # struct timeval; below the process's tick
_BUFFER: Final = 1 << 20  # doubled by the kernel, and no more than net.core.wmem_max
_TOO_LARGE: Final = frozenset((errno.EMSGSIZE, errno.ENOBUFS))


class Full(Exception):  # noqa: N818 - no error: the same entry can be sent again
    """journald's queue is full, and nothing of the entry was taken."""


class Channel:
    """A way to journald; each method raises JournalError where there is none."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Connect anew: journald, or whoever holds its socket, may be another than before."""
        self.close()
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.connect(str(SOCKET))
            # By the kernel: Python's own timeout would ask before each entry.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _WAIT)
            # Entries that wait for journald count here, and PID 1 gives it room for 512.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        except OSError as error:
            made.close()
            raise _no_socket(error) from error
        self._socket = made

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def send(self, datagram: bytes) -> None:
        """Hand over one entry, as `wire` makes it; Full if there is no room for a while."""
        if self._socket is None:
            self.open()
            assert self._socket is not None
        try:
            self._socket.send(datagram)
        except BlockingIOError:
            raise Full from None
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise _no_socket(error) from error
            _send_large(fields(datagram))


def _send_large(entry: Sequence[bytes]) -> None:
    try:
        sendv(*entry)  # as a file in memory
    except InterruptedError:
        raise Full from None
    except OSError as error:
        raise _no_socket(error) from error


def _no_socket(error: OSError) -> JournalError:
    return JournalError(f"journald's socket {SOCKET}: {error.strerror}", "start systemd-journald")


def journald_pid() -> int | None:
    """Give the pid of the journald that runs here; None if there is none or it cannot be asked.

    journald itself listens on its varlink socket, so the kernel tells who it is
    (SO_PEERCRED, unix(7)); those for entries are PID 1's.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(_VARLINK))
            data = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except OSError:
            return None
    pid = int(_UCRED.unpack(data)[0])
    return pid if pid > 1 else None
