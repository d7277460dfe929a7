"""Record types by their part in an event. Numbers: linux/audit.h.

Names become numbers through `auditsvc.names`. A type that has no number there
gets one of its own, negative and made of its name, so that every decoder on every
host gives it the same; `TypeTable.unknown` says which rows of `record_type` that needs.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from auditsvc.names import record_type_name, record_type_number

LOGIN: Final = 1006
DAEMON_ERR: Final = 1209
SYSCALL: Final = 1300
PATH: Final = 1302
SOCKADDR: Final = 1306
CWD: Final = 1307
EXECVE: Final = 1309
EOE: Final = 1320
SECCOMP: Final = 1326
PROCTITLE: Final = 1327
URINGOP: Final = 1336
MAC_TASK_CONTEXTS: Final = 1425
MAC_OBJ_CONTEXTS: Final = 1426
ANOM_ABEND: Final = 1701
KERNEL: Final = 2000

DAEMON: Final = range(1200, 1300)
"""Records of the audit daemon, which has serials of its own."""

ENDS: Final = frozenset((EOE, PROCTITLE))
"""PROCTITLE is the last record of an event before EOE (audit_log_exit)."""

ALONE: Final = frozenset((SECCOMP, ANOM_ABEND, KERNEL))
"""Types of which one record is an event, unless an event of its identity is open."""

CALLS: Final = frozenset((SYSCALL, URINGOP))

CONTEXTS: Final = frozenset((MAC_TASK_CONTEXTS, MAC_OBJ_CONTEXTS))
"""Records that follow, anywhere, one whose `subj=?` or `obj=?` they spell out."""

DEPENDENT: Final = frozenset(
    (
        *(PATH, 1303, 1304, SOCKADDR, CWD, EXECVE, 1311, 1312, 1313, 1314, 1315, 1317, 1318),
        *(1321, 1322, 1323, PROCTITLE, 1330, 1332, 1333, 1337),
    )
)
"""Types that audit_log_exit writes after the SYSCALL or URINGOP of their event."""

OF_TASK: Final = frozenset(
    (LOGIN, 1325, SECCOMP, 1400, 1401, *range(1500, 1508), ANOM_ABEND, 1702, *range(1800, 1808))
)
"""Types whose `pid=` is that of the task which the SYSCALL of their event is of."""

BEGIN: Final = OF_TASK | {SYSCALL}
"""Types of which a second one under one identity may be of another event."""

RENUMBERED: Final = (1420, 1421)
"""Types that `of_body` may call otherwise."""
_INT32: Final = 1 << 31


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


def is_user(number: int) -> bool:
    """Tell whether records of a type come from user space, each with a serial of its own.

    LOGIN and whatever else the kernel numbers from 1300 to 2099 can come inside
    a syscall.
    """
    return (0 <= number < SYSCALL and number != LOGIN) or number >= 2100


class TypeTable:
    """Numbers of record types, and the names that nobody else knows."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self.unknown: list[tuple[int, str]] = []
        """Rows (number, name) of `record_type`, since the caller last emptied it."""

    def forget(self) -> None:
        """Report every unknown type again."""
        self._numbers.clear()

    def number(self, name: bytes) -> int:
        """Give the number of a type's name (or of its decimal digits)."""
        known = self._numbers.get(name)
        if known is not None:
            return known
        text = name.decode()
        number = int(text) if text.isdigit() else record_type_number(text)
        if number is None or number >= _INT32:
            digest = blake2b(name, digest_size=4).digest()
            number = -1 - (int.from_bytes(digest, "little") & (_INT32 - 1))
            self.unknown.append((number, text))
        elif (shown := record_type_name(number)).startswith("UNKNOWN["):
            self.unknown.append((number, shown))
        if len(self._numbers) >= 4096:
            self._numbers.clear()
        self._numbers[name] = number
        return number
