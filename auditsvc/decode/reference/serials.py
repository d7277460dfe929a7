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

    def missing(self) -> str:
        """Give what `restore` needs beside `highest` and `when`: "" if nothing was counted yet.

        `,SPAN` is how far back serials were looked for; `,FROM-TO` are those behind the highest
        that were not seen there, by their distance from it.
        """
        if not self._span:
            return ""
        span = min(self._span, WINDOW)
        text = f",{span}"
        first = 0
        for behind in range(1, min(span + 1, WINDOW) + 1):
            serial = (self.highest - behind) & _WRAP
            lacks = behind <= min(span, WINDOW - 1) and self._seen[serial & _MASK] != serial
            if lacks and not first:
                first = behind
            elif first and not lacks:
                text += f",{first}-{behind - 1}"
                first = 0
        return text

    def restore(self, missing: str) -> None:
        """Take what `missing` gave; ValueError if it is not that."""
        if not missing:
            return
        span, *ranges = missing.removeprefix(",").split(",")
        self._span = min(int(span), WINDOW)
        lacks: set[int] = set()
        for each in ranges:
            first, last = each.split("-")
            lacks.update(range(int(first), min(int(last), WINDOW) + 1))
        for behind in range(1, min(self._span + 1, WINDOW)):
            if behind not in lacks:
                serial = (self.highest - behind) & _WRAP
                self._seen[serial & _MASK] = serial

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
