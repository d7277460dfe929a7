"""What an event did, as a verb and the kind of its object; maintained by hand.

The verbs of calls and of record types are those of audit-userspace's normaliser where it has
one (auparse/normalize_syscall_map.h, normalize_record_map.h), so that rules which read ausearch's CSV
keep working. A call that has none there has one of its own here, by its class.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Verb(NamedTuple):
    """What was done, to what kind of thing."""

    action: str
    object_kind: str


_CALLS: Final = {
    ("opened-file", "file"): "open openat openat2 creat truncate ftruncate fallocate truncate64"
    " ftruncate64 open_by_handle_at",
    ("checked-metadata-of", "file"): "stat stat64 lstat lstat64 fstat newfstat fstat64 newfstatat"
    " fstatat64 statx access faccessat faccessat2 readlink readlinkat getxattr lgetxattr fgetxattr"
    " listxattr llistxattr flistxattr name_to_handle_at file_getattr",
    ("checked-filesystem-metadata-of", "filesystem"): "statfs fstatfs statfs64 fstatfs64 ustat",
    ("changed-file-permissions-of", "file"): "chmod fchmod fchmodat fchmodat2",
    ("changed-file-ownership-of", "file"): "chown fchown lchown fchownat chown32 fchown32 lchown32",
    ("changed-file-attributes-of", "file"): "setxattr lsetxattr fsetxattr removexattr lremovexattr"
    " fremovexattr setxattrat removexattrat file_setattr",
    ("changed-timestamp-of", "file"): "utime utimes utimensat futimesat utimensat_time64",
    ("created-directory", "directory"): "mkdir mkdirat",
    ("changed-directory-to", "directory"): "chdir fchdir chroot",
    ("deleted", "file"): "unlink unlinkat rmdir",
    ("renamed", "file"): "rename renameat renameat2",
    ("symlinked", "symlink"): "symlink symlinkat",
    ("linked", "file"): "link linkat",
    ("made-device", "devices"): "mknod mknodat",
    ("mounted", "filesystem"): "mount fsmount move_mount open_tree fsopen fsconfig",
    ("unmounted", "filesystem"): "umount umount2",
    ("executed", "file"): "execve execveat",
    ("accepted-connection-from", "socket"): "accept accept4",
    ("bound-socket", "socket"): "bind",
    ("connected-to", "socket"): "connect",
    ("listened-on", "socket"): "listen",
    ("created-socket", "socket"): "socket socketpair",
    ("received-from", "socket"): "recvfrom recvmsg recvmmsg recv",
    ("sent-to", "socket"): "sendto sendmsg sendmmsg send",
    ("killed-pid", "process"): "kill tkill tgkill pidfd_send_signal rt_sigqueueinfo"
    " rt_tgsigqueueinfo",
    ("traced", "process"): "ptrace",
    ("read-memory-of", "process"): "process_vm_readv",
    ("wrote-memory-of", "process"): "process_vm_writev",
    ("created-process-from", "process"): "fork vfork clone clone3",
    ("ended", "process"): "exit exit_group",
    ("waited-for", "process"): "wait4 waitid waitpid",
    ("changed-identity-of", "process"): "setuid setgid setreuid setregid setresuid setresgid"
    " setfsuid setfsgid setgroups setuid32 setgid32 setreuid32 setregid32 setresuid32 setresgid32"
    " setfsuid32 setfsgid32 setgroups32",
    ("changed-privileges-of", "process"): "capset prctl seccomp setns unshare keyctl",
    ("changed-system-time", "system"): "settimeofday clock_settime clock_settime64 stime adjtimex"
    " clock_adjtime clock_adjtime64",
    ("changed-system-name", "system"): "sethostname setdomainname",
    ("loaded-kernel-module", "file"): "init_module finit_module",
    ("unloaded-kernel-module", "file"): "delete_module",
    ("allocated-memory-in", "memory"): "mmap mmap2 brk mremap",
    ("protected-memory-of", "memory"): "mprotect pkey_mprotect",
    ("freed-memory-of", "memory"): "munmap",
    ("adjusted-scheduling-policy-of", "process"): "sched_setparam sched_setscheduler sched_setattr"
    " sched_setaffinity setpriority",
    ("changed-limits-of", "process"): "setrlimit prlimit64",
    ("loaded-bpf-program", "process"): "bpf",
    ("read-from", "file"): "read readv pread pread64 preadv preadv2 getdents getdents64 sendfile",
    ("wrote-to", "file"): "write writev pwrite pwrite64 pwritev pwritev2",
    ("closed", "file"): "close close_range",
    ("controlled", "file"): "ioctl fcntl",
    ("created-pipe", "fifo"): "pipe pipe2",
    ("rebooted", "system"): "reboot kexec_load kexec_file_load",
}
CALLS: Final = {
    call: Verb(*verb) for verb, calls in _CALLS.items() for call in calls.split()
}
"""By the name of the system call; what is not here `made-call` its name."""

_TYPES: Final = {
    ("logged-in", "user-session"): "USER_LOGIN",
    ("logged-out", "user-session"): "USER_LOGOUT",
    ("authenticated", "account"): "USER_AUTH",
    ("was-authorized", "account"): "USER_ACCT",
    ("acquired-credentials", "account"): "CRED_ACQ",
    ("refreshed-credentials", "account"): "CRED_REFR",
    ("disposed-credentials", "account"): "CRED_DISP",
    ("started-session", "user-session"): "USER_START",
    ("ended-session", "user-session"): "USER_END",
    ("changed-login-id-to", "user-session"): "LOGIN",
    ("changed-password", "account"): "USER_CHAUTHTOK",
    ("ran-command", "process"): "USER_CMD",
    ("typed", "keystrokes"): "TTY USER_TTY",
    ("changed-role-to", "account"): "USER_ROLE_CHANGE",
    ("added-user-account", "account"): "ADD_USER",
    ("deleted-user-account", "account"): "DEL_USER",
    ("added-group-account-to", "account"): "ADD_GROUP",
    ("deleted-group-account-from", "account"): "DEL_GROUP",
    ("modified-user-account", "account"): "USER_MGMT ACCT_LOCK ACCT_UNLOCK",
    ("modified-group-account", "account"): "GRP_MGMT GRP_CHAUTHTOK",
    ("started-service", "service"): "SERVICE_START",
    ("stopped-service", "service"): "SERVICE_STOP",
    ("booted-system", "system"): "SYSTEM_BOOT",
    ("shutdown-system", "system"): "SYSTEM_SHUTDOWN",
    ("changed-to-runlevel", "system"): "SYSTEM_RUNLEVEL",
    ("installed-software", "software"): "SOFTWARE_UPDATE",
    ("started-audit", "service"): "DAEMON_START",
    ("shutdown-audit", "service"): "DAEMON_END",
    ("aborted-auditd-startup", "service"): "DAEMON_ABORT",
    ("changed-auditd-configuration", "service"): "DAEMON_CONFIG",
    ("rotated-audit-logs", "service"): "DAEMON_ROTATE",
    ("resumed-audit-logging", "service"): "DAEMON_RESUME",
    ("remote-audit-connected", "service"): "DAEMON_ACCEPT",
    ("remote-audit-disconnected", "service"): "DAEMON_CLOSE",
    ("lost-audit-records", "service"): "DAEMON_ERR",
    ("changed-audit-configuration", "audit-config"): "CONFIG_CHANGE USYS_CONFIG",
    ("changed-audit-feature", "audit-config"): "FEATURE_CHANGE",
    ("accessed-mac-policy-controlled-object", "security-policy"): "AVC USER_AVC SELINUX_ERR",
    ("loaded-selinux-policy", "security-policy"): "MAC_POLICY_LOAD",
    ("changed-selinux-enforcement", "security-policy"): "MAC_STATUS",
    ("called-seccomp-controlled-syscall", "process"): "SECCOMP",
    ("crashed-program", "process"): "ANOM_ABEND",
    ("changed-promiscuous-mode-on-device", "devices"): "ANOM_PROMISCUOUS",
    ("used-suspicious-link", "file"): "ANOM_LINK",
    ("performed-io-uring-operation", "file"): "URINGOP",
    ("loaded-firewall-rule-to", "firewall"): "NETFILTER_CFG",
    ("initialized-audit-subsystem", "system"): "KERNEL",
    ("controlled-vm", "virtual-machine"): "VIRT_CONTROL",
    ("assigned-vm-resource", "virtual-machine"): "VIRT_RESOURCE",
    ("assigned-vm-id", "virtual-machine"): "VIRT_MACHINE_ID",
    ("sent-message", "message"): "USER",
}
TYPES: Final = {
    name: Verb(*verb) for verb, found in _TYPES.items() for name in found.split()
}
"""By the type of an event without a system call."""
