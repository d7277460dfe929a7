"""Entries to journald, by libsystemd.

`sd_journal_sendv` waits while journald's queue is full, with the interpreter lock held;
a signal ends the wait (EINTR), and nothing of the entry was taken then. Where journald's
socket is missing it says that all went well (sd_journal_sendv(3)): so `check` looks, and
whether an entry arrived only `readback` can tell.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from systemd._journal import sendv

from auditsvc.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Sequence

SOCKET: Final = Path("/run/systemd/journal/socket")
_VARLINK: Final = Path("/run/systemd/journal/io.systemd.journal")
_UCRED: Final = struct.Struct("iII")


def check() -> None:
    """See that there is a socket for entries which somebody holds; JournalError if not."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(SOCKET))
        except OSError as error:
            raise JournalError(
                f"journald's socket {SOCKET}: {error.strerror}", "start systemd-journald"
            ) from error


def send(fields: Sequence[bytes]) -> None:
    """Hand one entry to journald, waiting for room; InterruptedError if a signal came first."""
    try:
        sendv(*fields)
    except InterruptedError:
        raise
    except OSError as error:
        raise JournalError(
            f"journald's socket {SOCKET}: {error.strerror}", "start systemd-journald"
        ) from error


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
