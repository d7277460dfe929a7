"""The host's processes and their threads, as /proc shows them (proc(5), fs/proc/array.c).

A task is a thread; a process is the tasks of one tgid. Times are seconds since boot
(CLOCK_BOOTTIME), to the 10 ms of a clock tick. A process may end while it is read: it is
then left out, or what was asked of it is None. What cannot make a system call is left
out as well: kernel threads, io_uring's and vhost's workers, and what has ended already.

The kernel does not show whether a task has the audit flag: that is `auditsvc.coverage`'s
to judge.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from auditsvc.errors import AuditsvcError

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# PF_* of include/linux/sched.h: IO_WORKER, USER_WORKER, KTHREAD.
_NO_CALLS: Final = 0x10 | 0x4000 | 0x0020_0000
_ENDED: Final = (b"Z", b"X", b"x")
_PR_SET_PDEATHSIG: Final = 1  # include/uapi/linux/prctl.h
_UNIT: Final = re.compile(r"[^/]+\.(?:service|scope|socket|mount|swap)")
_TRIES: Final = 5


class Stat(NamedTuple):
    """What we use of proc_pid_stat(5), of a process or of one of its threads."""

    id: int
    comm: bytes
    state: bytes
    ppid: int
    terminal: int
    """Device number of the controlling terminal; 0 for none."""
    flags: int
    faults: int
    """Minor and major; of a process also those of its threads that have ended."""
    threads: int
    ticks: int
    """When it began, in clock ticks since boot."""

    @property
    def calls(self) -> bool:
        """Whether it can make system calls."""
        return not self.flags & _NO_CALLS and self.state not in _ENDED


@dataclass(frozen=True, slots=True)
class Thread:
    """One task."""

    tid: int
    ticks: int

    @property
    def began(self) -> float:
        """Seconds since boot; the fork came up to a tick later, or shortly before."""
        return self.ticks / _TICKS

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from every other thread of this boot."""
        return self.tid, self.ticks


@dataclass(frozen=True, slots=True)
class Process:
    """A process with those of its threads that can make system calls; at least one."""

    pid: int
    ppid: int
    ticks: int
    comm: bytes
    threads: tuple[Thread, ...]

    @property
    def began(self) -> float:
        """Seconds since boot."""
        return self.ticks / _TICKS

    @property
    def key(self) -> tuple[int, int]:
        """What tells it from every other process of this boot."""
        return self.pid, self.ticks


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The processes of one moment; `hidden` tells that others may not be shown to us."""

    processes: list[Process]
    hidden: bool


def parse_stat(data: bytes) -> Stat:
    """Read a stat file; a comm may hold blanks and brackets, so it ends at the last one."""
    head, _, tail = data.rpartition(b")")
    number, _, comm = head.partition(b" (")
    rest = tail.split()
    return Stat(
        id=int(number),
        comm=comm,
        state=rest[0],
        ppid=int(rest[1]),
        terminal=int(rest[4]),
        flags=int(rest[6]),
        faults=int(rest[7]) + int(rest[9]),
        threads=int(rest[17]),
        ticks=int(rest[19]),
    )


def boottime() -> float:
    """Seconds since boot, with the time that the host slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def snapshot() -> Snapshot:
    """Read all processes; costs one file a process, and one more a thread where there are more."""
    processes, hidden = [], not (_PROC / "1/stat").exists()
    for name in os.listdir(_PROC):  # noqa: PTH208 - names alone, and many of them
        if not name.isdecimal():
            continue
        try:
            process = read_process(int(name))
        except PermissionError:
            hidden = True
        else:
            if process is not None:
                processes.append(process)
    processes.sort(key=lambda process: process.pid)
    return Snapshot(processes, hidden)


def read_process(pid: int) -> Process | None:
    """Read one process; None if it has ended or makes no system calls. PermissionError."""
    stat = _stat(f"/proc/{pid}/stat")
    if stat is None:
        return None
    threads = _threads(pid) if stat.threads > 1 else ((Thread(pid, stat.ticks),) * stat.calls)
    if not threads:
        return None
    return Process(pid, stat.ppid, stat.ticks, stat.comm, threads)


def started(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None if there is none."""
    try:
        stat = _stat(f"/proc/{pid}/stat")
    except PermissionError:
        return None
    return None if stat is None else stat.ticks


def began_second(pid: int) -> int | None:
    """When a process began, in seconds since 1970, rounded down; None if it is not there."""
    ticks = started(pid)
    if ticks is None:
        return None
    lines = (_PROC / "stat").read_text().splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return boot + ticks // _TICKS - 1  # btime is rounded


def had_other_threads(process: Process) -> bool:
    """Whether a process of one thread now may have had others; False is certain.

    The page faults of ended threads stay in the process's count, and a thread that ran
    touched its stack. True where it keeps faulting while we look, or cannot be read.
    """
    if len(process.threads) > 1:
        return True
    whole, one = f"/proc/{process.pid}/stat", f"/proc/{process.pid}/task/{process.pid}/stat"
    try:
        for _ in range(_TRIES):
            before, all_of_it, after = _stat(one), _stat(whole), _stat(one)
            if before is None or all_of_it is None or after is None or all_of_it.threads != 1:
                return True
            if all_of_it.faults <= before.faults:
                return False
            if all_of_it.faults > after.faults:
                return True
    except PermissionError:
        pass
    return True


def io_calls(pid: int, tid: int) -> int | None:
    """How many reads and writes a thread has made (proc_pid_io(5)); None if it cannot be seen.

    A thread's own count: a process's would grow with every child that it waits for.
    """
    try:
        text = Path(f"/proc/{pid}/task/{tid}/io").read_bytes()
    except OSError:
        return None
    values = dict(line.split(b": ") for line in text.splitlines())
    return int(values.get(b"syscr", 0)) + int(values.get(b"syscw", 0))


def exe(pid: int) -> bytes | None:
    """Path of the program; None if it has ended, has none, or is another user's."""
    try:
        return os.readlink(f"/proc/{pid}/exe".encode())  # noqa: PTH115 - any bytes
    except OSError:
        return None


def name_of(pid: int) -> str:
    """Give a process's comm, for messages; "ended" if it is not there any more."""
    try:
        return (_PROC / str(pid) / "comm").read_text(errors="backslashreplace").rstrip("\n")
    except OSError:
        return "ended"


def unit(pid: int) -> str | None:
    """Name systemd's unit, as the path of its cgroup from the slice on; None if it is in none."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(errors="backslashreplace").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in {"", "name=systemd"} and _UNIT.search(path):
            return path.strip("/")
    return None


def _threads(pid: int) -> tuple[Thread, ...]:
    try:
        tids = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names alone
    except (FileNotFoundError, ProcessLookupError):
        return ()
    stats = (_stat(f"/proc/{pid}/task/{tid}/stat") for tid in tids)
    found = (Thread(stat.id, stat.ticks) for stat in stats if stat is not None and stat.calls)
    return tuple(sorted(found, key=lambda thread: thread.tid))


def _stat(path: str) -> Stat | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        return parse_stat(os.read(file, 4096))
    except ProcessLookupError:  # it ended between the two
        return None
    finally:
        os.close(file)


def alive(pid: int) -> bool:
    """Whether there is a process of this pid, also a zombie; 0 and below are none."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def die_with(parent: int) -> None:
    """See that this process does not outlive its parent; AuditsvcError if that is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0):
        raise AuditsvcError(f"prctl: {os.strerror(ctypes.get_errno())}", "report this")
    if os.getppid() != parent:
        raise AuditsvcError("the service that started this forwarder is gone", "start it again")
