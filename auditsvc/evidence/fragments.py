"""Leaves out the lines of events that may have begun before the first line that is there.

Where the segments before are gone, an event may have lines in them. What is left of it would not
decode to what the store has. Serials increase from event to event, and an event's lines stand
close together: so events are left out up to MARGIN serials after the first one, or before it.
The first serial that is farther away ends that, also after a boot, when serials begin again.
"""

from __future__ import annotations

import re
from typing import Final

MARGIN: Final = 1024
"""Serials, far more than tasks can be writing an event at once."""
_HALF: Final = 1 << 31
_STAMP: Final = re.compile(rb"(?:node=\S+ )?type=(\S+) msg=audit\([0-9]+\.[0-9]+:([0-9]+)\):")


class Fragments:
    """The lines at the beginning of a log; complete ones, in order."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._is_over = False

    def without(self, lines: bytes) -> bytes:
        """Give the lines that are of whole events."""
        if self._is_over:
            return lines
        return b"".join(line for line in lines.splitlines(keepends=True) if self._is_whole(line))

    def _is_whole(self, line: bytes) -> bool:
        found = _STAMP.match(line)
        if self._is_over or found is None or found[1].startswith(b"DAEMON_"):
            return True  # DAEMON_* records have serials of their own
        serial = int(found[2])
        if self._first is None:
            self._first = serial
        # From -2^31 to 2^31, as serials wrap at 2^32.
        after = (serial - self._first + _HALF) % (2 * _HALF) - _HALF
        self._is_over = abs(after) > 2 * MARGIN
        return after > MARGIN or self._is_over
