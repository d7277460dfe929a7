"""Records that never reached the journal, because journald's audit socket was full.

The kernel's multicast group has no back-pressure: what does not fit a reader's socket is
dropped, and counted there (`Drops` in /proc/net/netlink). It then also marks the socket
with an error, for which journald stops listening to it for good (manager_process_datagram
in src/journal/journald-manager.c takes EPOLLIN and nothing else): after one overflow the
journal gets no record any more, also from a restarted journald, for PID 1 keeps the socket.
That looks like a quiet host. So whoever reads this host's journal looks here.
"""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditsvc.host.netlink_sockets import audit_sockets

if TYPE_CHECKING:
    from collections.abc import Callable

_JOURNALD: Final = "systemd-journal"  # as much of the name as the kernel keeps
_EVERY: Final = 60.0


class Overflow:
    """Says that records were dropped, and again while more are."""

    def __init__(self, say: Callable[[str], None], proc: Path = Path("/proc")) -> None:
        self._say = say
        self._proc = proc
        self._said = 0
        self._next = -inf

    def look(self, now: float) -> None:
        """Look whether any were dropped; `now` in seconds, of any origin."""
        if now < self._next:
            return
        dropped = self._dropped()
        if dropped > self._said:
            self._said = dropped
            self._next = now + _EVERY
            self._say(
                f"the kernel dropped {dropped} records for which journald's audit socket had no "
                "room, and journald takes no more from a socket that overflowed: make it anew "
                "(systemd-journald-audit.socket), or collect with --source netlink"
            )

    def _dropped(self) -> int:
        try:
            table = (self._proc / "net/netlink").read_text()
        except FileNotFoundError:
            return 0  # a kernel without /proc/net has nothing to tell
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
            except OSError:  # it has ended, or it is not ours to look at
                continue
        return found
