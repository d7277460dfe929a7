"""Compares auditsvc's rows with strace's calls, and names every difference it lets pass.

In: the calls of an `strace_log.Log` and rows of the view `syscalls`, both of the
same processes. Out: a `Comparison` that counts what was equal and what each named
difference explains. What no name explains raises `DisagreementError` with both sides.

What is compared of each call: process and its parent, machine, number, name, a0 to a3, result
and how it ended. Order: audit's `pid` is the thread group, and no record holds
the thread. So the rows of a process, by serial (taken when a call ends), must be
its threads' calls shuffled together with none left over; where there is one
thread, that is plain equality of two lists.
"""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from live.strace_log import RESTARTS, Call, Log

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

Row = dict[str, Any]

RESTART_RESULTS = frozenset(-number for number in RESTARTS.values())
ENDING_CALLS = frozenset({"exit", "exit_group"})

# strace's name beside libaudit's (its lib/x86_64_table.h and lib/i386_table.h): all pairs
# that differ below number 470, found by a program that makes every call under strace's
# `inject=error=ENOSYS`.
ALIASES = {
    ("x86_64", "pread64"): "pread",
    ("x86_64", "pwrite64"): "pwrite",
    ("i386", "kexec_load"): "sys_kexec_load",
    ("i386", "sched_rr_get_interval_time64"): "sched_rr_get_interval64",
}

# Calls of the i386 multiplexer, numbered as in <linux/net.h>.
SOCKETCALLS = (
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
)


class Difference(NamedTuple):
    """One kind of difference between a call and its row that is right as it is."""

    name: str
    fields: frozenset[str]
    """The columns it can explain."""
    why: str
    explains: Callable[[Call, Row], bool]


def _alias(call: Call, row: Row) -> bool:
    return (call.arch, call.name) in ALIASES and ALIASES[call.arch, call.name] == row["syscall"]


def _no_such_number(call: Call, row: Row) -> bool:
    return (
        call.nr is not None
        and call.name == f"syscall_{call.nr:#x}"
        and row["syscall"] in (None, str(call.nr))
        and row["exit"] == -errno.ENOSYS
    )


def _to_be_restarted(call: Call, row: Row) -> bool:
    return call.result in RESTART_RESULTS and (row["exit"], row["success"]) == (-errno.EINTR, 0)


def _died(call: Call, row: Row) -> bool:
    return (
        call.result is None
        and call.name not in ENDING_CALLS
        and (row["exit"], row["success"], row["state"]) == (-errno.EINTR, 0, "complete")
    )


def _decoded(call: Call, row: Row) -> bool:
    return call.name == "clone3" and int(row["a1"], 16) == call.args[1]


def _multiplexed(call: Call, row: Row) -> bool:
    which = int(row["a0"], 16)
    return (
        (call.arch, call.nr, row["syscall"]) == ("i386", 102, "socketcall")
        and 0 < which <= len(SOCKETCALLS)
        and SOCKETCALLS[which - 1] == call.name
    )


DIFFERENCES = (
    Difference(
        "alias",
        frozenset({"syscall"}),
        "libaudit and strace spell the same number of the same machine differently",
        _alias,
    ),
    Difference(
        "number without a call",
        frozenset({"syscall"}),
        "strace makes a name of the number; the kernel answered ENOSYS",
        _no_such_number,
    ),
    Difference(
        "interrupted",
        frozenset({"exit"}),
        "audit_return_fixup shows every -ERESTART* as EINTR; the second try is a row of its own",
        _to_be_restarted,
    ),
    Difference(
        "died in the call",
        frozenset({"exit", "success", "state"}),
        "a signal that kills wakes the call, which audit sees end with EINTR; the tracer's stop "
        "comes later and a dying task does not stop",
        _died,
    ),
    Difference(
        "clone3's structure",
        frozenset({"a0"}),
        "strace shows the structure in place of its address, so that threads can be told",
        _decoded,
    ),
    Difference(
        "socketcall",
        frozenset({"syscall", "a0", "a1", "a2", "a3"}),
        "strace shows the call behind i386's multiplexer and its arguments from memory; audit "
        "shows the registers, and the arguments in a SOCKETCALL record",
        _multiplexed,
    ),
)


BEFORE_LOGINUID = "before the login uid was set"
KILLED_AT_ENTRY = "killed before the call began"
SECCOMP = "killed by seccomp"
OMISSIONS = {
    BEFORE_LOGINUID: "the rule matches by auid, which the program writes before it begins",
    KILLED_AT_ENTRY: "strace stops the task before audit sees the call; killed there, it never ran",
    SECCOMP: "seccomp comes before audit's entry; a SECCOMP event has the call's number",
}
"""Calls of strace that have no row."""


class DisagreementError(AssertionError):
    """Rows and calls differ in a way that has no name."""


@dataclass(slots=True)
class Comparison:
    """What a comparison found."""

    compared: int = 0
    processes: int = 0
    threaded: int = 0
    """Processes that had more than one thread."""
    explained: Counter[str] = field(default_factory=Counter)
    """Calls by the name of the difference; a call can have several."""
    unread: int = 0
    """Registers beyond a call's own arguments, which strace does not print."""

    def __iadd__(self, other: Comparison) -> Comparison:  # noqa: PYI034 (a dataclass of totals)
        self.compared += other.compared
        self.processes += other.processes
        self.threaded += other.threaded
        self.explained += other.explained
        self.unread += other.unread
        return self

    def __str__(self) -> str:
        head = f"{self.compared} calls of {self.processes} processes compared"
        lines = [f"{head} ({self.threaded} with threads); {self.unread} registers hold no argument"]
        why = {difference.name: difference.why for difference in DIFFERENCES} | OMISSIONS
        lines += [f"{count:7} {name}: {why[name]}" for name, count in self.explained.most_common()]
        return "\n".join(lines)


def compare(log: Log, rows: Iterable[Row], refused: Collection[tuple[int, int]] = ()) -> Comparison:
    """Compare all processes of a log with the rows of those processes, and no other rows.

    `refused` are the pid and the call's number of SECCOMP events.

    The log's first process is one that `as_auid` began: its calls before the write
    to /proc/self/loginuid have no rows.
    """
    result = Comparison()
    rows_of: dict[int, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["serial"]):
        rows_of.setdefault(row["pid"], []).append(row)
    threads_of: dict[int, dict[int, list[Call]]] = {}
    for call in _after_loginuid(log, result.explained):
        threads_of.setdefault(log.tgids[call.tid], {}).setdefault(call.tid, []).append(call)
    strangers = rows_of.keys() - threads_of.keys()
    if strangers:
        raise DisagreementError(f"rows of processes that strace did not see: {sorted(strangers)}")
    for pid, threads in threads_of.items():
        numbers = {number for killed, number in refused if killed == pid}
        result += compare_process(rows_of.get(pid, []), list(threads.values()), numbers)
        _check_parent(log, pid, rows_of.get(pid, []))
    return result


def _check_parent(log: Log, pid: int, rows: Sequence[Row]) -> None:
    """Check that the `ppid` of a process is the process whose task made it."""
    if pid in log.parents and rows:
        parent = log.tgids[log.parents[pid]]
        if rows[0]["ppid"] != parent:
            raise DisagreementError(f"process {pid} was made by {parent}: {rows[0]}")


def _after_loginuid(log: Log, explained: Counter[str]) -> list[Call]:
    first = log.calls[0].tid
    for index, call in enumerate(log.calls):
        if call.tid != first:
            break
        if call.name == "write":
            explained[BEFORE_LOGINUID] += index
            return log.calls[index:]
    raise DisagreementError("the first process did not write its login uid before all else")


def compare_process(
    rows: Sequence[Row], threads: Sequence[Sequence[Call]], refused: Collection[int] = ()
) -> Comparison:
    """Show that `rows` are the threads' calls, each thread's in its own order.

    `refused` are the numbers of the calls that seccomp killed this process for.

    A search with memory: two threads can make the same call at the same time, and
    then only what follows tells which row was whose.
    """
    result = Comparison(processes=1, threaded=len(threads) > 1)
    ends = tuple(len(calls) for calls in threads)
    path: list[tuple[tuple[int, ...], int]] = []  # position and the thread to try next
    dead: set[tuple[int, ...]] = set()
    steps: list[tuple[Call, Row | None]] = []
    position, thread, used, furthest = (0,) * len(threads), 0, 0, (0, (0,) * len(threads))
    while position != ends or used != len(rows):
        step = None
        while thread < len(threads) and step is None:
            if position[thread] < ends[thread]:
                call = threads[thread][position[thread]]
                if used < len(rows) and differences(call, rows[used]) is not None:
                    step = (call, rows[used])
                elif _omission(call, refused):
                    step = (call, None)
            following = (*position[:thread], position[thread] + 1, *position[thread + 1 :])
            if step is None or following in dead:
                step = None
                thread += 1
        if step is None:
            dead.add(position)
            if not path:
                raise DisagreementError(_report(rows, threads, *furthest))
            position, thread = path.pop()
            used -= steps.pop()[1] is not None
            continue
        path.append((position, thread + 1))
        steps.append(step)
        position, thread = following, 0
        used += step[1] is not None
        furthest = max(furthest, (used, position))
    for call, row in steps:
        if row is None:
            result.explained[_omission(call, refused)] += 1
            continue
        result.compared += 1
        result.unread += max(0, 4 - len(call.args))
        result.explained.update(set(differences(call, row) or ()))
    return result


def _omission(call: Call, refused: Collection[int]) -> str:
    """Why this call may have no row; empty if it must have one."""
    if call.result is not None or call.name in ENDING_CALLS:
        return ""
    if not call.finished:
        return KILLED_AT_ENTRY
    return SECCOMP if call.nr in refused else ""


def differences(call: Call, row: Row) -> list[str] | None:
    """Names of the differences between a call and a row; None if one has no name."""
    names = []
    for column in _unequal(call, row):
        for difference in DIFFERENCES:
            if column in difference.fields and difference.explains(call, row):
                names.append(difference.name)
                break
        else:
            return None
    return names


def _unequal(call: Call, row: Row) -> list[str]:
    """Columns in which they differ, before any difference is explained."""
    expected: dict[str, object] = {"arch": call.arch, "nr": call.nr, "syscall": call.name}
    expected |= {f"a{i}": value for i, value in enumerate(call.args[:4])}
    if call.result is None:
        expected |= {"success": None, "exit": None, "state": "no_exit"}
    else:
        failed = -4096 < call.result < 0
        expected |= {"success": int(not failed), "exit": call.result, "state": "complete"}
    actual = row | {f"a{i}": int(row[f"a{i}"], 16) for i in range(4)}
    return [column for column, value in expected.items() if actual[column] != value]


def _report(
    rows: Sequence[Row], threads: Sequence[Sequence[Call]], used: int, position: tuple[int, ...]
) -> str:
    row = rows[used] if used < len(rows) else None
    lines = [f"after {used} equal calls of {len(rows)} rows, the next row is", f"  {row}"]
    lines.append("and strace's next call of each thread is")
    for calls, index in zip(threads, position, strict=True):
        call = calls[index] if index < len(calls) else None
        lines.append(f"  {call}")
        if call and row:
            lines.append(f"    differs in {_unequal(call, row)}")
    return "\n".join(lines)
