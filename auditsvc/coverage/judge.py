"""Task + what is known of the boot + evidence -> covered, not covered, unknown or exempt.

What must hold: no task is called covered without evidence. A thread is judged by the time
of its fork (`Periods.birth`), except a silent one: where rules log every call, a thread
that continues to read or write while no record of its process arrives does not have the
flag. A process is covered if all its threads are. Rows of a process are proof for its one
thread if it never had another; for several threads they are proof for some of them. Pure.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from auditsvc.coverage.history import Birth, Periods

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from auditsvc.coverage.rule_effect import Logged
    from auditsvc.host.processes import Process


class CoverageState(StrEnum):
    """Whether a task's system calls can be logged."""

    NOT_COVERED = "not_covered"
    UNKNOWN = "unknown"
    COVERED = "covered"
    EXEMPT = "exempt"


_UNKNOWN: Final = {Birth.BEFORE_WATCH, Birth.UNWATCHED, Birth.CHANGING, Birth.CONDITIONAL}

WHY: Final = {
    "own_records": "calls of its own were logged",
    Birth.COVERED: "forked after audit had been on, while no never,task rule was loaded",
    Birth.BEFORE_AUDIT: "started before audit was first seen on in this boot",
    Birth.NEVER_TASK: "forked while a never,task rule was loaded",
    Birth.CONDITIONAL: "forked while a never,task rule for some tasks only was loaded",
    Birth.BEFORE_WATCH: "forked before auditsvc watched: audit may have been off, or a"
    " never,task rule may have been loaded",
    Birth.UNWATCHED: "forked while auditsvc did not watch for never,task rules",
    Birth.CHANGING: "forked while audit's switch or the task list was being changed",
    "silent": "it reads and writes, the rules log every call, but there is no record of it",
    "never_exit": "a never rule that our running service did not load excludes its calls",
    "daemon": "the audit daemon: the kernel never audits it",
    "left_out": "the store's server or our forwarder: our own rules exclude it, because logging it"
    " would cause more to log",
}
"""The reasons: as values for queries, and as text."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the processes' own activity shows."""

    proven: Collection[int] = ()
    """pids with a row of their own: at least one of their threads is covered."""
    threads: Collection[tuple[int, int]] = ()
    """(tid, ticks) of covered threads: their process never had another."""
    silent: Collection[tuple[int, int]] = ()
    """(tid, ticks) of threads that read or write without any record."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of one process."""

    process: Process
    state: CoverageState
    reason: str
    tasks: Counter[CoverageState] = field(default_factory=Counter)
    """Number of its threads in each state."""
    records: bool = False
    """Whether calls of at least one of its threads were logged."""

    @property
    def why(self) -> str:
        """The reason as text."""
        same, total = self.tasks[self.state], len(self.process.threads)
        words = WHY[self.reason]
        if same != total:
            words += f" ({same} of {total} threads)"
        if self.records and self.state is CoverageState.UNKNOWN:
            words += "; calls of at least one of its threads were logged"
        return words


def on_by(processes: Iterable[Process], evidence: Evidence) -> float | None:
    """Give a time by which audit had been on: a thread that was forked then has the flag."""
    return min(
        (
            thread.began
            for process in processes
            for thread in process.threads
            if thread.key in evidence.threads
        ),
        default=None,
    )


def judge(
    process: Process,
    periods: Periods,
    evidence: Evidence,
    logged: Logged,
    *,
    daemon: int = 0,
    on_by: float | None = None,
) -> Judgement:
    """Judge one process; `daemon` is the registered audit daemon's tgid."""
    if process.pid == daemon:
        return _all_threads(process, CoverageState.EXEMPT, "daemon")
    ours = logged.excluded(process)
    if ours is not None:
        return (
            _all_threads(process, CoverageState.EXEMPT, "left_out")
            if ours
            else _all_threads(process, CoverageState.NOT_COVERED, "never_exit")
        )
    found: Counter[tuple[CoverageState, str]] = Counter()
    for thread in process.threads:
        if thread.key in evidence.threads:
            found[CoverageState.COVERED, "own_records"] += 1
        elif thread.key in evidence.silent:
            found[CoverageState.NOT_COVERED, "silent"] += 1
        else:
            birth = periods.birth(thread.began, on_by)
            found[_state(birth), birth] += 1
    tasks: Counter[CoverageState] = Counter()
    for (state, _), count in found.items():
        tasks[state] += count
    worst = next(state for state in CoverageState if tasks[state])
    reason = max(
        (reason for state, reason in found if state is worst), key=lambda word: found[worst, word]
    )
    return Judgement(process, worst, str(reason), tasks, process.pid in evidence.proven)


def _state(birth: Birth) -> CoverageState:
    if birth is Birth.COVERED:
        return CoverageState.COVERED
    return CoverageState.UNKNOWN if birth in _UNKNOWN else CoverageState.NOT_COVERED


def _all_threads(process: Process, state: CoverageState, reason: str) -> Judgement:
    return Judgement(process, state, reason, Counter({state: len(process.threads)}))


_USER_MANAGER: Final = re.compile(r"user@([0-9]+)\.service/")


def remedy(judgement: Judgement, unit: str | None, *, loaded: bool) -> str:
    """Give what to do; `unit` is the path of its cgroup; `loaded`: a never,task rule still is."""
    if judgement.state in (CoverageState.COVERED, CoverageState.EXEMPT):
        return ""
    if judgement.reason == "never_exit":
        return "delete the never rule (auditsvc rules list)"
    restart = _restart(judgement.process.pid, unit)
    if judgement.state is CoverageState.UNKNOWN:
        return f"wait until a call of its own is logged, or {restart}"
    if loaded:
        return f"delete the never,task rule (auditctl -d never,task), then {restart}"
    return restart


def _restart(pid: int, unit: str | None) -> str:
    if pid == 1:
        return "boot with audit=1"
    name = (unit or "").rpartition("/")[2]
    if name.startswith("-"):  # the owner of a cgroup may give one below it a name like an option
        return "restart it"
    if manager := _USER_MANAGER.search(unit or ""):
        if name.endswith(".service"):
            return f"systemctl --user -M {manager[1]}@ restart {shlex.quote(name)}"
    elif name.endswith((".service", ".socket")):
        return f"systemctl restart {shlex.quote(name)}"
    elif name.startswith("session-"):
        return "log in again"
    return "restart it"
