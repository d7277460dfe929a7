"""What a process behind the filter of system calls cannot do, and what it still can."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from auditsvc.kernel.syscall_filter import CLOSED, close_calls, numbers_of, program

X86_64, AARCH64 = 0xC000003E, 0xC00000B7
NOT_ON_AARCH64 = {"fork", "vfork", "iopl", "ioperm", "modify_ldt", "mknod", "uselib", "_sysctl"}


def behind_filter(deed, families=(socket.AF_UNIX,)):
    """Do something in a process behind the filter; gives its exit status."""
    child = os.fork()
    if not child:
        status = 99  # there is no filter
        try:
            if not close_calls(families):
                status = deed() or 0
        except OSError as error:
            status = error.errno
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def raw(name, *arguments):
    """Make a system call by its number; gives its errno."""

    def deed():
        libc = ctypes.CDLL(None, use_errno=True)
        number = numbers_of(X86_64)[name]
        result = libc.syscall(number, *(ctypes.c_long(each) for each in arguments))
        return ctypes.get_errno() if result == -1 else 0

    return deed


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
@pytest.mark.parametrize("name", sorted(set(CLOSED) & numbers_of(X86_64).keys()))
def test_a_closed_call_fails(name):
    """With arguments that do no harm where the call is open: EPERM, whoever calls."""
    assert behind_filter(raw(name, -1, -1, -1, -1)) == 1


REFUSED = {
    "a program": lambda: subprocess.run([sys.executable, "-c", ""], check=True) and 0,
    "a process": lambda: os.fork() and 0,
    "another user": lambda: os.setuid(12345),
    "a signal": lambda: os.kill(os.getppid(), signal.SIGCONT),
    "netlink": lambda: socket.socket(socket.AF_NETLINK) and 0,
    "packets": lambda: socket.socket(socket.AF_PACKET) and 0,
    "the network": lambda: socket.socket(socket.AF_INET) and 0,
    "limits of another": raw("prlimit64", os.getppid(), 7, 0, 0),
    "the terminal's input": raw("ioctl", 0, 0x5412, 0),
}


@pytest.mark.parametrize("deed", REFUSED)
def test_what_helps_an_attacker_is_refused(deed):
    """Programs, processes, users, signals, other sockets: refused by the filter, not by rights."""
    assert behind_filter(REFUSED[deed]) in (1, 97)  # EPERM, EAFNOSUPPORT


def open_still():
    """Use what a loader uses."""
    thread = threading.Thread(target=str)
    thread.start()
    thread.join()
    os.kill(os.getppid(), 0)
    for each in socket.socketpair():
        each.close()
    socket.socket(socket.AF_UNIX).close()
    os.setpriority(os.PRIO_PROCESS, 0, 10)
    return 0


def test_what_loading_needs_is_open():
    """Threads, files, unix sockets, and families that were named."""
    assert behind_filter(open_still) == 0
    families = (socket.AF_UNIX, socket.AF_INET)
    assert behind_filter(lambda: socket.socket(socket.AF_INET) and 0, families) == 0


def run(steps, nr, arch, arguments=(0, 0)):
    """Run classic BPF as the kernel does (kernel/seccomp.c), over one call's data."""
    data = {0: nr, 4: arch, 16: arguments[0], 24: arguments[1]}
    accumulator, at = 0, 0
    while True:
        code, yes, no, value = steps[at]
        at += 1
        if code == 0x20:
            accumulator = data[value]
        elif code == 0x06:
            return value
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value}.get(
                code, bool(accumulator & value)
            )
            at += yes if holds else no


@pytest.mark.parametrize("arch", [X86_64, AARCH64])
def test_every_call_of_the_tables_is_judged(arch):
    """Of each machine: closed calls fail, others pass, calls of other machines and x32 fail."""
    steps = program(arch, (1,), 77)
    numbers = numbers_of(arch)
    assert set(CLOSED) - numbers.keys() <= (NOT_ON_AARCH64 if arch == AARCH64 else set())
    for name, number in numbers.items():
        verdict = run(steps, number, arch, (1, 2))
        if name in CLOSED:
            assert verdict == 0x50001, name
        elif name not in {"clone", "clone3", "tgkill", "prlimit64", "kill"}:
            assert verdict == 0x7FFF0000, name
        assert run(steps, number, 0x40000003) == 0x50001
    if arch == X86_64:
        assert run(steps, numbers["read"] | 0x40000000, arch) == 0x50001
    for name, argument, verdict in [
        ("clone", 0x10000, 0x7FFF0000),
        ("clone", 0x11, 0x50001),
        ("tgkill", 77, 0x7FFF0000),
        ("tgkill", 78, 0x50001),
        ("prlimit64", 0, 0x7FFF0000),
        ("socket", 16, 0x50061),
    ]:
        assert run(steps, numbers[name], arch, (argument, 9)) == verdict, (name, argument)
