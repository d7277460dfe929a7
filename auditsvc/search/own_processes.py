"""The processes that show what `tail` writes, whose calls would make it write without end.

To show an event this process makes calls, and so do those that bring its output to a screen:
the shell's terminal, sshd, tmux. These are its ancestors. They are left out up to the first
process of the system, which starts everything and shows nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.host.processes import parse_stat, start_second
from auditsvc.store.read.selection import Process

_FOREVER: Final = (1 << 63) - 1


def own_processes(host: str) -> tuple[Process, ...]:
    """Give this process and its ancestors; `host` is this host's name in the store."""
    found = []
    pid = os.getpid()
    while pid > 1:
        began = start_second(pid)
        if began is None:
            break
        found.append(Process(host, pid, began << SERIAL_BITS, _FOREVER))
        pid = _parent(pid)
    return tuple(found)


def _parent(pid: int) -> int:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_bytes()).ppid
    except (OSError, ValueError):
        return 0
