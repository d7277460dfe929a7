"""The processes whose calls must not be forwarded, for each forwarded one would make more.

journald makes calls for every entry that it takes, and we for every one that we send.
Were those forwarded, there would be no end. So they are left out, whatever the filter
says: of journald and of this forwarder, each known by its pid from its start to its end.
They are in the store, if the rules ask for them: the evidence lacks nothing.
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

_FOR_EVER: Final = (1 << 63) - 1
_REMEMBERED: Final = 16  # journalds that have ended
_LOOK_EVERY: Final = 1.0


class OwnProcesses:
    """This forwarder, the journald of this host, and those journalds that were before it."""

    def __init__(self, host: str) -> None:
        """`host` is what the store calls this host."""
        self._host = host
        self._self = self._process(os.getpid())
        self._journald: Process | None = None
        self._ended: deque[Process] = deque(maxlen=_REMEMBERED)
        self._looked = 0.0

    def processes(self) -> tuple[Process, ...]:
        """Give them; whether journald is still the same is looked at once a second."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_EVERY:
            self._looked = now
            self._look()
        living = (self._self, self._journald)
        return (*(each for each in living if each is not None), *self._ended)

    def _look(self) -> None:
        pid = journald_pid()
        found = None if pid is None else self._process(pid)
        if found == self._journald:
            return
        if self._journald is not None:
            self._ended.append(self._journald._replace(until=_id(time.time() + 1)))
        self._journald = found

    def _process(self, pid: int) -> Process | None:
        began = start_second(pid)
        return None if began is None else Process(self._host, pid, _id(began), _FOR_EVER)


def _id(second: float) -> int:
    return int(second) << SERIAL_BITS
