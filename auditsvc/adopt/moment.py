"""What both directions share: the copy of records between the daemons, and loading it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from auditsvc.adopt import bridging, progress
from auditsvc.adopt.plan import logs_of
from auditsvc.adopt.remainder import write_remainder
from auditsvc.errors import AuditsvcError, SpoolError
from auditsvc.ingest.ingest import Ingest
from auditsvc.kernel.control import Control
from auditsvc.kernel.messages import OFF
from auditsvc.plural import counted
from auditsvc.spool.segments import segment_path, segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from auditsvc.adopt.progress import Bridge, Progress
    from auditsvc.config import Settings

_BEGIN_SECONDS = 20.0
_ARRIVED_SECONDS = 60.0


class Moment:
    """The time between two daemons, from a copy that begins before it and ends after it."""

    def __init__(self, settings: Settings, state: Progress, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._state = state
        self._say = say

    def save(self) -> None:
        """Note how far the change is."""
        progress.save(self._settings.state_directory, self._state)

    def begin(self) -> None:
        """Copy all records from now on; a copy that an interrupted run has begun goes on."""
        bridges = self._state.bridges
        if bridges and not bridges[-1].stored and bridging.runs(Path(bridges[-1].folder)):
            self._say(f"the copy of an interrupted run goes on: {bridges[-1].folder}")
            return
        if not self._state.stopping:  # nothing happened in the time of an earlier copy
            for each in bridges:
                if not each.stored:
                    bridging.end(Path(each.folder))
                    each.stored = True
        folder = bridging.new_folder(self._settings.state_directory / progress.FOLDER)
        bridges.append(progress.Bridge(str(folder), time.time()))
        self.save()
        bridging.start(folder, self._settings)
        if self._state.stopping and not self._state.taken:
            self._problem("an earlier copy had ended before the new daemon was registered")
        if _is_off():
            self._say("audit is switched off: the kernel makes no records just now")
        elif not bridging.mark("begin", [self._copied(bridges[-1])], _BEGIN_SECONDS):
            bridging.end(folder)
            bridges[-1].stored = True
            self.save()
            raise AuditsvcError(
                "no copy of the kernel's records arrives, so some could be lost",
                "run it in the host's own network namespace, and see `auditsvc rules list`: a rule"
                " may exclude USYS_CONFIG",
            )

    def prove(self, place: Callable[[], Iterable[Path]], name: str) -> None:
        """Wait until a record arrives in the new daemon's log and in the copy."""
        if _is_off():
            return
        bridge = self._state.bridges[-1]
        places = [bridging.Growth(place), self._copied(bridge)]
        bridge.mark = bridging.mark("end", places, _ARRIVED_SECONDS)
        if not bridge.mark:
            self._problem(f"a record made afterwards did not arrive in {name}")

    def end(self) -> None:
        """End the copies."""
        for each in self._state.bridges:
            if not each.stored and (why := bridging.end(Path(each.folder))):
                each.problem = why
                self._problem(why)
        self.save()

    def store(self) -> None:
        """Load what auditd's log and the copies have and the store has not."""
        left = [each for each in self._state.bridges if not each.stored]
        logs = logs_of(Path(self._state.log))
        rests = []
        for each in left:
            rest = Path(each.folder) / "remainder.log"
            copies = bridging.files_of(Path(each.folder))
            if write_remainder(rest, copies, logs, each.began, each.mark):
                rests.append(rest)
        self.load([*logs, *rests], "auditd's log, and the copy beyond it")
        for each in left:
            each.stored = True
        self.save()

    def load(self, files: list[Path], what: str) -> None:
        """Load log files; what they have wrong is said, and is no reason to stop."""
        job = Ingest(self._settings, files)
        job.run(lambda _: None)
        new, old = counted(job.events, "new event"), counted(job.duplicates, "record")
        self._say(f"{what}: {counted(len(files), 'file')}, {new}; {old} already stored")
        for each in (*job.notes, *job.errors):
            self._say(str(each))

    def verdict(self) -> str:
        """Say whether every record between the daemons is there."""
        if not self._state.problems:
            return "between the two daemons no record was lost"
        return f"records may be missing: {'; '.join(self._state.problems)}"

    def _problem(self, what: str) -> None:
        if what not in self._state.problems:
            self._state.problems.append(what)
        self.save()

    def _copied(self, bridge: Bridge) -> bridging.Growth:
        return bridging.Growth(lambda: bridging.files_of(Path(bridge.folder)))


def spool_files(settings: Settings) -> list[Path]:
    """Give the segments of our spool."""
    folder = settings.spool_directory
    try:
        return [segment_path(folder, each) for each in segments(folder)]
    except SpoolError:
        return []


def between(state: Progress) -> str:
    """Say how long no daemon was registered."""
    return f"{max(0.0, state.taken - state.stopped):.1f} s without a daemon"


def at(when: float) -> str:
    """Write a time, in UTC, as all commands take it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(when))


def _is_off() -> bool:
    with Control() as control:
        return control.status().enabled == OFF
