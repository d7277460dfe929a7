"""One look at the host: every process with its judgement, and the totals."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from auditsvc.coverage.history import TaskListState
from auditsvc.coverage.judge import CoverageState, Judgement, judge, on_by, remedy
from auditsvc.coverage.rule_effect import Logged, Logs, read_rules
from auditsvc.host.processes import boottime
from auditsvc.host.processes import exe as exe_of
from auditsvc.host.processes import unit as unit_of
from auditsvc.record.fields import to_text
from auditsvc.rule import printing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from auditsvc.coverage.history import Periods
    from auditsvc.coverage.judge import Evidence
    from auditsvc.host.processes import Process
    from auditsvc.kernel import Control


_AT_ONCE: Final = 0.001
_TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """What the kernel answered: the switch, the daemon, the lost records, the rules."""

    logged: Logged
    daemon: int = 0
    lost: int = 0
    known: bool = True


UNASKED = KernelFacts(
    Logged(enabled=False, logs=Logs.NOTHING, task_list=TaskListState.UNWATCHED), known=False
)
"""For a kernel that does not answer."""


def ask(control: Control, ours: Collection[bytes]) -> KernelFacts:
    """Ask the kernel; KernelError if it refuses. `ours`: structs of the service's own rules."""
    status = control.status()
    logged = read_rules(bool(status.enabled), control.rules(), ours)
    return KernelFacts(logged, status.pid, status.lost)


@dataclass(frozen=True, slots=True)
class Look:
    """The host at one moment, judged."""

    kernel: KernelFacts
    judgements: list[Judgement]
    epoch: float
    """The time of boot, in seconds since 1970."""
    notes: list[str] = field(default_factory=list)
    """What could not be read, a line each."""
    asked_off: bool = False
    """Whether `auditsvc off` was the last request for the switch."""

    @property
    def tasks(self) -> Counter[CoverageState]:
        """Number of threads of the host in each state."""
        count: Counter[CoverageState] = Counter()
        for judgement in self.judgements:
            count.update(judgement.tasks)
        return count

    @property
    def processes(self) -> Counter[CoverageState]:
        """Number of processes in each state."""
        return Counter(judgement.state for judgement in self.judgements)

    @property
    def share(self) -> float | None:
        """Share of covered tasks among those that are not exempt; None if it is unknown."""
        if not self.kernel.known:
            return None
        count = self.tasks
        total = sum(count.values()) - count[CoverageState.EXEMPT]
        return count[CoverageState.COVERED] / total if total else None

    @property
    def is_complete(self) -> bool:
        """Whether audit is on, has rules, and no task is known not to be covered."""
        off = self.kernel.known and self.kernel.logged.logs is Logs.NOTHING
        return not off and not self.tasks[CoverageState.NOT_COVERED]


def epoch() -> float:
    """Give the time of boot, in seconds since 1970, by the current clock.

    Never too early; where the two clocks cannot be read together, slightly too late.
    """
    for _ in range(_TRIES):
        before, now = boottime(), time.time()
        if boottime() - before < _AT_ONCE:
            break
    return now - before


def judge_all(
    processes: Sequence[Process], periods: Periods, evidence: Evidence, kernel: KernelFacts
) -> list[Judgement]:
    """Judge every process."""
    by = on_by(processes, evidence)
    return [
        judge(process, periods, evidence, kernel.logged, daemon=kernel.daemon, on_by=by)
        for process in processes
    ]


def judgement_json(look: Look, judgement: Judgement) -> dict[str, Any]:
    """Give one judgement as JSON values; reads further facts from /proc."""
    process = judgement.process
    exe, unit = exe_of(process.pid), unit_of(process.pid)
    loaded = look.kernel.logged.task_list is not TaskListState.CLEAR
    return {
        "pid": process.pid,
        "ppid": process.ppid,
        "began": round(look.epoch + process.began, 2),
        "comm": to_text(process.comm)[0],
        "exe": None if exe is None else to_text(exe)[0],
        "unit": unit,
        "state": judgement.state,
        "reason": judgement.reason,
        "threads": len(process.threads),
        "covered": judgement.tasks[CoverageState.COVERED],
        "why": judgement.why,
        "do": remedy(judgement, unit, loaded=loaded),
    }


def summary(look: Look) -> dict[str, Any]:
    """Give the totals of a look, as JSON values."""
    kernel, logged = look.kernel, look.kernel.logged
    share = look.share
    return {
        "audit": {
            "enabled": logged.enabled if kernel.known else None,
            "logs": str(logged.logs) if kernel.known else None,
            "daemon": kernel.daemon or None,
            "never_task": [printing.text(rule) for rule in logged.never_task],
            "exceptions": [printing.text(rule) for rule in logged.exceptions],
            "switched_off": look.asked_off,
        },
        "tasks": {str(state): look.tasks[state] for state in CoverageState},
        "processes": {str(state): look.processes[state] for state in CoverageState},
        "share": None if share is None else round(share, 4),
        "notes": look.notes,
    }
