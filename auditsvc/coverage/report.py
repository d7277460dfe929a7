"""One look at the host's processes, judged by all that is known.

What cannot be read becomes a note of the look, not an error.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from auditsvc.coverage import history, proofs
from auditsvc.coverage.judge import Evidence
from auditsvc.coverage.snapshot import UNASKED, Kernel, Look, ask, epoch, judge_all
from auditsvc.errors import AuditsvcError, UsageError
from auditsvc.host.processes import boottime, snapshot
from auditsvc.kernel import Control
from auditsvc.kernel.session import own_rules
from auditsvc.runtime.service_state import read_state

if TYPE_CHECKING:
    from auditsvc.config import Settings
    from auditsvc.coverage.history import Periods


# The running service notes what it watches once a second.
_WAIT_SECONDS = 5.0


def take_look(settings: Settings, pids: list[int] | None = None) -> Look:
    """Take one look at the processes, all unless some are named; a note for what is not seen."""
    notes: list[str] = []
    known, now = _known(settings, notes), epoch()
    seen = snapshot()
    if seen.hidden:
        notes.append("processes of other users may be hidden from us: ask as root")
    asked = boottime()
    kernel = _kernel(settings, notes)
    known = _note(settings, known, kernel, asked, notes)
    found = Evidence()
    try:
        found = proofs.gather(settings.store, settings.host, seen.processes, now)
    except AuditsvcError as error:
        notes.append(f"judged without the rows of the store: {error}")
    found = Evidence(found.proven, found.threads, set(known.silent))
    judgements = judge_all(seen.processes, known, found, kernel)
    if pids:
        there = {judgement.process.pid for judgement in judgements}
        if missing := [str(pid) for pid in pids if pid not in there]:
            raise UsageError(
                f"there is no process {', '.join(missing)} that makes system calls",
                "give the pid of a process, not of a thread of it",
            )
        judgements = [each for each in judgements if each.process.pid in pids]
    return Look(kernel, judgements, now, notes)


def _known(settings: Settings, notes: list[str]) -> Periods:
    try:
        return history.load(settings.runtime_directory)
    except AuditsvcError as error:
        notes.append(f"what was seen before is not known: {error}")
        return history.nothing()


def _kernel(settings: Settings, notes: list[str]) -> Kernel:
    try:
        ours = own_rules(settings.runtime_directory)
        if ours and read_state(settings.runtime_directory) is None:
            ours = frozenset()  # it was killed: the pids in its rules may be others' by now
        with Control() as control:
            return ask(control, ours)
    except AuditsvcError as error:
        notes.append(f"whether tasks are covered is not known: {error}")
        return UNASKED


def _note(
    settings: Settings, known: Periods, kernel: Kernel, asked: float, notes: list[str]
) -> Periods:
    """Add this look to what is known, or wait until the running service knows all before it."""
    if not kernel.known:
        return known
    now, logged = boottime(), kernel.logged
    try:
        if read_state(settings.runtime_directory) is not None:
            ends = time.monotonic() + _WAIT_SECONDS
            while (known := history.load(settings.runtime_directory)).heard_to < asked:
                if time.monotonic() > ends:
                    notes.append("the running service does not watch: see `auditsvc status`")
                    break
                time.sleep(0.05)
            else:
                return known
            known.note(now, logged.enabled, logged.stand, asked=asked)
            return known
        known.note(now, logged.enabled, logged.stand, asked=asked)
        history.save(settings.runtime_directory, known)
    except AuditsvcError as error:
        notes.append(f"what the service saw is not known: {error}")
    except OSError as error:
        notes.append(f"this look cannot be kept: {error.filename}: {error.strerror}")
    return known
