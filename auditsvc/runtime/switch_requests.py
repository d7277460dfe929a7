"""Requests of `auditsvc on` and `auditsvc off`: who made them, and the state that is wanted.

The switch itself is the kernel's `enabled` flag. At 0 no system call begins an event, but
tasks keep their audit flag and context, so that 1 traces them again at once. The flag does
not show who set it, and 0 -> 1 is not logged (audit_do_config_change in kernel/audit.c
logs a change only while audit is on). So the commands write each request to a file, `off`
before it changes the flag and `on` after it: a flag of 0 while `wanted_on` is true was
set by somebody else.

The requests are in `switch.json` in the runtime directory. They are valid until the next
boot or the next start of the service. Without a file, audit is wanted on.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.record.daemon import Actor, actor
from auditsvc.runtime import boot_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_KEPT: Final = 32
"""Requests that are kept: more than can be made between two checks by the service."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request for on or off; `time` is in seconds since 1970."""

    on: bool
    time: float
    who: Actor


def requests(directory: Path) -> list[Request]:
    """Read the requests since this boot, oldest first; AuditsvcError if that is not permitted.

    A file whose content is not valid counts as missing.
    """
    try:
        values = boot_file.recall(directory / boot_file.SWITCH) or {"requests": []}
        return [
            Request(bool(each["on"]), float(each["time"]), Actor(**each["who"]))
            for each in values["requests"]
        ]
    except (boot_file.DamagedError, ValueError, TypeError, KeyError):
        return []


def wanted_on(directory: Path) -> bool:
    """Whether audit should be on: true unless the last request was `off`."""
    known = requests(directory)
    return not known or known[-1].on


def add_request(directory: Path, *, on: bool) -> list[Request]:
    """Write a request of this process for on or off; gives the requests before it.

    AuditsvcError if the file cannot be written.
    """
    before = requests(directory)
    write_requests(directory, [*before, Request(on, time.time(), actor(os.getpid(), os.getuid()))])
    return before


def write_requests(directory: Path, entries: Sequence[Request]) -> None:
    """Write the file with these requests; also to remove one whose change of the switch failed."""
    kept = [asdict(each) for each in entries[-_KEPT:]]
    boot_file.remember(directory / boot_file.SWITCH, {"requests": kept})


def forget(directory: Path) -> None:
    """Delete the requests when the service starts: audit is wanted on. OSError if that fails."""
    (directory / boot_file.SWITCH).unlink(missing_ok=True)


class Watch:
    """Gives the running service each new request once."""

    def __init__(self, directory: Path) -> None:
        """Requests made before this do not count as new."""
        self._directory = directory
        self._seen = requests(directory)

    def new(self) -> list[Request]:
        """Give the requests since the last call, oldest first."""
        entries, before = requests(self._directory), self._seen
        self._seen = entries
        # By position and not by time: the clock may have been set back.
        known = entries.index(before[-1]) + 1 if before and before[-1] in entries else 0
        return entries[known:]
