"""Records that never reached the journal, because journald's audit socket was full.

The kernel's multicast group does not wait for readers: records that do not fit into a
reader's socket are dropped and counted (`Drops` in /proc/net/netlink). The kernel then also
marks the socket with an error, and journald no longer reads it (manager_process_datagram in
src/journal/journald-manager.c accepts only EPOLLIN): after one overflow the journal gets no
more records, also from a restarted journald, as PID 1 keeps the socket. That looks like a
host without activity. So every reader of this host's journal checks it.
"""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.host.netlink_sockets import audit_sockets
from auditsvc.plural import counted

if TYPE_CHECKING:
    from collections.abc import Callable

_JOURNALD: Final = "systemd-journal"  # the kernel keeps 15 characters of a name
_EVERY: Final = 60.0


class Overflow:
    """Reports that records were dropped, and again if more are."""

    def __init__(self, report: Callable[[str], None], proc: Path = Path("/proc")) -> None:
        self._report = report
        self._proc = proc
        self._reported = 0
        self._next = -inf

    def look(self, now: float) -> None:
        """Check whether any were dropped; `now` in seconds, from any origin."""
        if now < self._next:
            return
        dropped = self._dropped()
        if dropped > self._reported:
            self._reported = dropped
            self._next = now + _EVERY
            self._report(
                f"the kernel dropped {counted(dropped, 'record')} because journald's audit socket "
                "was full, and journald does not read it after an overflow: restart "
                "systemd-journald-audit.socket, or collect with --source netlink"
            )

    def _dropped(self) -> int:
        try:
            table = (self._proc / "net/netlink").read_text()
        except FileNotFoundError:
            return 0  # a kernel without /proc/net
        found = audit_sockets(table)
        drops = {each.link: each.drops for each in found if each.multicast and each.drops}
        if not drops:
            return 0
        return sum(drops[name] for name in self._sockets_of_journald() & drops.keys())

    def _sockets_of_journald(self) -> set[str]:
        found = set()
        for folder in self._proc.glob("[0-9]*"):
            try:
                if (folder / "comm").read_text().rstrip() == _JOURNALD:
                    found |= {str(each.readlink()) for each in (folder / "fd").iterdir()}
            except OSError:  # it has ended, or may not be read
                continue
        return found
