"""Whose own calls are in the store: the one proof that a task has the audit flag.

A row proves that some thread of that pid had the flag; records bear no tid. A pid is
told from an earlier owner of the number by time: only rows from the process's start on
count. (A clock that was set back since then could lend it the rows of that owner.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.coverage.judge import Evidence
from auditsvc.decode.ids import event_id
from auditsvc.kernel import tasks
from auditsvc.query import run_query

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from auditsvc.kernel.tasks import Process

# Where hosts share a store, ours is looked for among so many calls.
_NEWEST = 1000
# Records are stamped by a coarse clock, starts are cut to a tick: both may be that early.
_SLACK = 0.02


def proven(url: str, host: str, processes: Sequence[Process], epoch: float) -> set[int]:
    """Give the pids with a SYSCALL row of their own; `epoch` is the time of boot, since 1970.

    One pass over the contexts (a row a process and what it ran) and for each that is
    asked for one search in an index. AuditsvcError if the store cannot be read.
    """
    number = _host(url, host)
    if number is None or not processes:
        return set()
    asked = ", ".join(_asked(process, epoch) for process in processes)
    pids = ", ".join(str(process.pid) for process in processes)
    # The order of the join is given: SQLite would else index all contexts for one question.
    # IN is what makes it one pass: 0.3 s for 300 processes and 500,000 contexts, not 9.
    sql = f"""
        WITH asked (pid, low, next, ms) AS (VALUES {asked})
        SELECT DISTINCT a.pid
        FROM context c CROSS JOIN asked a
        WHERE c.pid IN ({pids}) AND c.host = {number} AND c.pid = a.pid AND EXISTS (
            SELECT 1 FROM syscall s
            WHERE s.context = c.id AND s.id >= a.low AND (s.id >= a.next OR s.ms >= a.ms))
        """  # noqa: S608 - numbers alone
    with run_query(url, sql) as rows:
        return {int(str(pid)) for (pid,) in rows}


def of_threads(processes: Sequence[Process], pids: Collection[int]) -> set[tuple[int, int]]:
    """Give the threads that rows of `pids` prove: those whose process never had another."""
    return {
        process.threads[0].key
        for process in processes
        if process.pid in pids and not tasks.had_other_threads(process)
    }


def gather(url: str, host: str, processes: Sequence[Process], epoch: float) -> Evidence:
    """Give what the store proves of `processes`. AuditsvcError if it cannot be read."""
    pids = proven(url, host, processes, epoch)
    return Evidence(pids, of_threads(processes, pids))


def newest_call(url: str, host: str) -> int:
    """Second (since 1970) in which the newest stored call began; 0 if there is none near the end.

    The kernel's queue, the spool and the loader keep the order in which calls ended: what
    ended before that second is in the store, if it was logged.
    """
    number = _host(url, host)
    if number is None:
        return 0
    sql = f"""
        SELECT max(s.id)
        FROM (SELECT id, context FROM syscall ORDER BY id DESC LIMIT {_NEWEST}) s
        JOIN context c ON c.id = s.context
        WHERE c.host = {number}"""  # noqa: S608 - numbers alone
    with run_query(url, sql) as rows:
        ((found,),) = rows
    return int(str(found or 0)) // event_id(1, 0, 0)


def _asked(process: Process, epoch: float) -> str:
    begins = max(0.0, epoch + process.began + _SLACK)
    second = int(begins)
    low, following = event_id(second, 0, 0), event_id(second + 1, 0, 0)
    return f"({process.pid}, {low}, {following}, {int((begins - second) * 1000)})"


def _host(url: str, host: str) -> int | None:
    with run_query(url, "SELECT id, name FROM host") as rows:
        return next((int(str(number)) for number, name in rows if name == host), None)
