"""One look at the whole host: every process with its judgement, and what it comes to."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from auditsvc.coverage.history import Stand
from auditsvc.coverage.judge import Judgement, State, judge, on_by, remedy
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
class Kernel:
    """What the kernel said: the switch, the daemon, what it lost, the rules."""

    logged: Logged
    daemon: int = 0
    lost: int = 0
    known: bool = True


UNASKED = Kernel(Logged(enabled=False, logs=Logs.NOTHING, stand=Stand.UNWATCHED), known=False)
"""What is known where the kernel does not answer us."""


def ask(control: Control, ours: Collection[bytes]) -> Kernel:
    """Ask the kernel; KernelError where it refuses. `ours`: structs of the service's own rules."""
    status = control.status()
    logged = read_rules(bool(status.enabled), control.rules(), ours)
    return Kernel(logged, status.pid, status.lost)


@dataclass(frozen=True, slots=True)
class Look:
    """The host at one moment, judged."""

    kernel: Kernel
    judgements: list[Judgement]
    epoch: float
    """The time of boot, in seconds since 1970."""
    notes: list[str] = field(default_factory=list)
    """What could not be seen, a line each."""

    @property
    def tasks(self) -> Counter[State]:
        """How many threads of the host are in which state."""
        count: Counter[State] = Counter()
        for judgement in self.judgements:
            count.update(judgement.tasks)
        return count

    @property
    def processes(self) -> Counter[State]:
        """How many processes are."""
        return Counter(judgement.state for judgement in self.judgements)

    @property
    def share(self) -> float | None:
        """Covered tasks among those that are not exempt; None if nothing can be said of any."""
        if not self.kernel.known:
            return None
        count = self.tasks
        whole = sum(count.values()) - count[State.EXEMPT]
        return count[State.COVERED] / whole if whole else None

    @property
    def well(self) -> bool:
        """Whether nothing is known to go unlogged for want of the flag, a rule, or the switch."""
        off = self.kernel.known and self.kernel.logged.logs is Logs.NOTHING
        return not off and not self.tasks[State.NOT_COVERED]


def epoch() -> float:
    """Give the time of boot, in seconds since 1970, as the clock is set now.

    Not too early; where the two clocks cannot be read at once, somewhat too late.
    """
    for _ in range(_TRIES):
        before, now = boottime(), time.time()
        if boottime() - before < _AT_ONCE:
            break
    return now - before


def judge_all(
    processes: Sequence[Process], periods: Periods, evidence: Evidence, kernel: Kernel
) -> list[Judgement]:
    """Judge every process."""
    by = on_by(processes, evidence)
    return [
        judge(process, periods, evidence, kernel.logged, daemon=kernel.daemon, on_by=by)
        for process in processes
    ]


def shown(look: Look, judgement: Judgement) -> dict[str, Any]:
    """Give one judgement as JSON values; reads what /proc has beside it."""
    process = judgement.process
    exe, unit = exe_of(process.pid), unit_of(process.pid)
    standing = look.kernel.logged.stand is not Stand.CLEAR
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
        "covered": judgement.tasks[State.COVERED],
        "why": judgement.why,
        "do": remedy(judgement, unit, standing=standing),
    }


def summary(look: Look) -> dict[str, Any]:
    """Give what the look comes to, as JSON values."""
    kernel, logged = look.kernel, look.kernel.logged
    share = look.share
    return {
        "audit": {
            "enabled": logged.enabled if kernel.known else None,
            "logs": str(logged.logs) if kernel.known else None,
            "daemon": kernel.daemon or None,
            "never_task": [printing.text(rule) for rule in logged.never_task],
            "exceptions": [printing.text(rule) for rule in logged.exceptions],
        },
        "tasks": {str(state): look.tasks[state] for state in State},
        "processes": {str(state): look.processes[state] for state in State},
        "share": None if share is None else round(share, 4),
        "notes": look.notes,
    }
