"""The kind of an event, which is the journal's MESSAGE_ID, and its priority.

`packaging/auditsvc.catalog` explains each kind to `journalctl --catalog`; a test holds
the two together. The ids are random and never change.

Priorities (syslog(3)), the first that fits:

    err      3   an anomaly (ANOM_*, failed INTEGRITY_*, a report of an intrusion detector),
                 or lost evidence (DAEMON_ERR, DAEMON_ABORT)
    warning  4   refused: EACCES, EPERM, a label's denial (AVC), a failed login, a seccomp kill
    notice   5   failed otherwise; or it changed the host's security (kernel modules, the
                 clock, audit itself, accounts)
    info     6   everything else
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Mapping

ERR, WARNING, NOTICE, INFO = 3, 4, 5, 6


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of event; `message_id` is 128 bits in hex."""

    name: str
    message_id: str
    calls: frozenset[str] = frozenset()
    """System calls of this kind, by name."""
    security: bool = False
    """Whether it changes the host's security: notice, also if it succeeded."""


def _kind(name: str, message_id: str, calls: str = "", *, security: bool = False) -> Kind:
    return Kind(name, message_id, frozenset(calls.split()), security)


FILE: Final = _kind(
    "file",
    "d7c2155df21c451e87913753dd2e4c28",
    "open openat openat2 creat open_by_handle_at name_to_handle_at truncate truncate64 ftruncate"
    " ftruncate64 fallocate rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat"
    " mkdir mkdirat rmdir mknod mknodat chmod fchmod fchmodat fchmodat2 chown fchown fchownat"
    " lchown chown32 fchown32 lchown32 setxattr lsetxattr fsetxattr setxattrat removexattr"
    " lremovexattr fremovexattr removexattrat utime utimes utimensat futimesat access faccessat"
    " faccessat2 stat stat64 lstat lstat64 newfstatat fstatat64 statx readlink readlinkat"
    " file_setattr",
)
PROGRAM: Final = _kind("program", "3a830fb8318a43f3bdea7e6256e5068e", "execve execveat uselib")
NETWORK: Final = _kind(
    "network",
    "428a6d25c9434f2b9f9ba40fb77c1eee",
    "socket socketpair connect bind listen accept accept4 sendto sendmsg sendmmsg recvfrom"
    " recvmsg recvmmsg shutdown setsockopt socketcall sethostname setdomainname",
)
PRIVILEGE: Final = _kind(
    "privilege",
    "aae6fbc80455483e8c134aa77b10e0fe",
    "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups setuid32"
    " setgid32 setreuid32 setregid32 setresuid32 setresgid32 setfsuid32 setfsgid32 setgroups32"
    " capset setns unshare chroot pivot_root keyctl add_key request_key",
)
KERNEL: Final = _kind(
    "kernel",
    "5aab3b6826a24bc6b0cf9ee089acaba9",
    "init_module finit_module delete_module kexec_load kexec_file_load bpf perf_event_open"
    " reboot iopl ioperm syslog lsm_set_self_attr swapon swapoff quotactl quotactl_fd",
    security=True,
)
MOUNT: Final = _kind(
    "mount",
    "3ff7d83f093d49ed8e359a2fc6f0f208",
    "mount umount umount2 move_mount open_tree open_tree_attr fsopen fsmount fsconfig fspick"
    " mount_setattr",
)
TIME: Final = _kind(
    "time",
    "11403546d64f4e148aea9fcc8be08fc5",
    "settimeofday clock_settime clock_settime64 stime adjtimex clock_adjtime clock_adjtime64",
    security=True,
)
PROCESS: Final = _kind(
    "process",
    "aaf0ce273d504fe08aade6a35aca0215",
    "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal pidfd_getfd ptrace"
    " process_vm_readv process_vm_writev process_madvise prlimit64 setrlimit setpriority"
    " sched_setscheduler kcmp fork vfork clone clone3 exit exit_group",
)
AUDIT: Final = _kind("audit", "c6194c31e566483c8f7d60afa1487b30", security=True)
USER: Final = _kind("user", "c7d2c5c65a01462f887581edfd9c571e")
ACCOUNT: Final = _kind("account", "411b494d39af45dabbba9623000a3fe9", security=True)
DENIAL: Final = _kind("denial", "f48e0bdbb23c42f0b9cc66eff2426ddf")
ANOMALY: Final = _kind("anomaly", "d91b084d50844eb8879632afbfb9dc10")
SERVICE: Final = _kind("service", "60a016cbb3fa4a4aa5d3ab2e345984ac")
CALL: Final = _kind("call", "9cfc3b1a9a8f489eb51e13b682aa02d5")
OTHER: Final = _kind("other", "e99e191339904eb2b4313b1dd0940973")

FORWARDER: Final = _kind("forwarder", "448dc2822b3541f48f6f5d4863d711db")
"""Not an event: the forwarder's own entries, at its start and when journald dropped some."""

KINDS: Final = (
    *(FILE, PROGRAM, NETWORK, PRIVILEGE, KERNEL, MOUNT, TIME, PROCESS, AUDIT, USER, ACCOUNT),
    *(DENIAL, ANOMALY, SERVICE, CALL, OTHER, FORWARDER),
)

_BY_CALL: Final[Mapping[str, Kind]] = {name: kind for kind in KINDS for name in kind.calls}

_ACCOUNTS: Final = frozenset(
    [
        "USER_MGMT",
        "USER_CHAUTHTOK",
        "ADD_USER",
        "DEL_USER",
        "ADD_GROUP",
        "DEL_GROUP",
        "CHGRP_ID",
        "CHUSER_ID",
        "GRP_MGMT",
        "GRP_CHAUTHTOK",
        "ACCT_LOCK",
        "ACCT_UNLOCK",
        "ROLE_ASSIGN",
        "ROLE_REMOVE",
        "USER_ROLE_CHANGE",
    ]
)
_SERVICES: Final = frozenset(
    [
        "SERVICE_START",
        "SERVICE_STOP",
        "SYSTEM_BOOT",
        "SYSTEM_SHUTDOWN",
        "SYSTEM_RUNLEVEL",
        "SOFTWARE_UPDATE",
        "USYS_CONFIG",
    ]
)
_LOSSES: Final = frozenset(("DAEMON_ERR", "DAEMON_ABORT"))
_REFUSED: Final = frozenset(("SECCOMP", "AVC", "USER_AVC", "SELINUX_ERR", "USER_SELINUX_ERR"))
_AUDIT_TYPES: Final = frozenset(("CONFIG_CHANGE", "FEATURE_CHANGE", "REPLACE"))

_EPERM, _EACCES = -1, -13


def kind_of_call(call: str | None) -> Kind:
    """Give the kind of a system call's name."""
    return _BY_CALL.get(call or "", CALL)


def kind_of_type(type_name: str) -> Kind:
    """Give the kind of an event without a system call; numbers as in linux/audit.h."""
    if type_name in _ACCOUNTS:
        return ACCOUNT
    if type_name in _SERVICES:
        return SERVICE
    if type_name in _AUDIT_TYPES or type_name.startswith("DAEMON_"):
        return AUDIT
    if type_name in _REFUSED or type_name.startswith(("APPARMOR", "LANDLOCK")):
        return DENIAL
    number = names.record_type_number(type_name) or 0
    if 1100 <= number < 1200:
        return USER
    if 1400 <= number < 1600:
        return DENIAL
    if 1700 <= number < 1900 or 2100 <= number < 2300:
        return ANOMALY
    if 2300 <= number < 2500:
        return USER
    return OTHER


def priority_of_call(kind: Kind, success: int | None, result: int | None) -> int:
    """Give the priority of a system call: `success` 1, 0 or None, `result` as the kernel's exit."""
    if success == 0:
        return WARNING if result in (_EPERM, _EACCES) else NOTICE
    return NOTICE if kind.security else INFO


def priority_of_type(kind: Kind, type_name: str, fields: Mapping[str, object]) -> int:
    """Give the priority of an event without a system call, from its type and `res=`."""
    failed = fields.get("res") in ("failed", "0", "no") or fields.get("success") == "no"
    if type_name in _LOSSES:
        return ERR
    if kind is ANOMALY:
        return INFO if type_name.startswith("INTEGRITY_") and not failed else ERR
    if kind is DENIAL:
        denied = type_name in _REFUSED or fields.get("apparmor") == "DENIED"
        granted = fields.get("seresult") == "granted"
        return WARNING if (denied or failed) and not granted else NOTICE
    if failed:
        return WARNING if kind in (USER, ACCOUNT) else NOTICE
    return NOTICE if kind.security else INFO
