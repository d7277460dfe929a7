"""Which system calls `perm=` means.

The kernel's classes of calls (include/asm-generic/audit_*.h, of Linux 6.18; an older
one has fewer), and the calls whose arguments decide (kernel/auditsc.c audit_match_perm):
open and its like by their access mode, execve and execveat always as x.
"""

from __future__ import annotations

from typing import Final

from auditsvc.rule import fields
from auditsvc.tables import names

READ: Final = fields.PERMS["r"]
WRITE: Final = fields.PERMS["w"]
EXECUTE: Final = fields.PERMS["x"]
ATTRIBUTE: Final = fields.PERMS["a"]

_CLASSES: Final = {
    READ: "readlink readlinkat quotactl listxattr llistxattr flistxattr listxattrat"
    " getxattr lgetxattr fgetxattr getxattrat",
    WRITE: "creat link linkat symlink symlinkat mkdir mkdirat mknod mknodat unlink unlinkat rmdir"
    " rename renameat renameat2 truncate truncate64 ftruncate ftruncate64 fallocate acct swapon"
    " quotactl bind",
    EXECUTE: "execve execveat",
    ATTRIBUTE: "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat chown32 fchown32"
    " lchown32 setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr"
    " removexattrat link linkat",
}

_OPENS: Final = {"open": 1, "openat": 2, "openat2": None}
# open_by_handle_at is none of them: a watch does not see it.


def calls(arch: int, perms: int) -> frozenset[int]:
    """Numbers of the calls of a machine that are `perms` whatever their arguments."""
    found = (
        names.syscall_number(arch, name)
        for perm, members in _CLASSES.items()
        if perms & perm
        for name in members.split()
    )
    return frozenset(number for number in found if number is not None)


def opens(arch: int, perms: int) -> dict[int, int | None]:
    """Numbers of the calls whose flags decide -> the argument that has them.

    None: they are in memory, so an event's arguments do not tell.
    """
    if not perms & (READ | WRITE):
        return {}
    found = {names.syscall_number(arch, name): place for name, place in _OPENS.items()}
    return {number: place for number, place in found.items() if number is not None}
