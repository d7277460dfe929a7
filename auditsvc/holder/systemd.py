"""systemd's store of descriptors: it keeps them while the service restarts, by itself or not.

sd_notify(3): FDSTORE=1 with the descriptor as SCM_RIGHTS, FDSTOREREMOVE=1, BARRIER=1. At the
next start they are passed as in socket activation (sd_listen_fds(3)). systemd closes them when
the service has stopped and is not started again. The unit needs FileDescriptorStoreMax=.
"""

from __future__ import annotations

import os
import select

from systemd import daemon

_BARRIER_SECONDS = 5.0


def runs_under_systemd() -> bool:
    """Whether a manager has started us that takes messages."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


class SystemdStore:
    """The store of our unit."""

    outlives = True

    def __init__(self) -> None:
        passed = daemon.listen_fds_with_names(unset_environment=True)
        self.found: dict[str, int] = {name: number for number, name in passed.items()}
        self.problem = ""
        self._names = set(self.found)

    def keep(self, name: str, number: int) -> None:
        """Keep a descriptor; returns when systemd has it."""
        # Without FDPOLL=0 an error on the socket, as of a full buffer, would drop it.
        sent = daemon.notify(f"FDSTORE=1\nFDPOLL=0\nFDNAME={name}", fds=[number])
        self.problem = "" if sent else "systemd takes no messages"
        self._names.add(name)
        if sent:
            _barrier()

    def drop(self, name: str) -> None:
        """Keep the descriptor of this name no longer."""
        daemon.notify(f"FDSTOREREMOVE=1\nFDNAME={name}")
        self._names.discard(name)

    def watch(self) -> None:
        """Do nothing: systemd does not end."""

    def end(self) -> None:
        """Keep nothing any more: a service that is stopped by hand may be restarted too."""
        for name in list(self._names):
            self.drop(name)

    def leave(self) -> None:
        """Do nothing: what is kept stays."""


def _barrier() -> None:
    """Wait until systemd has taken all earlier messages (since version 246)."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        daemon.notify("BARRIER=1", fds=[writer])
        os.close(writer)
        poll = select.poll()
        poll.register(reader, 0)  # POLLHUP
        poll.poll(_BARRIER_SECONDS * 1000)
    finally:
        os.close(reader)
