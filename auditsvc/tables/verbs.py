"""What an event did, as a verb and the kind of its object; maintained by hand.

The verbs of calls and of record types are those of audit-userspace's normaliser where it has
one (auparse/normalize_syscall_map.h, normalize_record_map.h), so that rules which read
ausearch's CSV keep working. What has none there has one of its own here: every system call and
record type with a name has a verb. `auditsvc.store.builtin` puts them into each store, for the
views; `auditsvc.search.summary` reads them from here.
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
    " fstatat64 statx access faccessat faccessat2 readlink readlinkat getxattr lgetxattr"
    " fgetxattr listxattr llistxattr flistxattr name_to_handle_at file_getattr oldstat oldlstat"
    " oldfstat getxattrat listxattrat",
    ("checked-filesystem-metadata-of", "filesystem"): "statfs fstatfs statfs64 fstatfs64 ustat",
    ("changed-file-permissions-of", "file"): "chmod fchmod fchmodat fchmodat2",
    ("changed-file-ownership-of", "file"): "chown fchown lchown fchownat chown32 fchown32 lchown32",
    ("changed-file-attributes-of", "file"): "setxattr lsetxattr fsetxattr removexattr lremovexattr"
    " fremovexattr setxattrat removexattrat file_setattr",
    ("changed-timestamp-of", "file"): "utime utimes utimensat futimesat utimensat_time64",
    ("created-directory", "directory"): "mkdir mkdirat",
    ("changed-directory-to", "directory"): "chdir fchdir",
    ("deleted", "file"): "unlink unlinkat rmdir",
    ("renamed", "file"): "rename renameat renameat2",
    ("symlinked", "symlink"): "symlink symlinkat",
    ("linked", "file"): "link linkat",
    ("made-device", "devices"): "mknod mknodat",
    ("mounted", "filesystem"): "mount fsmount move_mount open_tree fsopen fsconfig fspick"
    " open_tree_attr",
    ("unmounted", "filesystem"): "umount umount2",
    ("executed", "file"): "execve execveat",
    ("accepted-connection-from", "socket"): "accept accept4",
    ("bound-socket", "socket"): "bind",
    ("connected-to", "socket"): "connect",
    ("listened-on", "socket"): "listen",
    ("created-socket", "socket"): "socket socketpair",
    ("received-from", "socket"): "recvfrom recvmsg recvmmsg recv recvmmsg_time64",
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
    ("changed-privileges-of", "process"): "capset lsm_set_self_attr",
    ("changed-namespaces-of", "process"): "setns unshare",
    ("changed-settings-of", "process"): "prctl",
    ("restricted-calls-of", "process"): "seccomp",
    ("controlled-key", "key"): "keyctl",
    ("changed-system-time", "system"): "settimeofday clock_settime clock_settime64 stime adjtimex"
    " clock_adjtime clock_adjtime64",
    ("changed-system-name", "system"): "sethostname setdomainname",
    ("loaded-kernel-module", "file"): "init_module finit_module",
    ("unloaded-kernel-module", "file"): "delete_module",
    ("allocated-memory-in", "memory"): "mmap mmap2 brk mremap",
    ("protected-memory-of", "memory"): "mprotect pkey_mprotect",
    ("freed-memory-of", "memory"): "munmap",
    ("adjusted-scheduling-policy-of", "process"): "sched_setparam sched_setscheduler"
    " sched_setattr sched_setaffinity setpriority nice ioprio_set",
    ("changed-limits-of", "process"): "setrlimit prlimit64",
    ("used-bpf", "process"): "bpf",
    ("read-from", "file"): "read readv pread pread64 preadv preadv2 getdents getdents64 sendfile"
    " readdir",
    ("wrote-to", "file"): "write writev pwrite pwrite64 pwritev pwritev2",
    ("closed", "file"): "close close_range",
    ("controlled", "file"): "ioctl fcntl fcntl64",
    ("created-pipe", "fifo"): "pipe pipe2",
    ("rebooted", "system"): "reboot",
    ("loaded-next-kernel", "system"): "kexec_load kexec_file_load sys_kexec_load",
    # What audit-userspace has no verb for; of prctl, what it does to capabilities (PARTS).
    ("read-bounding-capability-of", "process"): "PR_CAPBSET_READ",
    ("dropped-bounding-capability-of", "process"): "PR_CAPBSET_DROP",
    ("changed-ambient-capability-of", "process"): "PR_CAP_AMBIENT",
    ("moved-position-in", "file"): "lseek llseek _llseek",
    ("waited-for-events-on", "file"): "select newselect _newselect pselect6 pselect6_time64 poll"
    " ppoll ppoll_time64 epoll_wait epoll_wait_old epoll_pwait epoll_pwait2",
    ("created-event-queue", "file"): "epoll_create epoll_create1 eventfd eventfd2",
    ("changed-event-queue", "file"): "epoll_ctl epoll_ctl_old",
    ("created-file-watcher", "file"): "fanotify_init inotify_init inotify_init1",
    ("watched", "file"): "fanotify_mark inotify_add_watch",
    ("stopped-watching", "file"): "inotify_rm_watch",
    ("duplicated-descriptor", "file"): "dup dup2 dup3",
    ("advised-kernel-about", "file"): "fadvise64 fadvise64_64 readahead",
    ("locked", "file"): "flock",
    ("flushed", "file"): "fsync fdatasync sync_file_range sync_file_range2 syncfs sync msync",
    ("copied-data-to", "file"): "copy_file_range sendfile64 splice tee vmsplice",
    ("used-asynchronous-io", "file"): "io_setup io_destroy io_submit io_cancel io_getevents"
    " io_pgetevents io_pgetevents_time64",
    ("used-io-uring", "file"): "io_uring_setup io_uring_enter io_uring_register",
    ("loaded-library", "file"): "uselib",
    ("created-memory-file", "memory"): "memfd_create memfd_secret",
    ("created-signal-file", "file"): "signalfd signalfd4",
    ("switched-process-accounting-to", "file"): "acct",
    ("switched-on-swap", "file"): "swapon",
    ("switched-off-swap", "file"): "swapoff",
    ("controlled-quota-of", "filesystem"): "quotactl quotactl_fd",
    ("changed-mount-attributes-of", "filesystem"): "mount_setattr",
    ("changed-root-directory-to", "directory"): "pivot_root chroot",
    ("listed-mounts-of", "filesystem"): "listmount statmount",
    ("listed-namespaces-of", "process"): "listns",
    ("read-path-of", "file"): "lookup_dcookie",
    ("read-working-directory-of", "process"): "getcwd",
    ("read-process-id-of", "process"): "getpid getppid gettid getpgid getpgrp getsid",
    ("read-identity-of", "process"): "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid"
    " getegid32 getresuid getresuid32 getresgid getresgid32 getgroups getgroups32",
    ("read-capabilities-of", "process"): "capget",
    ("read-security-label-of", "process"): "lsm_get_self_attr lsm_list_modules",
    ("read-limits-of", "process"): "getrlimit ugetrlimit",
    ("read-usage-of", "process"): "getrusage times",
    ("read-scheduling-policy-of", "process"): "getpriority ioprio_get sched_getparam"
    " sched_getscheduler sched_getattr sched_getaffinity sched_get_priority_max"
    " sched_get_priority_min sched_rr_get_interval sched_rr_get_interval64"
    " sched_rr_get_interval_time64",
    ("yielded-cpu-of", "process"): "sched_yield",
    ("changed-process-group-of", "process"): "setpgid setsid",
    ("changed-file-mode-mask-of", "process"): "umask",
    ("changed-execution-domain-of", "process"): "personality",
    ("restricted-access-of", "process"): "landlock_create_ruleset landlock_add_rule"
    " landlock_restrict_self",
    ("opened-process", "process"): "pidfd_open",
    ("took-descriptor-of", "process"): "pidfd_getfd",
    ("compared", "process"): "kcmp",
    ("traced-performance-of", "process"): "perf_event_open perf_counter_open uprobe uretprobe"
    " prof profil",
    ("synchronised-threads-of", "process"): "futex futex_time64 futex_wait futex_waitv futex_wake"
    " futex_requeue membarrier",
    ("registered-thread-memory-of", "process"): "set_tid_address set_robust_list rseq"
    " rseq_slice_yield",
    ("read-thread-memory-of", "process"): "get_robust_list get_thread_area",
    ("changed-cpu-state-of", "process"): "arch_prctl set_thread_area modify_ldt vm86 vm86old"
    " switch_endian subpage_prot swapcontext riscv_flush_icache s390_runtime_instr spu_create"
    " spu_run",
    ("read-cpu-number-of", "process"): "getcpu",
    ("resumed-call-of", "process"): "restart_syscall",
    ("slept", "process"): "nanosleep clock_nanosleep clock_nanosleep_time64 pause",
    ("set-timer-of", "process"): "alarm setitimer timer_settime timer_settime64 timerfd_settime"
    " timerfd_settime64",
    ("read-timer-of", "process"): "getitimer timer_gettime timer_gettime64 timer_getoverrun"
    " timerfd_gettime timerfd_gettime64",
    ("created-timer-of", "process"): "timer_create timerfd timerfd_create",
    ("deleted-timer-of", "process"): "timer_delete",
    ("changed-signal-handler-of", "process"): "signal sigaction rt_sigaction",
    ("changed-signal-mask-of", "process"): "sigprocmask rt_sigprocmask sgetmask ssetmask",
    ("changed-signal-stack-of", "process"): "sigaltstack",
    ("read-pending-signals-of", "process"): "sigpending rt_sigpending",
    ("waited-for-signal", "process"): "sigsuspend rt_sigsuspend rt_sigtimedwait"
    " rt_sigtimedwait_time64",
    ("returned-from-signal-handler", "process"): "sigreturn rt_sigreturn",
    ("advised-kernel-about-memory-of", "memory"): "madvise process_madvise mincore cachestat",
    ("locked-memory-of", "memory"): "mlock mlock2 mlockall",
    ("unlocked-memory-of", "memory"): "munlock munlockall",
    ("sealed-memory-of", "memory"): "mseal",
    ("changed-memory-keys-of", "memory"): "pkey_alloc pkey_free",
    ("mapped-memory-of", "memory"): "remap_file_pages map_shadow_stack",
    ("reaped-memory-of", "memory"): "process_mrelease",
    ("read-memory-policy-of", "memory"): "get_mempolicy",
    ("changed-memory-policy-of", "memory"): "set_mempolicy set_mempolicy_home_node mbind"
    " migrate_pages move_pages",
    ("handled-page-faults-of", "memory"): "userfaultfd",
    ("read-address-of", "socket"): "getsockname getpeername",
    ("read-options-of", "socket"): "getsockopt",
    ("changed-options-of", "socket"): "setsockopt",
    ("shut-down", "socket"): "shutdown",
    ("made-socket-call", "socket"): "socketcall",
    ("opened-message-queue", "message-queue"): "mq_open",
    ("deleted-message-queue", "message-queue"): "mq_unlink",
    ("sent-message-to-queue", "message-queue"): "mq_timedsend mq_timedsend_time64 msgsnd",
    ("received-message-from-queue", "message-queue"): "mq_timedreceive mq_timedreceive_time64"
    " msgrcv",
    ("controlled-message-queue", "message-queue"): "mq_getsetattr mq_notify msgctl msgget",
    ("used-semaphores", "semaphore"): "semop semtimedop semtimedop_time64",
    ("controlled-semaphores", "semaphore"): "semget semctl",
    ("attached-shared-memory", "memory"): "shmat",
    ("detached-shared-memory", "memory"): "shmdt",
    ("controlled-shared-memory", "memory"): "shmget shmctl",
    ("made-ipc-call", "ipc"): "ipc",
    ("added-key", "key"): "add_key",
    ("requested-key", "key"): "request_key",
    ("read-time", "system"): "time gettimeofday clock_gettime clock_gettime64 clock_getres"
    " clock_getres_time64",
    ("read-random-bytes", "system"): "getrandom",
    ("read-system-information", "system"): "uname olduname oldolduname sysinfo sysfs s390_sthyi"
    " riscv_hwprobe",
    ("used-kernel-setting", "system"): "sysctl _sysctl",
    ("used-kernel-log", "system"): "syslog",
    ("used-kernel-modules", "system"): "create_module get_kernel_syms query_module",
    ("accessed-hardware", "devices"): "ioperm iopl pciconfig_iobase pciconfig_read pciconfig_write"
    " s390_pci_mmio_read s390_pci_mmio_write rtas",
    ("hung-up-terminal", "devices"): "vhangup",
    ("made-indirect-call", "system"): "syscall multiplexer",
    ("made-call-that-is-not-implemented", "system"): "afs_syscall bdflush break ftime getpmsg gtty"
    " idle lock mpx nfsservctl putpmsg security stty tuxcall ulimit vserver",
}
CALLS: Final = {call: Verb(*verb) for verb, calls in _CALLS.items() for call in calls.split()}
"""By the name of the system call; a call without a name `made-call` its number."""

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
    ("modified-user-account", "account"): "USER_MGMT",
    ("modified-group-account", "account"): "GRP_MGMT",
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
    ("changed-selinux-enforcement", "security-policy"): "MAC_STATUS USER_MAC_STATUS",
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
    ("caused-account-error", "account"): "USER_ERR",
    ("changed-group", "account"): "CHGRP_ID",
    ("changed-user-id", "account"): "CHUSER_ID",
    ("authenticated-to-group", "account"): "GRP_AUTH",
    ("changed-group-password", "account"): "GRP_CHAUTHTOK",
    ("locked-account", "account"): "ACCT_LOCK",
    ("unlocked-account", "account"): "ACCT_UNLOCK",
    ("assigned-user-role-to", "account"): "ROLE_ASSIGN",
    ("removed-user-role-from", "account"): "ROLE_REMOVE",
    ("modified-role", "account"): "ROLE_MODIFY",
    ("sent-test", "message"): "TEST",
    ("sent-trusted-message", "message"): "TRUSTED_APP",
    ("configured-device", "devices"): "USER_DEVICE",
    ("allocated-device", "devices"): "DEV_ALLOC",
    ("freed-device", "devices"): "DEV_DEALLOC",
    ("controlled-device-mapper", "devices"): "DM_CTRL DM_EVENT",
    ("checked-permission-of", "security-policy"): "DAC_CHECK MAC_CHECK",
    ("caused-selinux-error", "security-policy"): "USER_SELINUX_ERR",
    ("loaded-mac-policy", "security-policy"): "USER_MAC_POLICY_LOAD IPE_POLICY_LOAD",
    ("changed-mac-configuration", "security-policy"): "USER_MAC_CONFIG_CHANGE IPE_CONFIG_CHANGE",
    ("changed-selinux-boolean", "security-policy"): "MAC_CONFIG_CHANGE",
    ("added-mac-network-domain-mapping-to", "security-policy"): "MAC_MAP_ADD",
    ("deleted-mac-network-domain-mapping-from", "security-policy"): "MAC_MAP_DEL",
    ("changed-network-label-of", "security-policy"): "MAC_UNLBL_ALLOW MAC_UNLBL_STCADD"
    " MAC_UNLBL_STCDEL MAC_CIPSOV4_ADD MAC_CIPSOV4_DEL MAC_CALIPSO_ADD MAC_CALIPSO_DEL",
    ("changed-ipsec-label-of", "security-policy"): "MAC_IPSEC_ADDSA MAC_IPSEC_ADDSPD"
    " MAC_IPSEC_DELSA MAC_IPSEC_DELSPD MAC_IPSEC_EVENT",
    ("told-labels-of", "security-policy"): "MAC_TASK_CONTEXTS MAC_OBJ_CONTEXTS AVC_PATH",
    ("used-apparmor-controlled-object", "security-policy"): "APPARMOR APPARMOR_ALLOWED"
    " APPARMOR_AUDIT APPARMOR_DENIED APPARMOR_HINT APPARMOR_KILL APPARMOR_ERROR",
    ("changed-apparmor-profiles", "security-policy"): "APPARMOR_STATUS",
    ("used-landlock-controlled-object", "security-policy"): "LANDLOCK_ACCESS",
    ("changed-landlock-domain", "security-policy"): "LANDLOCK_DOMAIN",
    ("used-ipe-controlled-object", "security-policy"): "IPE_ACCESS",
    ("overrode-label-of", "security-policy"): "LABEL_OVERRIDE",
    ("modified-level-of", "security-policy"): "LABEL_LEVEL_CHANGE",
    ("relabelled-filesystem", "filesystem"): "FS_RELABEL",
    ("exported", "file"): "USER_LABELED_EXPORT USER_UNLABELED_EXPORT",
    ("accessed-policy-controlled-file", "file"): "FANOTIFY",
    ("checked-integrity-of", "file"): "INTEGRITY_DATA INTEGRITY_METADATA INTEGRITY_HASH"
    " INTEGRITY_PCR INTEGRITY_EVM_XATTR VIRT_INTEGRITY_CHECK",
    ("changed-integrity-policy", "security-policy"): "INTEGRITY_STATUS INTEGRITY_RULE"
    " INTEGRITY_POLICY_RULE",
    ("used-bpf-program", "process"): "BPF",
    ("listened-to-audit", "process"): "EVENT_LISTENER",
    ("tried-to-replace-audit", "process"): "REPLACE",
    ("sent-packet", "socket"): "NETFILTER_PKT",
    ("told-kernel-message", "system"): "KERNEL_OTHER",
    ("adjusted-clock", "system"): "TIME_ADJNTPVAL TIME_INJOFFSET",
    ("created-suspicious-file", "file"): "ANOM_CREAT",
    ("failed-log-in-too-many-times-to", "account"): "ANOM_LOGIN_FAILURES",
    ("attempted-log-in-during-unusual-hour-to", "account"): "ANOM_LOGIN_TIME",
    ("opened-too-many-sessions-to", "account"): "ANOM_LOGIN_SESSIONS",
    ("attempted-log-in-from-unusual-place-to", "account"): "ANOM_LOGIN_LOCATION",
    ("attempted-log-in-to-watched-account", "account"): "ANOM_LOGIN_ACCT ANOM_LOGIN_ROOT"
    " ANOM_LOGIN_SERVICE",
    ("failed-too-many-times-from", "account"): "ANOM_ORIGIN_FAILURES",
    ("behaved-unusually-in", "user-session"): "ANOM_SESSION",
    ("became-root-unexpectedly", "account"): "ANOM_ROOT_TRANS",
    ("reached-limit-of", "security-policy"): "ANOM_MAX_DAC ANOM_MAX_MAC",
    ("failed-self-test-of", "system"): "ANOM_AMTU_FAIL ANOM_CRYPTO_FAIL ANOM_RBAC_FAIL",
    ("tested-file-system-integrity-of", "filesystem"): "ANOM_RBAC_INTEGRITY_FAIL",
    ("accessed-forbidden-file", "file"): "ANOM_ACCESS_FS",
    ("attempted-execution-of-forbidden-program", "file"): "ANOM_EXEC",
    ("made-program-executable", "file"): "ANOM_MK_EXEC",
    ("changed-accounts-unexpectedly", "account"): "ANOM_ADD_ACCT ANOM_DEL_ACCT ANOM_MOD_ACCT",
    ("responded-to-anomaly", "system"): "RESP_ANOMALY RESP_ALERT RESP_EXEC RESP_SEBOOL",
    ("killed-process-in-response", "process"): "RESP_KILL_PROC",
    ("locked-account-in-response", "account"): "RESP_ACCT_LOCK RESP_ACCT_LOCK_TIMED"
    " RESP_ACCT_REMOTE RESP_TERM_ACCESS RESP_TERM_LOCK",
    ("unlocked-account-in-response", "account"): "RESP_ACCT_UNLOCK_TIMED",
    ("blocked-address-in-response", "socket"): "RESP_ORIGIN_BLOCK RESP_ORIGIN_BLOCK_TIMED",
    ("unblocked-address-in-response", "socket"): "RESP_ORIGIN_UNBLOCK_TIMED",
    ("stopped-system-in-response", "system"): "RESP_HALT RESP_SINGLE",
    ("crypto-officer-logged-in", "user-session"): "CRYPTO_LOGIN",
    ("crypto-officer-logged-out", "user-session"): "CRYPTO_LOGOUT",
    ("negotiated-crypto-key", "user-session"): "CRYPTO_KEY_USER",
    ("started-crypto-session", "user-session"): "CRYPTO_SESSION",
    ("used-cryptography", "system"): "CRYPTO_TEST_USER CRYPTO_PARAM_CHANGE_USER"
    " CRYPTO_FAILURE_USER CRYPTO_REPLAY_USER CRYPTO_IKE_SA CRYPTO_IPSEC_SA",
    ("created-vm-image", "virtual-machine"): "VIRT_CREATE",
    ("deleted-vm-image", "virtual-machine"): "VIRT_DESTROY",
    ("migrated-vm-from", "virtual-machine"): "VIRT_MIGRATE_IN",
    ("migrated-vm-to", "virtual-machine"): "VIRT_MIGRATE_OUT",
    # Records of a system call whose own record did not come.
    ("made-unrecorded-call", "system"): "SYSCALL PATH CWD PROCTITLE EXECVE SOCKADDR SOCKETCALL IPC"
    " IPC_SET_PERM MMAP FD_PAIR OBJ_PID BPRM_FCAPS CAPSET KERN_MODULE MQ_OPEN MQ_SENDRECV"
    " MQ_NOTIFY MQ_GETSETATTR OPENAT2 EOE",
}
TYPES: Final = {name: Verb(*verb) for verb, found in _TYPES.items() for name in found.split()}
"""By the type of an event without a system call."""

OPERATIONS: Final = {
    "add_rule": Verb("added-audit-rule", "audit-config"),
    "remove_rule": Verb("deleted-audit-rule", "audit-config"),
    "autoremove_rule": Verb("deleted-audit-rule", "audit-config"),
    "updated_rules": Verb("updated-audit-rule", "audit-config"),
    "LOAD": Verb("loaded-bpf-program", "process"),
    "UNLOAD": Verb("unloaded-bpf-program", "process"),
    # Of auditd's DAEMON_* records, and of ours.
    "start": Verb("started-audit", "service"),
    "rotate-logs": Verb("rotated-audit-logs", "service"),
    "resume-logging": Verb("resumed-audit-logging", "service"),
    "reconfigure": Verb("changed-auditd-configuration", "service"),
    # Of our own DAEMON_CONFIG records, which change nothing.
    "coverage": Verb("was-checked-for", "process"),
    "coverage-look": Verb("checked-coverage-of-all", "audit-config"),
    "name": Verb("noted-name", "account"),
    "cgroup": Verb("noted", "process"),
    "store": Verb("noted-audit-store", "service"),
    "takeover": Verb("took-over-audit-records", "service"),
    "verify": Verb("verified-audit-evidence", "service"),
    "access-unrecorded": Verb("left-questions-unrecorded", "service"),
    # Of those that do.
    "switch": Verb("switched-audit", "audit-config"),
    "register": Verb("registered-again", "service"),
    "discard": Verb("deleted-unsigned-segments", "service"),
    # What others did to audit; behind `tamper` stands what it was.
    "tamper rule_deleted": Verb("removed-audit-rule", "audit-config"),
    "tamper rule_moved": Verb("moved-audit-rule", "audit-config"),
    "tamper never_added": Verb("inserted-excluding-rule", "audit-config"),
    "tamper rule_added": Verb("inserted-audit-rule", "audit-config"),
    "tamper switched_off": Verb("switched-off-audit", "audit-config"),
    "tamper switched_on": Verb("switched-on-audit", "audit-config"),
    "tamper setting": Verb("changed-audit-setting", "audit-config"),
    "tamper replaced": Verb("tried-to-replace-audit", "service"),
    "tamper given_up": Verb("lost-registration", "service"),
    "tamper put_back": Verb("restored-audit-configuration", "audit-config"),
    "tamper log_altered": Verb("found-audit-log-altered", "service"),
    "tamper rows_altered": Verb("found-rows-altered", "service"),
    # Of DAEMON_ABORT and DAEMON_ERR.
    "error": Verb("stopped-audit-on-error", "service"),
    "lost": Verb("missed-audit-records", "service"),
    "forged": Verb("discarded-forged-records", "service"),
    "replace": Verb("tried-to-replace-audit", "service"),
    # Of our own DAEMON_ACCEPT and DAEMON_CLOSE records: who read the store.
    "access": Verb("asked-audit-store", "service"),
    "end of access": Verb("ended-question-to-audit-store", "service"),
}
"""What a CONFIG_CHANGE, DAEMON_* or BPF record did, by its `op`, where that has a verb."""
