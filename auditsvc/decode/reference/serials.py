"""Counts the serials of one host that were not seen, in fixed memory.

The kernel uses a serial for every event, so a missing one may be a loss (kernel/audit.c,
audit_serial). The count is:

    gap = increase of the highest serial - serials seen in that range

A late serial reduces the gap again if it is at most `WINDOW` behind and was not seen
before. Serials wrap at 2^32. A serial that is far behind, with a time after all others,
is a sign of a reboot: counting starts again there.
"""

from __future__ import annotations

from array import array
from typing import Final

WINDOW: Final = 1 << 14
_MASK: Final = WINDOW - 1
_WRAP: Final = (1 << 32) - 1
_HALF: Final = 1 << 31
_NONE: Final = array("I", (slot ^ 1 for slot in range(WINDOW)))
_FAR: Final = 1 << 10
"""A serial up to this far behind is a late event: serials are given at entry, records at exit."""


class Serials:
    """The serials of one host; `see` gives the change of the gap."""

    __slots__ = ("_seen", "_span", "highest", "when")

    def __init__(self, highest: int, when: int) -> None:
        self.highest = highest
        self.when = when
        self._span = 0
        # A slot with its own serial was seen; at the start, slots have another serial.
        self._seen = _NONE[:]
        self._seen[highest & _MASK] = highest

    def see(self, serial: int, when: int) -> int:
        """Add an event's serial and time (milliseconds); give the change of the gap."""
        ahead = (serial - self.highest) & _WRAP
        slot = serial & _MASK
        if 0 < ahead < _HALF:
            self.highest = serial
            self._span += ahead
            self._seen[slot] = serial
            self.when = max(self.when, when)
            return ahead - 1
        behind = -ahead & _WRAP
        if behind > _FAR and when > self.when:
            self.highest = serial
            self.when = when
            self._span = 0
            self._seen[slot] = serial
            return 0
        self.when = max(self.when, when)
        if behind >= WINDOW or behind > self._span or self._seen[slot] == serial:
            return 0
        self._seen[slot] = serial
        return -1
