"""Takes heads to other places: the journal, a file, syslog, an HTTP endpoint.

A place that hangs, or is away, keeps nothing waiting but this thread: each head proves all that
were before it, so only the newest one that a place has not had is sent to it, and tried again.
The store gets its heads from the loader (`auditsvc.evidence.stored`).
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from auditsvc.evidence.head import dropped_in
from auditsvc.host import journald
from auditsvc.host.files import open_file
from auditsvc.host.http_post import post

if TYPE_CHECKING:
    from pathlib import Path

    from auditsvc.config import EvidenceSettings

_SYSLOG: Final = "/dev/log"
_SYSLOG_PORT: Final = 514
_LAST_PORT: Final = 65535
_NOTICE: Final = 13 * 8 + 5  # RFC 5424: facility "log audit", severity "notice"
_WAIT: Final = 10.0
_RETRY: Final = 30.0
MESSAGE_ID: Final = "0b9a7d9c3f6e4d0ea3c1f6c2c5f2a411"
"""Of a head in the journal."""


class Place(Protocol):
    """A place where heads go."""

    name: str

    def send(self, head: str) -> None:
        """Send one head; OSError or ValueError if that fails."""


class Journal:
    """The systemd journal, by its socket: libsystemd would wait with Python's lock."""

    name = "journal"

    def send(self, head: str) -> None:
        """See `Place`."""
        entry = (
            f"MESSAGE=head of the audit log: {head}\nPRIORITY=5\nSYSLOG_IDENTIFIER=auditsvc\n"
            f"MESSAGE_ID={MESSAGE_ID}\nAUDITSVC_HEAD={head}\n"
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_WAIT)
            channel.connect(str(journald.SOCKET))
            channel.send(entry.encode())


class Appended:
    """A file, one head a line, synced."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def send(self, head: str) -> None:
        """See `Place`."""
        descriptor = open_file(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            line = head.encode() + b"\n"
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


class Syslog:
    """This host's syslog socket, or a host by UDP (RFC 3164)."""

    def __init__(self, where: str) -> None:
        self.name = f"syslog {where}"
        self._where = where

    def send(self, head: str) -> None:
        """See `Place`."""
        message = f"<{_NOTICE}>auditsvc: head of the audit log: {head}".encode()
        if self._where == "local":
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(_WAIT)
                channel.connect(_SYSLOG)
                channel.send(message)
            return
        host, _, port = self._where.rpartition(":")
        if not port.isdigit() or not host:
            host, port = self._where, str(_SYSLOG_PORT)
        if int(port) > _LAST_PORT:  # the C library would take another one
            raise OSError(f"{port} is not a port")
        family, kind, _, _, address = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind) as channel:
            channel.settimeout(_WAIT)
            channel.sendto(message, address)


class Http:
    """An HTTP endpoint that takes a head as JSON and answers 2xx."""

    def __init__(self, url: str) -> None:
        self.name = url
        self._url = url

    def send(self, head: str) -> None:
        """See `Place`."""
        post(self._url, head.encode() + b"\n", _WAIT)


class Courier(threading.Thread):
    """Sends heads to all places that the settings name."""

    def __init__(self, settings: EvidenceSettings) -> None:
        super().__init__(name="courier", daemon=True)
        self.problem = ""
        """Where heads cannot be sent, and why; "" if they can."""
        self.newest = ""
        """The newest head to deliver, "" if there is none yet."""
        self._every = settings.deliver_every
        self._places = _places_of(settings)
        self._had: dict[str, str] = {}
        """By place, the last head that it got."""
        self._latest = ""
        self._delivered_at = 0.0
        self._wake = threading.Event()
        self._ending = threading.Event()

    def take(self, head: str) -> None:
        """Take a head to be delivered when it is due; never waits.

        What retention deleted is due at once: until a head in the store says it, the other hosts
        cannot tell it from what somebody else deleted.
        """
        self._latest = head
        is_due = not self.newest or time.monotonic() - self._delivered_at >= self._every
        if is_due or dropped_in(head) != dropped_in(self.newest):
            self._release()

    def _release(self) -> None:
        self.newest = self._latest
        self._delivered_at = time.monotonic()
        self._wake.set()

    def run(self) -> None:
        """Send until `finish`."""
        is_last = False
        while not is_last:
            self._wake.wait(_RETRY if self.problem else None)
            self._wake.clear()
            # Looked at before sending: the last head may come while an earlier one is sent.
            is_last = self._ending.is_set()
            self._send()

    def hurry(self) -> None:
        """Have the latest head sent now, whatever is due; never waits."""
        if self._latest:
            self._release()

    def finish(self, patience: float) -> None:
        """Send the last head, as far as that is possible within some seconds, and end."""
        self.hurry()
        self._ending.set()
        self._wake.set()
        if self.is_alive():
            self.join(patience)

    def _send(self) -> None:
        head, problems = self.newest, []
        for place in self._places:
            if not head or self._had.get(place.name) == head:
                continue
            try:
                place.send(head)
            except (OSError, ValueError) as error:  # ValueError: a name that is none
                why = getattr(error, "strerror", None) or error
                problems.append(f"{place.name}: {why}")
            else:
                self._had[place.name] = head
        self.problem = "; ".join(problems)


def _places_of(settings: EvidenceSettings) -> list[Place]:
    """Give the places that are set; the journal, if it is not set, where there is journald."""
    places: list[Place] = []
    is_asked = "journal" in settings.model_fields_set
    if settings.journal and (is_asked or journald.is_here()):
        places.append(Journal())
    if settings.file is not None:
        places.append(Appended(settings.file))
    if settings.syslog is not None:
        places.append(Syslog(settings.syslog))
    if settings.http is not None:
        places.append(Http(settings.http))
    return places
