"""Task + what is known of the boot + evidence -> covered, not covered, unknown or exempt.

What must hold: nobody is called covered without a ground. A thread is judged by its
birth (`Periods.birth`), which its own silence overrides: where rules log every call, a
thread that goes on reading or writing while no record comes of its process has no flag.
A process is covered if all its threads are. Rows of a process prove its one thread, if
it never had another; of several they prove some. Pure.
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


class State(StrEnum):
    """Whether a task's system calls can be logged."""

    NOT_COVERED = "not_covered"
    UNKNOWN = "unknown"
    COVERED = "covered"
    EXEMPT = "exempt"


_UNKNOWN: Final = {Birth.BEFORE_WATCH, Birth.UNWATCHED, Birth.CHANGING, Birth.CONDITIONAL}

WHY: Final = {
    "own_records": "calls of its own were logged",
    Birth.COVERED: "forked after audit had been on, while no never,task rule stood",
    Birth.BEFORE_AUDIT: "started before audit was first seen on in this boot",
    Birth.NEVER_TASK: "forked while a never,task rule stood",
    Birth.CONDITIONAL: "forked while a never,task rule stood that is for some tasks only",
    Birth.BEFORE_WATCH: "forked before anybody watched: audit may have been off, or a"
    " never,task rule have stood",
    Birth.UNWATCHED: "forked while nobody watched whether a never,task rule stood",
    Birth.CHANGING: "forked just when audit's switch or the task list was changed",
    "silent": "it reads and writes while every call is to be logged, and no record comes",
    "never_exit": "a never rule that is not of our running service takes its calls out",
    "daemon": "the audit daemon: the kernel leaves it out",
    "left_out": "the store's server or our forwarder: our own rules leave it out, as it would feed"
    " the log with itself",
}
"""The reasons, as words for queries and as sentences."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What processes themselves have shown."""

    proven: Collection[int] = ()
    """pids with a row of their own: some thread of theirs is covered."""
    threads: Collection[tuple[int, int]] = ()
    """(tid, ticks) of threads that are, because their process had no other."""
    silent: Collection[tuple[int, int]] = ()
    """(tid, ticks) of threads that read or write and yield no record."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of one process."""

    process: Process
    state: State
    reason: str
    tasks: Counter[State] = field(default_factory=Counter)
    """How many of its threads are in which state."""
    records: bool = False
    """Whether calls of some thread of it were logged."""

    @property
    def why(self) -> str:
        """The reason as a sentence."""
        same, whole = self.tasks[self.state], len(self.process.threads)
        words = WHY[self.reason]
        if same != whole:
            words += f" ({same} of {whole} threads)"
        if self.records and self.state is State.UNKNOWN:
            words += "; calls of some thread of it were logged"
        return words


def on_by(processes: Iterable[Process], evidence: Evidence) -> float | None:
    """When audit had been on at the latest: a thread that was forked by then has the flag."""
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
        return _whole(process, State.EXEMPT, "daemon")
    ours = logged.taken_out(process)
    if ours is not None:
        return (
            _whole(process, State.EXEMPT, "left_out")
            if ours
            else _whole(process, State.NOT_COVERED, "never_exit")
        )
    found: Counter[tuple[State, str]] = Counter()
    for thread in process.threads:
        if thread.key in evidence.threads:
            found[State.COVERED, "own_records"] += 1
        elif thread.key in evidence.silent:
            found[State.NOT_COVERED, "silent"] += 1
        else:
            birth = periods.birth(thread.began, on_by)
            found[_state(birth), birth] += 1
    tasks: Counter[State] = Counter()
    for (state, _), count in found.items():
        tasks[state] += count
    worst = next(state for state in State if tasks[state])
    reason = max(
        (reason for state, reason in found if state is worst), key=lambda word: found[worst, word]
    )
    return Judgement(process, worst, str(reason), tasks, process.pid in evidence.proven)


def _state(birth: Birth) -> State:
    if birth is Birth.COVERED:
        return State.COVERED
    return State.UNKNOWN if birth in _UNKNOWN else State.NOT_COVERED


def _whole(process: Process, state: State, reason: str) -> Judgement:
    return Judgement(process, state, reason, Counter({state: len(process.threads)}))


_USER_MANAGER: Final = re.compile(r"user@([0-9]+)\.service/")


def remedy(judgement: Judgement, unit: str | None, *, standing: bool) -> str:
    """Say what to do; `unit` is the path of its cgroup, `standing`: a never,task rule still is."""
    if judgement.state in (State.COVERED, State.EXEMPT):
        return ""
    if judgement.reason == "never_exit":
        return "delete the never rule (auditsvc rules list)"
    again = _again(judgement.process.pid, unit)
    if judgement.state is State.UNKNOWN:
        return f"wait for a call of its own to be logged, or {again}"
    if standing:
        return f"delete the never,task rule (auditctl -d never,task), then {again}"
    return again


def _again(pid: int, unit: str | None) -> str:
    if pid == 1:
        return "boot with audit=1"
    name = (unit or "").rpartition("/")[2]
    if name.startswith("-"):  # whoever owns a cgroup may name one below it like an option
        return "restart it"
    if manager := _USER_MANAGER.search(unit or ""):
        if name.endswith(".service"):
            return f"systemctl --user -M {manager[1]}@ restart {shlex.quote(name)}"
    elif name.endswith((".service", ".socket")):
        return f"systemctl restart {shlex.quote(name)}"
    elif name.startswith("session-"):
        return "log in again"
    return "restart it"
