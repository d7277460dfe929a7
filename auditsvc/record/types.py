"""Numbers of record types (linux/audit.h), grouped by their role in an event."""

from __future__ import annotations

from typing import Final

LOGIN: Final = 1006
USER_AVC: Final = 1107
DAEMON_CONFIG: Final = 1203
DAEMON_ACCEPT: Final = 1207
DAEMON_CLOSE: Final = 1208
DAEMON_ERR: Final = 1209
SYSCALL: Final = 1300
PATH: Final = 1302
CONFIG_CHANGE: Final = 1305
SOCKADDR: Final = 1306
CWD: Final = 1307
EXECVE: Final = 1309
EOE: Final = 1320
NETFILTER_CFG: Final = 1325
SECCOMP: Final = 1326
PROCTITLE: Final = 1327
URINGOP: Final = 1336
AVC: Final = 1400
MAC_TASK_CONTEXTS: Final = 1425
MAC_OBJ_CONTEXTS: Final = 1426
ANOM_PROMISCUOUS: Final = 1700
ANOM_ABEND: Final = 1701
KERNEL: Final = 2000

DAEMON: Final = range(1200, 1300)
"""Records of the audit daemon, which have their own serials."""

ENDS: Final = frozenset((EOE, PROCTITLE))
"""PROCTITLE is the last record of an event before EOE (audit_log_exit)."""

SINGLE: Final = frozenset((SECCOMP, ANOM_ABEND, KERNEL))
"""Types of which each record is an event, unless an event with the same identity is open."""

CALLS: Final = frozenset((SYSCALL, URINGOP))

CONTEXTS: Final = frozenset((MAC_TASK_CONTEXTS, MAC_OBJ_CONTEXTS))
"""Records that follow, at any distance, a record with `subj=?` or `obj=?`, and give its value."""

DEPENDENT: Final = frozenset(
    (
        *(PATH, 1303, 1304, SOCKADDR, CWD, EXECVE, 1311, 1312, 1313, 1314, 1315, 1317, 1318),
        *(1321, 1322, 1323, PROCTITLE, 1330, 1332, 1333, 1337),
    )
)
"""Types that audit_log_exit writes after the SYSCALL or URINGOP of their event."""

OF_TASK: Final = frozenset(
    (LOGIN, 1325, SECCOMP, AVC, 1401, *range(1500, 1508), ANOM_ABEND, 1702, *range(1800, 1808))
)
"""Types whose `pid=` is the task of their event's SYSCALL."""


BEGIN: Final = OF_TASK | {SYSCALL}
"""Types of which a second record with one identity may be of another event."""

RENUMBERED: Final = (1420, 1421)
"""Types that `of_body` may change."""


def of_body(number: int, body: bytes) -> int:
    """Give the type that a record has by what it says.

    Ubuntu's kernels number MAC_TASK_CONTEXTS and MAC_OBJ_CONTEXTS 1420 and 1421, which
    are IPE's elsewhere.
    """
    task, object_ = RENUMBERED
    if number == task and body.startswith(b"subj_"):
        return MAC_TASK_CONTEXTS
    if number == object_ and body.startswith(b"obj_"):
        return MAC_OBJ_CONTEXTS
    return number


MESSAGES: Final = ((1005, 1005), (1100, 1199), (2100, 2999))
"""Types that programs may send (audit_receive_msg of the kernel), as ranges with both ends."""


def is_message(number: int) -> bool:
    """Whether a program may send records of a type: all but pid, uid, auid, ses is its word."""
    return any(low <= number <= high for low, high in MESSAGES)


def is_user(number: int) -> bool:
    """Whether records of a type come from user space, each with its own serial.

    LOGIN and the kernel's types from 1300 to 2099 can be part of a system call's event.
    """
    return (0 <= number < SYSCALL and number != LOGIN) or number >= 2100
