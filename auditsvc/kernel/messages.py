"""The structs and numbers of audit's control messages (include/uapi/linux/audit.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

GET: Final = 1000
SET: Final = 1001
SIGNAL_INFO: Final = 1010
ADD_RULE: Final = 1011
DELETE_RULE: Final = 1012
LIST_RULES: Final = 1013
TRIM: Final = 1014
MAKE_EQUIVALENT: Final = 1015
SET_FEATURE: Final = 1018
GET_FEATURE: Final = 1019
FIRST_RECORD: Final = 1005
"""Lower types are control messages. USER (1005) and LOGIN (1006) are records, although
their numbers are in the range of control messages."""
REPLACE: Final = 1329

_STATUS: Final = struct.Struct("=11I")
_FEATURES: Final = struct.Struct("=4I")
_SIGNAL: Final = struct.Struct("=Ii")

# AUDIT_STATUS_*: the bit that marks a member of the struct as valid, and the member's index.
_SETTABLE: Final[dict[str, tuple[int, int]]] = {
    "enabled": (0x01, 1),
    "failure": (0x02, 2),
    "pid": (0x04, 3),
    "rate_limit": (0x08, 4),
    "backlog_limit": (0x10, 5),
    "backlog_wait_time": (0x20, 9),
    "lost": (0x40, 6),
    "backlog_wait_time_actual": (0x80, 10),
}

# AUDIT_FEATURE_BITMAP_*: the features that a kernel has.
FEATURE_BITS: Final[dict[str, int]] = {
    "backlog_limit": 0x01,
    "backlog_wait_time": 0x02,
    "executable_path": 0x04,
    "exclude_extend": 0x08,
    "sessionid_filter": 0x10,
    "lost_reset": 0x20,
    "filter_fs": 0x40,
}

OFF: Final = 0
ON: Final = 1
LOCKED: Final = 2


@dataclass(frozen=True, slots=True)
class Status:
    """The answer to AUDIT_GET (struct audit_status).

    `pid` is the daemon's tgid or 0; if the daemon died without unregistering, it stays
    until the kernel next sends a record. `lost` and `backlog` count records, `backlog`
    those in the kernel's main queue; `backlog_wait_time` and its sum
    `backlog_wait_time_actual` are in jiffies. `features` holds FEATURE_BITS. Kernels
    before 5.9 have no `backlog_wait_time_actual` (None here).
    """

    enabled: int
    failure: int
    pid: int
    rate_limit: int
    backlog_limit: int
    lost: int
    backlog: int
    features: int
    backlog_wait_time: int
    backlog_wait_time_actual: int | None

    @classmethod
    def from_bytes(cls, data: bytes) -> Status:
        """Read struct audit_status; members that an older kernel lacks are 0 or None."""
        padded = data[: _STATUS.size].ljust(_STATUS.size, b"\0")
        _mask, *members, actual = _STATUS.unpack(padded)
        known = (*members, actual if len(data) >= _STATUS.size else None)
        return cls(*known)

    def has_feature(self, feature: str) -> bool:
        """Whether the kernel has a feature of FEATURE_BITS."""
        return bool(self.features & FEATURE_BITS[feature])


def change_status(**values: int) -> bytes:
    """Write a struct audit_status that changes only the given members."""
    members = [0] * 11
    for name, value in values.items():
        bit, index = _SETTABLE[name]
        members[0] |= bit
        members[index] = value
    return _STATUS.pack(*members)


def changes_of(request: bytes) -> dict[str, int]:
    """Read the members that a request of `change_status` changes."""
    mask, *members = _STATUS.unpack(request)
    return {name: members[index - 1] for name, (bit, index) in _SETTABLE.items() if mask & bit}


LOGINUID_IMMUTABLE: Final = 1 << 1
ONLY_UNSET_LOGINUID: Final = 1 << 0


@dataclass(frozen=True, slots=True)
class Features:
    """The answer to AUDIT_GET_FEATURE: bits of LOGINUID_IMMUTABLE and ONLY_UNSET_LOGINUID."""

    on: int
    locked: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Features:
        """Read struct audit_features."""
        _version, _mask, on, locked = _FEATURES.unpack_from(data)
        return cls(on, locked)


def change_features(bits: int, *, on: bool, lock: bool) -> bytes:
    """Write a struct audit_features that changes only these bits."""
    return _FEATURES.pack(1, bits, bits if on else 0, bits if lock else 0)


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """The sender of the daemon's last signal (TERM, HUP, USR1, USR2).

    `uid` is the login uid if the sender has one, else its uid (audit_signal_info in
    kernel/audit.c); `context` is its security context or empty.
    """

    uid: int
    pid: int
    context: str

    @classmethod
    def from_bytes(cls, data: bytes) -> SignalInfo:
        """Read struct audit_sig_info."""
        uid, pid = _SIGNAL.unpack_from(data)
        context = data[_SIGNAL.size :].rstrip(b"\0").decode(errors="surrogateescape")
        return cls(uid, pid, context)


def equivalent(mount: str, subtree: str) -> bytes:
    """Write the two strings of AUDIT_MAKE_EQUIV: both lengths, then both texts."""
    old, new = (path.encode(errors="surrogateescape") for path in (mount, subtree))
    return struct.pack("=2I", len(old), len(new)) + old + new
