"""Sends entries to journald: as datagrams to its socket, large ones through libsystemd.

A datagram costs a quarter of `sd_journal_sendv`, which passes each field separately to the
kernel (docs/decisions/0010-journal-forwarder.md). Both use the same queue, in order.

If journald's queue is full both wait: the socket for at most _WAIT, libsystemd until a
signal arrives (EINTR), with the interpreter lock held. The entry was not sent then.
If the socket is missing libsystemd reports success (sd_journal_sendv(3)): so the socket is
connected first, and only `readback` shows whether an entry arrived.
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
from auditsvc.host import journald

if TYPE_CHECKING:
    from collections.abc import Sequence

_VARLINK: Final = Path("/run/systemd/journal/io.systemd.journal")
_UCRED: Final = struct.Struct("iII")
_WAIT: Final = struct.pack("ll", 0, 500_000)  # struct timeval; shorter than the timer's second
_BUFFER: Final = 1 << 20  # doubled by the kernel, and no more than net.core.wmem_max
_TOO_LARGE: Final = frozenset((errno.EMSGSIZE, errno.ENOBUFS))


class Full(Exception):  # noqa: N818 - no error: the same entry can be sent again
    """journald's queue is full, and the entry was not sent."""


class Channel:
    """A connection to journald; each method raises JournalError if that is impossible."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Connect again: the process that holds journald's socket may be a new one."""
        self.close()
        new = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            new.connect(str(journald.SOCKET))
            # The kernel's timeout: Python's own one would poll before each entry.
            new.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _WAIT)
            # Entries that wait for journald count here; PID 1 allows 512 datagrams.
            new.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        except OSError as error:
            new.close()
            raise _no_socket(error) from error
        self._socket = new

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def send(self, datagram: bytes) -> None:
        """Send one entry, as `wire` makes it; Full if there is no room at present."""
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
    return JournalError(
        f"journald's socket {journald.SOCKET}: {error.strerror}", "start systemd-journald"
    )


def journald_pid() -> int | None:
    """Give the pid of the running journald; None if there is none or it is unknown.

    journald itself listens on its varlink socket, so the kernel gives its pid (SO_PEERCRED,
    unix(7)); the sockets for entries belong to PID 1.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(_VARLINK))
            data = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except OSError:
            return None
    pid = int(_UCRED.unpack(data)[0])
    return pid if pid > 1 else None
