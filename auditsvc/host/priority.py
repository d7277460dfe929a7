"""The priority of what can wait: threads that give way to the collector and to the host's work."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Final

NICE: Final = 10
"""The scheduler gives it a ninth of the time of 0: it gives way, and does not stand still."""


def give_way() -> None:
    """Run the calling thread, and those that it starts from now on, with `NICE` at least.

    On Linux each thread has a nice value of its own (setpriority(2)). Where a filter of system
    calls refuses it, as that of auditsvc-web.service, the unit's `Nice=` holds.
    """
    thread = threading.get_native_id()
    if os.getpriority(os.PRIO_PROCESS, thread) < NICE:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, thread, NICE)
