"""A seccomp filter for processes that parse what attackers wrote: most calls that help them fail.

    close_calls(families=(AF_UNIX,))      # before threads are made; for ever

No new program or process, no other user, no look into another process, no signal to one, no
change of the kernel, no mount, no namespace, no io_uring (whose operations no filter sees), and
only sockets of the address families that are named. A call that is closed fails with EPERM, so
that a library that tries one goes on as on a kernel that refuses it; clone3(2), whose flags no
filter sees, with ENOSYS, after which glibc uses clone(2).

Calls are closed by name: one that is not in the tables of a machine is not there either.
seccomp(2), Documentation/userspace-api/seccomp_filter.rst; struct sock_filter of
include/uapi/linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.tables import newer
from auditsvc.tables.syscalls import SYSCALLS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

CLOSED: Final = (
    # other programs, processes and users
    *("execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev"),
    *("kcmp", "pidfd_getfd", "pidfd_send_signal", "process_madvise", "process_mrelease"),
    *("migrate_pages", "move_pages", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"),
    *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid"),
    *("setfsgid", "setgroups", "capset"),
    # file systems and namespaces
    *("mount", "umount2", "pivot_root", "chroot", "move_mount", "fsopen", "fsconfig", "fsmount"),
    *("fspick", "open_tree", "mount_setattr", "unshare", "setns", "mknod", "mknodat"),
    *("open_by_handle_at", "fanotify_init", "quotactl", "quotactl_fd", "acct"),
    # the kernel
    *("bpf", "perf_event_open", "userfaultfd", "kexec_load", "kexec_file_load", "init_module"),
    *("finit_module", "delete_module", "reboot", "swapon", "swapoff", "settimeofday"),
    *("clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "iopl"),
    *("ioperm", "syslog", "add_key", "request_key", "keyctl", "io_uring_setup"),
    *("io_uring_enter", "io_uring_register", "personality", "vhangup", "lookup_dcookie"),
    *("modify_ldt", "nfsservctl", "uselib", "_sysctl"),
)
"""Calls that fail whatever their arguments are."""

_ARCHES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* by the machine's name; the offsets of arguments below are little-endian."""
_X86_64: Final = _ARCHES["x86_64"]
_X32_BIT: Final = 0x40000000
_CLONE_THREAD: Final = 0x10000  # include/uapi/linux/sched.h
_TIOCSTI: Final = 0x5412

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
# Of struct seccomp_data: nr, arch, and the lower halves of the first two arguments.
_NR, _ARCH, _FIRST, _SECOND = 0, 4, 16, 24
_LOAD, _IF_EQUAL, _IF_FROM, _IF_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW: Final = 0x7FFF0000
_FAIL: Final = 0x00050000
_MOST: Final = 4096  # BPF_MAXINSNS


class Step(NamedTuple):
    """struct sock_filter: an instruction of classic BPF."""

    code: int
    yes: int
    no: int
    value: int


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def close_calls(families: Collection[int] = ()) -> str:
    """Close them for this thread and all that it makes; gives why that failed, or "".

    `families`: address families of the sockets that can be made.
    """
    machine = platform.machine()
    arch = _ARCHES.get(machine)
    if arch is None or sys.byteorder != "little":
        return f"no filter of system calls is known for {machine}"
    code = b"".join(struct.pack("=HBBI", *step) for step in program(arch, families, os.getpid()))
    libc = ctypes.CDLL(None, use_errno=True)
    filled = _Program(len(code) // 8, code)
    zero = ctypes.c_ulong(0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) or libc.prctl(
        _PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(filled), zero, zero
    ):
        return f"no filter of system calls: prctl: {os.strerror(ctypes.get_errno())}"
    return ""


def program(arch: int, families: Collection[int], own: int) -> list[Step]:
    """Make the filter of a machine; `own`: the process that may have signals of its own."""
    numbers = numbers_of(arch)
    steps = [
        Step(_LOAD, 0, 0, _ARCH),
        *_unless_equal(arch, errno.EPERM),
        Step(_LOAD, 0, 0, _NR),
    ]
    if arch == _X86_64:
        steps += [Step(_IF_FROM, 0, 1, _X32_BIT), _fail(errno.EPERM)]
    for name in CLOSED:
        if name in numbers:
            steps += [Step(_IF_EQUAL, 0, 1, numbers[name]), _fail(errno.EPERM)]
    for name, body in _by_argument(families, own):
        if name in numbers:
            steps += [Step(_IF_EQUAL, 0, len(body), numbers[name]), *body]
    steps.append(Step(_RETURN, 0, 0, _ALLOW))
    assert len(steps) <= _MOST
    return steps


def numbers_of(arch: int) -> Mapping[str, int]:
    """Give the numbers of a machine's calls."""
    tables = (SYSCALLS[arch], newer.SYSCALLS_EVERYWHERE, newer.SYSCALLS.get(arch, {}))
    return {name: number for table in tables for number, name in table.items()}


def _by_argument(families: Collection[int], own: int) -> Iterator[tuple[str, list[Step]]]:
    """Give what is done in calls that are closed for some arguments only."""
    yield "clone3", [_fail(errno.ENOSYS)]
    yield (
        "clone",
        [
            Step(_LOAD, 0, 0, _FIRST),
            Step(_IF_SET, 0, 1, _CLONE_THREAD),
            Step(_RETURN, 0, 0, _ALLOW),
            _fail(errno.EPERM),
        ],
    )
    yield "socket", _only(_FIRST, families, errno.EAFNOSUPPORT)
    yield "tgkill", _only(_FIRST, [own], errno.EPERM)
    yield "prlimit64", _only(_FIRST, [0, own], errno.EPERM)
    yield "kill", _only(_SECOND, [0], errno.EPERM)  # whether it exists
    yield (
        "ioctl",
        [
            Step(_LOAD, 0, 0, _SECOND),
            Step(_IF_EQUAL, 0, 1, _TIOCSTI),
            _fail(errno.EPERM),
            Step(_RETURN, 0, 0, _ALLOW),
        ],
    )


def _only(offset: int, values: Collection[int], error: int) -> list[Step]:
    """Allow a call if an argument has one of these values."""
    steps = [Step(_LOAD, 0, 0, offset)]
    for value in values:
        steps += [Step(_IF_EQUAL, 0, 1, value), Step(_RETURN, 0, 0, _ALLOW)]
    return [*steps, _fail(error)]


def _unless_equal(value: int, error: int) -> list[Step]:
    return [Step(_IF_EQUAL, 1, 0, value), _fail(error)]


def _fail(error: int) -> Step:
    return Step(_RETURN, 0, 0, _FAIL | error)
