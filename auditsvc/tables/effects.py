"""What a system call does to files, connections and the host, and where its object is.

Maintained by hand, from the manual pages of section 2. `auditsvc.tables.verbs` has the verbs;
`auditsvc.store.builtin` puts both into each store, where the views use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


def _by_call(table: Mapping[str, str]) -> dict[str, str]:
    return {call: effect for effect, calls in table.items() for call in calls.split()}


FILES: Final = _by_call(
    {
        "open": "open openat openat2 open_by_handle_at",
        "write": "creat truncate truncate64 ftruncate ftruncate64 fallocate",
        "create": "mkdir mkdirat mknod mknodat symlink symlinkat",
        "link": "link linkat",
        "delete": "unlink unlinkat rmdir",
        "rename": "rename renameat renameat2",
        "mode": "chmod fchmod fchmodat fchmodat2",
        "owner": "chown fchown lchown fchownat chown32 fchown32 lchown32",
        "attributes": "setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr"
        " fremovexattr removexattrat file_setattr",
        "time": "utime utimes utimensat futimesat utimensat_time64",
        "execute": "execve execveat",
        "look": "stat stat64 lstat lstat64 newfstat fstat fstat64 newfstatat fstatat64 statx access"
        " faccessat faccessat2 readlink readlinkat getxattr lgetxattr fgetxattr getxattrat"
        " listxattr llistxattr flistxattr listxattrat statfs statfs64 fstatfs fstatfs64"
        " name_to_handle_at file_getattr oldstat oldlstat oldfstat",
    }
)
"""What is done to the files that a call names; a call without an entry: `use`.

`open` is for reading or writing, as the call's flags say.
"""

CONNECTIONS: Final = _by_call(
    {
        "connect": "connect",
        "accept": "accept accept4",
        "bind": "bind",
        "send": "send sendto sendmsg sendmmsg",
        "receive": "recv recvfrom recvmsg recvmmsg recvmmsg_time64",
    }
)
"""What is done with the address; a call without an entry: `use`."""

CHANGES: Final = _by_call(
    {
        "module": "init_module finit_module delete_module",
        "clock": "settimeofday clock_settime clock_settime64 stime adjtimex clock_adjtime"
        " clock_adjtime64",
        "mount": "mount umount umount2 fsmount move_mount fsconfig mount_setattr pivot_root",
        "host name": "sethostname setdomainname",
        "kernel": "reboot kexec_load kexec_file_load sys_kexec_load",
        "swap": "swapon swapoff",
        "accounting": "acct",
        "quota": "quotactl quotactl_fd",
    }
)
"""What part of the host's configuration a call changes."""

CHANGES_BY_TYPE: Final = _by_call(
    {
        "audit": "CONFIG_CHANGE FEATURE_CHANGE DAEMON_START DAEMON_END DAEMON_ABORT",
        "account": "USER_MGMT USER_CHAUTHTOK ADD_USER DEL_USER ADD_GROUP DEL_GROUP CHGRP_ID"
        " CHUSER_ID GRP_MGMT GRP_CHAUTHTOK ACCT_LOCK ACCT_UNLOCK ROLE_ASSIGN ROLE_REMOVE"
        " ROLE_MODIFY",
        "firewall": "NETFILTER_CFG",
        "security policy": "MAC_POLICY_LOAD MAC_STATUS MAC_CONFIG_CHANGE USER_MAC_POLICY_LOAD"
        " USER_MAC_CONFIG_CHANGE USER_MAC_STATUS IPE_POLICY_LOAD IPE_CONFIG_CHANGE"
        " INTEGRITY_POLICY_RULE APPARMOR_STATUS",
        "bpf": "BPF",
        "service": "SERVICE_START SERVICE_STOP",
        "boot": "SYSTEM_BOOT SYSTEM_SHUTDOWN SYSTEM_RUNLEVEL",
        "software": "SOFTWARE_UPDATE",
        "system": "USYS_CONFIG",
        "network device": "ANOM_PROMISCUOUS",
    }
)
"""What part of it an event's record tells a change of."""

_SECOND: Final = {
    0: "setuid setgid setfsuid setfsgid setuid32 setgid32 setfsuid32 setfsgid32 umask prctl ptrace"
    " setrlimit getrlimit socket socketpair unshare clone clock_settime clock_adjtime",
    1: "chmod fchmod mkdir mknod creat setreuid setregid setresuid setresgid setreuid32 setregid32"
    " setresuid32 setresgid32 setns prlimit64 access kill tkill rt_sigqueueinfo"
    " pidfd_send_signal umount2 chown lchown fchown chown32 lchown32 fchown32 PR_CAPBSET_READ"
    " PR_CAPBSET_DROP",
    2: "PR_CAP_AMBIENT fchownat fchmodat fchmodat2 mkdirat mknodat mprotect pkey_mprotect faccessat faccessat2 tgkill"
    " rt_tgsigqueueinfo reboot",
    3: "mount",
}
SECOND: Final = {call: place for place, calls in _SECOND.items() for call in calls.split()}
"""The argument that says more of the object: a mode, an id, a signal, flags."""

_OBJECT: Final = {
    0: "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo process_vm_readv process_vm_writev"
    " prlimit64 sched_setparam sched_setscheduler sched_setattr sched_setaffinity sched_getparam"
    " sched_getscheduler sched_getattr sched_getaffinity migrate_pages move_pages setpgid getpgid"
    " getsid pidfd_open",
    1: "ptrace perf_event_open",
}
OBJECT: Final = {call: place for place, calls in _OBJECT.items() for call in calls.split()}
"""The argument that is the object's process id, where no record names the process; 0 is the
caller, but of a signal."""

OF_ANOTHER: Final = frozenset(
    "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal pidfd_getfd kcmp wait4"  # noqa: SIM905
    " waitid waitpid process_madvise process_mrelease bpf memfd_create memfd_secret shmat shmdt"
    " shmget shmctl".split()
)
"""Calls whose object is no part of the caller: where the log does not tell it, it is not known."""

LINKS: Final = dict.fromkeys(
    "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal ptrace prctl mount"  # noqa: SIM905
    " umount2 unshare clone setns mprotect pkey_mprotect access faccessat faccessat2 socket"
    " socketpair mkdir mkdirat mknod mknodat creat prlimit64 setrlimit getrlimit clock_settime"
    " clock_adjtime reboot PR_CAPBSET_READ PR_CAPBSET_DROP PR_CAP_AMBIENT".split(),
    "with",
)
"""The word before a call's second object; `to` for all others."""

IN_PROGRESS: Final = (-115, -114)
"""Results of a connect that goes on: EINPROGRESS, EALREADY."""

SHELLS: Final = (
    "sh",
    "ash",
    "bash",
    "dash",
    "zsh",
    "ksh",
    "mksh",
    "fish",
    "csh",
    "tcsh",
    "busybox",
)
"""Programs that are shells."""
