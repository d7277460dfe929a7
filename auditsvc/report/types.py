"""Sets of record types, and conditions on them (numbers as in linux/audit.h and libaudit.h)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditsvc.record import types

if TYPE_CHECKING:
    from collections.abc import Iterable

USER_AUTH: Final = 1100
USER_ACCT: Final = 1101
USER_MGMT: Final = 1102
USYS_CONFIG: Final = 1111
USER_LOGIN: Final = 1112
USER_TTY: Final = 1124
GRP_AUTH: Final = 1126
DAEMON_ACCEPT: Final = 1207
DAEMON_CLOSE: Final = 1208
TTY: Final = 1319
NETFILTER_PKT: Final = 1324
NETFILTER_CFG: Final = 1325
FEATURE_CHANGE: Final = 1328
EVENT_LISTENER: Final = 1335
ANOM_LINK: Final = 1702
USER_MAC_CONFIG_CHANGE: Final = 2312
VIRT_RESOURCE: Final = 2501


@dataclass(frozen=True, slots=True)
class Types:
    """A set of types: single ones, and ranges with both ends."""

    single: tuple[int, ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()

    def condition(self, column: str) -> str:
        """Give the condition that a column has one of them."""
        parts = [f"{column} BETWEEN {low} AND {high}" for low, high in self.ranges]
        if self.single:
            parts.append(f"{column} IN ({listed(self.single)})")
        return f"({' OR '.join(parts)})"

    def __contains__(self, number: int) -> bool:
        return number in self.single or any(low <= number <= high for low, high in self.ranges)

    def __or__(self, other: Types) -> Types:
        return Types(self.single + other.single, self.ranges + other.ranges)


def listed(numbers: Iterable[int]) -> str:
    """Write numbers as a list of SQL."""
    return ", ".join(str(number) for number in sorted(numbers))


USER: Final = Types(ranges=types.MESSAGES)
"""Messages of programs: `res=` is a word, and the subject stands before their own text."""
MAC: Final = Types((), ((1403, 1417), (2300, 2399)))
CONFIG: Final = Types(
    (
        *(types.CONFIG_CHANGE, types.DAEMON_CONFIG, USYS_CONFIG),
        *(NETFILTER_CFG, FEATURE_CHANGE, USER_MAC_CONFIG_CHANGE),
    ),
    ((1403, 1417),),
)
ACCOUNTS: Final = Types((1102, 1108, 1132, 2301, 2302), ((1114, 1117),))
CRYPTO: Final = Types((), ((1600, 1699), (2400, 2499)))
INTEGRITY: Final = Types((), ((1800, 1899),))
KERNEL_ANOMALY: Final = Types((), ((1700, 1799),))
USER_ANOMALY: Final = Types((), ((2100, 2199),))
RESPONSE: Final = Types((), ((2200, 2299),))
VIRT: Final = Types((), ((2500, 2599),))
AVC: Final = Types((types.AVC, types.USER_AVC))
WITH_KEY: Final = Types((types.CONFIG_CHANGE,), ((1403, 1417),))
"""Types whose `key=` is that of a rule, beside SYSCALL."""
WITH_TTY: Final = Types((NETFILTER_CFG, FEATURE_CHANGE, EVENT_LISTENER, ANOM_LINK))
"""Types that name the terminal `tty=`."""

FOLLOWING: Final = frozenset((types.SYSCALL, *types.DEPENDENT, *types.ENDS, *types.CONTEXTS))
"""Types that a call's event never begins with: they stand after its SYSCALL."""

ADDS: Final = (1114, 1116, 1407, 1409, 1411, 1413, 1416)
DELETES: Final = (1115, 1117, 1408, 1410, 1412, 1414, 1417)
"""Pairs: accounts, groups, and what MAC_* records add and delete."""
