"""Which processes have calls of their own in the store: direct proof of the audit flag.

A row proves that some thread of that pid had the flag; records have no tid. Time
distinguishes a process from an earlier one with the same pid: only rows since the start
of the process count. (After the clock was set back, rows of the earlier one may count.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditsvc.coverage.judge import Evidence
from auditsvc.host.processes import had_other_threads
from auditsvc.store.read.questions import pids_with_calls

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from auditsvc.host.processes import Process


# Records have the time of a coarse clock, starts are rounded down to a tick: both may be early.
_SLACK: Final = 0.02


def proven(url: str, host: str, processes: Sequence[Process], epoch: float) -> set[int]:
    """Give the pids with a SYSCALL row of their own; `epoch` is the time of boot, since 1970.

    AuditsvcError if the store cannot be read.
    """
    began = [(process.pid, epoch + process.began + _SLACK) for process in processes]
    return pids_with_calls(url, host, began)


def of_threads(processes: Sequence[Process], pids: Collection[int]) -> set[tuple[int, int]]:
    """Give the threads of `pids` that rows prove covered: their process never had another."""
    return {
        process.threads[0].key
        for process in processes
        if process.pid in pids and not had_other_threads(process)
    }


def gather(url: str, host: str, processes: Sequence[Process], epoch: float) -> Evidence:
    """Give the store's evidence on `processes`. AuditsvcError if it cannot be read."""
    pids = proven(url, host, processes, epoch)
    return Evidence(pids, of_threads(processes, pids))
