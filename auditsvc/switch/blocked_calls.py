"""How many tasks are in a system call now: these calls may still be logged after `off`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container


def in_calls(proc: Path = Path("/proc"), leave_out: Container[int] = ()) -> int | None:
    """Count threads that sleep in a call or run (and may be in one); None if it is unknown.

    proc_pid_syscall(5): the call's number, `running`, or -1 outside a call. Kernel
    threads make no calls and have no program. `leave_out`: processes that are not audited.
    """
    count, known = 0, False
    for process in proc.iterdir():
        if not process.name.isdecimal() or int(process.name) in leave_out:
            continue
        try:
            (process / "exe").readlink()
            for task in (process / "task").iterdir():
                call = (task / "syscall").read_text()
                known = True
                count += not call.startswith("-1")
        except OSError:
            continue  # it has ended, is a kernel thread, or may not be read
    return count if known else None
