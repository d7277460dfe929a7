"""How an event ended: the values of the columns `state`.

Views show codes from PARTIAL on as `partial`; the view `partials` gives the reason.
"""

from __future__ import annotations

from typing import Final

COMPLETE: Final = 0
NO_EXIT: Final = 1  # the task ended inside the call: no success=, no exit=
PARTIAL: Final = 2  # codes from here on
TIMEOUT: Final = 2  # no record of it arrived for the idle time
EVICTED: Final = 3  # too many events were open
END_OF_INPUT: Final = 4  # the input ended first
DISPLACED: Final = 5  # another SYSCALL arrived with the same node, time and serial
TRUNCATED: Final = 6  # a record ended early (EXECVE with fewer arguments than argc)
ORPHAN: Final = 7  # records whose SYSCALL never arrived

STATE_REASON: Final = {
    TIMEOUT: "timeout",
    EVICTED: "evicted",
    END_OF_INPUT: "end of input",
    DISPLACED: "displaced",
    TRUNCATED: "truncated",
    ORPHAN: "orphan",
}
