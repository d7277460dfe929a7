"""From auditsvc back to auditd: rules as before, auditd's log goes on where it ended.

    rules stay -> copy of all records -> stop ours -> start auditd -> load the copy

Within the boot of the change our service restores the kernel's rules at its end. After another
boot the rules are there because our service added them: they are kept loaded, as `rules load`
does, until auditd loads its own, so no task is unaudited in between.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from auditsvc.adopt import bridging, daemons, managers, progress
from auditsvc.adopt.moment import at
from auditsvc.adopt.plan import logs_of
from auditsvc.adopt.progress import ADOPT, BACK, Progress
from auditsvc.adopt.rule_plan import source_of
from auditsvc.adopt.way import Way
from auditsvc.errors import AuditsvcError
from auditsvc.kernel.control import Control
from auditsvc.kernel.load_rules import compare
from auditsvc.kernel.load_rules import load as load_rules
from auditsvc.kernel.messages import LOCKED, OFF
from auditsvc.plural import counted
from auditsvc.ruleset.sources import wanted_rules
from auditsvc.runtime.boot_file import boot_id
from auditsvc.runtime.lock import exclusive_lock
from auditsvc.store.read.questions import number
from auditsvc.store.read.sql import run_query
from auditsvc.store.read.time_span import Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.config import Settings

_INSTALLED = ("/usr/sbin/auditd", "/sbin/auditd")


def steps(settings: Settings, folder: Path) -> list[str]:
    """Say what `go_back` would do; changes nothing. AuditsvcError if it cannot be done."""
    pid = daemons.registered()
    if _is_back(progress.load(settings.state_directory), pid):
        return [f"auditd (pid {pid}) is the audit daemon; nothing to do"]
    state = _found(settings)
    rules = source_of(folder)
    lines = []
    if daemons.is_ours(pid, settings.runtime_directory):
        lines.append(f"stop auditsvc (pid {pid}): it stores what it has, and restores the rules")
    if state.boot != boot_id() and rules is not None:
        lines.append(f"keep the rules of {rules} loaded until auditd loads them")
    how = "systemctl start auditd" if state.manager == managers.SYSTEMD else " ".join(state.auditd)
    lines.append(f"start auditd ({how}); its log {state.log} goes on")
    lines.append("load the copy of the records in between into the store")
    if state.without_auditd:
        lines.append(f"auditd lacks what came since {at(state.without_auditd)} UTC")
    return lines


def go_back(settings: Settings, folder: Path, say: Callable[[str], None]) -> bool:
    """Do it; gives whether no record was lost. AuditsvcError says what was not done."""
    with progress.alone(settings.state_directory):
        state = progress.load(settings.state_directory)
        pid = daemons.registered()
        if _is_back(state, pid):
            _forget(settings, state)
            say(f"auditd (pid {pid}) is the audit daemon; nothing to do")
            return True
        state = _found(settings)
        if state.direction != BACK or state.done:
            state.direction, state.done = BACK, False
            state.stopping = state.stopped = state.taken = 0.0
            state.problems = []
        return _Back(settings, folder, state, say).run()


def _is_back(state: Progress, pid: int) -> bool:
    """Whether auditd is the daemon, and no way back was interrupted."""
    return daemons.is_auditd(pid) and (state.direction != BACK or state.done)


def _forget(settings: Settings, state: Progress) -> None:
    """End the copy of a change that was interrupted before auditd was stopped."""
    if not state.direction:
        return
    for each in state.bridges:
        if not each.stored:
            bridging.end(Path(each.folder))
            each.stored = True
    state.direction, state.done = BACK, True
    progress.save(settings.state_directory, state)


def _found(settings: Settings) -> Progress:
    """Give what a change noted; without one, what can be known of an installed auditd."""
    state = progress.load(settings.state_directory)
    if not state.manager:
        state.manager = managers.name_for(None)
    if state.manager == managers.PROCESS and not state.auditd:
        state.auditd = [each for each in _INSTALLED if Path(each).exists()][:1]
        if not state.auditd:
            raise AuditsvcError(
                "no change-over from auditd is noted, and there is no auditd", "install auditd"
            )
    if not state.log:
        state.log = "/var/log/audit/audit.log"
    return state


class _Back(Way):
    def __init__(
        self, settings: Settings, folder: Path, state: Progress, say: Callable[[str], None]
    ) -> None:
        super().__init__(settings, state, say)
        self._folder = folder

    def run(self) -> bool:
        state = self._state
        daemons.check(self._settings.runtime_directory)
        manager = managers.choose(state.manager, self._settings)
        self._moment.save()
        if state.boot != boot_id():
            self._keep_rules()
        self._moment.begin()
        with daemons.undisturbed():
            self._return(manager)
        self._moment.prove(lambda: logs_of(Path(state.log)), "auditd's log")
        self._settle(manager, ours=False)
        self._say_missing()
        return self._verdict()

    def _return(self, manager: managers.Manager) -> None:
        state, runtime = self._state, self._settings.runtime_directory
        pid = daemons.registered()
        if daemons.is_auditd(pid):
            state.taken = state.taken or time.time()
            state.stopped = state.stopped or state.taken
            self._say(f"auditd (pid {pid}) is the audit daemon already")
            return
        if daemons.is_ours(pid, runtime):
            state.stopping = time.time()
            self._moment.save()
            manager.stop_ours()
            self._say(f"auditsvc (pid {pid}) was stopped")
        state.stopped = state.stopped or time.time()
        self._moment.save()
        try:
            pid = manager.start_auditd(state.auditd)
        except AuditsvcError as error:
            raise self._undone(manager, error) from error
        state.taken = time.time()
        self._moment.save()
        self._say(f"auditd (pid {pid}) is the audit daemon")

    def _undone(self, manager: managers.Manager, error: AuditsvcError) -> AuditsvcError:
        """Start our service again after auditd did not start; gives what is to be said."""
        what = f"auditd does not start: {error}"
        try:
            pid = manager.start_ours()
        except AuditsvcError as second:
            hint = f"the copy of all records goes on for an hour; {second}"
            return AuditsvcError(f"{what}; auditsvc does not start again either", hint)
        self._moment.end()
        self._moment.store()
        self._state.direction, self._state.done = ADOPT, True
        self._moment.save()
        return AuditsvcError(f"{what}; auditsvc (pid {pid}) runs again", "correct that")

    def _keep_rules(self) -> None:
        """Have the rules stay when our service ends."""
        source = source_of(self._folder)
        if source is None:
            return
        wanted, _ = wanted_rules(self._settings, [source])
        wanted.settings.clear()  # auditd's own load sets them
        runtime = self._settings.runtime_directory
        with Control() as control, exclusive_lock(runtime):
            enabled = control.status().enabled
            if enabled == LOCKED:
                return
            if enabled != OFF:  # our service switched it on, and would switch it off at its end
                wanted.settings["enabled"] = enabled
            load_rules(control, wanted, compare(control, wanted, runtime), runtime)
        self._say(f"the rules of {source} stay loaded")

    def _say_missing(self) -> None:
        """Say what auditd did not get."""
        state = self._state
        if not state.without_auditd:
            return
        period = Span(int(state.without_auditd), int(state.taken))
        host = self._settings.host.replace("'", "''")
        sql = (
            f"SELECT (SELECT count(*) FROM syscalls WHERE host = '{host}')"  # noqa: S608 - quoted
            f" + (SELECT count(*) FROM events WHERE host = '{host}')"
        )
        with run_query(self._settings.store, sql, period=period) as rows:
            ((count,),) = list(rows)
        began, ended = at(state.without_auditd), at(state.taken)
        self._say(
            f"auditd got nothing from {began} to {ended} UTC, nor what it had not read before;"
            f" the store has {counted(number(count), 'event')} of that time: auditsvc search"
            f" --since '{began}' --until '{ended}' --format raw"
        )
