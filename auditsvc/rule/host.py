"""Facts of the machine that rules depend on: architecture, users, groups and folders.

The parser asks a Host, so that the parser itself does no I/O, and rules can be read for
another machine.
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

# The architecture of 32-bit programs on each 64-bit machine.
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
    """A machine; `arch` is AUDIT_ARCH_*; `uid` and `gid` give None for unknown names.

    `is_folder` gives None where the user has no permission to look.
    """

    arch: int
    uid: Callable[[str], int | None]
    gid: Callable[[str], int | None]
    is_folder: Callable[[str], bool | None]

    @staticmethod
    def local() -> Host:
        """Give the machine that this program runs on."""
        return Host(native_arch(), _uid, _gid, is_folder)

    def family(self, word: str) -> int | None:
        """AUDIT_ARCH_* of `b64` or `b32` on this machine; None where it has no such calls."""
        return _family(self.arch, word)


def _family(arch: int, word: str) -> int | None:
    if bool(arch & _64_BIT) == (word == "b64"):
        return arch
    if word == "b32":
        half = _HALF.get(names.arch_name(arch))
        return names.arch_number(half) if half else None
    return None


def family_name(native: int, arch: int) -> str:
    """Give `b64` or `b32` if that means `arch` on a `native` machine, else the machine's name."""
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
    """AUDIT_ARCH_* of the running kernel (0 if it is unknown)."""
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
    """Whether a path is a folder; None where the user has no permission to look."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - a path of bytes, too
    except PermissionError:
        return None
    except OSError:
        return False


def exists(path: str) -> bool | None:
    """Whether a path exists; None where the user has no permission to look."""
    try:
        os.stat(path)  # noqa: PTH116
    except PermissionError:
        return None
    except OSError:
        return False
    return True
