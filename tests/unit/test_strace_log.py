"""The parser of strace's log, on samples of every form that strace 6.1 writes."""

from __future__ import annotations

import pytest
from live.strace_log import Call, Log, StraceLogError, parse


def log(text: str) -> Log:
    """Parse a sample that is indented in the source."""
    return parse(line.strip() for line in text.strip().splitlines())


def brief(call: Call) -> tuple[int, int | None, str, tuple[int | None, ...], int | None]:
    """Give what most tests look at."""
    return (call.tid, call.nr, call.name, call.args, call.result)


def test_plain_calls() -> None:
    """Numbers, names, registers and results, in hex and in decimal."""
    found = log("""
        10  [  12] brk(0)   = 0x564c677a2000
        10  [ 257] openat(0xffffff9c, 0x7f39a9caf0b1, 0x80000, 0) = 0x3
        10  [  39] getpid()                = 0xa
        10  [   3] close(0xffffffffffffffff)  = 0
    """)
    assert [brief(call) for call in found.calls] == [
        (10, 12, "brk", (0,), 0x564C677A2000),
        (10, 257, "openat", (0xFFFFFF9C, 0x7F39A9CAF0B1, 0x80000, 0), 3),
        (10, 39, "getpid", (), 10),
        (10, 3, "close", (2**64 - 1,), 0),
    ]
    assert {call.arch for call in found.calls} == {"x86_64"}
    assert found.tgids == {10: 10}


def test_errors() -> None:
    """An error is its negative number, also those that only the kernel and a tracer see."""
    found = log("""
        10  [  21] access(0x7f, 0x4) = -1 ENOENT (No such file or directory)
        10  [  49] bind(0x3, 0x7f, 0x10) = -1 EOPNOTSUPP (Operation not supported)
        10  [   0] read(0x1, 0x7f, 0x1) = -1 ERESTARTSYS (Unknown error 512)
        10  [  35] nanosleep(0x7f, 0) = -1 ERESTART_RESTARTBLOCK (Unknown error 516)
        10  [   0] read(0x1, 0x7f, 0x1) = ? ERESTARTNOHAND (To be restarted if no handler)
    """)
    assert [call.result for call in found.calls] == [-2, -95, -512, -516, -514]


def test_times_are_allowed() -> None:
    """The option -ttt puts a time before the number."""
    found = log("10  1795431199.095546 [  12] brk(0)   = 0x1000")
    assert brief(found.calls[0]) == (10, 12, "brk", (0,), 0x1000)


def test_unfinished_and_resumed() -> None:
    """A call that others interrupt is one call, at the place where it ended."""
    found = log("""
        10  [  56] clone(0x1200011, 0, 0, 0x7f, 0 <unfinished ...>
        11  [ 273] set_robust_list(0x7f, 0x18 <unfinished ...>
        10  [  56] <... clone resumed>) = 0xb
        10  [  34] pause( <unfinished ...>
        11  [ 273] <... set_robust_list resumed>) = 0
        10  [  34] <... pause resumed>)       = -1 ERESTARTNOHAND (Unknown error 514)
    """)
    assert [brief(call) for call in found.calls] == [
        (10, 56, "clone", (0x1200011, 0, 0, 0x7F, 0), 11),
        (11, 273, "set_robust_list", (0x7F, 0x18), 0),
        (10, 34, "pause", (), -514),
    ]
    assert found.calls[1].line == 2
    assert found.tgids == {10: 10, 11: 11}
    assert found.parents == {11: 10}


def test_threads_by_clone_flags() -> None:
    """CLONE_THREAD makes a thread of the creator's process, in clone and in clone3."""
    flags = "{flags=0x3d0f00, child_tid=0x7f, parent_tid=0x7f, exit_signal=0, stack=0x7f, tls=0x7f}"
    found = log(f"""
        10  [ 435] clone3({flags} <unfinished ...>
        11  [ 334] rseq(0x7f, 0x20, 0, 0x53053053) = 0
        10  [ 435] <... clone3 resumed> => {{parent_tid=[11]}}, 88) = 11
        11  [  56] clone(0x10f00, 0, 0, 0x7f, 0) = 0xc
        12  [  39] getpid() = 0xa
        12  [ 435] clone3({{flags=0x4000, exit_signal=17, stack=0, stack_size=0}}, 88) = 13
        13  [  39] getpid() = 0xd
        10  [  58] vfork() = 0xe
        14  [  39] getpid() = 0xe
    """)
    assert found.tgids == {10: 10, 11: 10, 12: 10, 13: 13, 14: 14}
    assert found.parents == {11: 10, 12: 11, 13: 12, 14: 10}
    clone3 = next(call for call in found.calls if call.name == "clone3")
    assert (clone3.args, clone3.result) == ((None, 88), 11)


def test_32_bit_mode() -> None:
    """The mode switches after execve, for this task and for the tasks it makes."""
    found = log("""
        10  [  59] execve(0x7f, 0x7f, 0x7f) = 0
        10  [  59] [ Process PID=10 runs in 32 bit mode. ]
        10  [   2] fork( <unfinished ...>
        11  [  20] getpid() = 0xb
        10  [   2] <... fork resumed>) = 0xb
        11  [ 102] socket(0x1, 0x1, 0) = 0x3
        10  [  11] execve(0xff, 0xff, 0xff) = 0
        10  [  11] [ Process PID=10 runs in 64 bit mode. ]
        10  [  39] getpid() = 0xa
        11  [   1] exit(0x7) = ?
    """)
    assert [(call.tid, call.name, call.arch) for call in found.calls] == [
        (10, "execve", "x86_64"),
        (11, "getpid", "i386"),
        (10, "fork", "i386"),
        (11, "socket", "i386"),
        (10, "execve", "i386"),
        (10, "getpid", "x86_64"),
        (11, "exit", "i386"),
    ]


def test_ends() -> None:
    """Calls without a result, killed tasks, and calls that strace never saw end."""
    found = log("""
        10  [  56] clone(0x11, 0, 0, 0, 0) = 0xb
        11  [  34] pause( <unfinished ...>
        10  [  62] kill(0xb, 0x9)          = 0
        11  [  34] <... pause resumed>)       = ?
        11  [  34] +++ killed by SIGKILL +++
        10  [  56] clone(0x11, 0, 0, 0, 0) = 0xc
        12  [   0] read(0, 0x7f, 0x1 <unfinished ...>
        12  [   0] +++ killed by SIGSEGV (core dumped) +++
        10  [   3] close(0x3)                 = ? <unavailable>
        10  [ 231] exit_group(0x5)            = ?
        10  [ 231] +++ exited with 5 +++
    """)
    by_name = {call.name: call for call in found.calls}
    assert (by_name["pause"].result, by_name["pause"].finished) == (None, True)
    assert (by_name["close"].result, by_name["close"].finished) == (None, True)
    assert (by_name["exit_group"].result, by_name["exit_group"].finished) == (None, True)
    assert (by_name["read"].result, by_name["read"].finished) == (None, False)
    assert by_name["read"].args == (0, 0x7F, 1)
    assert found.calls[-1].name == "read"
    assert found.ends == {
        10: "exited with 5",
        11: "killed by SIGKILL",
        12: "killed by SIGSEGV (core dumped)",
    }


def test_signals_are_no_calls() -> None:
    """Signals and stops stand between calls, and inside none."""
    found = log("""
        10  [ 230] clock_nanosleep(0, 0, 0x7f, 0) = -1 ERESTART_RESTARTBLOCK (Unknown error 516)
        10  [ 230] --- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---
        10  [  15] rt_sigreturn()             = -1 EINTR (Interrupted system call)
        10  [  35] --- SIGSTOP {si_signo=19, si_code=0, si_pid=9, si_uid=0} ---
        10  [  35] --- stopped by SIGSTOP ---
        10  [ 219] restart_syscall()          = 0
    """)
    assert [call.name for call in found.calls] == [
        "clock_nanosleep",
        "rt_sigreturn",
        "restart_syscall",
    ]


@pytest.mark.parametrize("why", ["unfinished", "pid changed to 10"])
def test_execve_of_a_thread(why: str) -> None:
    """A thread's execve goes on under the leader's id, and the leader's call is over."""
    found = log(f"""
        10  [ 435] clone3({{flags=0x10f00, exit_signal=0}} => {{parent_tid=[11]}}, 88) = 11
        10  [  34] pause( <unfinished ...>
        11  [  59] execve(0x56, 0x7f, 0x7f <{why} ...>
        10  [  34] <... pause resumed>)       = ?
        10  [  59] +++ superseded by execve in pid 11 +++
        10  [  59] <... execve resumed>)      = 0
        10  [  12] brk(0)                     = 0x1000
    """)
    assert [brief(call) for call in found.calls[1:]] == [
        (10, 34, "pause", (), None),
        (10, 59, "execve", (0x56, 0x7F, 0x7F), 0),
        (10, 12, "brk", (0,), 0x1000),
    ]


def test_numbers_without_a_call() -> None:
    """A number that no call has, and one that does not fit strace's column."""
    found = log("""
        10  [1000] syscall_0x3e8(0x1, 0x2, 0x3, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)
        10  [???] syscall_0xffffffffffffffff(0x1, 0x2, 0, 0, 0, 0) = -1 ENOSYS (Function not implemented)
    """)  # noqa: E501 (strace's own lines)
    assert [(call.nr, call.name) for call in found.calls] == [
        (1000, "syscall_0x3e8"),
        (None, "syscall_0xffffffffffffffff"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "10  brk(0) = 0",
        "10  [  12] brk(0) = -1 ESTRANGE (Unknown error)",
        '10  [ 257] openat(AT_FDCWD, "/etc", O_RDONLY) = 3',
        "10  [  12] brk(0)",
        "10  [  12] <... brk resumed>) = 0",
        "10  [  12] *** something else ***",
    ],
)
def test_unknown_lines_are_errors(line: str) -> None:
    """What is not understood is refused: a judge must not skip evidence."""
    with pytest.raises(StraceLogError):
        parse([line])


def test_two_roots_are_an_error() -> None:
    """A task that no call made would stand under the wrong process."""
    with pytest.raises(StraceLogError, match="no call made"):
        log("""
            10  [  39] getpid() = 0xa
            11  [  39] getpid() = 0xb
        """)
