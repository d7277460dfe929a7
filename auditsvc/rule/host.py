"""What rules need to know of the machine: its architecture, users, groups and folders.

The parser asks a Host, so that it does no I/O of its own and rules can be read
for another machine.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from auditsvc.tables import names

if TYPE_CHECKING:
    from collections.abc import Callable

# The machine that a 64-bit machine runs 32-bit programs as.
_HALF: Final[dict[str, str]] = {
    "x86_64": "i386",
    "aarch64": "arm",
    "ppc64": "ppc",
    "s390x": "s390",
    "riscv64": "riscv32",
    "loongarch64": "loongarch32",
}
_64_BIT: Final = 0x80000000


@dataclass(frozen=True)
class Host:
    """A machine; `arch` is AUDIT_ARCH_*, the functions give None for what is not there.

    `is_folder` gives None where the user may not look.
    """

    arch: int
    uid: Callable[[str], int | None]
    gid: Callable[[str], int | None]
    is_folder: Callable[[str], bool | None]

    @staticmethod
    def here() -> Host:
        """Give the machine that we run on."""
        return Host(native_arch(), _uid, _gid, is_folder)

    def family(self, word: str) -> int | None:
        """AUDIT_ARCH_* of `b64` or `b32` on this machine; None where it has no such half."""
        return _family(self.arch, word)


def _family(arch: int, word: str) -> int | None:
    if bool(arch & _64_BIT) == (word == "b64"):
        return arch
    if word == "b32":
        half = _HALF.get(names.arch_name(arch))
        return names.arch_number(half) if half else None
    return None


def family_name(native: int, arch: int) -> str:
    """Give `b64` or `b32` if that is `arch` on a `native` machine, else the machine's name."""
    for word in ("b64", "b32"):
        if _family(native, word) == arch:
            return word
    known = names.arch_name(arch)
    return known if names.arch_number(known) == arch and known in _named() else f"0x{arch:X}"


@cache
def _named() -> frozenset[str]:
    return frozenset(names.arch_name(arch) for arch in names.arches())


@cache
def native_arch() -> int:
    """AUDIT_ARCH_* of the kernel we run on (0 if it has no name here)."""
    return names.arch_number(os.uname().machine) or 0


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _gid(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def is_folder(path: str) -> bool | None:
    """Whether a folder is there; None where the user may not look."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - a path of bytes, too
    except PermissionError:
        return None
    except OSError:
        return False


def is_there(path: str) -> bool | None:
    """Whether anything is there; None where the user may not look."""
    try:
        os.stat(path)  # noqa: PTH116
    except PermissionError:
        return None
    except OSError:
        return False
    return True
