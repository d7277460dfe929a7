"""The switch as an administrator set it: who asked for `off` or `on`, and what holds now.

The kernel's `enabled` flag is the switch itself: at 0 no system call begins an event,
while tasks keep their flag and their context, so that 1 traces them again at once. It
does not say who set it, and 0 -> 1 is not even logged (audit_do_config_change in
kernel/audit.c logs a change only while audit is on). So the verbs write down each
request, before the flip for `off` and after it for `on`: whoever sees the flag at 0 and
`wanted_on` sees a flip that nobody asked for in our name.

The requests stand in `switch.json` in the runtime directory. They count for the boot
and for the run of the service in which they were made: no file means on.
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
"""Requests that are kept: more than anybody makes between two looks of the service."""


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody asked for on or off; `time` is seconds since 1970."""

    on: bool
    time: float
    who: Actor


def requests(directory: Path) -> list[Request]:
    """What was asked for since this boot, oldest first; AuditsvcError if it may not be read.

    A file that is not of our making says nothing, as if it were not there.
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
    """Whether audit is meant to be on: true unless `off` was the last that was asked for."""
    made = requests(directory)
    return not made or made[-1].on


def ask(directory: Path, *, on: bool) -> list[Request]:
    """Write down that this process asks for on or off; gives what stood there before.

    AuditsvcError if it cannot be written.
    """
    before = requests(directory)
    put_back(directory, [*before, Request(on, time.time(), actor(os.getpid(), os.getuid()))])
    return before


def put_back(directory: Path, made: Sequence[Request]) -> None:
    """Let the file say these requests: after a flip that failed, what stood there before."""
    kept = [asdict(each) for each in made[-_KEPT:]]
    boot_file.remember(directory / boot_file.SWITCH, {"requests": kept})


def forget(directory: Path) -> None:
    """A run of the service begins: audit is wanted on. OSError if the file cannot go."""
    (directory / boot_file.SWITCH).unlink(missing_ok=True)


class Watch:
    """Gives the running service each request once."""

    def __init__(self, directory: Path) -> None:
        """What was asked for up to now is known."""
        self._directory = directory
        self._seen = requests(directory)

    def new(self) -> list[Request]:
        """Requests since the last call, oldest first."""
        made, before = requests(self._directory), self._seen
        self._seen = made
        # By their place and not by their time: the clock may have been set back.
        known = made.index(before[-1]) + 1 if before and before[-1] in made else 0
        return made[known:]
