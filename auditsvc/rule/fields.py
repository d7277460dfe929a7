"""The fields of conditions, with their operators and lists.

From auditctl(8), include/uapi/linux/audit.h, and the kernel's
kernel/auditfilter.c (audit_field_valid: which operators; audit_to_watch,
audit_to_inode, audit_make_tree: which lists). Where auditctl accepts what the kernel
then refuses with EINVAL, the parser refuses it and says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

EQUAL: Final = 0x40000000
NOT_EQUAL: Final = 0x30000000
_BIT_MASK: Final = 0x08000000
_LESS: Final = 0x10000000
_GREATER: Final = 0x20000000

# Longest first: `!=` must not be read as an operator that begins with `!`.
OPERATORS: Final[dict[str, int]] = {
    "!=": NOT_EQUAL,
    ">=": _GREATER | EQUAL,
    "<=": _LESS | EQUAL,
    "&=": _BIT_MASK | EQUAL,
    "=": EQUAL,
    ">": _GREATER,
    "<": _LESS,
    "&": _BIT_MASK,
}
SYMBOLS: Final[dict[int, str]] = {number: symbol for symbol, number in OPERATORS.items()}

_EQUALITY: Final = frozenset({"=", "!="})
_ORDER: Final = _EQUALITY | {"<", ">", "<=", ">="}
_ALL: Final = frozenset(OPERATORS)
_IS: Final = frozenset({"="})

_USER, _TASK, _EXIT, _EXCLUDE, _FILESYSTEM, _IO_URING = 0, 1, 4, 5, 6, 7
_CALLS: Final = frozenset({_EXIT, _IO_URING})
_ANY: Final = frozenset({_USER, _TASK, _EXIT, _EXCLUDE, _IO_URING})
_NOT_EXCLUDE: Final = _ANY - {_EXCLUDE}


class Kind(Enum):
    """How a field's value is written."""

    NUMBER = auto()
    HEX = auto()  # a0-a3: any sign, shown as hex
    UNSIGNED = auto()
    UID = auto()  # number, user name, or `unset`
    GID = auto()
    SESSION = auto()  # number or `unset`
    EXIT = auto()  # number or errno name, with or without `-`
    RECORD_TYPE = auto()
    ARCH = auto()
    PERM = auto()
    FILETYPE = auto()
    FSTYPE = auto()
    TEXT = auto()
    COMPARE = auto()


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its number, the form of its value, and the operators and lists it allows."""

    number: int
    name: str
    kind: Kind
    operators: frozenset[str]
    lists: frozenset[int]


AUID: Final = 9
ARCH: Final = 11
PATH: Final = 105
PERM: Final = 106
DIR: Final = 107
COMPARE: Final = 111
EXE: Final = 112
KEY: Final = 210
INODE: Final = 102
SADDR_FAM: Final = 113

AF_MAX: Final = 46  # include/linux/socket.h

_TABLE: Final = (
    Field(0, "pid", Kind.NUMBER, _ORDER, _ANY),
    Field(1, "uid", Kind.UID, _ORDER, _ANY),
    Field(2, "euid", Kind.UID, _ORDER, _NOT_EXCLUDE),
    Field(3, "suid", Kind.UID, _ORDER, _NOT_EXCLUDE),
    Field(4, "fsuid", Kind.UID, _ORDER, _NOT_EXCLUDE),
    Field(5, "gid", Kind.GID, _ORDER, _ANY),
    Field(6, "egid", Kind.GID, _ORDER, _NOT_EXCLUDE),
    Field(7, "sgid", Kind.GID, _ORDER, _NOT_EXCLUDE),
    Field(8, "fsgid", Kind.GID, _ORDER, _NOT_EXCLUDE),
    Field(AUID, "auid", Kind.UID, _ORDER, _ANY),
    Field(10, "pers", Kind.NUMBER, _ALL, _NOT_EXCLUDE),
    Field(ARCH, "arch", Kind.ARCH, _EQUALITY, _NOT_EXCLUDE),
    Field(12, "msgtype", Kind.RECORD_TYPE, _ORDER, frozenset({_USER, _EXCLUDE})),
    Field(13, "subj_user", Kind.TEXT, _EQUALITY, _ANY),
    Field(14, "subj_role", Kind.TEXT, _EQUALITY, _ANY),
    Field(15, "subj_type", Kind.TEXT, _EQUALITY, _ANY),
    Field(16, "subj_sen", Kind.TEXT, _ORDER, _ANY),
    Field(17, "subj_clr", Kind.TEXT, _ORDER, _ANY),
    Field(18, "ppid", Kind.NUMBER, _ORDER, _CALLS),
    Field(19, "obj_user", Kind.TEXT, _EQUALITY, _CALLS),
    Field(20, "obj_role", Kind.TEXT, _EQUALITY, _CALLS),
    Field(21, "obj_type", Kind.TEXT, _EQUALITY, _CALLS),
    Field(22, "obj_lev_low", Kind.TEXT, _ORDER, _CALLS),
    Field(23, "obj_lev_high", Kind.TEXT, _ORDER, _CALLS),
    Field(25, "sessionid", Kind.SESSION, _ORDER, _NOT_EXCLUDE - {_TASK}),
    Field(26, "fstype", Kind.FSTYPE, _EQUALITY, frozenset({_FILESYSTEM})),
    Field(100, "devmajor", Kind.NUMBER, _ORDER, _CALLS),
    Field(101, "devminor", Kind.NUMBER, _ALL, _CALLS),
    Field(INODE, "inode", Kind.UNSIGNED, _EQUALITY, _CALLS),
    Field(103, "exit", Kind.EXIT, _ORDER, _CALLS),
    Field(104, "success", Kind.NUMBER, _ORDER, _CALLS),
    Field(PATH, "path", Kind.TEXT, _IS, _CALLS),
    Field(PERM, "perm", Kind.PERM, _IS, frozenset({_EXIT})),
    Field(DIR, "dir", Kind.TEXT, _IS, _CALLS),
    Field(108, "filetype", Kind.FILETYPE, _EQUALITY, _CALLS),
    Field(109, "obj_uid", Kind.UID, _ORDER, _CALLS),
    Field(110, "obj_gid", Kind.GID, _ORDER, _CALLS),
    Field(COMPARE, "field_compare", Kind.COMPARE, _EQUALITY, _CALLS),
    Field(EXE, "exe", Kind.TEXT, _EQUALITY, _ANY),
    Field(SADDR_FAM, "saddr_fam", Kind.NUMBER, _ORDER, _CALLS),
    Field(200, "a0", Kind.HEX, _ALL, _CALLS),
    Field(201, "a1", Kind.HEX, _ALL, _CALLS),
    Field(202, "a2", Kind.HEX, _ALL, _CALLS),
    Field(203, "a3", Kind.HEX, _ALL, _CALLS),
    Field(KEY, "key", Kind.TEXT, _IS, _NOT_EXCLUDE | {_FILESYSTEM}),
)
BY_NUMBER: Final[dict[int, Field]] = {field.number: field for field in _TABLE}
BY_NAME: Final[dict[str, Field]] = {field.name: field for field in _TABLE} | {
    "loginuid": BY_NUMBER[AUID]
}

# Groups of fields of which the kernel accepts one in a rule.
SINGLE: Final = (frozenset({PATH, DIR, INODE}), frozenset({EXE}))

PERMS: Final[dict[str, int]] = {"r": 4, "w": 2, "x": 1, "a": 8}

FILETYPES: Final[dict[str, int]] = {
    "fifo": 0o010000,
    "character": 0o020000,
    "dir": 0o040000,
    "block": 0o060000,
    "file": 0o100000,
    "link": 0o120000,
    "socket": 0o140000,
}

FSTYPES: Final[dict[str, int]] = {"debugfs": 0x64626720, "tracefs": 0x74726163}  # linux/magic.h

# AUDIT_COMPARE_*: the two fields, in auditctl's order.
COMPARISONS: Final[dict[int, tuple[str, str]]] = {
    1: ("uid", "obj_uid"),
    2: ("gid", "obj_gid"),
    3: ("euid", "obj_uid"),
    4: ("egid", "obj_gid"),
    5: ("auid", "obj_uid"),
    6: ("suid", "obj_uid"),
    7: ("sgid", "obj_gid"),
    8: ("fsuid", "obj_uid"),
    9: ("fsgid", "obj_gid"),
    10: ("uid", "auid"),
    11: ("uid", "euid"),
    12: ("uid", "fsuid"),
    13: ("uid", "suid"),
    14: ("auid", "fsuid"),
    15: ("auid", "suid"),
    16: ("auid", "euid"),
    17: ("euid", "suid"),
    18: ("euid", "fsuid"),
    19: ("suid", "fsuid"),
    20: ("gid", "egid"),
    21: ("gid", "fsgid"),
    22: ("gid", "sgid"),
    23: ("egid", "fsgid"),
    24: ("egid", "sgid"),
    25: ("sgid", "fsgid"),
}
COMPARISON_NUMBERS: Final[dict[frozenset[str], int]] = {
    frozenset(pair): number for number, pair in COMPARISONS.items()
}
COMPARABLE: Final = sorted({name for pair in COMPARISONS.values() for name in pair})
