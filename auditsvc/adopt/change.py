"""From auditd to auditsvc: settings, old logs, then the socket.

    settings -> auditd's logs -> copy of all records -> stop auditd -> start ours -> the rest

What must hold: until auditd is stopped it does its work as before. From then on either our service
is the daemon at the end, or auditd is again. Each step may be done twice; the copy goes on when
this process is killed, and a second run finds it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from auditsvc.adopt import daemons, managers, progress, settings_file
from auditsvc.adopt.moment import Moment, at, spool_files
from auditsvc.adopt.plan import logs_of
from auditsvc.adopt.progress import ADOPT, Progress
from auditsvc.adopt.way import Way
from auditsvc.config import load_settings
from auditsvc.errors import AuditsvcError
from auditsvc.host.file_locks import is_flocked
from auditsvc.runtime.boot_file import boot_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.adopt.plan import Plan
    from auditsvc.config import Settings


def is_done(settings: Settings) -> bool:
    """Whether the change was finished and our service is the daemon."""
    state = progress.load(settings.state_directory)
    pid = daemons.registered()
    return (
        state.direction == ADOPT and state.done and daemons.is_ours(pid, settings.runtime_directory)
    )


def change(plan: Plan, settings: Settings, say: Callable[[str], None]) -> bool:
    """Do it; gives whether no record was lost. AuditsvcError says what was not done."""
    with progress.alone(settings.state_directory):
        state = progress.load(settings.state_directory)
        if state.direction != ADOPT or state.done:
            state = Progress(direction=ADOPT)
        return _Change(plan, settings, state, say).run()


class _Change(Way):
    def __init__(
        self, plan: Plan, settings: Settings, state: Progress, say: Callable[[str], None]
    ) -> None:
        super().__init__(settings, state, say)
        self._plan = plan

    def run(self) -> bool:
        state = self._state
        daemons.check(self._settings.runtime_directory)
        auditd = daemons.find_auditd()
        if not state.manager or (auditd is not None and not state.stopping):
            state.manager = managers.name_for(auditd)
            state.auditd = auditd.command if auditd is not None else []
        state.log = str(self._plan.log)
        state.boot = state.boot or boot_id()
        manager = managers.choose(state.manager, self._settings)
        manager.check()
        self._moment.save()
        self._write_settings()
        if logs := logs_of(self._plan.log):
            self._moment.load(logs, "auditd's old logs")
        for each in manager.prepare(self._plan.rules if self._plan.needs_load else None):
            self._say(each)
        self._moment.begin()
        with daemons.undisturbed():
            self._take(manager)
        self._moment.prove(lambda: spool_files(self._settings), "the spool")
        self._settle(manager, ours=True)
        return self._verdict()

    def _write_settings(self) -> None:
        state, plan = self._state, self._plan
        if not state.settings_written:
            aside = settings_file.write(plan.path, plan.text)
            state.settings_written, state.aside = True, str(aside or "")
            self._moment.save()
        kept = f"; the earlier file is {state.aside}" if state.aside else ""
        self._say(f"settings: {plan.path}{kept}")
        self._settings = load_settings()
        self._moment = Moment(self._settings, state, self._say)

    def _take(self, manager: managers.Manager) -> None:
        """Stop auditd, and start our service; if that fails, start auditd again."""
        state, runtime = self._state, self._settings.runtime_directory
        pid = daemons.registered()
        if daemons.is_ours(pid, runtime):
            state.taken = state.taken or time.time()
            state.stopped = state.stopped or state.taken
            state.without_auditd = state.without_auditd or state.stopped
            self._say(f"auditsvc (pid {pid}) is the audit daemon already")
            return
        auditd = daemons.find_auditd()
        if auditd is not None:
            state.stopping = time.time()
            state.auditd = auditd.command
            self._moment.save()
            daemons.stop(auditd.pid, daemons.is_auditd)
            self._say(f"auditd (pid {auditd.pid}, {auditd.command[0]}) was stopped by SIGTERM")
        elif not state.stopping:
            self._say("no audit daemon runs")
        state.stopped = state.without_auditd = time.time()
        self._moment.save()
        try:
            pid = self._start_ours(manager)
        except AuditsvcError as error:
            raise self._undone(manager, error) from error
        state.taken = time.time()
        self._moment.save()
        self._say(f"auditsvc (pid {pid}) is the audit daemon")

    def _start_ours(self, manager: managers.Manager) -> int:
        runtime = self._settings.runtime_directory
        if is_flocked(self._settings.spool_directory / "lock"):  # an interrupted run started it
            return daemons.wait_for(lambda pid: daemons.is_ours(pid, runtime), str, 60.0)
        return manager.start_ours()

    def _undone(self, manager: managers.Manager, error: AuditsvcError) -> AuditsvcError:
        """Start auditd again after our service did not start; gives what is to be said."""
        state = self._state
        what = f"auditsvc does not start: {error}"
        if not state.auditd and state.manager == managers.PROCESS:
            return AuditsvcError(f"{what}; no audit daemon runs", "correct that, run it again")
        try:
            pid = manager.start_auditd(state.auditd)
        except AuditsvcError as second:
            hint = f"the copy of all records goes on for an hour; {second}"
            return AuditsvcError(f"{what}; auditd does not start again either", hint)
        gone = f"auditd (pid {pid}) runs again, and lacks what came since {at(state.stopped)} UTC"
        self._moment.prove(lambda: logs_of(self._plan.log), "auditd's log")
        self._moment.end()
        self._moment.store()
        state.stopping = state.stopped = state.without_auditd = 0.0
        self._moment.save()
        return AuditsvcError(f"{what}; {gone} (it is in the store)", "correct that, run it again")
