"""Processes whose calls must not be forwarded, as each forwarded call would cause more.

journald makes calls for every entry that it receives, and we for every one that we send.
To forward those would never end. So the calls of journald and of this forwarder are left
out, independent of the filter; each is known by its pid from its start to its end. If the
rules ask for these calls, they are in the store: no evidence is missing.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Final

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.forward.send import journald_pid
from auditsvc.host.processes import start_second
from auditsvc.store.read.selection import Process

_FOREVER: Final = (1 << 63) - 1
_REMEMBERED: Final = 16  # journalds that have ended
_LOOK_EVERY: Final = 1.0


class OwnProcesses:
    """This forwarder, the journald of this host, and earlier journald processes."""

    def __init__(self, host: str) -> None:
        """`host` is the name of this host in the store."""
        self._host = host
        self._self = self._process(os.getpid())
        self._journald: Process | None = None
        self._ended: deque[Process] = deque(maxlen=_REMEMBERED)
        self._looked = 0.0

    def processes(self) -> tuple[Process, ...]:
        """Give them; once a second it is checked whether journald is still the same process."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            self._look()
        living = (self._self, self._journald)
        return (*(each for each in living if each is not None), *self._ended)

    def _look(self) -> None:
        if self._journald is not None and self._process(self._journald.pid) == self._journald:
            return  # to ask it costs journald a dozen calls, which may be audited
        pid = journald_pid()
        found = None if pid is None else self._process(pid)
        if found == self._journald:
            return
        if self._journald is not None:
            self._ended.append(self._journald._replace(until=_id(time.time() + 1)))
        self._journald = found

    def _process(self, pid: int) -> Process | None:
        began = start_second(pid)
        return None if began is None else Process(self._host, pid, _id(began), _FOREVER)


def _id(second: float) -> int:
    return int(second) << SERIAL_BITS
