"""The host's processes and their threads, from /proc (proc(5), fs/proc/array.c).

A task is a thread; a process is the tasks of one tgid. Times are in seconds since boot
(CLOCK_BOOTTIME), with the resolution of a clock tick (10 ms). A process that ends while
it is read is left out, or the result is None. Tasks that cannot make system calls are left
out too: kernel threads, workers of io_uring and vhost, and tasks that have ended.

The kernel does not show whether a task has the audit flag: `auditsvc.coverage` judges that.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from auditsvc.errors import AuditsvcError

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# PF_* of include/linux/sched.h: IO_WORKER, USER_WORKER, KTHREAD.
_NO_CALLS: Final = 0x10 | 0x4000 | 0x0020_0000
_KERNEL: Final = 0x0020_0000  # PF_KTHREAD
_ENDED: Final = (b"Z", b"X", b"x")
_PR_SET_PDEATHSIG: Final = 1  # include/uapi/linux/prctl.h
_PR_SET_NAME: Final = 15
_UNIT: Final = re.compile(r"[^/]+\.(?:service|scope|socket|mount|swap)")
_TRIES: Final = 5
_PAUSE: Final = 0.01


class Stat(NamedTuple):
    """The used fields of proc_pid_stat(5), of a process or of one of its threads."""

    id: int
    comm: bytes
    state: bytes
    ppid: int
    terminal: int
    """Device number of the controlling terminal; 0 for none."""
    flags: int
    faults: int
    """Minor and major page faults; of a process also those of its threads that have ended."""
    threads: int
    ticks: int
    """Its start, in clock ticks since boot."""

    @property
    def can_call(self) -> bool:
        """Whether it can make system calls."""
        return not self.flags & _NO_CALLS and self.state not in _ENDED


@dataclass(frozen=True, slots=True)
class Thread:
    """One task."""

    tid: int
    ticks: int

    @property
    def began(self) -> float:
        """Start in seconds since boot; the fork was up to a tick later, or shortly before."""
        return self.ticks / _TICKS

    @property
    def key(self) -> tuple[int, int]:
        """Identifies it among all threads of this boot."""
        return self.tid, self.ticks


@dataclass(frozen=True, slots=True)
class Process:
    """A process with its threads that can make system calls; at least one."""

    pid: int
    ppid: int
    ticks: int
    comm: bytes
    threads: tuple[Thread, ...]

    @property
    def began(self) -> float:
        """Start in seconds since boot."""
        return self.ticks / _TICKS

    @property
    def key(self) -> tuple[int, int]:
        """Identifies it among all processes of this boot."""
        return self.pid, self.ticks


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The processes at one moment; `hidden`: there may be others that /proc does not show us."""

    processes: list[Process]
    hidden: bool


def parse_stat(data: bytes) -> Stat:
    """Parse a stat file; comm may contain spaces and brackets, so it ends at the last bracket."""
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
    """Seconds since boot, including the time that the host was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def snapshot() -> Snapshot:
    """Read all processes: one file for each, and one for each thread of those with several."""
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
    """Read one process; None if it has ended or cannot make system calls. PermissionError."""
    stat = _stat(f"/proc/{pid}/stat")
    if stat is None:
        return None
    threads = _threads(pid) if stat.threads > 1 else ((Thread(pid, stat.ticks),) * stat.can_call)
    if not threads:
        return None
    return Process(pid, stat.ppid, stat.ticks, stat.comm, threads)


def started(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None if it does not exist."""
    try:
        stat = _stat(f"/proc/{pid}/stat")
    except PermissionError:
        return None
    return None if stat is None else stat.ticks


def start_second(pid: int) -> int | None:
    """Start of a process in seconds since 1970, rounded down; None if it does not exist."""
    ticks = started(pid)
    if ticks is None:
        return None
    lines = (_PROC / "stat").read_text().splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return boot + ticks // _TICKS - 1  # btime is rounded


def had_other_threads(process: Process) -> bool:
    """Whether a process that has one thread now may have had others; False is certain.

    A thread that runs touches its stack, and the page faults of ended threads stay in the
    process's count. True where new page faults keep coming, or the files cannot be read.
    """
    if len(process.threads) > 1:
        return True
    process_file = f"/proc/{process.pid}/stat"
    thread_file = f"/proc/{process.pid}/task/{process.pid}/stat"
    try:
        for _ in range(_TRIES):
            before, total, after = _stat(thread_file), _stat(process_file), _stat(thread_file)
            if before is None or total is None or after is None or total.threads != 1:
                return True
            if total.faults <= before.faults:
                return False
            if total.faults > after.faults:
                return True
    except PermissionError:
        pass
    return True


def io_calls(pid: int, tid: int) -> int | None:
    """Number of reads and writes of a thread (proc_pid_io(5)); None if it cannot be read.

    The count of the thread: that of the process also grows with each child it waits for.
    """
    try:
        text = Path(f"/proc/{pid}/task/{tid}/io").read_bytes()
    except OSError:
        return None
    values = dict(line.split(b": ") for line in text.splitlines())
    return int(values.get(b"syscr", 0)) + int(values.get(b"syscw", 0))


def exe(pid: int) -> bytes | None:
    """Path of the program; None if the process has ended or has none, or is not permitted."""
    try:
        return os.readlink(f"/proc/{pid}/exe".encode())  # noqa: PTH115 - as bytes
    except OSError:
        return None


def kernel_thread(name: str) -> int | None:
    """Pid of the kernel's thread of this name; None if it cannot be seen from here."""
    for entry in os.listdir(_PROC):  # noqa: PTH208 - names alone, and many of them
        if entry.isdecimal():
            try:
                stat = _stat(f"/proc/{entry}/stat")
            except PermissionError:
                continue
            if stat is not None and stat.comm == name.encode() and stat.flags & _KERNEL:
                return int(entry)
    return None


def sleeps(pid: int | None) -> bool:
    """Whether a task waits; True for None, of which nothing is known."""
    stat = None if pid is None else _stat(f"/proc/{pid}/stat")
    return stat is None or stat.state in {b"S", b"D", b"I"}


def name_of(pid: int) -> str:
    """Give a process's comm, for messages; "ended" if it is not there any more."""
    try:
        return (_PROC / str(pid) / "comm").read_text(errors="backslashreplace").rstrip("\n")
    except OSError:
        return "ended"


def unit(pid: int) -> str | None:
    """The systemd unit of a process, as its cgroup path from the slice on; None without one."""
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
    found = (Thread(stat.id, stat.ticks) for stat in stats if stat is not None and stat.can_call)
    return tuple(sorted(found, key=lambda thread: thread.tid))


def _stat(path: str) -> Stat | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return None
    try:
        return parse_stat(os.read(file, 4096))
    except ProcessLookupError:  # it ended after the open
        return None
    finally:
        os.close(file)


def alive(pid: int) -> bool:
    """Whether a process with this pid exists; a zombie counts, pids below 1 do not."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def has_ended(pid: int) -> bool:
    """Whether a process has ended, as far as that can be seen; a zombie has."""
    try:
        stat = _stat(f"/proc/{pid}/stat")
    except PermissionError:
        return False
    return not alive(pid) if stat is None else stat.state in _ENDED


def below(root: int) -> dict[int, int]:
    """Give the processes below one that have not ended, each with its start in clock ticks."""
    found = {}
    for pid in pids():
        with suppress(PermissionError):
            if (stat := _stat(f"/proc/{pid}/stat")) is not None:
                found[pid] = stat
    children: dict[int, list[int]] = {}
    for pid, stat in found.items():
        children.setdefault(stat.ppid, []).append(pid)
    ticks, waiting = {}, [root]
    while waiting:
        for pid in children.pop(waiting.pop(), ()):
            waiting.append(pid)
            if found[pid].state not in _ENDED:
                ticks[pid] = found[pid].ticks
    return ticks


def end_below(root: int, seconds: float) -> int:
    """Kill all processes below one, in whatever group or session, until there is none.

    Gives how many are still there after so many seconds: one that waits for a disk cannot be
    killed, and of those that begin others faster than they are killed some remain.
    """
    ends = time.monotonic() + seconds
    while there := below(root):
        for pid, ticks in there.items():
            _kill(pid, ticks)
        if time.monotonic() > ends:
            return len(there)
        time.sleep(_PAUSE)
    return 0


def pids() -> list[int]:
    """Give the pids of all processes that /proc shows."""
    return [int(name) for name in os.listdir(_PROC) if name.isdecimal()]  # noqa: PTH208 - names alone


def _kill(pid: int, ticks: int) -> None:
    """Kill the process of this pid that began then; nothing if it has ended."""
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if started(pid) == ticks:  # else the pid is another one's by now
            signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError:  # it has ended, or is not ours to kill
        return
    finally:
        os.close(process)


def set_name(name: str) -> None:
    """Set the name of this thread, at most 15 bytes: of a process's first one it is its comm.

    By prctl(2): /proc/self/comm is root's after a change of user.
    """
    text = ctypes.create_string_buffer(name.encode())
    ctypes.CDLL(None).prctl(_PR_SET_NAME, text, 0, 0, 0)


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent ends; AuditsvcError if it has ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0):
        raise AuditsvcError(f"prctl: {os.strerror(ctypes.get_errno())}", "report this")
    if os.getppid() != parent:
        raise AuditsvcError("the service that started this forwarder has ended", "start it again")
