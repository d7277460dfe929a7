"""One look at the host's processes, judged by all available evidence.

What cannot be read becomes a note of the look, not an error.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from auditsvc.coverage import history, proofs
from auditsvc.coverage.judge import Evidence
from auditsvc.coverage.snapshot import UNASKED, KernelFacts, Look, ask, epoch, judge_all
from auditsvc.errors import AuditsvcError, UsageError, of_system
from auditsvc.host.processes import boottime, snapshot
from auditsvc.kernel import Control
from auditsvc.kernel.session import own_rules
from auditsvc.runtime.service_state import read_state
from auditsvc.runtime.switch_requests import wanted_on

if TYPE_CHECKING:
    from auditsvc.config import Settings
    from auditsvc.coverage.history import Periods


# The running service notes what it watches once a second.
_WAIT_SECONDS = 5.0


def take_look(settings: Settings, pids: list[int] | None = None) -> Look:
    """Look at the processes, or at `pids` only; what cannot be read becomes a note."""
    notes: list[str] = []
    known, now = _known(settings, notes), epoch()
    seen = snapshot()
    if seen.hidden:
        notes.append("processes of other users may be hidden: run as root")
    asked = boottime()
    kernel = _kernel(settings, notes)
    known = _note(settings, known, kernel, asked, notes)
    found = Evidence()
    try:
        found = proofs.gather(settings.store, settings.host, seen.processes, now)
    except AuditsvcError as error:
        notes.append(f"judged without rows of the store: {error}")
    found = Evidence(found.proven, found.threads, set(known.silent))
    judgements = judge_all(seen.processes, known, found, kernel)
    if pids:
        found_pids = {judgement.process.pid for judgement in judgements}
        if missing := [str(pid) for pid in pids if pid not in found_pids]:
            raise UsageError(
                f"there is no process {', '.join(missing)} that makes system calls",
                "give the pid of a process, not of a thread",
            )
        judgements = [each for each in judgements if each.process.pid in pids]
    return Look(kernel, judgements, now, notes, _asked_off(settings, notes))


def _asked_off(settings: Settings, notes: list[str]) -> bool:
    try:
        return not wanted_on(settings.runtime_directory)
    except AuditsvcError as error:
        notes.append(f"the last request for the switch is unknown: {error}")
        return False


def _known(settings: Settings, notes: list[str]) -> Periods:
    try:
        return history.load(settings.runtime_directory)
    except AuditsvcError as error:
        notes.append(f"the history of this boot is unknown: {error}")
        return history.no_history()


def _kernel(settings: Settings, notes: list[str]) -> KernelFacts:
    try:
        ours = own_rules(settings.runtime_directory)
        if ours and read_state(settings.runtime_directory) is None:
            ours = frozenset()  # it was killed: other processes may have the pids of its rules now
        with Control() as control:
            return ask(control, ours)
    except AuditsvcError as error:
        notes.append(f"whether tasks are covered is unknown: {error}")
        return UNASKED


def _note(
    settings: Settings, known: Periods, kernel: KernelFacts, asked: float, notes: list[str]
) -> Periods:
    """Add this look to the history, or wait until the running service knows all before it."""
    if not kernel.known:
        return known
    now, logged = boottime(), kernel.logged
    try:
        if read_state(settings.runtime_directory) is not None:
            ends = time.monotonic() + _WAIT_SECONDS
            while (known := history.load(settings.runtime_directory)).known_to < asked:
                if time.monotonic() > ends:
                    notes.append(
                        "the running service does not watch coverage: see `auditsvc status`"
                    )
                    break
                time.sleep(0.05)
            else:
                return known
            known.note(now, logged.enabled, logged.task_list, asked=asked)
            return known
        known.note(now, logged.enabled, logged.task_list, asked=asked)
        history.save(settings.runtime_directory, known)
    except AuditsvcError as error:
        notes.append(f"the service's history is unknown: {error}")
    except OSError as error:
        notes.append(f"this look cannot be saved: {of_system(error)}")
    return known
