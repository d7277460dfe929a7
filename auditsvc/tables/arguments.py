"""What the arguments of system calls mean, by their place; maintained by hand.

Sources: the kernel's include/uapi (fcntl.h, mman-common.h, sched.h, socket.h, prctl.h, ptrace.h,
resource.h, time.h, mount.h) with the numbers of x86_64, which most machines share, and the
manual pages of section 2. A kind says how a number is shown (`auditsvc.search.interpret`).
"""

from __future__ import annotations

from typing import Final

_NAMES: Final = {
    ("dirfd", 0): (
        "openat openat2 mkdirat mknodat unlinkat fchownat fchmodat fchmodat2 faccessat faccessat2"
        " readlinkat newfstatat fstatat64 futimesat utimensat renameat renameat2 linkat"
        " name_to_handle_at execveat statx open_tree"
    ),
    ("dirfd", 1): "symlinkat",
    ("dirfd", 2): "renameat renameat2 linkat move_mount",
    ("open", 1): "open mq_open",
    ("open", 2): "openat open_by_handle_at",
    ("mode", 1): "chmod fchmod mkdir creat mknod",
    ("mode", 2): "fchmodat fchmodat2 mkdirat mknodat mq_open",
    ("access", 1): "access",
    ("access", 2): "faccessat faccessat2",
    ("protection", 2): "mmap mmap2 mprotect pkey_mprotect",
    ("mapping", 3): "mmap mmap2",
    ("signal", 0): "rt_sigaction",
    ("signal", 1): "kill tkill rt_sigqueueinfo pidfd_send_signal",
    ("signal", 2): "tgkill rt_tgsigqueueinfo",
    ("family", 0): "socket socketpair",
    ("socket", 1): "socket socketpair",
    ("clone", 0): "clone unshare",
    ("clone", 1): "setns",
    ("uid", 0): "setuid setreuid setresuid setfsuid setuid32 setreuid32 setresuid32 setfsuid32",
    ("uid", 1): "setreuid setresuid setreuid32 setresuid32 chown lchown fchown chown32 lchown32"
    " fchown32",
    ("uid", 2): "setresuid setresuid32 fchownat",
    ("gid", 0): "setgid setregid setresgid setfsgid setgid32 setregid32 setresgid32 setfsgid32",
    ("gid", 1): "setregid setresgid setregid32 setresgid32",
    ("gid", 2): "setresgid setresgid32 chown lchown fchown chown32 lchown32 fchown32",
    ("gid", 3): "fchownat",
    ("whence", 2): "lseek",
    ("limit", 0): "setrlimit getrlimit",
    ("limit", 1): "prlimit64",
    ("ptrace", 0): "ptrace",
    ("prctl", 0): "prctl PR_CAPBSET_READ PR_CAPBSET_DROP PR_CAP_AMBIENT",
    ("reboot", 2): "reboot",
    ("clock", 0): "clock_settime clock_gettime clock_adjtime",
    ("mount", 3): "mount",
    ("umount", 1): "umount2",
    ("unlink", 2): "unlinkat",
    ("mode", 0): "umask",
    ("socketcall", 0): "socketcall",
    ("ipc", 0): "ipc",
    # The second argument of these forms of prctl (PARTS).
    ("capability", 1): "PR_CAPBSET_READ PR_CAPBSET_DROP",
    # Of PR_CAP_AMBIENT the third.
    ("capability", 2): "PR_CAP_AMBIENT",
}
ARGUMENTS: Final[dict[tuple[str, int], str]] = {
    (call, place): kind for (kind, place), calls in _NAMES.items() for call in calls.split()
}
"""Kind of an argument: call's name and place -> kind."""

OPEN_FLAGS: Final = {
    0o1: "O_WRONLY",
    0o2: "O_RDWR",
    0o100: "O_CREAT",
    0o200: "O_EXCL",
    0o400: "O_NOCTTY",
    0o1000: "O_TRUNC",
    0o2000: "O_APPEND",
    0o4000: "O_NONBLOCK",
    0o10000: "O_DSYNC",
    0o20000: "O_ASYNC",
    0o40000: "O_DIRECT",
    0o200000: "O_DIRECTORY",
    0o400000: "O_NOFOLLOW",
    0o1000000: "O_NOATIME",
    0o2000000: "O_CLOEXEC",
    0o4000000: "__O_SYNC",
    0o10000000: "O_PATH",
    0o20000000: "__O_TMPFILE",
}
ACCESS: Final = {4: "R_OK", 2: "W_OK", 1: "X_OK"}
PROTECTION: Final = {
    1: "PROT_READ",
    2: "PROT_WRITE",
    4: "PROT_EXEC",
    8: "PROT_SEM",
    0x01000000: "PROT_GROWSDOWN",
    0x02000000: "PROT_GROWSUP",
}
MAPPING: Final = {
    0x01: "MAP_SHARED",
    0x02: "MAP_PRIVATE",
    0x10: "MAP_FIXED",
    0x20: "MAP_ANONYMOUS",
    0x40: "MAP_32BIT",
    0x100: "MAP_GROWSDOWN",
    0x800: "MAP_DENYWRITE",
    0x1000: "MAP_EXECUTABLE",
    0x2000: "MAP_LOCKED",
    0x4000: "MAP_NORESERVE",
    0x8000: "MAP_POPULATE",
    0x10000: "MAP_NONBLOCK",
    0x20000: "MAP_STACK",
    0x40000: "MAP_HUGETLB",
    0x80000: "MAP_SYNC",
    0x100000: "MAP_FIXED_NOREPLACE",
}
CLONE: Final = {
    0x00000100: "CLONE_VM",
    0x00000200: "CLONE_FS",
    0x00000400: "CLONE_FILES",
    0x00000800: "CLONE_SIGHAND",
    0x00001000: "CLONE_PIDFD",
    0x00002000: "CLONE_PTRACE",
    0x00004000: "CLONE_VFORK",
    0x00008000: "CLONE_PARENT",
    0x00010000: "CLONE_THREAD",
    0x00020000: "CLONE_NEWNS",
    0x00040000: "CLONE_SYSVSEM",
    0x00080000: "CLONE_SETTLS",
    0x00100000: "CLONE_PARENT_SETTID",
    0x00200000: "CLONE_CHILD_CLEARTID",
    0x00400000: "CLONE_DETACHED",
    0x00800000: "CLONE_UNTRACED",
    0x01000000: "CLONE_CHILD_SETTID",
    0x02000000: "CLONE_NEWCGROUP",
    0x04000000: "CLONE_NEWUTS",
    0x08000000: "CLONE_NEWIPC",
    0x10000000: "CLONE_NEWUSER",
    0x20000000: "CLONE_NEWPID",
    0x40000000: "CLONE_NEWNET",
    0x80000000: "CLONE_IO",
}
MOUNT: Final = {
    1: "MS_RDONLY",
    2: "MS_NOSUID",
    4: "MS_NODEV",
    8: "MS_NOEXEC",
    16: "MS_SYNCHRONOUS",
    32: "MS_REMOUNT",
    64: "MS_MANDLOCK",
    128: "MS_DIRSYNC",
    256: "MS_NOSYMFOLLOW",
    1024: "MS_NOATIME",
    2048: "MS_NODIRATIME",
    4096: "MS_BIND",
    8192: "MS_MOVE",
    16384: "MS_REC",
    32768: "MS_SILENT",
    1 << 16: "MS_POSIXACL",
    1 << 17: "MS_UNBINDABLE",
    1 << 18: "MS_PRIVATE",
    1 << 19: "MS_SLAVE",
    1 << 20: "MS_SHARED",
    1 << 21: "MS_RELATIME",
    1 << 24: "MS_STRICTATIME",
    1 << 25: "MS_LAZYTIME",
}
UMOUNT: Final = {1: "MNT_FORCE", 2: "MNT_DETACH", 4: "MNT_EXPIRE", 8: "UMOUNT_NOFOLLOW"}
UNLINK: Final = {0x200: "AT_REMOVEDIR"}

SIGNALS: Final = dict(
    enumerate(
        ["SIG0", "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS"]
    )
)
FAMILIES: Final = dict(
    enumerate(
        ["unspec", "local", "inet", "ax25", "ipx", "appletalk", "netrom", "bridge", "atmpvc", "x25", "inet6", "rose", "decnet", "netbeui", "security", "key", "netlink", "packet", "ash", "econet", "atmsvc", "rds", "sna", "irda", "pppox", "wanpipe", "llc", "ib", "mpls", "can", "tipc", "bluetooth", "iucv", "rxrpc", "isdn", "phonet", "ieee802154", "caif", "alg", "nfc", "vsock", "kcm", "qipcrtr", "smc", "xdp", "mctp"]
    )
)
SOCKET_TYPES: Final = {
    1: "SOCK_STREAM",
    2: "SOCK_DGRAM",
    3: "SOCK_RAW",
    4: "SOCK_RDM",
    5: "SOCK_SEQPACKET",
    6: "SOCK_DCCP",
    10: "SOCK_PACKET",
}
WHENCE: Final = {0: "SEEK_SET", 1: "SEEK_CUR", 2: "SEEK_END", 3: "SEEK_DATA", 4: "SEEK_HOLE"}
LIMITS: Final = dict(
    enumerate(
        ["RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC", "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME"]
    )
)
CLOCKS: Final = dict(
    enumerate(
        ["CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_PROCESS_CPUTIME_ID", "CLOCK_THREAD_CPUTIME_ID", "CLOCK_MONOTONIC_RAW", "CLOCK_REALTIME_COARSE", "CLOCK_MONOTONIC_COARSE", "CLOCK_BOOTTIME", "CLOCK_REALTIME_ALARM", "CLOCK_BOOTTIME_ALARM", "CLOCK_SGI_CYCLE", "CLOCK_TAI"]
    )
)
OURS: Final = ("reboot",)
"""Calls of whose arguments ausearch says nothing, and `search -i` and text as little."""
REBOOT: Final = {
    0x00000000: "CAD_OFF",
    0x01234567: "RESTART",
    0x4321FEDC: "POWER_OFF",
    0x45584543: "KEXEC",
    0x89ABCDEF: "CAD_ON",
    0xA1B2C3D4: "RESTART2",
    0xCDEF0123: "HALT",
    0xD000FCE2: "SW_SUSPEND",
}
"""What the call reboot does: systemd calls it with CAD_OFF (Ctrl-Alt-Del) at each boot."""
PTRACE: Final = {
    **dict(
        enumerate(
            ["PTRACE_TRACEME", "PTRACE_PEEKTEXT", "PTRACE_PEEKDATA", "PTRACE_PEEKUSER", "PTRACE_POKETEXT", "PTRACE_POKEDATA", "PTRACE_POKEUSER", "PTRACE_CONT", "PTRACE_KILL", "PTRACE_SINGLESTEP"]
        )
    ),
    12: "PTRACE_GETREGS",
    13: "PTRACE_SETREGS",
    14: "PTRACE_GETFPREGS",
    15: "PTRACE_SETFPREGS",
    16: "PTRACE_ATTACH",
    17: "PTRACE_DETACH",
    24: "PTRACE_SYSCALL",
    0x4200: "PTRACE_SETOPTIONS",
    0x4201: "PTRACE_GETEVENTMSG",
    0x4202: "PTRACE_GETSIGINFO",
    0x4203: "PTRACE_SETSIGINFO",
    0x4204: "PTRACE_GETREGSET",
    0x4205: "PTRACE_SETREGSET",
    0x4206: "PTRACE_SEIZE",
    0x4207: "PTRACE_INTERRUPT",
    0x4208: "PTRACE_LISTEN",
}
PRCTL: Final = {
    1: "PR_SET_PDEATHSIG",
    2: "PR_GET_PDEATHSIG",
    3: "PR_GET_DUMPABLE",
    4: "PR_SET_DUMPABLE",
    7: "PR_GET_KEEPCAPS",
    8: "PR_SET_KEEPCAPS",
    15: "PR_SET_NAME",
    16: "PR_GET_NAME",
    21: "PR_GET_SECCOMP",
    22: "PR_SET_SECCOMP",
    23: "PR_CAPBSET_READ",
    24: "PR_CAPBSET_DROP",
    27: "PR_GET_SECUREBITS",
    28: "PR_SET_SECUREBITS",
    35: "PR_SET_MM",
    36: "PR_SET_CHILD_SUBREAPER",
    37: "PR_GET_CHILD_SUBREAPER",
    38: "PR_SET_NO_NEW_PRIVS",
    39: "PR_GET_NO_NEW_PRIVS",
    47: "PR_CAP_AMBIENT",
    52: "PR_GET_SPECULATION_CTRL",
    53: "PR_SET_SPECULATION_CTRL",
}
SOCKET_CALLS: Final = dict(
    enumerate(
        ["socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv", "sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg"],
        start=1,
    )
)
"""The calls in socketcall(), which i386, s390x and others have (include/uapi/linux/net.h)."""
IPC_CALLS: Final = {
    1: "semop",
    2: "semget",
    3: "semctl",
    4: "semtimedop",
    11: "msgsnd",
    12: "msgrcv",
    13: "msgget",
    14: "msgctl",
    21: "shmat",
    22: "shmdt",
    23: "shmget",
    24: "shmctl",
}
"""The calls in ipc() (include/uapi/linux/ipc.h)."""
CAPABILITIES: Final = ["chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore"]
FILE_TYPES: Final = {
    0o140000: "socket",
    0o120000: "link",
    0o100000: "file",
    0o060000: "block",
    0o040000: "dir",
    0o020000: "character",
    0o010000: "fifo",
}
SECCOMP_ACTIONS: Final = {
    0x80000000: "kill-process",
    0x00000000: "kill",
    0x00030000: "trap",
    0x7FC00000: "user-notify",
    0x00050000: "errno",
    0x7FF00000: "trace",
    0x7FFC0000: "log",
    0x7FFF0000: "allow",
}
FILTER_LISTS: Final = {
    "0": "user",
    "1": "task",
    "2": "entry",
    "4": "exit",
    "5": "exclude",
    "6": "filesystem",
    "7": "io_uring",
}
RESOLVE: Final = {
    0x01: "RESOLVE_NO_XDEV",
    0x02: "RESOLVE_NO_MAGICLINKS",
    0x04: "RESOLVE_NO_SYMLINKS",
    0x08: "RESOLVE_BENEATH",
    0x10: "RESOLVE_IN_ROOT",
    0x20: "RESOLVE_CACHED",
}

PARTS: Final = {
    "socketcall": SOCKET_CALLS,
    "ipc": IPC_CALLS,
    "prctl": {n: word for n, word in PRCTL.items() if word.startswith("PR_CAP")},
}
"""Calls that are several: by name, what the first argument makes of them."""
