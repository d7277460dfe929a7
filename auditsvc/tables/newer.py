"""Names that an older `audit` module may not have. Maintained by hand.

Sources: include/uapi/linux/audit.h (architectures, record types), the kernel's
scripts/syscall.tbl and include/uapi/asm-generic/unistd.h (calls that have one
number on every machine), arch/*/kernel/syscalls/*.tbl (the others),
include/uapi/asm-generic/errno.h, include/uapi/linux/io_uring.h (operations).
They are those of Linux 6.18, with the calls and operations that 6.19 and 7.0 added
(listns, rseq_slice_yield; NOP128, URING_CMD128). Proposals on mailing lists are not
included: their numbers can change until they are merged.

`auditsvc.tables.names` uses a name from here only if the module, or the tables made from
it, have none.
"""

from typing import Final

_X86_64: Final = 0xC000003E
_AARCH64: Final = 0xC00000B7

# AUDIT_ARCH_*: number -> the name libaudit uses, else uname's.
ARCHES: Final[dict[int, str]] = {
    _X86_64: "x86_64",
    0x40000003: "i386",
    _AARCH64: "aarch64",
    0x40000028: "arm",
    0x00000028: "armeb",
    0x80000015: "ppc64",
    0xC0000015: "ppc64le",
    0x00000014: "ppc",
    0x80000016: "s390x",
    0x00000016: "s390",
    0xC00000F3: "riscv64",
    0x400000F3: "riscv32",
    0xC0000102: "loongarch64",
    0x40000102: "loongarch32",
    0xC0009026: "alpha",
    0xC0000032: "ia64",
    0x80000008: "mips64",
    0xC0000008: "mipsel64",
    0xE0000008: "mipsel64n32",
    0xA0000008: "mips64n32",
    0x00000008: "mips",
    0x40000008: "mipsel",
    0x8000000F: "parisc64",
    0x0000000F: "parisc",
    0x8000002B: "sparc64",
    0x00000002: "sparc",
    0x0000002A: "sh",
    0x4000002A: "shel",
    0x00000004: "m68k",
}

# Other spellings, as uname -m and auditctl have them.
ARCH_ALIASES: Final[dict[str, str]] = {
    "i486": "i386",
    "i586": "i386",
    "i686": "i386",
    "amd64": "x86_64",
    "arm64": "aarch64",
    "armv5tejl": "arm",
    "armv5tel": "arm",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
}

RECORD_TYPES: Final[dict[int, str]] = {
    1329: "REPLACE",
    1335: "EVENT_LISTENER",
    1336: "URINGOP",
    1337: "OPENAT2",
    1338: "DM_CTRL",
    1339: "DM_EVENT",
    1420: "IPE_ACCESS",
    1421: "IPE_CONFIG_CHANGE",
    1422: "IPE_POLICY_LOAD",
    1423: "LANDLOCK_ACCESS",
    1424: "LANDLOCK_DOMAIN",
    1425: "MAC_TASK_CONTEXTS",
    1426: "MAC_OBJ_CONTEXTS",
}

# Since Linux 5.1 a new call has the same number on every machine we list.
SYSCALLS_EVERYWHERE: Final[dict[int, str]] = {
    450: "set_mempolicy_home_node",
    451: "cachestat",
    452: "fchmodat2",
    453: "map_shadow_stack",
    454: "futex_wake",
    455: "futex_wait",
    456: "futex_requeue",
    457: "statmount",
    458: "listmount",
    459: "lsm_get_self_attr",
    460: "lsm_set_self_attr",
    461: "lsm_list_modules",
    462: "mseal",
    463: "setxattrat",
    464: "getxattrat",
    465: "listxattrat",
    466: "removexattrat",
    467: "open_tree_attr",
    468: "file_getattr",
    469: "file_setattr",
    470: "listns",
    471: "rseq_slice_yield",
}

SYSCALLS: Final[dict[int, dict[int, str]]] = {
    _X86_64: {335: "uretprobe", 336: "uprobe"},
    0x80000016: {447: "memfd_secret"},
}

# x32 (arch of x86_64, bit 30 in the number): the calls whose number is its own.
X32_SYSCALLS: Final[dict[int, str]] = {
    512: "rt_sigaction",
    513: "rt_sigreturn",
    514: "ioctl",
    515: "readv",
    516: "writev",
    517: "recvfrom",
    518: "sendmsg",
    519: "recvmsg",
    520: "execve",
    521: "ptrace",
    522: "rt_sigpending",
    523: "rt_sigtimedwait",
    524: "rt_sigqueueinfo",
    525: "sigaltstack",
    526: "timer_create",
    527: "mq_notify",
    528: "kexec_load",
    529: "waitid",
    530: "set_robust_list",
    531: "get_robust_list",
    532: "vmsplice",
    533: "move_pages",
    534: "preadv",
    535: "pwritev",
    536: "rt_tgsigqueueinfo",
    537: "recvmmsg",
    538: "sendmmsg",
    539: "process_vm_readv",
    540: "process_vm_writev",
    541: "setsockopt",
    542: "getsockopt",
    543: "io_setup",
    544: "io_submit",
    545: "execveat",
    546: "preadv2",
    547: "pwritev2",
}

# Machines with the generic table, told as a difference from aarch64's:
# number -> (numbers they lack, numbers of their own).
SYSCALLS_LIKE_AARCH64: Final[dict[int, tuple[frozenset[int], dict[int, str]]]] = {
    0xC00000F3: (frozenset({38}), {258: "riscv_hwprobe", 259: "riscv_flush_icache"}),
    0xC0000102: (frozenset({38, 163, 164, 447}), {}),
}
AARCH64: Final = _AARCH64

# The kernel's name where libaudit's is another: kernel's -> libaudit's.
SYSCALL_ALIASES: Final[dict[str, str]] = {
    "pread64": "pread",
    "pwrite64": "pwrite",
    "getdents64": "getdents",
    "fstat": "newfstat",
    "kexec_load": "sys_kexec_load",
    "sched_rr_get_interval_time64": "sched_rr_get_interval64",
}

# enum io_uring_op: the place in the list is the number, the name is without IORING_OP_.
URING_OPS: Final = (
    "nop",
    "readv",
    "writev",
    "fsync",
    "read_fixed",
    "write_fixed",
    "poll_add",
    "poll_remove",
    "sync_file_range",
    "sendmsg",
    "recvmsg",
    "timeout",
    "timeout_remove",
    "accept",
    "async_cancel",
    "link_timeout",
    "connect",
    "fallocate",
    "openat",
    "close",
    "files_update",
    "statx",
    "read",
    "write",
    "fadvise",
    "madvise",
    "send",
    "recv",
    "openat2",
    "epoll_ctl",
    "splice",
    "provide_buffers",
    "remove_buffers",
    "tee",
    "shutdown",
    "renameat",
    "unlinkat",
    "mkdirat",
    "symlinkat",
    "linkat",
    "msg_ring",
    "fsetxattr",
    "setxattr",
    "fgetxattr",
    "getxattr",
    "socket",
    "uring_cmd",
    "send_zc",
    "sendmsg_zc",
    "read_multishot",
    "waitid",
    "futex_wait",
    "futex_wake",
    "futex_waitv",
    "fixed_fd_install",
    "ftruncate",
    "bind",
    "listen",
    "recv_zc",
    "epoll_wait",
    "readv_fixed",
    "writev_fixed",
    "pipe",
    "nop128",
    "uring_cmd128",
)

ERRNOS: Final[dict[int, str]] = {
    # Not for user space (include/linux/errno.h), yet some drivers return it.
    524: "ENOTSUPP",
}

ERRNO_ALIASES: Final[dict[str, int]] = {"EWOULDBLOCK": 11, "EDEADLOCK": 35, "ENOTSUP": 95}
